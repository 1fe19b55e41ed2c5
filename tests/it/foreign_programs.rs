//! External programs used by tests.

use std::io::Write;
use std::path::PathBuf;

/// Finds the program `name` of Debian's package `package`.
///
/// `None`, with a note, if it is missing: the test is then skipped. With `LIFEGUARD_TEST_FOREIGN=1`, as in CI, a
/// missing program fails the test.
pub(crate) fn tool(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find(std::env::split_paths(&path), name, package)
}

/// Finds the library `name` in the same way.
pub(crate) fn library(name: &str, package: &str) -> Option<PathBuf> {
    let machine = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    find([machine.into(), "/usr/lib64".into(), "/usr/lib".into()].into_iter(), name, package)
}

/// Finds the file `path` in the same way.
pub(crate) fn file(path: &str, package: &str) -> Option<PathBuf> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    find(std::iter::once(directory.into()), name, package)
}

/// Finds the directory named by the environment variable `variable`, which must contain `content`, in the same way.
pub(crate) fn folder(variable: &str, content: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        let is_required = std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_some_and(|value| value == "1");
        assert!(!is_required, "LIFEGUARD_TEST_FOREIGN=1 needs {variable}: {content}");
        writeln!(std::io::stderr(), "skipped: {variable} does not name {content}").ok();
    }
    found
}

fn find(mut directories: impl Iterator<Item = PathBuf>, name: &str, package: &str) -> Option<PathBuf> {
    let found = directories.find_map(|directory| Some(directory.join(name)).filter(|file| file.is_file()));
    if found.is_none() {
        let is_required = std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_some_and(|value| value == "1");
        assert!(!is_required, "`{name}` is missing: apt-get install {package}");
        // Bypasses the capture of test output, so that a skipped test is visible.
        writeln!(std::io::stderr(), "skipped: `{name}` is missing (apt-get install {package})").ok();
    }
    found
}
