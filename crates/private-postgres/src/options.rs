//! Options of the private PostgreSQL.

use std::path::PathBuf;

/// The user and the database in the cluster.
pub(crate) const USER: &str = "lifeguard";

/// Durability of acknowledged commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitDurability {
    /// Commits survive a power failure.
    #[default]
    Full,
    /// Commits survive only a crash of the server process; for tests.
    Fast,
}

/// Options of the private PostgreSQL.
#[derive(Debug, Clone)]
pub struct PrivatePostgresOptions {
    /// The data directory; created if missing.
    pub data_dir: PathBuf,
    /// The directory of `initdb` and `postgres`; `None` searches the usual directories.
    pub bin_dir: Option<PathBuf>,
    /// Durability of acknowledged commits.
    pub durability: CommitDurability,
    /// Further settings, names and values, which override the built-in ones.
    pub settings: Vec<(String, String)>,
}

impl PrivatePostgresOptions {
    /// Creates options with full durability in `data_dir` and the installed programs.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            bin_dir: None,
            durability: CommitDurability::default(),
            settings: Vec::new(),
        }
    }
}
