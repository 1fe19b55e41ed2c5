//! What power URLs name of the server's own configuration.

use device_io::Credentials;

use crate::commands::PowerCommands;

/// Credentials and commands by name. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct PowerSettings {
    /// Users and passwords.
    pub credentials: Credentials,
    /// Commands that switch outlets.
    pub commands: PowerCommands,
}
