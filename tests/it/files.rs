//! Tests of the source files: no import cycle, no import from the parent module, and few long files.
//!
//! A module that declares files contains only `mod` lines and `pub use`; anything shared by its files is in a
//! file of its own. So all imports of a file are below it or beside it, and the file can be moved.

use std::collections::{BTreeMap, BTreeSet};

use statistics::percentile;

use crate::layers::{code, is_path_begin, root, sources};

/// The largest length of half of all files, and of nine in ten, in lines without tests.
const MEDIAN_LINES: f64 = 160.0;
const P90_LINES: f64 = 320.0;

/// The smallest plausible number of files: there are about twice as many.
const MIN_FILES: usize = 200;
const MIN_IMPORTS: usize = 1000;

#[test]
fn files_have_no_import_cycle_and_import_nothing_from_their_parent_module() {
    let house = SourceTree::read();
    let imports: usize = house.imports().values().map(BTreeMap::len).sum();
    assert!(house.files.len() >= MIN_FILES, "only {} files were read", house.files.len());
    assert!(imports >= MIN_IMPORTS, "only {imports} imports were read");
    let mut faults = house.cycles();
    faults.extend(house.imports_from_above());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn most_files_are_short_and_few_are_long() {
    let tree = SourceTree::read();
    let lines = tree.files.iter().map(|file| u32::try_from(file.lines).unwrap().into());
    let lines: Vec<f64> = lines.collect();
    let [median, p90] = [50, 90].map(|percent| percentile(&lines, percent).unwrap());
    assert!(median <= MEDIAN_LINES && p90 <= P90_LINES, "the median is {median} lines, p90 is {p90}");
}

#[test]
fn import_cycles_and_parent_imports_are_found_in_any_spelling() {
    let cycles = |files: &[(&str, &str)]| SourceTree::of(files).cycles().len();
    let above = |files: &[(&str, &str)]| SourceTree::of(files).imports_from_above().len();
    let (a, b) = ("src/a.rs", "src/b.rs");
    for (of_a, of_b) in [
        ("use super::b::B;", "use crate::a::A;"),
        ("use crate::{c, b::{self, B}};", "fn f() {\n    super::a::g();\n}"),
        ("pub(in crate::a) use crate::\n    b::B;", "use super::a as other;"),
    ] {
        assert_eq!(cycles(&[(a, of_a), (b, of_b)]), 1, "{of_a} {of_b}");
        assert_eq!(cycles(&[(a, of_a), (b, "use super::c::C;")]), 0, "{of_a}");
    }
    // Three, and one that only looks like it: comments, tests and visibility import nothing.
    assert_eq!(
        cycles(&[(a, "use crate::b::B;"), (b, "use crate::c::C;"), ("src/c/mod.rs", "use super::a;")]),
        1
    );
    for of_b in [
        "// use super::a::A;",
        "#[cfg(test)]\nmod tests {\nuse super::a::A;\n}",
        "pub(in crate::a) fn f() {}",
    ] {
        assert_eq!(cycles(&[(a, "use super::b::B;"), (b, of_b)]), 0, "{of_b}");
    }

    let above_with =
        |of_mod: &str, of_child: &str| above(&[("src/m/mod.rs", of_mod), ("src/m/c.rs", of_child)]);
    for child in
        ["use super::Own;", "use crate::m::{Own, d};", "use super::*;", "fn f() {\n    super::own();\n}"]
    {
        assert_eq!(above_with("mod c;\nmod d;\npub struct Own;", child), 1, "{child}");
    }
    // A re-export belongs to the file that defines it.
    let passing_on = "mod c;\nmod d;\npub use self::d::{D as Other, own};";
    for child in ["use super::Other;", "fn f() {\n    super::own();\n}", "use super::d::D;"] {
        let files = [("src/m/mod.rs", passing_on), ("src/m/c.rs", child), ("src/m/d.rs", "use super::c::C;")];
        assert_eq!((above(&files), cycles(&files)), (0, 1), "{child}");
    }
    // In a module within the file, the parent is the file.
    for (child, expected) in [("super::Own", 0), ("super::super::Own", 1)] {
        let child = format!("mod inner {{\n    use {child};\n}}\nstruct Own;");
        assert_eq!(above_with("mod c;\npub struct Own;", &child), expected, "{child}");
    }
    // A crate's root is above its files, and other crates are beside it.
    assert_eq!(
        above(&[("crates/k-l/src/lib.rs", "pub struct Own;"), ("crates/k-l/src/c.rs", "use crate::Own;")]),
        1
    );
    let of_crate = [
        ("crates/k-l/src/lib.rs", "pub struct Own;"),
        ("src/lib.rs", "pub use k_l;"),
        (a, "use crate::k_l::Own;"),
    ];
    assert_eq!(above(&of_crate), 0);
    assert_eq!(SourceTree::of(&of_crate).imports()[&2].keys().copied().collect::<Vec<_>>(), [0]);
}

/// A file of a crate.
struct SourceFile {
    /// From the root of the repository.
    path: String,
    /// The name of its crate, as used in paths elsewhere.
    of_crate: String,
    /// Its module path.
    module: Vec<String>,
    /// Its imports, with their local names.
    uses: Vec<(Vec<String>, String)>,
    /// Other paths in its code.
    paths: Vec<Vec<String>>,
    /// Its length without tests.
    lines: usize,
}

/// All files with their modules.
struct SourceTree {
    files: Vec<SourceFile>,
    modules: BTreeMap<(String, Vec<String>), usize>,
}

/// The names that one file imports from others, by file; none for a module as a whole.
type Imports = BTreeMap<usize, BTreeSet<String>>;

impl SourceTree {
    /// Reads the source tree.
    fn read() -> Self {
        let crates = fs_err::read_dir(root().join("crates")).unwrap();
        let mut folders = vec![root().join("src")];
        folders.extend(crates.map(|folder| folder.unwrap().path().join("src")));
        let files: Vec<(String, String)> = folders
            .iter()
            .flat_map(|folder| sources(folder))
            .map(|path| {
                let text = fs_err::read_to_string(&path).unwrap();
                (path.strip_prefix(root()).unwrap().display().to_string(), text)
            })
            .collect();
        Self::of(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>())
    }

    /// Creates a source tree of these paths and texts.
    fn of(files: &[(&str, &str)]) -> Self {
        let mut files: Vec<SourceFile> =
            files.iter().map(|(path, text)| SourceFile::of(path, text)).collect();
        let modules = files.iter().enumerate();
        let modules: BTreeMap<_, _> =
            modules.map(|(at, file)| ((file.of_crate.clone(), file.module.clone()), at)).collect();
        for file in &mut files {
            let is_child = |name: &String| {
                let child = [file.module.clone(), vec![name.clone()]].concat();
                modules.contains_key(&(file.of_crate.clone(), child))
            };
            let is_ours = |path: &Vec<String>| {
                matches!(path[0].as_str(), "crate" | "super" | "self") || is_child(&path[0])
            };
            let ours: Vec<Vec<String>> = file.paths.iter().filter(|path| is_ours(path)).cloned().collect();
            file.paths = ours;
        }
        Self { files, modules }
    }

    /// Returns the imports of each file.
    fn imports(&self) -> BTreeMap<usize, Imports> {
        let mut all: BTreeMap<usize, Imports> = BTreeMap::new();
        for (at, file) in self.files.iter().enumerate() {
            let paths = file.uses.iter().map(|(path, _)| path).chain(&file.paths);
            for (from, name) in
                paths.filter_map(|path| self.find(at, path, 0)).filter(|(from, _)| *from != at)
            {
                all.entry(at).or_default().entry(from).or_default().extend(name);
            }
        }
        all
    }

    /// Finds the file that defines what the file `at` calls `path`, and its name there.
    fn find(&self, at: usize, path: &[String], depth: usize) -> Option<(usize, Option<String>)> {
        let SourceFile { of_crate, module, .. } = &self.files[at];
        let (mut of_crate, mut module, mut rest) = (of_crate.clone(), module.clone(), path);
        match path.first()?.as_str() {
            "crate" => (module, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
            }
            first => {
                let child = [module.clone(), vec![first.to_owned()]].concat();
                if !self.modules.contains_key(&(of_crate.clone(), child)) {
                    (of_crate, module, rest) = (first.to_owned(), Vec::new(), &path[1..]);
                }
            }
        }
        while let Some(first) = rest.first() {
            let child = [module.clone(), vec![first.clone()]].concat();
            if !self.modules.contains_key(&(of_crate.clone(), child.clone())) {
                break;
            }
            (module, rest) = (child, &rest[1..]);
        }
        let found = *self.modules.get(&(of_crate, module))?;
        let Some(name) = rest.first() else { return Some((found, None)) };
        let passed_on = self.files[found].uses.iter().find(|(_, known_as)| known_as == name);
        match passed_on {
            Some((source, _)) if depth < 9 => {
                self.find(found, &[source.as_slice(), &rest[1..]].concat(), depth + 1)
            }
            _ => Some((found, Some(name.clone()))),
        }
    }

    /// Returns the import cycles.
    fn cycles(&self) -> Vec<String> {
        let imports = self.imports();
        let reached: Vec<BTreeSet<usize>> = (0..self.files.len()).map(|at| reach(&imports, at)).collect();
        let in_circle = (0..self.files.len()).filter(|at| reached[*at].contains(at));
        let cycles: BTreeSet<Vec<usize>> = in_circle
            .map(|at| reached[at].iter().copied().filter(|other| reached[*other].contains(&at)).collect())
            .collect();
        cycles.iter().map(|circle| self.circle(circle, &imports)).collect()
    }

    fn circle(&self, circle: &[usize], imports: &BTreeMap<usize, Imports>) -> String {
        let path = |at: &usize| self.files[*at].path.clone();
        let mut lines = vec![format!("a circle of {} files:", circle.len())];
        for from in circle {
            for (to, names) in imports[from].iter().filter(|(to, _)| circle.contains(to)) {
                lines.push(format!("    {} takes {names:?} from {}", path(from), path(to)));
            }
        }
        lines.join("\n")
    }

    /// Returns the files that import what a parent module defines itself.
    fn imports_from_above(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (at, imports) in self.imports() {
            let file = &self.files[at];
            for (from, names) in imports.iter().filter(|(_, names)| !names.is_empty()) {
                let above = &self.files[*from];
                let is_above = above.of_crate == file.of_crate
                    && above.module.len() < file.module.len()
                    && file.module.starts_with(&above.module);
                if is_above {
                    faults.push(format!(
                        "{} takes {names:?} from {}, which is above it",
                        file.path, above.path
                    ));
                }
            }
        }
        faults
    }
}

impl SourceFile {
    fn of(path: &str, text: &str) -> Self {
        let (before, below) = path.split_once("src/").unwrap();
        let of_crate = before.strip_prefix("crates/").map_or("lifeguard", |name| name.trim_end_matches('/'));
        let mut module: Vec<String> = below.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if ["mod", "lib"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        let (mut uses, mut paths) = (Vec::new(), Vec::new());
        let mut inline = Vec::new();
        let mut lines = code(text).map(|(_, line)| line.split(" //").next().unwrap());
        while let Some(line) = lines.next() {
            let indent = line.len() - line.trim_start().len();
            inline.retain(|begun_at| !(line.trim() == "}" && indent == *begun_at));
            let Some(begin) = behind_use(line) else {
                if is_inline_module(line) {
                    inline.push(indent);
                }
                paths.extend(paths_of(line).into_iter().filter_map(|path| outside(inline.len(), path)));
                continue;
            };
            let mut statement = begin.to_owned();
            while !statement.contains(';') {
                let Some(line) = lines.next() else { break };
                statement.push_str(line.trim());
                statement.push(' ');
            }
            let imported = imported(statement.trim_end_matches([';', ' '])).into_iter();
            uses.extend(imported.filter_map(|(path, name)| Some((outside(inline.len(), path)?, name))));
        }
        Self {
            path: path.to_owned(),
            of_crate: of_crate.replace('-', "_"),
            module,
            uses,
            paths,
            lines: code_lines(text),
        }
    }
}

/// Counts the lines of a file before the tests at its end.
fn code_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|two| two[0] == "#[cfg(test)]" && two[1].trim_end().ends_with('{'));
    tests.unwrap_or(lines.len())
}

