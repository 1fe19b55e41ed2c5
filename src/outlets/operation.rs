//! Operations on an outlet by hand.

use serde::{Deserialize, Serialize};

/// An operation on an outlet by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutletOperation {
    /// Reads whether it is on.
    Status,
    /// Connects and reads, and says what the driver can do with it.
    Test,
    /// Switches it on.
    On,
    /// Switches it off.
    Off,
    /// Switches it off and on again.
    Cycle,
}

impl OutletOperation {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Test => "test",
            Self::On => "on",
            Self::Off => "off",
            Self::Cycle => "cycle",
        }
    }

    /// Whether it switches the outlet; otherwise it only reads.
    #[must_use]
    pub fn switches(self) -> bool {
        match self {
            Self::Status | Self::Test => false,
            Self::On | Self::Off | Self::Cycle => true,
        }
    }
}
