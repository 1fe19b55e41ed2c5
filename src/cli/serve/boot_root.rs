//! The boot tree's root: where it is, what it has to have before boards boot from it, and whether it is there.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::boards::BoardService;
use crate::boot_tree::{self, BootTree, BootTreeError};
use crate::directories;

/// How often it is looked whether the tree is there.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a look may take before the disk or the share counts as silent.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The root that was given, or the one in the data directory, which is made.
///
/// One that was given and is missing is not made: a share that is not mounted looks like that.
pub(super) fn find(given: Option<PathBuf>, data_dir: &Path) -> io::Result<PathBuf> {
    if let Some(root) = given {
        return Ok(root);
    }
    let root = data_dir.join("boot");
    // For whoever else serves the boot tree, too.
    directories::create_all_with_mode(&root, 0o755)?;
    Ok(root)
}

/// Looks after the tree: makes what it lacks, and tells whoever asks and the log while it cannot be read.
pub(super) struct BootRootMonitor {
    tree: BootTree,
    boards: BoardService,
    /// Whether the tree was there once and has been given what it lacked. What is missing later was taken away, or is not
    /// mounted, and what is made then would hide that.
    is_prepared: bool,
    fault: Option<String>,
    /// A look that has not ended in time.
    hanging_check: Option<JoinHandle<BootRootCheck>>,
}

/// What came of a look: whether the tree is prepared, and what is wrong with it.
type BootRootCheck = (bool, Result<(), (&'static str, BootTreeError)>);

impl BootRootMonitor {
    pub(super) fn new(tree: BootTree, boards: BoardService) -> Self {
        Self { tree, boards, is_prepared: false, fault: None, hanging_check: None }
    }

    /// Looks once; a tree that is there for the first time is prepared.
    pub(super) async fn check(&mut self) {
        // Each look takes a thread for as long as it hangs: one is enough.
        if self.hanging_check.as_ref().is_some_and(|stuck| !stuck.is_finished()) {
            return;
        }
        self.hanging_check = None;
        let (tree, was_prepared) = (self.tree.clone(), self.is_prepared);
        let look = boot_tree::spawn_blocking(move || {
            let is_prepared = was_prepared || prepare(&tree);
            (is_prepared, tree.check())
        });
        let looked = match look.await {
            Err(error) => Ok(Err(error)),
            Ok(mut look) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "it waits for the machine's disk, in real time"
                )]
                let looked = tokio::time::timeout(CHECK_TIMEOUT, &mut look).await;
                if looked.is_err() {
                    self.hanging_check = Some(look);
                }
                looked.map(|looked| looked.map_err(io::Error::other))
            }
        };
        let looked = looked.map(|looked| {
            looked.map(|(is_prepared, checked)| {
                self.is_prepared = is_prepared;
                checked
            })
        });
        let fault = match looked {
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
                tracing::error!(
                    fault,
                    "boot tree cannot be read: no boot link is set or cleared, boards wait"
                );
            }
            (Some(_), None) => tracing::info!("boot tree can be read again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.boards.set_boot_fault(fault.clone());
        self.fault = fault;
    }

    /// Looks again and again until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            #[expect(clippy::disallowed_methods, reason = "the machine's disk, not the farm's time")]
            let pause = tokio::time::sleep(CHECK_INTERVAL);
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause => {}
            }
            self.check().await;
        }
    }
}

/// Makes what the tree lacks, and says whether it was there. One that cannot be read or written keeps no server from starting.
fn prepare(tree: &BootTree) -> bool {
    let boot_root = tree.root().display();
    match tree.make_defaults() {
        Ok(made) if made.is_empty() => {}
        Ok(made) => tracing::info!(%boot_root, files = ?made, "boot tree files created"),
        // That the root is missing is told by whoever looks.
        Err((_, BootTreeError::RootUnreadable(_))) => return false,
        Err((path, error)) => tracing::warn!(
            %boot_root,
            path,
            error = &error as &dyn Error,
            "boot tree: a file that boards need where they have no boot link cannot be made"
        ),
    }
    true
}
