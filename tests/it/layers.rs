//! Tests of the layers: which crate and module may use which. Between crates the compiler enforces the manifests, so
//! the manifests are checked; in the product's own `src`, the lines are checked.

use std::path::{Path, PathBuf};

/// Each library crate, and the crates that it may use.
const CRATES: &[(&str, &[&str])] = &[
    ("activation", &["formatting", "machine"]),
    // The benchmark uses the product.
    ("bench", &["clock", "directories", "lifeguard", "machine", "private-postgres", "statistics"]),
    ("boot-tree", &[]),
    ("clock", &[]),
    ("device-io", &["clock", "formatting"]),
    ("diagram", &["formatting", "machine"]),
    ("directories", &[]),
    ("explain", &["formatting", "machine"]),
    ("farm", &["clock", "random", "tftp"]),
    ("formatting", &[]),
    ("import", &["machine"]),
    ("machine", &["formatting", "random"]),
    ("power", &["clock", "device-io", "formatting", "machine"]),
    ("private-postgres", &["directories", "formatting"]),
    ("random", &[]),
    ("schedule", &[]),
    ("simulate", &["machine", "random", "schedule", "statistics"]),
    ("statistics", &[]),
    ("tftp", &["boot-tree", "formatting"]),
];

/// Each layer of the product, and the layers and crates that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("csp", &[]),
    ("model", &["clock", "formatting"]),
    ("actions", &["boot_tree", "clock", "device_io", "formatting", "machine", "power"]),
    ("worker", &["actions", "clock", "formatting", "machine"]),
    ("store", &["activation", "formatting", "machine"]),
    (
        "engine",
        &[
            "actions",
            "activation",
            "clock",
            "diagram",
            "explain",
            "formatting",
            "machine",
            "model",
            "store",
            "worker",
        ],
    ),
    ("boards", &["actions", "boot_tree", "engine", "formatting", "machine", "outlets", "store"]),
    ("outlets", &["actions", "engine", "machine", "store"]),
    (
        "api",
        &[
            "actions",
            "activation",
            "boards",
            "clock",
            "csp",
            "diagram",
            "engine",
            "explain",
            "formatting",
            "machine",
            "model",
            "outlets",
            "store",
        ],
    ),
    ("dashboard", &["boards", "csp", "diagram", "engine", "explain", "formatting", "machine", "store"]),
    (
        "cli",
        &[
            "actions",
            "api",
            "boards",
            "boot_tree",
            "clock",
            "dashboard",
            "device_io",
            "diagram",
            "directories",
            "engine",
            "farm",
            "formatting",
            "import",
            "machine",
            "model",
            "outlets",
            "simulate",
            "store",
            "tftp",
            "worker",
        ],
    ),
];

/// External crates that only these layers, or directories in them, may use.
const ALLOWED_EXTERNAL: &[(&str, &[&str])] = &[
    ("sqlx::", &["store", "boards/store"]),
    ("askama::", &["dashboard"]),
    ("axum::", &["api", "dashboard"]),
    ("headers::", &["api"]),
    ("hyper::", &["api"]),
    ("hyper_util::", &["api"]),
    ("tower::", &["api"]),
    ("ort::", &["model"]),
    ("prometheus_client::", &["model", "api"]),
];

/// External crates of the kernel, and parts of the standard library that it must not use: it is pure.
const KERNEL_ALLOWED: &[&str] = &[
    "cel",
    "chrono",
    "formatting",
    "humantime",
    "proptest",
    "random",
    "serde",
    "serde-saphyr",
    "serde_json",
    "strsim",
    "thiserror",
];
const IMPURE: &[&str] = &["tokio::", "std::fs", "std::net", "Utc::now", "Instant::now", "async fn"];

/// The smallest plausible number of files: there are about twice as many.
const MIN_FILES: usize = 50;
const MIN_USES: usize = 60;
const MIN_KERNEL_FILES: usize = 30;

#[test]
fn every_import_follows_the_layers() {
    let (mut files, mut uses, mut wrong) = (0, 0, Vec::new());
    let root = root().join("src");
    for file in sources(&root) {
        let below = file.strip_prefix(&root).unwrap();
        files += 1;
        for (number, line) in code(&fs_err::read_to_string(&file).unwrap()) {
            uses += line.matches("crate::").count();
            wrong.extend(faults(below, line).map(|fault| format!("{}:{number}: {fault}", below.display())));
        }
    }
    assert!(files >= MIN_FILES && uses >= MIN_USES, "only {files} files with {uses} uses were read");
    assert!(wrong.is_empty(), "arrows that the house does not have:\n{}", wrong.join("\n"));
}

#[test]
fn every_crate_depends_only_on_allowed_crates() {
    let mut found = Vec::new();
    for folder in fs_err::read_dir(root().join("crates")).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().to_str().unwrap().to_owned();
        let manifest = fs_err::read_to_string(folder.path().join("Cargo.toml")).unwrap();
        let Some((_, allowed)) = CRATES.iter().find(|(known, _)| *known == name) else {
            panic!("{name} is a crate that no arrow knows");
        };
        let used = dependencies(&manifest);
        let is_ours = |used: &str| used == "lifeguard" || CRATES.iter().any(|(known, _)| *known == used);
        let ours = used.iter().copied().filter(|used| is_ours(used));
        let wrong: Vec<&str> = ours.filter(|used| !allowed.contains(used)).collect();
        assert!(wrong.is_empty(), "{name} uses {wrong:?}");
        if name == "machine" {
            assert_eq!(used, KERNEL_ALLOWED, "what the kernel uses is to be pure; name it here if it is");
        }
        found.push(name);
    }
    assert_eq!(found.len(), CRATES.len(), "{found:?}");
}

