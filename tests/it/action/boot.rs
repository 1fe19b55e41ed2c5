//! Tests of the boot link actions: set, cleared, repeated, and foreign files in their place.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use fs_err as fs;
use lifeguard::actions::{ActionEnding, ActionKind, Evidence, Trouble, UnfinishedAction};
use lifeguard::boards::{ClearBootLink, SetBootLink, check_config_name};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;

const LINK: &str = "pxelinux.cfg/01-aa-bb-cc-dd-ee-ff";

/// Operation on a link.
#[derive(Clone, Copy)]
enum LinkOperation {
    Set,
    Clear,
}

fn job_with(config: Option<&str>) -> Job {
    let mut job = job("");
    if let Some(config) = config {
        set_fact(&mut job.facts, "boot_config", config);
    }
    job
}

/// A boot tree with the configs `panda` and `panda-2`.
struct TestBootTree {
    root: TempDir,
}

impl TestBootTree {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("configs")).unwrap();
        for config in ["panda", "panda-2"] {
            fs::write(root.path().join("configs").join(config), config).unwrap();
        }
        Self { root }
    }

    fn link(&self) -> PathBuf {
        self.root.path().join(LINK)
    }

    fn points_at(&self) -> Option<String> {
        fs::read_link(self.link()).ok().map(|target| target.to_string_lossy().into_owned())
    }

    fn links(&self) -> usize {
        fs::read_dir(self.root.path().join("pxelinux.cfg")).unwrap().count()
    }

    fn kind(&self, link: LinkOperation) -> Box<dyn ActionKind> {
        let root = self.root.path().to_owned();
        match link {
            LinkOperation::Set => Box::new(SetBootLink::new(root)),
            LinkOperation::Clear => Box::new(ClearBootLink::new(root)),
        }
    }

    async fn run(&self, link: LinkOperation, config: Option<&str>) -> Result<Evidence, UnfinishedAction> {
        self.kind(link).run(&job_with(config), &CancellationToken::new()).await
    }

    async fn set(&self, config: &str) -> Result<Evidence, UnfinishedAction> {
        self.run(LinkOperation::Set, Some(config)).await
    }

    async fn clear(&self) -> Evidence {
        self.run(LinkOperation::Clear, None).await.unwrap()
    }
}

#[tokio::test]
async fn a_link_is_set_changed_and_cleared_and_each_step_may_be_repeated() {
    let tree = TestBootTree::new();
    assert!(!tree.clear().await.contains_key("removed"), "there is not even a folder");
    for config in ["panda", "panda", "panda-2", "panda-2"] {
        let done = tree.set(config).await.unwrap();
        assert_eq!((&done["link"], &done["config"]), (&json!(LINK), &json!(config)));
        assert_eq!(tree.points_at(), Some(format!("../configs/{config}")));
        assert_eq!(fs::read_to_string(tree.link()).unwrap(), config);
        assert_eq!(tree.links(), 1);
    }
    assert_eq!(tree.clear().await["removed"], "panda-2");
    assert!(!tree.clear().await.contains_key("removed"));
    assert_eq!(tree.links(), 0);
}

#[tokio::test]
async fn foreign_links_and_files_are_neither_replaced_nor_removed() {
    for target in [
        None,
        Some("../elsewhere/panda"),
        Some("../configs/../secret"),
        Some("../configs/panda/../../secret"),
        Some("../configs"),
        Some("panda"),
    ] {
        let tree = TestBootTree::new();
        fs::create_dir(tree.root.path().join("pxelinux.cfg")).unwrap();
        match target {
            Some(target) => symlink(target, tree.link()).unwrap(),
            None => fs::write(tree.link(), "by hand").unwrap(),
        }
        let failed = tree.set("panda").await.unwrap_err();
        assert!(failed.reason.contains("remove it by hand"), "{failed}");
        assert_eq!(tree.clear().await["left"], "foreign file");
        assert_eq!(tree.points_at().as_deref(), target);
        assert!(fs::symlink_metadata(tree.link()).is_ok());
    }
}

#[tokio::test]
async fn a_link_of_ours_to_a_missing_config_is_replaced() {
    let tree = TestBootTree::new();
    tree.set("panda-2").await.unwrap();
    fs::remove_file(tree.root.path().join("configs/panda-2")).unwrap();
    tree.set("panda").await.unwrap();
    assert_eq!(tree.points_at().as_deref(), Some("../configs/panda"));
    let absolute = tree.root.path().join("configs/panda-2");
    fs::remove_file(tree.link()).unwrap();
    symlink(absolute, tree.link()).unwrap();
    tree.set("panda").await.unwrap();
    assert_eq!(tree.points_at().as_deref(), Some("../configs/panda"));
}

#[tokio::test]
async fn temporary_files_of_a_crash_are_ignored() {
    let tree = TestBootTree::new();
    tree.set("panda").await.unwrap();
    // More than all tests of this process use, with the next temporary names.
    for number in 0..500 {
        let left = format!("{LINK}.new-{}-{number}", std::process::id());
        symlink("../configs/panda", tree.root.path().join(left)).unwrap();
    }
    tree.set("panda-2").await.unwrap();
    assert_eq!(tree.points_at().as_deref(), Some("../configs/panda-2"));
}

