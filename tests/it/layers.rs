//! The house's arrows: who may use whom.

use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("csp", &[]),
    ("directories", &[]),
    ("random", &[]),
    ("machine", &["random"]),
    ("model", &["clock"]),
    ("boot_tree", &[]),
    ("actions", &["boot_tree", "clock", "machine"]),
    ("worker", &["actions", "clock", "machine"]),
    ("store", &["directories", "machine"]),
    ("engine", &["actions", "clock", "machine", "model", "store", "worker"]),
    ("api", &["actions", "clock", "csp", "engine", "machine", "model", "store"]),
    ("dashboard", &["csp", "engine", "machine", "store"]),
    ("tftp", &["boot_tree", "clock"]),
    ("farm", &["clock", "random", "tftp"]),
    (
        "cli",
        &[
            "actions",
            "api",
            "boot_tree",
            "clock",
            "dashboard",
            "directories",
            "engine",
            "farm",
            "machine",
            "model",
            "store",
            "tftp",
            "worker",
        ],
    ),
];

/// What only these rooms may use from outside.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx::", &["store"]),
    ("axum::", &["api", "dashboard"]),
    ("hyper::", &["api"]),
    ("hyper_util::", &["api"]),
    ("tower::", &["api"]),
    ("cel::", &["machine"]),
    ("ort::", &["model"]),
    ("prometheus_client::", &["model"]),
];

/// What the kernel must not know: it is pure.
const IMPURE: &[&str] = &["tokio::", "std::fs", "std::net", "Utc::now", "Instant::now", "async fn"];

/// Fewer files or uses than these were not read at all: the house has about twice as many.
const LEAST_FILES: usize = 50;
const LEAST_USES: usize = 60;

#[test]
fn every_use_follows_an_arrow_of_the_house() {
    let (mut files, mut uses, mut wrong) = (0, 0, Vec::new());
    for file in sources() {
        let below = file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
        if is_tests(below) {
            continue;
        }
        files += 1;
        for (number, line) in code(&fs_err::read_to_string(&file).unwrap()) {
            uses += line.matches("crate::").count();
            wrong.extend(faults(below, line).map(|fault| format!("{}:{number}: {fault}", below.display())));
        }
    }
    assert!(files >= LEAST_FILES && uses >= LEAST_USES, "only {files} files with {uses} uses were read");
    assert!(wrong.is_empty(), "arrows that the house does not have:\n{}", wrong.join("\n"));
}

#[test]
fn a_line_that_goes_against_an_arrow_is_found_in_whatever_way_it_is_written() {
    let faults = |file: &str, line: &str| faults(Path::new(file), line).collect::<Vec<_>>();
    for (file, line) in [
        ("machine/decide.rs", "use crate::store::Store;"),
        ("machine/decide.rs", "    let at = crate::clock::after(at, span);"),
        ("api/mod.rs", "use super::tftp::Server;"),
        ("api/devices.rs", "use super::super::tftp::Server;"),
        ("engine/timer.rs", "pub(crate) use crate::{store, api};"),
        ("engine/timer.rs", "use crate::{"),
        ("engine/timer.rs", "use crate::*;"),
        ("engine/timer.rs", "    sqlx::query(text).execute(db).await"),
        ("machine/guard.rs", "    let text = std::fs::read_to_string(path);"),
        ("attic/mod.rs", "use crate::store::Store;"),
    ] {
        assert_eq!(faults(file, line).len(), 1, "{file}: {line}");
    }
    for (file, line) in [
        ("engine/timer.rs", "use crate::store::{Store, devices};"),
        ("api/devices.rs", "use super::body::Body;"),
        ("store/devices.rs", "    sqlx::query!(\"SELECT 1\").execute(db).await"),
        ("main.rs", "use lifeguard::cli::Cli;"),
    ] {
        assert_eq!(faults(file, line), Vec::<String>::new(), "{file}: {line}");
    }
    assert!(
        is_tests(Path::new("machine/guard/tests.rs")) && is_tests(Path::new("machine/board_tests/mod.rs"))
    );
    assert!(!is_tests(Path::new("api/contests.rs")));
    let text = "use a;\n// use b;\n#[cfg(test)]\nmod tests;\nuse c;\n#[cfg(test)]\nmod tests {\nuse d;\n";
    assert_eq!(code(text).collect::<Vec<_>>(), [(1, "use a;"), (4, "mod tests;"), (5, "use c;")]);
}

/// What is wrong with a line of the file `below` `src`.
fn faults(below: &Path, line: &str) -> impl Iterator<Item = String> {
    let room = room(below);
    let allowed = ARROWS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed);
    let mut faults = Vec::new();
    let Some(allowed) = allowed else {
        if !["lib", "main"].contains(&room.as_str()) {
            faults.push(format!("{room} is a room that no arrow knows"));
        }
        return faults.into_iter();
    };
    for after in from_the_root(below, line) {
        let used: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // Its name of before, by which most still call it.
        let used = if used == "action" { "actions".to_owned() } else { used };
        if used.is_empty() {
            faults.push(format!("name each room by itself, not as `{}`", line.trim()));
        } else if used != room && !allowed.contains(&used.as_str()) {
            faults.push(format!("{room} uses {used}"));
        }
    }
    for (outside, rooms) in CRATES {
        let is_used = line.match_indices(outside).any(|(at, _)| is_path_begin(&line[..at]));
        if is_used && !rooms.contains(&room.as_str()) {
            faults.push(format!("{room} uses {outside}"));
        }
    }
    if room == "machine" {
        let impure = IMPURE.iter().filter(|impure| line.contains(**impure));
        faults.extend(impure.map(|impure| format!("the kernel is pure, and this is {impure}")));
    }
    faults.into_iter()
}

/// What follows where a line's paths are at the crate's root: by `crate::`, or by as many `super::` as it takes.
fn from_the_root<'a>(below: &Path, line: &'a str) -> impl Iterator<Item = &'a str> {
    let folders = below.components().count() - 1;
    let depth = if below.file_name().is_some_and(|name| name == "mod.rs") { folders } else { folders + 1 };
    let up = "super::".repeat(depth);
    let ends = |way: &str| {
        let begins = line.match_indices(way).filter(|(at, _)| is_path_begin(&line[..*at]));
        begins.map(|(at, found)| at + found.len()).collect::<Vec<_>>()
    };
    let mut all = ends("crate::");
    all.extend(ends(&up));
    all.into_iter().map(|at| &line[at..])
}

/// Whether a path may begin behind `before`, rather than go on.
fn is_path_begin(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The folder or file directly below `src`.
fn room(below: &Path) -> String {
    Path::new(below.components().next().unwrap().as_os_str()).with_extension("").display().to_string()
}

/// Whether a file holds nothing but tests: `tests.rs`, or what is in a folder named `board_tests`.
fn is_tests(below: &Path) -> bool {
    below.iter().any(|part| {
        let name = Path::new(part).with_extension("").display().to_string();
        name == "tests" || name.ends_with("_tests")
    })
}

/// The lines of a file with their numbers, without comments and without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut lines = text.lines().enumerate().peekable();
    std::iter::from_fn(move || {
        loop {
            let (index, line) = lines.next()?;
            let is_test = line.trim() == "#[cfg(test)]";
            if is_test && lines.peek().is_some_and(|(_, next)| next.trim_end().ends_with('{')) {
                return None;
            }
            if !is_test && !line.trim_start().starts_with("//") {
                return Some((index + 1, line));
            }
        }
    })
}