#[test]
fn the_kernel_is_pure() {
    let (mut files, mut wrong) = (0, Vec::new());
    for file in sources(&root().join("crates/machine/src")) {
        files += 1;
        for (number, line) in code(&fs_err::read_to_string(&file).unwrap()) {
            wrong.extend(impure(line).map(|impure| format!("{}:{number}: {impure}", file.display())));
        }
    }
    assert!(files >= MIN_KERNEL_FILES, "only {files} files were read");
    assert!(wrong.is_empty(), "the kernel is pure, and this is not:\n{}", wrong.join("\n"));
    assert_eq!(impure("    let text = std::fs::read_to_string(path);").count(), 1);
}

#[test]
fn a_forbidden_import_is_found_in_any_spelling() {
    let faults = |file: &str, line: &str| faults(Path::new(file), line).collect::<Vec<_>>();
    for (file, line) in [
        ("store/decide.rs", "use crate::engine::Engine;"),
        ("store/decide.rs", "    let at = crate::clock::after(at, span);"),
        ("api/mod.rs", "use super::tftp::Server;"),
        ("api/devices.rs", "use super::super::tftp::Server;"),
        ("engine/timer.rs", "pub(crate) use crate::{store, api};"),
        ("engine/timer.rs", "use crate::{"),
        ("engine/timer.rs", "use crate::boards::Device;"),
        ("boards/devices.rs", "    sqlx::query(text).execute(db).await"),
        ("engine/timer.rs", "use crate::*;"),
        ("engine/timer.rs", "    sqlx::query(text).execute(db).await"),
        ("attic/mod.rs", "use crate::store::Store;"),
    ] {
        assert_eq!(faults(file, line).len(), 1, "{file}: {line}");
    }
    for (file, line) in [
        ("engine/timer.rs", "use crate::store::{Store, instances};"),
        ("api/devices.rs", "use super::body::Body;"),
        ("store/instances.rs", "    sqlx::query!(\"SELECT 1\").execute(db).await"),
        ("boards/store/devices.rs", "    sqlx::query!(\"SELECT 1\").execute(db).await"),
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

/// Returns the violations in a line of the file `below` `src`.
fn faults(below: &Path, line: &str) -> impl Iterator<Item = String> {
    let room = layer_of(below);
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
        if used.is_empty() {
            faults.push(format!("name each room by itself, not as `{}`", line.trim()));
        } else if used != room && !allowed.contains(&used.as_str()) {
            faults.push(format!("{room} uses {used}"));
        }
    }
    for (outside, rooms) in ALLOWED_EXTERNAL {
        let is_used = line.match_indices(outside).any(|(at, _)| is_path_begin(&line[..at]));
        let is_allowed = rooms.iter().any(|allowed| *allowed == room || below.starts_with(allowed));
        if is_used && !is_allowed {
            faults.push(format!("{room} uses {outside}"));
        }
    }
    faults.into_iter()
}

/// Returns the rest of each path at the crate's root: after `crate::`, or after enough `super::`.
fn from_the_root<'a>(below: &Path, line: &'a str) -> impl Iterator<Item = &'a str> {
    let folders = below.components().count() - 1;
    let depth = if below.file_name().is_some_and(|name| name == "mod.rs") { folders } else { folders + 1 };
    let up = "super::".repeat(depth);
    let ends = |separator: &str| {
        let begins = line.match_indices(separator).filter(|(at, _)| is_path_begin(&line[..*at]));
        begins.map(|(at, found)| at + found.len()).collect::<Vec<_>>()
    };
    let mut all = ends("crate::");
    all.extend(ends(&up));
    all.into_iter().map(|at| &line[at..])
}

/// Whether a path may begin after `before`, rather than continue.
pub(crate) fn is_path_begin(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
}

/// Returns what a pure function must not use.
fn impure(line: &str) -> impl Iterator<Item = &'static str> {
    IMPURE.iter().copied().filter(|impure| line.contains(impure))
}

/// Returns the names under `[dependencies]` of a manifest, which its crate may use outside tests.
fn dependencies(manifest: &str) -> Vec<&str> {
    let section =
        manifest.split("\n[").find_map(|section| section.strip_prefix("dependencies]\n")).unwrap_or("");
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .collect()
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the code files in `folder`, without files that contain only tests.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = files(folder);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files
}

/// Returns the files in `folder`, without files that contain only tests.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !is_tests(path.strip_prefix(root()).unwrap()) {
                files.push(path);
            }
        }
    }
    files
}

/// Returns the directory or file directly below `src`.
fn layer_of(below: &Path) -> String {
    Path::new(below.components().next().unwrap().as_os_str()).with_extension("").display().to_string()
}

/// Whether a file contains only tests: `tests.rs`, or in a directory named `board_tests`.
fn is_tests(below: &Path) -> bool {
    below.iter().any(|part| {
        let name = Path::new(part).with_extension("").display().to_string();
        name == "tests" || name.ends_with("_tests")
    })
}

/// Returns the numbered lines of a file, without comments and without the tests at its end.
pub(crate) fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
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
