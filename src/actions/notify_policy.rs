//! What a server allows notifications to do.

use reqwest::Url;

/// What a server allows notifications to do, and whom they reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifyPolicy {
    /// Whether it runs programs.
    pub commands: CommandPolicy,
    /// Where messages to its operators are sent.
    pub operators_url: Option<Url>,
}

/// Whether a server runs the programs that definitions name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommandPolicy {
    /// An action that names a program fails.
    #[default]
    Refused,
    /// Programs run as the user of the server.
    Allowed,
}
