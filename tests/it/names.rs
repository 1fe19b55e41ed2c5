//! One type name means one thing: no name is given to two types of the workspace.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fs_err as fs;

use crate::layers::{code, root, sources};

/// Type names that occur more than once, each with the reason.
const REPEATED: &[(&str, &str)] = &[];

/// Fewer types than these were not read at all: there are about twice as many.
const MIN_TYPES: usize = 700;

#[test]
fn no_type_name_occurs_twice() {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources(&root().join("src")).into_iter().chain(crate_sources()) {
        let below = file.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in code(&text) {
            if let Some(name) = type_name(line) {
                declared.entry(name.to_owned()).or_default().push(format!("{below}:{number}"));
            }
        }
    }
    assert!(declared.len() >= MIN_TYPES, "only {} types were read", declared.len());
    let is_excepted = |name: &str| REPEATED.iter().any(|(repeated, _)| *repeated == name);
    let twice = declared.iter().filter(|(name, at)| at.len() > 1 && !is_excepted(name));
    let twice: Vec<String> = twice.map(|(name, at)| format!("{name}: {}", at.join(", "))).collect();
    assert!(twice.is_empty(), "these names are given to several types:\n{}", twice.join("\n"));
    let needless = REPEATED.iter().filter(|(name, _)| declared.get(*name).is_none_or(|at| at.len() == 1));
    assert_eq!(needless.count(), 0, "an exception is not needed");
}

#[test]
fn types_are_found_however_they_are_declared() {
    for (line, name) in [
        ("struct Claim;", Some("Claim")),
        ("    pub(super) struct Claim<'a> {", Some("Claim")),
        ("pub(in crate::api) enum Claim {", Some("Claim")),
        ("pub trait Claim: Send {", Some("Claim")),
        ("pub unsafe trait Claim {", Some("Claim")),
        ("union Claim {", Some("Claim")),
        ("pub type Claim = Vec<u8>;", Some("Claim")),
        ("    type Error = ApiError;", None),
        ("        pub struct $name(Arc<str>);", None),
        ("    let structure = Claim;", None),
        ("struct_name: Claim,", None),
    ] {
        assert_eq!(type_name(line), name, "{line}");
    }
}

/// The files with code of all crates.
pub(crate) fn crate_sources() -> Vec<PathBuf> {
    let folders = fs::read_dir(root().join("crates")).unwrap();
    folders.flat_map(|folder| sources(&folder.unwrap().path().join("src"))).collect()
}

/// The type that a line declares; not an associated type, whose name its trait decides.
pub(crate) fn type_name(line: &str) -> Option<&str> {
    let declared = line.trim_start();
    let declared = match declared.strip_prefix("pub") {
        Some(rest) => {
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest)
        }
        None => declared,
    };
    let declared = declared.trim_start();
    let (keyword, rest) = declared.strip_prefix("unsafe ").unwrap_or(declared).split_once(' ')?;
    let is_type = match keyword {
        "struct" | "enum" | "trait" | "union" => true,
        "type" => !line.starts_with(' '),
        _ => false,
    };
    let name = rest.trim_start();
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    (is_type && name.starts_with(|first: char| first.is_ascii_uppercase())).then(|| &name[..end])
}
