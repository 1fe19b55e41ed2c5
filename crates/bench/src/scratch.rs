//! The temporary directory of the bench.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The temporary directory; it is removed on drop.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    /// Its path without symbolic links.
    pub(crate) path: PathBuf,
}

impl ScratchDir {
    /// Creates it in `parent`, or in the system's directory for temporary files.
    pub(crate) fn make(parent: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let parent = parent.map_or_else(std::env::temp_dir, ToOwned::to_owned);
        if !parent.is_dir() {
            return Err(format!("--dir: {} is not a directory", parent.display()).into());
        }
        let path = fs_err::canonicalize(parent)?.join(format!("lifeguard-bench-{}", std::process::id()));
        // As root, Postgres runs as another user, who needs access.
        directories::create_with_mode(&path, 0o711)?;
        Ok(Self { path })
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // A Postgres that is stopped during its start may still write for a moment.
        let give_up_at = Instant::now() + Duration::from_secs(5);
        while let Err(error) = fs_err::remove_dir_all(&self.path) {
            if Instant::now() >= give_up_at {
                return tracing::warn!(error = &error as &dyn Error, "cannot remove temporary directory");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
