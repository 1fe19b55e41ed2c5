//! Tests of name resolution, links and default files, in trees with traps.

use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use nix::sys::stat::Mode;

use super::*;

/// A directory with `outside/secret` and a tree with files and links of all kinds in `root`.
fn test_dir() -> tempfile::TempDir {
    let test_dir = tempfile::tempdir().unwrap();
    let at = |path: &str| test_dir.path().join(path);
    for directory in ["outside", "root/configs", "root/pxelinux.cfg", "root/deep/er", "root-beside"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    fs::write(at("outside/secret"), "secret").unwrap();
    fs::write(at("root-beside/secret"), "secret").unwrap();
    fs::write(at("root/configs/x"), "config").unwrap();
    fs::write(at("root/deep/er/y"), "deep").unwrap();
    for (target, link) in [
        ("../configs/x", "root/pxelinux.cfg/01-02"),
        ("deep/er", "root/shallow"),
        ("../../configs/x", "root/deep/er/up"),
        ("../outside/secret", "root/out"),
        ("../outside", "root/outdir"),
        ("../root-beside/secret", "root/beside"),
        ("../root/configs/x", "root/out-and-in"),
        ("loop", "root/loop"),
        ("nowhere", "root/dangling"),
        ("/proc/self/root/etc/passwd", "root/magic"),
        ("/etc/passwd", "root/absolute-out"),
    ] {
        symlink(target, at(link)).unwrap();
    }
    symlink(at("root/configs/x"), at("root/absolute-in")).unwrap();
    symlink(at("root/nowhere"), at("root/absolute-dangling")).unwrap();
    symlink(at("outside/secret"), at("root/absolute-aside")).unwrap();
    nix::unistd::mkfifo(&at("root/pipe"), Mode::S_IRWXU).unwrap();
    test_dir
}

fn tree(test_dir: &tempfile::TempDir) -> BootTree {
    BootTree::new(test_dir.path().join("root"))
}

/// Opens a name; returns its content, or the error's text.
fn content_or_error(tree: &BootTree, name: impl AsRef<[u8]>) -> String {
    match tree.open(name.as_ref()) {
        Ok(mut opened) => {
            let mut content = String::new();
            opened.file.read_to_string(&mut content).unwrap();
            assert_eq!(content.len() as u64, opened.length);
            content
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn names_resolve_only_to_files_below_the_root() {
    let test_dir = test_dir();
    let tree = tree(&test_dir);
    for (name, expected) in [
        ("configs/x", "config"),
        ("/configs/x", "config"),
        ("///configs//x", "config"),
        ("configs/./x", "config"),
        ("configs/../configs/x", "config"),
        ("pxelinux.cfg/01-02", "config"),
        ("shallow/y", "deep"),
        ("shallow/up", "config"),
        ("shallow/../er/y", "deep"),
        ("absolute-in", "config"),
        ("", "not a regular file"),
        ("/", "not a regular file"),
        ("configs", "not a regular file"),
        ("configs/", "not a regular file"),
        (".", "not a regular file"),
        ("pipe", "not a regular file"),
        ("nowhere", "no such file"),
        ("dangling", "no such file"),
        ("absolute-dangling", "no such file"),
        ("configs/x/", "no such file"),
        ("configs/x/y", "no such file"),
        ("configs/x/../x", "no such file"),
        ("configs\\x", "no such file"),
        ("%2e%2e%2foutside%2fsecret", "no such file"),
        ("//etc/passwd", "no such file"),
        ("..", "outside the boot tree"),
        ("../outside/secret", "outside the boot tree"),
        ("../root/configs/x", "outside the boot tree"),
        ("configs/../../outside/secret", "outside the boot tree"),
        ("shallow/../../../outside/secret", "outside the boot tree"),
        ("out", "outside the boot tree"),
        ("out-and-in", "outside the boot tree"),
        ("outdir/secret", "outside the boot tree"),
        ("beside", "outside the boot tree"),
        ("absolute-out", "outside the boot tree"),
        ("absolute-aside", "outside the boot tree"),
        ("magic", "outside the boot tree"),
        ("loop", "too many symbolic links"),
        ("loop/x", "too many symbolic links"),
    ] {
        assert_eq!(content_or_error(&tree, name), expected, "{name}");
    }
    assert_eq!(content_or_error(&tree, "a".repeat(300)), "no such file");
    assert_eq!(content_or_error(&tree, b"\xff\xfe"), "no such file");
}

#[test]
fn a_directory_knows_its_relative_path_to_the_root() {
    let test_dir = test_dir();
    let tree = tree(&test_dir);
    for (name, path) in [("", ""), ("configs", "../"), ("deep/er", "../../"), ("shallow", "../../")] {
        assert_eq!(tree.folder(name).unwrap().to_root(), path, "{name}");
    }
    assert!(matches!(tree.folder("outdir"), Err(BootTreeError::OutsideTree)));
    assert!(matches!(tree.folder("configs/x"), Err(BootTreeError::NotAFolder)));
    assert!(matches!(tree.make_folder("configs/x"), Err(BootTreeError::NotAFolder)));
    assert!(matches!(tree.folder("configs/x/y"), Err(BootTreeError::NotFound)));
    assert!(matches!(tree.make_folder("dangling"), Err(BootTreeError::NotFound)));
    assert_eq!(tree.make_folder("new").unwrap().to_root(), "../");
}

#[test]
fn the_root_may_be_a_link_and_may_be_replaced_or_missing() {
    let test_dir = test_dir();
    let root = test_dir.path().join("current");
    symlink("root", &root).unwrap();
    let tree = BootTree::new(root.clone());
    assert_eq!(content_or_error(&tree, "absolute-in"), "config");
    fs::remove_file(&root).unwrap();
    assert!(matches!(tree.open(b"configs/x"), Err(BootTreeError::RootUnreadable(_))));
    symlink("outside", &root).unwrap();
    assert_eq!(content_or_error(&tree, "secret"), "secret");
    assert_eq!(content_or_error(&tree, "configs/x"), "no such file");
    assert!(matches!(
        BootTree::new(root.join("secret")).open(b"x"),
        Err(BootTreeError::RootUnreadable(error)) if error.kind() == io::ErrorKind::NotADirectory
    ));
}

/// Runs `work` while another thread changes the tree continuously.
fn while_disturbed(disturb: impl Fn() + Sync, work: impl FnOnce()) {
    let (stop, begin) = (AtomicBool::new(false), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            begin.wait();
            while !stop.load(Ordering::Relaxed) {
                disturb();
            }
        });
        begin.wait();
        work();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn links_are_followed_while_everything_around_is_renamed() {
    let test_dir = test_dir();
    let tree = tree(&test_dir);
    let (old, new) = (test_dir.path().join("outside/secret"), test_dir.path().join("outside/moved"));
    let disturb = || {
        fs::rename(&old, &new).unwrap();
        fs::rename(&new, &old).unwrap();
    };
    while_disturbed(disturb, || {
        let failed = (0..30_000).filter(|_| tree.open(b"pxelinux.cfg/01-02").is_err()).count();
        assert_eq!(failed, 0);
    });
}

#[test]
fn no_name_leaves_the_tree_while_directories_are_swapped_for_links_and_moved_out() {
    let test_dir = test_dir();
    let at = |path: &str| test_dir.path().join(path);
    fs::write(at("outside/y"), "secret").unwrap();
    fs::write(at("secret"), "secret").unwrap();
    symlink("../../outside", at("root/trap")).unwrap();
    let tree = tree(&test_dir);
    let disturb = || {
        // `er` alternates between a directory in the tree and a link out of it, and is moved outside meanwhile.
        fs::rename(at("root/deep/er"), at("outside/er")).unwrap();
        fs::rename(at("root/trap"), at("root/deep/er")).unwrap();
        fs::rename(at("root/deep/er"), at("root/trap")).unwrap();
        fs::rename(at("outside/er"), at("root/deep/er")).unwrap();
    };
    while_disturbed(disturb, || {
        for _ in 0..20_000 {
            for name in ["deep/er/y", "deep/er/../../secret", "deep/er/../secret"] {
                assert_ne!(content_or_error(&tree, name), "secret", "{name}");
            }
        }
    });
}

#[test]
fn the_default_files_are_created_once_and_never_overwritten() {
    let test_dir = test_dir();
    let tree = tree(&test_dir);
    fs::create_dir(test_dir.path().join("root/grub")).unwrap();
    fs::write(test_dir.path().join("root/grub/grub.cfg"), "by hand").unwrap();
    symlink("nowhere", test_dir.path().join("root/boot.ipxe")).unwrap();
    assert_eq!(tree.make_defaults().unwrap(), ["pxelinux.cfg/default"]);
    assert!(content_or_error(&tree, "pxelinux.cfg/default").contains("localboot 0"));
    fs::write(test_dir.path().join("root/pxelinux.cfg/default"), "changed").unwrap();
    assert_eq!(tree.make_defaults().unwrap(), Vec::<String>::new());
    assert_eq!(content_or_error(&tree, "pxelinux.cfg/default"), "changed");
    assert_eq!(content_or_error(&tree, "grub/grub.cfg"), "by hand");
    assert!(!test_dir.path().join("root/nowhere").exists());
    let count = fs::read_dir(test_dir.path().join("root/pxelinux.cfg")).unwrap().count();
    assert_eq!(count, 2, "the link and `default`; no temporary file remains");
}

#[test]
fn an_empty_root_is_filled_and_a_missing_one_is_not_created() {
    let test_dir = tempfile::tempdir().unwrap();
    let root = test_dir.path().join("root");
    let tree = BootTree::new(root.clone());
    assert!(matches!(tree.make_defaults(), Err((_, BootTreeError::RootUnreadable(_)))));
    assert!(!root.exists());
    fs::create_dir(&root).unwrap();
    assert_eq!(tree.make_defaults().unwrap(), ["pxelinux.cfg/default", "grub/grub.cfg", "boot.ipxe"]);
    assert!(tree.folder(CONFIGS_FOLDER).is_ok());
}
