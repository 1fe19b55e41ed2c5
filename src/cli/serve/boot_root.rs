//! The boot root: its location, the files that boards need in it, and a monitor of whether it can be read.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::boards::BoardService;
use crate::boot_tree::{self, BootTree, BootTreeError};
use crate::directories;
use crate::formatting::with_causes;

/// The interval of checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The timeout of a check; then the disk or the share counts as unresponsive.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The given root, or the one in the data directory, which is created.
///
/// A given root that is missing is not created: it may be a share that is not mounted.
pub(super) fn find(given: Option<PathBuf>, data_dir: &Path) -> io::Result<PathBuf> {
    if let Some(root) = given {
        return Ok(root);
    }
    let root = data_dir.join("boot");
    // Other servers of the boot tree must be able to read it.
    directories::create_all_with_mode(&root, 0o755)?;
    Ok(root)
}

/// Monitors the tree: creates missing files once, and reports when the tree cannot be read.
pub(super) struct BootRootMonitor {
    tree: BootTree,
    boards: BoardService,
    /// Whether the tree was readable once and its missing files were created. Files that are missing later were removed, or are
    /// not mounted; creating them would hide that.
    is_prepared: bool,
    fault: Option<String>,
    /// A check that has timed out and has not returned.
    hanging_check: Option<JoinHandle<BootRootCheck>>,
}

/// The result of a check: whether the tree is prepared, and its fault.
type BootRootCheck = (bool, Result<(), (&'static str, BootTreeError)>);

impl BootRootMonitor {
    pub(super) fn new(tree: BootTree, boards: BoardService) -> Self {
        Self { tree, boards, is_prepared: false, fault: None, hanging_check: None }
    }

    /// Checks the tree once, and prepares it if it is readable for the first time.
    pub(super) async fn check(&mut self) {
        // A hanging check keeps a thread, so there is at most one.
        if self.hanging_check.as_ref().is_some_and(|check| !check.is_finished()) {
            return;
        }
        self.hanging_check = None;
        let (tree, was_prepared) = (self.tree.clone(), self.is_prepared);
        let check = boot_tree::spawn_blocking(move || {
            let is_prepared = was_prepared || prepare(&tree);
            (is_prepared, tree.check())
        });
        let result = match check.await {
            Err(error) => Ok(Err(error)),
            Ok(mut check) => {
                #[expect(clippy::disallowed_methods, reason = "disks take real time")]
                let result = tokio::time::timeout(CHECK_TIMEOUT, &mut check).await;
                if result.is_err() {
                    self.hanging_check = Some(check);
                }
                result.map(|result| result.map_err(io::Error::other))
            }
        };
        let result = result.map(|result| {
            result.map(|(is_prepared, checked)| {
                self.is_prepared = is_prepared;
                checked
            })
        });
        let fault = match result {
            Err(_elapsed) => Some("the boot root does not answer".to_owned()),
            Ok(Err(error)) => Some(error.to_string()),
            Ok(Ok(Err((_, BootTreeError::RootUnreadable(error))))) => {
                Some(format!("the boot root {} cannot be read: {error}", self.tree.root().display()))
            }
            Ok(Ok(Err((name, error)))) => {
                Some(format!("`{name}` in the boot root {}: {error}", self.tree.root().display()))
            }
            Ok(Ok(Ok(()))) => None,
        };
        match (&self.fault, &fault) {
            (None, Some(fault)) => {
                tracing::error!(fault, "cannot read boot tree, boot links suspended");
            }
            (Some(_), None) => tracing::info!("boot tree readable again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.boards.set_boot_fault(fault.clone());
        self.fault = fault;
    }

    /// Checks the tree repeatedly until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            #[expect(clippy::disallowed_methods, reason = "disks take real time")]
            let pause = tokio::time::sleep(CHECK_INTERVAL);
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause => {}
            }
            self.check().await;
        }
    }
}

/// Creates the missing files of the tree, and returns whether it was readable. A server starts even if it is not.
fn prepare(tree: &BootTree) -> bool {
    let boot_root = tree.root().display();
    match tree.make_defaults() {
        Ok(made) if made.is_empty() => {}
        Ok(made) => tracing::info!(%boot_root, files = ?made, "boot tree files created"),
        // The check reports a missing root.
        Err((_, BootTreeError::RootUnreadable(_))) => return false,
        Err((path, error)) => tracing::warn!(
            %boot_root,
            path,
            error = %with_causes(&error),
            "cannot create boot tree file, boards without a boot link need it"
        ),
    }
    true
}
