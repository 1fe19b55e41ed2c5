//! Why a call to a relay board, or a whole run, came to nothing.

use crate::action::{Ending, Trouble};

/// What happened, and the words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) reason: String,
}

/// What a fault means for whoever goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The run was cancelled.
    Abandoned,
    /// The lease of this process has expired: nothing more is sent.
    Expired,
    /// Trouble of our own; nothing was sent.
    Ours(Trouble),
    /// There is no connection; nothing was sent.
    Unreached,
    /// The device refused, and will again: there is no such coil, or it cannot be read so. Nothing was switched.
    Misconfigured,
    /// The device refused for now. Nothing was switched.
    Refused,
    /// The device answered, but not with Modbus TCP; what was asked for may have been done.
    Foreign,
    /// The device answered and did not confirm; what was asked for may have been done.
    Unconfirmed,
    /// The device has not answered yet; what was asked for may have been done. The connection is still there.
    Silent,
    /// The connection is gone; what was asked for may have been done.
    Lost,
    /// What was read back is not what was written.
    Differs,
    /// Earlier runs were interrupted too often.
    Interrupted,
}

impl Fault {
    pub(super) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    /// The run was cancelled.
    pub(super) fn abandoned() -> Self {
        Self::new(Kind::Abandoned, "abandoned")
    }

    /// The run was cancelled, after this.
    pub(super) fn then_abandoned(self) -> Self {
        Self::new(Kind::Abandoned, format!("{}, then abandoned", self.reason))
    }

    /// Whether a write that ended so may have been carried out.
    pub(super) fn may_have_switched(&self) -> bool {
        match self.kind {
            Kind::Foreign | Kind::Unconfirmed | Kind::Silent | Kind::Lost => true,
            Kind::Abandoned
            | Kind::Expired
            | Kind::Ours(_)
            | Kind::Unreached
            | Kind::Misconfigured
            | Kind::Refused
            | Kind::Differs
            | Kind::Interrupted => false,
        }
    }

    /// What it means for the action, where a run ends so that may have switched something or not and left no board dark.
    pub(super) fn ending(&self, has_acted: bool) -> Ending {
        match &self.kind {
            Kind::Ours(trouble) => Ending::Suspended { trouble: trouble.clone(), has_acted },
            Kind::Misconfigured | Kind::Foreign => Ending::Misconfigured,
            Kind::Abandoned
            | Kind::Expired
            | Kind::Unreached
            | Kind::Refused
            | Kind::Unconfirmed
            | Kind::Silent
            | Kind::Lost
            | Kind::Differs
            | Kind::Interrupted => Ending::Failed,
        }
    }
}
