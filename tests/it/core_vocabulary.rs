//! The core does not know boards: it does not mention what only boards have, not even in comments.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;

use crate::layers::{files, root};

/// The vocabulary of boards.
const BOARD_WORDS: [&str; 8] = ["mac", "pxe", "tftp", "image", "boot_config", "power", "device", "board"];

/// The core: the kernel, the engine and its SQL.
const CORE_FOLDERS: [&str; 3] = ["crates/machine/src", "src/engine", "src/store"];

/// The module that exists only for tests, in any crate.
const TESTING: &str = "testing";

/// Where one of the words is allowed: the file, the word, and the reason.
const ALLOWED: &[(&str, &str, &str)] = &[(
    "crates/machine/src/stimulus.rs",
    "device",
    "facts are called so in history that earlier releases wrote",
)];

/// The smallest plausible number of lines: the core has about twice as many.
const MIN_LINES: usize = 10_000;

#[test]
fn the_core_does_not_mention_boards() {
    let (mut lines, mut wrong, mut met) = (0, Vec::new(), BTreeSet::new());
    for file in CORE_FOLDERS.iter().flat_map(|folder| files(&root().join(folder))) {
        let below = file.strip_prefix(root()).unwrap();
        if is_for_testing(below) {
            continue;
        }
        for (index, line) in without_tests(&fs::read_to_string(&file).unwrap()).enumerate() {
            lines += 1;
            for word in words(line) {
                let allowed = ALLOWED.iter().find(|(file, allowed, _)| below == *file && word == *allowed);
                if allowed.is_none_or(|allowed| !met.insert(allowed)) {
                    wrong.push(format!("{}:{}: {word}: {}", below.display(), index + 1, line.trim()));
                }
            }
        }
    }
    assert!(lines >= MIN_LINES, "only {lines} lines were read");
    assert!(wrong.is_empty(), "words of boards in the core:\n{}", wrong.join("\n"));
    let needless: Vec<_> = ALLOWED.iter().filter(|allowed| !met.contains(allowed)).collect();
    assert!(needless.is_empty(), "these are not there any more, so they need no leave: {needless:?}");
}

#[test]
fn words_are_found_in_any_spelling_but_only_as_whole_words() {
    let found = |line: &str| words(line).collect::<Vec<_>>();
    assert_eq!(
        found("// The Board's POWER, `device.images`, and its boot_config."),
        ["board", "power", "device", "boot_config"]
    );
    assert_eq!(
        found("fn power_url(devices: &Devices) -> Dashboard; // machines, boards"),
        Vec::<String>::new()
    );
    assert!(is_for_testing(Path::new("a/testing.rs")) && is_for_testing(Path::new("a/testing/b.rs")));
    assert!(!is_for_testing(Path::new("a/contesting.rs")));
    let text = "// board\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(without_tests(text).count(), 4);
}

/// Returns the words of boards in a line.
fn words(line: &str) -> impl Iterator<Item = String> {
    let words = line.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_lowercase);
    words.filter(|word| BOARD_WORDS.contains(&word.as_str()))
}

fn is_for_testing(below: &Path) -> bool {
    below.iter().any(|part| Path::new(part).with_extension("").as_os_str() == TESTING)
}

/// Returns the lines of a file without the tests at its end.
fn without_tests(text: &str) -> impl Iterator<Item = &str> {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests].lines()
}