#[tokio::test]
async fn two_concurrent_runs_leave_one_complete_link() {
    let tree = TestBootTree::new();
    for _ in 0..50 {
        let (one, two, three) = tokio::join!(tree.set("panda"), tree.set("panda-2"), tree.set("panda"));
        for done in [one, two, three] {
            done.unwrap();
        }
        assert!(tree.points_at().unwrap().starts_with("../configs/panda"));
        assert_eq!(tree.links(), 1);
        tokio::join!(tree.clear(), tree.clear());
        assert_eq!(tree.links(), 0);
    }
}

#[tokio::test]
async fn a_missing_config_or_an_invalid_config_name_is_refused() {
    let tree = TestBootTree::new();
    fs::create_dir(tree.root.path().join("configs/folder")).unwrap();
    for (config, reason) in [
        (None, "no boot config is selected"),
        (Some("tegra"), "no boot config `tegra`"),
        (Some("folder"), "no boot config `folder`"),
        (Some("../configs/panda"), "plain name of a file"),
    ] {
        let failed = tree.run(LinkOperation::Set, config).await.unwrap_err();
        assert!(failed.reason.contains(reason), "{config:?}: {failed}");
        assert_eq!(tree.points_at(), None);
    }
    for name in ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "a\0b", "a\nb", &"x".repeat(256)] {
        assert!(check_config_name(name).is_err(), "{name:?}");
    }
    for name in ["panda", "panda-2.cfg", "a..b", "ünïcode"] {
        assert!(check_config_name(name).is_ok(), "{name:?}");
    }
}

#[tokio::test]
async fn a_bad_mac_or_a_cancelled_run_changes_nothing() {
    let tree = TestBootTree::new();
    let mut job = job_with(Some("panda"));
    let driver = tree.kind(LinkOperation::Set);
    let token = CancellationToken::new();
    token.cancel();
    assert_eq!(driver.run(&job, &token).await.unwrap_err().reason, "abandoned");
    set_fact(&mut job.facts, "mac", "aa:bb");
    let failed = driver.run(&job, &CancellationToken::new()).await.unwrap_err();
    assert!(failed.reason.contains("aa:bb:cc:dd:ee:ff"), "{failed}");
    assert!(!tree.root.path().join("pxelinux.cfg").exists());
}

#[tokio::test]
async fn the_link_is_correct_wherever_its_directory_really_is() {
    // As in Debian's netboot tarball.
    let tree = TestBootTree::new();
    let at = |path: &str| tree.root.path().join(path);
    fs::create_dir_all(at("debian-installer/amd64/pxelinux.cfg")).unwrap();
    symlink("debian-installer/amd64/pxelinux.cfg", at("pxelinux.cfg")).unwrap();
    tree.set("panda").await.unwrap();
    assert_eq!(fs::read_to_string(tree.link()).unwrap(), "panda");
    assert_eq!(tree.points_at().as_deref(), Some("../../../configs/panda"));
    tree.set("panda-2").await.unwrap();
    assert_eq!(fs::read_to_string(tree.link()).unwrap(), "panda-2");
    assert_eq!(tree.clear().await["removed"], "panda-2");
    // A link of an older version is dangling, but ours.
    symlink("../configs/panda", tree.link()).unwrap();
    tree.set("panda").await.unwrap();
    assert_eq!(fs::read_to_string(tree.link()).unwrap(), "panda");
}

#[tokio::test]
async fn a_link_that_tftp_would_not_serve_is_not_set() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("config"), "secret").unwrap();
    let tree = TestBootTree::new();
    symlink(outside.path().join("config"), tree.root.path().join("configs/out")).unwrap();
    let failed = tree.set("out").await.unwrap_err();
    assert!(failed.reason.contains("`configs/out` cannot be served to the board: outside"), "{failed}");
    assert_eq!(tree.points_at(), None);

    let tree = TestBootTree::new();
    symlink(outside.path(), tree.root.path().join("pxelinux.cfg")).unwrap();
    let failed = tree.set("panda").await.unwrap_err();
    assert!(failed.reason.contains("`pxelinux.cfg` cannot be served to the board: outside"), "{failed}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "nothing was written outside");
    let failed = tree.run(LinkOperation::Clear, None).await.unwrap_err();
    assert!(failed.reason.contains("outside the boot tree"), "{failed}");
}

#[tokio::test]
async fn setting_and_clearing_are_suspended_while_the_boot_root_is_missing() {
    let tree = TestBootTree::new();
    let aside = tempfile::tempdir().unwrap();
    let (root, aside) = (tree.root.path(), aside.path().join("boot"));
    fs::rename(root, &aside).unwrap();
    for link in [LinkOperation::Set, LinkOperation::Clear] {
        let waits = tree.run(link, Some("panda")).await.unwrap_err();
        let trouble = Trouble::Storage(root.to_owned());
        assert_eq!(waits.kind, ActionEnding::Suspended { trouble, has_acted: false });
        assert!(waits.reason.contains("the boot root cannot be read"), "{waits}");
    }
    // Like an unmounted share with an existing mount point.
    fs::create_dir(root).unwrap();
    for link in [LinkOperation::Set, LinkOperation::Clear] {
        let waits = tree.run(link, Some("panda")).await.unwrap_err();
        let trouble = Trouble::Storage(root.to_owned());
        assert_eq!(waits.kind, ActionEnding::Suspended { trouble, has_acted: false });
        assert_eq!(fs::read_dir(root).unwrap().count(), 0);
    }
    fs::remove_dir(root).unwrap();
    fs::rename(&aside, root).unwrap();
    tree.set("panda").await.unwrap();
}
