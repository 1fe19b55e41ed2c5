//! How the private Postgres is run.

use std::path::PathBuf;

/// The user and the database in the cluster.
pub(crate) const USER: &str = "lifeguard";

/// What an acknowledged commit is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitDurability {
    /// It survives the machine's power.
    #[default]
    Full,
    /// It survives the server's process only; for tests, which throw their data away.
    Fast,
}

/// How to run the private Postgres.
#[derive(Debug, Clone)]
pub struct PrivatePostgresOptions {
    /// The directory of everything that it keeps; made if need be.
    pub data_dir: PathBuf,
    /// The directory of `initdb` and `postgres`; where they are usually installed when `None`.
    pub bin_dir: Option<PathBuf>,
    /// What an acknowledged commit is worth.
    pub durability: CommitDurability,
    /// Further settings, names and values, which go before ours.
    pub settings: Vec<(String, String)>,
}

impl PrivatePostgresOptions {
    /// Full durability in `data_dir`, with the programs that are installed.
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
