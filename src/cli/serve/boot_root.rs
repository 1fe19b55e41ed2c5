//! The boot tree's root: where it is, and what it has to have before boards boot from it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use crate::boot_tree::BootTree;

/// The root that was given, or the one in the data directory, which is made.
///
/// One that was given and is missing is not made: a share that is not mounted looks like that.
pub(super) fn find(given: Option<PathBuf>, data_dir: &Path) -> io::Result<PathBuf> {
    if let Some(root) = given {
        return Ok(root);
    }
    let root = data_dir.join("boot");
    fs_err::create_dir_all(&root)?;
    Ok(root)
}

/// Makes what the tree lacks. One that cannot be read or written keeps no server from starting.
pub(super) async fn prepare(tree: BootTree) {
    let root = tree.root().display().to_string();
    match tokio::task::spawn_blocking(move || tree.make_defaults()).await {
        Ok(Ok(made)) if made.is_empty() => {}
        Ok(Ok(made)) => tracing::info!(boot_root = root, files = ?made, "boot tree: missing files were made"),
        Ok(Err((path, error))) => tracing::warn!(
            boot_root = root,
            path,
            error = &error as &dyn Error,
            "boot tree: a file that boards need where they have no boot link cannot be made"
        ),
        Err(error) => tracing::error!(error = &error as &dyn Error, "boot tree: preparing it failed"),
    }
}
