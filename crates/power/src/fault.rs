//! Why a call to an outlet, or a whole run, came to nothing.

use device_io::LocalTrouble;

/// What happened, and the words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it means.
    pub kind: FaultKind,
    /// One sentence for the operator.
    pub reason: String,
    /// What the device said, word for word, if it said anything that explains it.
    pub answer: Option<String>,
}

/// What a fault means for whoever goes on. Drivers give those up to [`Lost`](Self::Lost); the others are a run's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// The lease of this process has expired: nothing more is sent.
    Expired,
    /// Trouble of our own; nothing was sent.
    Local(LocalTrouble),
    /// There is no connection; nothing was sent.
    Unreached,
    /// The device refused, and will again: there is no such outlet, or it cannot be read so. Nothing was switched.
    Misconfigured,
    /// The device refused for now. Nothing was switched.
    Refused,
    /// The device answered, but not in the driver's protocol; what was asked for may have been done.
    Foreign,
    /// The device answered and did not confirm; what was asked for may have been done.
    Unconfirmed,
    /// The device has not answered yet; what was asked for may have been done. It can be read at once.
    Silent,
    /// The connection is gone; what was asked for may have been done.
    Lost,
    /// The run was cancelled.
    Abandoned,
    /// What was read back is not what was set.
    Differs,
    /// Earlier runs were interrupted too often.
    Interrupted,
}

impl Fault {
    /// A fault without words of the device.
    #[must_use]
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), answer: None }
    }

    /// The same with the device's words.
    #[must_use]
    pub fn with_answer(self, answer: impl Into<String>) -> Self {
        Self { answer: Some(answer.into()), ..self }
    }

    /// The device does not time a cycle.
    pub(crate) fn unable_to_cycle() -> Self {
        Self::new(FaultKind::Misconfigured, "the device times no power cycle by itself")
    }

    /// The run was cancelled.
    pub(crate) fn abandoned() -> Self {
        Self::new(FaultKind::Abandoned, "abandoned")
    }

    /// The run was cancelled, after this.
    pub(crate) fn then_abandoned(self) -> Self {
        Self::new(FaultKind::Abandoned, format!("{}, then abandoned", self.reason))
    }

    /// Whether what was asked for may have been done although the call ended so.
    pub(crate) fn may_have_switched(&self) -> bool {
        match self.kind {
            FaultKind::Foreign | FaultKind::Unconfirmed | FaultKind::Silent | FaultKind::Lost => true,
            FaultKind::Abandoned
            | FaultKind::Expired
            | FaultKind::Local(_)
            | FaultKind::Unreached
            | FaultKind::Misconfigured
            | FaultKind::Refused
            | FaultKind::Differs
            | FaultKind::Interrupted => false,
        }
    }
}