/// Returns the text after `use` if a line begins an import.
fn behind_use(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub(") {
        Some(rest) => rest.split_once(')')?.1.trim_start(),
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    line.strip_prefix("use ")
}

/// Expands a `use` tree: each path, with its local name.
fn imported(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((before, inside)) = tree.split_once('{') {
        let inside = inside.trim_end().strip_suffix('}').unwrap_or(inside);
        let below = split_outside_braces(inside).into_iter().flat_map(imported);
        let prefix = segments(before);
        return below.map(|(path, name)| ([prefix.clone(), path].concat(), name)).map(whole).collect();
    }
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
    let path = segments(path);
    let name =
        if name.is_empty() { path.last().cloned().unwrap_or_default() } else { name.trim().to_owned() };
    if path.is_empty() { Vec::new() } else { vec![(path, name)] }
}

/// Resolves a path ending in `self` to the module before it.
fn whole((mut path, mut name): (Vec<String>, String)) -> (Vec<String>, String) {
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
        if name == "self" {
            name = path.last().cloned().unwrap_or_default();
        }
    }
    (path, name)
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn split_outside_braces(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// Whether a line begins an inline module.
fn is_inline_module(line: &str) -> bool {
    let line = line.trim();
    let declared = line.strip_prefix("mod ").or_else(|| line.split_once(" mod ").map(|(_, name)| name));
    line.ends_with('{') && declared.is_some_and(|name| name.trim_end_matches(" {").chars().all(is_of_name))
}

/// Converts a path inside this many inline modules to one at file level; `None` if it leads into the file
/// itself.
fn outside(modules: usize, mut path: Vec<String>) -> Option<Vec<String>> {
    if path.first().is_some_and(|first| first == "super") {
        let up = path.iter().take_while(|part| *part == "super").count();
        if up < modules {
            return None;
        }
        path.drain(..modules);
        if up == modules {
            path.insert(0, "self".to_owned());
        }
    }
    Some(path)
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the paths of two or more names in code.
fn paths_of(code: &str) -> Vec<Vec<String>> {
    let is_of_path = |c: char| is_of_name(c) || c == ':';
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let begin = code[..at].rfind(|c| !is_of_path(c)).map_or(0, |before| before + 1);
        let end = code[at..].find(|c| !is_of_path(c)).map_or(code.len(), |end| at + end);
        let (before, path) = (&code[..begin], &code[begin..end]);
        // Once per path, and not in visibility qualifiers.
        if path.find("::") == Some(at - begin) && is_path_begin(before) && !before.ends_with("(in ") {
            found.push(segments(path));
        }
    }
    found.retain(|path| path.len() > 1);
    found
}

/// Returns the files reachable from the file `at` by imports.
fn reach(imports: &BTreeMap<usize, Imports>, at: usize) -> BTreeSet<usize> {
    let (mut reached, mut left) = (BTreeSet::new(), vec![at]);
    while let Some(next) = left.pop() {
        for to in imports.get(&next).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*to) {
                left.push(*to);
            }
        }
    }
    reached
}
