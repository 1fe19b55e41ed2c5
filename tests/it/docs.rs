//! The pages of `docs` name files, types and tests that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::layers::root;

/// Words that look like types but are external or plain words.
const NO_TYPES: &[&str] = &["Failed", "None", "Some", "PostgreSQL"];

/// The pages whose names are checked.
fn is_checked(page: &str) -> bool {
    ["architecture.md", "glossary.md"].contains(&page) || page.starts_with("adding-")
}

/// The smallest plausible numbers of pages, paths, types and tests.
const MIN_PAGES: usize = 6;
const MIN_PATHS: usize = 100;
const MIN_TYPES: usize = 40;
const MIN_TESTS: usize = 20;

#[test]
fn every_file_type_and_test_that_a_page_names_exists() {
    let source = Source::read();
    let (mut pages, mut paths, mut types, mut tests) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    for page in fs::read_dir(root().join("docs")).unwrap() {
        let page = page.unwrap();
        let name = page.file_name().to_str().unwrap().to_owned();
        if !is_checked(&name) {
            continue;
        }
        pages += 1;
        for (number, words) in named_words(&fs::read_to_string(page.path()).unwrap()) {
            let mut report = |what: String| wrong.push(format!("docs/{name}:{number}: {what}"));
            let files: Vec<&str> = words.iter().copied().filter(|word| is_path(word)).collect();
            for word in words.iter().copied() {
                if is_path(word) {
                    paths += 1;
                    if !exists(word) {
                        report(format!("there is no {word}"));
                    }
                } else if let Some((name, member)) = split_type(word) {
                    types += 1;
                    if !source.has_type(name) {
                        report(format!("there is no type or state {name}"));
                    } else if !member.is_none_or(|member| source.has_member(member)) {
                        report(format!("{name} has no {member:?}"));
                    }
                } else if is_test(word) {
                    tests += 1;
                    if !source.has_function(word, &files) {
                        report(format!("there is no fn {word} in {files:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "the pages name what is not there:\n{}", wrong.join("\n"));
    let found = (pages, paths, types, tests);
    let enough = pages >= MIN_PAGES && paths >= MIN_PATHS && types >= MIN_TYPES && tests >= MIN_TESTS;
    assert!(enough, "too little was found: {found:?}");
}

#[test]
fn links_between_pages_lead_to_files() {
    let mut links = 0;
    for page in markdown() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let file = page.parent().unwrap().join(path);
            assert!(file.exists(), "{}: there is no {target}", page.display());
        }
    }
    assert!(links > 20, "only {links} links were found");
}

#[test]
fn every_route_is_on_the_page_of_the_api() {
    let page = fs::read_to_string(root().join("docs/http-api.md")).unwrap();
    let mut sources = Vec::new();
    for folder in ["src/api", "src/dashboard"] {
        read_sources(&root().join(folder), &mut sources);
    }
    // The functions that list routes; those of the router itself combine the others.
    let functions = sources.iter().filter(|(path, _)| !path.ends_with("api/router.rs"));
    let functions =
        functions.flat_map(|(_, text)| text.split("fn router(").chain(text.split("fn routes(")).skip(1));
    let bodies = functions.filter_map(|rest| rest.split("\n}").next());
    let literals = bodies.flat_map(|body| body.split('"').skip(1).step_by(2));
    let routes: BTreeSet<&str> = literals.filter(|text| text.starts_with('/')).collect();
    assert!(routes.len() > 30, "{routes:?}");
    for route in routes {
        assert!(page.contains(&format!("{route}`")), "docs/http-api.md says nothing of {route}");
    }
}

#[test]
fn each_limit_names_its_constant() {
    let page = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let mut constants = 0;
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| limit |")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{line}");
        if cells[4] == "–" {
            continue;
        }
        let named: Vec<&str> = cells[4].split('`').skip(1).step_by(2).collect();
        let &[constant, file] = named.as_slice() else {
            panic!("a constant and its file are needed: {line}")
        };
        let source = fs::read_to_string(root().join(file)).unwrap();
        assert!(source.contains(&format!("const {constant}: ")), "{file} has no {constant}");
        constants += 1;
    }
    assert!(constants > 60, "only {constants} constants were found");
}

#[test]
fn named_paths_types_and_tests_are_distinguished() {
    let text = "See `src/lib.rs`\n```text\nsrc/main.rs  Alpha::b Word\n```\n`Visit`, `a_b_c_d` | `NAME.rs` `WAITING`";
    let words = named_words(text);
    let words: Vec<&str> = words.iter().flat_map(|(_, words)| words.iter().copied()).collect();
    let of = |is: fn(&str) -> bool| words.iter().copied().filter(|word| is(word)).collect::<Vec<_>>();
    assert_eq!(of(is_path), ["src/lib.rs", "src/main.rs"]);
    let types: Vec<_> = words.iter().copied().filter_map(split_type).collect();
    assert_eq!(types, [("Alpha", Some("b")), ("Visit", None)]);
    assert_eq!(of(is_test), ["a_b_c_d"]);
    assert!(exists("src/lib.rs") && exists("crates/power/src/drivers/NAME.rs"));
    assert!(!exists("src/lob.rs") && !exists("crates/power/src/draivers/NAME.rs"));
}

/// The README, CONTRIBUTING.md, the changelog and all pages of `docs`.
pub(crate) fn markdown() -> Vec<PathBuf> {
    let in_folder = |folder: PathBuf| {
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|ending| ending == "md")).collect::<BTreeSet<_>>()
    };
    in_folder(root().to_owned()).into_iter().chain(in_folder(root().join("docs"))).collect()
}

/// The words in backticks, and those in drawings, with the line of each. A line of a table, or a paragraph's line, is
/// where a test and its file belong together; a paragraph counts as one line.
fn named_words(text: &str) -> Vec<(usize, Vec<&str>)> {
    let mut found: Vec<(usize, Vec<&str>)> = Vec::new();
    let (mut fence, mut is_paragraph) = (None, false);
    for (number, line) in text.lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_none() { Some(info) } else { None };
            is_paragraph = false;
            continue;
        }
        let words: Vec<&str> = match fence {
            Some("text") => {
                let words = line.split_whitespace().map(|word| word.trim_end_matches([',', ':', '?']));
                words.filter(|word| is_path(word) || word.contains("::")).collect()
            }
            Some(_) => Vec::new(),
            None => line.split('`').skip(1).step_by(2).collect(),
        };
        let is_own = line.is_empty() || line.starts_with('|') || fence.is_some();
        if is_own || !is_paragraph {
            found.push((number + 1, words));
        } else if let Some((_, last)) = found.last_mut() {
            last.extend(words);
        }
        is_paragraph = !is_own;
    }
    found
}

