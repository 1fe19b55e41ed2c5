//! Where everything that the bench writes lies.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The directory of everything; it goes with the bench.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    /// Without symbolic links.
    pub(crate) path: PathBuf,
}

impl ScratchDir {
    /// Makes it in `parent`, or where the system keeps temporary files.
    pub(crate) fn make(parent: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let parent = parent.map_or_else(std::env::temp_dir, ToOwned::to_owned);
        if !parent.is_dir() {
            return Err(format!("--dir: {} is not a directory", parent.display()).into());
        }
        let path = fs_err::canonicalize(parent)?.join(format!("lifeguard-bench-{}", std::process::id()));
        // Root's Postgres runs as another user, who must be able to pass.
        directories::create_with_mode(&path, 0o711)?;
        Ok(Self { path })
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // A Postgres that was told to stop in the middle of its start may write for a moment yet.
        let give_up_at = Instant::now() + Duration::from_secs(5);
        while let Err(error) = fs_err::remove_dir_all(&self.path) {
            if Instant::now() >= give_up_at {
                return tracing::warn!(error = &error as &dyn Error, "the bench's directory is left");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
