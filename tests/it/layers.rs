//! The house's arrows: who may use whom.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("machine", &[]),
    ("action", &["clock", "machine"]),
    ("worker", &["action", "clock", "machine"]),
    ("store", &["machine"]),
    ("engine", &["action", "clock", "machine", "store", "worker"]),
    ("api", &["action", "engine", "machine", "store"]),
    ("dashboard", &["api", "machine", "store"]),
    ("tftp", &["clock"]),
    ("farm", &["action", "clock", "tftp"]),
    ("cli", &["action", "api", "clock", "dashboard", "engine", "farm", "machine", "store", "tftp", "worker"]),
];

/// What only these rooms may use from outside.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx::", &["store", "cli"]),
    ("axum::", &["api", "dashboard", "cli"]),
    ("tokio_modbus::", &["action", "farm"]),
    ("cel::", &["machine"]),
];

/// What the kernel must not know: it is pure.
const IMPURE: &[&str] = &["tokio::", "std::fs", "std::net", "Utc::now", "Instant::now", "async fn"];

#[test]
fn every_use_follows_an_arrow_of_the_house() {
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in sources() {
        let room = room(&file);
        let Some(allowed) = allowed.get(room.as_str()) else {
            assert!(["lib", "main"].contains(&room.as_str()), "{room} is a room that no arrow knows");
            continue;
        };
        for (number, line) in code(&file) {
            for (_, after) in line.match_indices("crate::").map(|(at, found)| (at, &line[at + found.len()..]))
            {
                let used: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if used != room && !used.is_empty() && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{}:{number}: {room} uses {used}", file.display()));
                }
            }
            for (outside, rooms) in CRATES {
                let is_used = line.find(outside).is_some_and(|at| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                if is_used && !rooms.contains(&room.as_str()) {
                    wrong.push(format!("{}:{number}: {room} uses {outside}", file.display()));
                }
            }
            if room == "machine" {
                for impure in IMPURE.iter().filter(|impure| line.contains(**impure)) {
                    wrong.push(format!(
                        "{}:{number}: the kernel is pure, and this is {impure}",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the house does not have:\n{}", wrong.join("\n"));
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
fn room(file: &Path) -> String {
    let below = file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    Path::new(below.components().next().unwrap().as_os_str()).with_extension("").display().to_string()
}

/// The lines of a file with their numbers, without comments and without the tests at its end.
fn code(file: &Path) -> Vec<(usize, String)> {
    let is_tests = file.components().any(|part| part.as_os_str().to_string_lossy().contains("tests"));
    let text = if is_tests { String::new() } else { fs_err::read_to_string(file).unwrap() };
    let lines = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    lines
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(n, line)| (n + 1, line.to_owned()))
        .collect()
}
