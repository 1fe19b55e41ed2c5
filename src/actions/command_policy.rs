//! The policy for programs that definitions name.

/// Whether a server runs the programs that definitions name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommandPolicy {
    /// An action that names a program fails.
    #[default]
    Refused,
    /// Programs run as the user of the server.
    Allowed,
}
