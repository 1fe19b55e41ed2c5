//! What a server decides for all of its actions.

use std::path::PathBuf;

/// What a server decides for its actions.
#[derive(Debug, Clone, Default)]
pub struct ActionOptions {
    /// The folder that boards boot from.
    pub boot_root: PathBuf,
    /// Whether definitions may have programs run.
    pub commands: Commands,
}

/// Whether a server runs the programs that definitions name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Commands {
    /// Such an action fails.
    #[default]
    Refused,
    /// They run as the server's own user.
    Allowed,
}