/// Whether it looks like a path in the repository.
fn is_path(word: &str) -> bool {
    let folders = ["src", "crates", "tests", "docs", "migrations", "states", "fixtures", "benches", ".ci"];
    let folder = word.split('/').next().unwrap();
    folders.contains(&folder) && word.contains('/') && !word.contains(['*', '=', ' '])
}

/// The type that a word looks like, and its member: `WorkQueue`, `Engine::submit`; nothing of a constant.
fn split_type(word: &str) -> Option<(&str, Option<&str>)> {
    let (name, member) =
        word.split_once("::").map_or((word, None), |(name, member)| (name, member.split('(').next()));
    let is_type = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric())
        && name.contains(|letter: char| letter.is_ascii_lowercase())
        && !NO_TYPES.contains(&name);
    is_type.then_some((name, member))
}

/// Whether it looks like the name of a test, which is a sentence.
fn is_test(word: &str) -> bool {
    let of_a_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    word.chars().all(of_a_name) && word.matches('_').count() >= 3
}

/// Whether the file or directory exists. For a path with NAME in it, which the reader chooses, the directory above must
/// exist.
fn exists(path: &str) -> bool {
    let known = path.split('/').take_while(|part| !part.contains("NAME"));
    root().join(known.collect::<PathBuf>()).exists()
}

/// All Rust source of the repository, and the states of the shipped definition of boards.
struct Source {
    files: Vec<(PathBuf, String)>,
    types: BTreeSet<String>,
    states: String,
}

impl Source {
    fn read() -> Self {
        let mut files = Vec::new();
        for folder in ["src", "crates", "tests"] {
            read_sources(&root().join(folder), &mut files);
        }
        assert!(files.len() > 300, "only {} files were read", files.len());
        let types = files.iter().flat_map(|(path, text)| defined_types(path, text)).collect();
        Self { files, types, states: fs::read_to_string(root().join("states/board.yaml")).unwrap() }
    }

    fn has_type(&self, name: &str) -> bool {
        let state = format!("\n  {name}:");
        self.types.contains(name) || self.states.contains(&state)
    }

    /// Whether some type has a function, a variant or a constant of this name.
    fn has_member(&self, member: &str) -> bool {
        let function = format!("fn {member}");
        let variant = format!("\n    {member}");
        let constant = format!("const {member}");
        let wanted = [function, variant, constant];
        self.files.iter().any(|(_, text)| wanted.iter().any(|wanted| text.contains(wanted.as_str())))
    }

    /// Whether one of `files` has the function; any file, where none is named.
    fn has_function(&self, name: &str, files: &[&str]) -> bool {
        let wanted = format!("fn {name}(");
        let wanted_generic = format!("fn {name}<");
        let is_named = |path: &Path| files.is_empty() || files.iter().any(|file| path == root().join(file));
        let mut candidates = self.files.iter().filter(|(path, _)| is_named(path));
        candidates.any(|(_, text)| text.contains(&wanted) || text.contains(&wanted_generic))
    }
}

/// The types that a file defines. Those of `names.rs` are made by a macro, a line each.
fn defined_types(path: &Path, text: &str) -> Vec<String> {
    let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut types = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            if ["struct", "enum", "trait", "type"].contains(&pair[0]) {
                types.push(pair[1].split(|letter: char| !is_of_a_name(letter)).next().unwrap().to_owned());
            }
        }
        if let Some(name) = line.trim().strip_suffix(',').filter(|_| path.ends_with("names.rs")) {
            types.push(name.to_owned());
        }
    }
    types
}

fn read_sources(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                read_sources(&path, files);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
}
