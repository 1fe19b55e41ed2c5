//! The boot tree: from a name that a client asked for to an open file below the root.
//!
//! Nothing outside the root is ever opened. Links within the tree are followed, because that is what
//! `pxelinux.cfg/01-<mac>` is; links that lead out of it are refused, whoever made them. The kernel does the work:
//! `openat2` with `RESOLVE_BENEATH` checks while it walks, so there is no moment between check and open.
//!
//! An absolute link that ends within the root is followed too: its target is written anew relative to the root and
//! opened by the same rule.
//!
//! **Without `openat2`** (Linux before 5.6, or a container whose seccomp filter does not know it) the path is
//! canonicalised, compared with the root and opened without following a last link. Somebody who may write in the boot
//! tree could exchange a directory for a link between the two steps; nobody else gains anything by it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

use super::observer::Refusal;

/// How often a walk is repeated that a rename elsewhere disturbed.
///
/// Any rename on the machine while `..` in a link is being followed can disturb it, and boot configs are set by rename.
/// Source: openat2(2), "EAGAIN".
const DISTURBED_RETRIES: u32 = 64;

/// A file of the tree, open for reading.
#[derive(Debug)]
pub(super) struct Opened {
    /// The file.
    pub file: File,
    /// Its length when it was opened.
    pub length: u64,
}

/// Says why a name gave no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// There is none.
    #[error("no such file")]
    NotFound,
    /// There is something, but it is not served.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// The machine failed.
    #[error("cannot open the file")]
    Io(#[source] io::Error),
}

/// The tree below one directory.
///
/// The directory is looked up for each file, so that it may be replaced while the server runs.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Takes `root` for the tree's root.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] when it is no directory that can be read.
    pub(super) fn new(root: PathBuf) -> io::Result<Self> {
        fs_err::read_dir(&root)?;
        Ok(Self { root })
    }

    /// Opens the regular file that `name` stands for. Blocks.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was changed.
    pub(super) fn open(&self, name: &str) -> Result<Opened, OpenError> {
        let name = named(name);
        match self.open_beneath(name) {
            // Seccomp filters answer ENOSYS or EPERM; the kernel itself has no EPERM for reading a file.
            Err(Errno::ENOSYS | Errno::EPERM) => self.open_compared(name).map_err(refine),
            Err(Errno::EXDEV) if !climbs(name) => {
                let relative = self.relative(name).map_err(refine)?;
                self.open_beneath(&relative).map_err(|errno| refine(errno.into()))
            }
            other => other.map_err(|errno| refine(errno.into())),
        }
        .and_then(regular)
    }

    fn open_beneath(&self, name: &Path) -> Result<OwnedFd, Errno> {
        let root = open(&self.root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new()
            .flags(reading())
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut result = openat2(&root, name, how);
        for _ in 0..DISTURBED_RETRIES {
            if !matches!(result, Err(Errno::EAGAIN)) {
                break;
            }
            result = openat2(&root, name, how);
        }
        result
    }

    fn open_compared(&self, name: &Path) -> io::Result<OwnedFd> {
        if climbs(name) {
            return Err(Errno::EXDEV.into());
        }
        let path = self.root.join(self.relative(name)?);
        Ok(open(&path, reading() | OFlag::O_NOFOLLOW, Mode::empty())?)
    }

    /// Where `name` ends when all links are followed, relative to the root.
    fn relative(&self, name: &Path) -> io::Result<PathBuf> {
        let root = fs_err::canonicalize(&self.root)?;
        let path = fs_err::canonicalize(root.join(name))?;
        path.strip_prefix(&root).map(Path::to_owned).map_err(|_| Errno::EXDEV.into())
    }
}

/// How files are opened: without waiting for a pipe's writer, and taking no terminal.
fn reading() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

/// The path that a client's `name` stands for: below the root, and the root itself where it names nothing.
fn named(name: &str) -> &Path {
    let name = name.trim_start_matches('/');
    Path::new(if name.is_empty() { "." } else { name })
}

fn climbs(name: &Path) -> bool {
    name.components().any(|component| component == Component::ParentDir)
}

/// Sorts errors by what the client is told.
fn refine(error: io::Error) -> OpenError {
    let errno = error.raw_os_error().map(Errno::from_raw);
    // `fs_err` keeps the kind of an error but not always its number.
    let kind = error.kind();
    if matches!(errno, Some(Errno::EXDEV | Errno::ELOOP)) {
        OpenError::Refused(Refusal::Outside)
    } else if matches!(errno, Some(Errno::ENXIO | Errno::ENODEV)) || kind == io::ErrorKind::IsADirectory {
        OpenError::Refused(Refusal::NotAFile)
    } else if kind == io::ErrorKind::PermissionDenied {
        OpenError::Refused(Refusal::Unreadable)
    } else if matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    ) {
        OpenError::NotFound
    } else {
        OpenError::Io(error)
    }
}

