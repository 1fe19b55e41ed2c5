//! Whether a server runs the programs that definitions name.

/// Whether a server runs the programs that definitions name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommandPolicy {
    /// Such an action fails.
    #[default]
    Refused,
    /// They run as the server's own user.
    Allowed,
}