fn regular(fd: OwnedFd) -> Result<Opened, OpenError> {
    let file = File::from(fd);
    let found = file.metadata().map_err(OpenError::Io)?;
    if found.is_file() {
        Ok(Opened { file, length: found.len() })
    } else {
        Err(OpenError::Refused(Refusal::NotAFile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    /// A directory with `outside/secret` and a tree with files and links of all kinds in `root`.
    fn grounds() -> tempfile::TempDir {
        let grounds = tempfile::tempdir().unwrap();
        let at = |path: &str| grounds.path().join(path);
        for directory in ["outside", "root/configs", "root/pxelinux.cfg", "root-beside"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        fs::write(at("outside/secret"), "secret").unwrap();
        fs::write(at("root-beside/secret"), "secret").unwrap();
        fs::write(at("root/configs/x"), "config").unwrap();
        for (target, link) in [
            ("../configs/x", "root/pxelinux.cfg/01-02"),
            ("../outside/secret", "root/out"),
            ("../outside", "root/outdir"),
            ("../root-beside/secret", "root/beside"),
            ("loop", "root/loop"),
            ("nowhere", "root/dangling"),
            ("/proc/self/root/etc/passwd", "root/magic"),
            ("/etc/passwd", "root/absolute-out"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        symlink(at("root/configs/x"), at("root/absolute-in")).unwrap();
        symlink(at("outside/secret"), at("root/absolute-aside")).unwrap();
        nix::unistd::mkfifo(&at("root/pipe"), Mode::S_IRWXU).unwrap();
        grounds
    }

    /// What a name gives: content, or the word that stands for the error.
    fn told(opened: Result<Opened, OpenError>) -> String {
        match opened {
            Ok(mut opened) => {
                let mut content = String::new();
                opened.file.read_to_string(&mut content).unwrap();
                assert_eq!(content.len() as u64, opened.length);
                content
            }
            Err(OpenError::NotFound) => "not found".to_owned(),
            Err(OpenError::Refused(refusal)) => refusal.to_string(),
            Err(OpenError::Io(error)) => panic!("{error}"),
        }
    }

    const NAMES: [(&str, &str); 25] = [
        ("configs/x", "config"),
        ("/configs/x", "config"),
        ("///configs//x", "config"),
        ("configs/./x", "config"),
        ("pxelinux.cfg/01-02", "config"),
        ("absolute-in", "config"),
        ("", "not a regular file"),
        ("/", "not a regular file"),
        ("configs", "not a regular file"),
        (".", "not a regular file"),
        ("pipe", "not a regular file"),
        ("nowhere", "not found"),
        ("dangling", "not found"),
        ("configs/x/y", "not found"),
        ("configs\\x", "not found"),
        ("%2e%2e%2foutside%2fsecret", "not found"),
        ("//etc/passwd", "not found"),
        ("../outside/secret", "outside the boot tree"),
        ("configs/../../outside/secret", "outside the boot tree"),
        ("out", "outside the boot tree"),
        ("outdir/secret", "outside the boot tree"),
        ("beside", "outside the boot tree"),
        ("absolute-out", "outside the boot tree"),
        ("absolute-aside", "outside the boot tree"),
        ("magic", "outside the boot tree"),
    ];

    #[test]
    fn names_give_files_below_the_root_and_nothing_else() {
        let grounds = grounds();
        let tree = Tree::new(grounds.path().join("root")).unwrap();
        for (name, expected) in NAMES {
            assert_eq!(told(tree.open(name)), expected, "{name}");
        }
        assert_eq!(told(tree.open("loop")), "outside the boot tree");
        assert_eq!(told(tree.open("../root/configs/x")), "outside the boot tree");
        assert_eq!(told(tree.open("configs/../configs/x")), "config");
        assert_eq!(told(tree.open(&"a".repeat(300))), "not found");
    }

    #[test]
    fn names_give_the_same_without_openat2() {
        let grounds = grounds();
        let tree = Tree::new(grounds.path().join("root")).unwrap();
        for (name, expected) in NAMES {
            let opened = tree.open_compared(named(name)).map_err(refine).and_then(regular);
            assert_eq!(told(opened), expected, "{name}");
        }
    }

    #[test]
    fn the_root_may_be_a_link_and_may_be_replaced() {
        let grounds = grounds();
        let root = grounds.path().join("current");
        symlink("root", &root).unwrap();
        let tree = Tree::new(root.clone()).unwrap();
        assert_eq!(told(tree.open("absolute-in")), "config");
        fs::remove_file(&root).unwrap();
        symlink("outside", &root).unwrap();
        assert_eq!(told(tree.open("secret")), "secret");
        assert_eq!(told(tree.open("configs/x")), "not found");
    }

    #[test]
    fn links_are_followed_while_everything_around_is_renamed() {
        let grounds = grounds();
        let tree = Tree::new(grounds.path().join("root")).unwrap();
        let (old, new) = (grounds.path().join("outside/secret"), grounds.path().join("outside/moved"));
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::rename(&old, &new).unwrap();
                    fs::rename(&new, &old).unwrap();
                }
            });
            let failed = (0..5_000).filter(|_| tree.open("pxelinux.cfg/01-02").is_err()).count();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(failed, 0);
        });
    }

    #[test]
    fn a_root_that_is_no_directory_is_an_error() {
        let grounds = grounds();
        assert!(Tree::new(grounds.path().join("nowhere")).is_err());
        assert!(Tree::new(grounds.path().join("outside/secret")).is_err());
    }
}
