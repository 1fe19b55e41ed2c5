//! Why a call to an outlet, or a whole run, came to nothing.

use device_io::LocalTrouble;

/// What happened, and the words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutletError {
    /// What it means.
    pub kind: OutletErrorKind,
    /// One sentence for the operator.
    pub reason: String,
    /// What the device said, word for word, if it said anything that explains it.
    pub answer: Option<String>,
}

/// What a fault means for whoever goes on. Drivers give those up to [`ConnectionLost`](Self::ConnectionLost); the others are a run's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutletErrorKind {
    /// The lease of this process has expired: nothing more is sent.
    LeaseExpired,
    /// Trouble of our own; nothing was sent.
    Local(LocalTrouble),
    /// There is no connection; nothing was sent.
    NotConnected,
    /// The device refused, and will again: there is no such outlet, or it cannot be read so. Nothing was switched.
    Misconfigured,
    /// The device refused for now. Nothing was switched.
    Refused,
    /// The device answered, but not in the driver's protocol; what was asked for may have been done.
    WrongProtocol,
    /// The device answered and did not confirm; what was asked for may have been done.
    Unconfirmed,
    /// The device has not answered yet; what was asked for may have been done. It can be read at once.
    AnswerPending,
    /// The connection is gone; what was asked for may have been done.
    ConnectionLost,
    /// The run was cancelled.
    Cancelled,
    /// What was read back is not what was set.
    ReadbackDiffers,
    /// Earlier runs were interrupted too often.
    Interrupted,
}

impl OutletError {
    /// A fault without words of the device.
    #[must_use]
    pub fn new(kind: OutletErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), answer: None }
    }

    /// The same with the device's words.
    #[must_use]
    pub fn with_answer(self, answer: impl Into<String>) -> Self {
        Self { answer: Some(answer.into()), ..self }
    }

    /// The device does not time a cycle.
    pub(crate) fn unable_to_cycle() -> Self {
        Self::new(OutletErrorKind::Misconfigured, "the device times no power cycle by itself")
    }

    /// The run was cancelled.
    pub(crate) fn cancelled() -> Self {
        Self::new(OutletErrorKind::Cancelled, "abandoned")
    }

    /// The run was cancelled, after this.
    pub(crate) fn then_cancelled(self) -> Self {
        Self::new(OutletErrorKind::Cancelled, format!("{}, then abandoned", self.reason))
    }

    /// Whether what was asked for may have been done although the call ended so.
    pub(crate) fn may_have_switched(&self) -> bool {
        match self.kind {
            OutletErrorKind::WrongProtocol
            | OutletErrorKind::Unconfirmed
            | OutletErrorKind::AnswerPending
            | OutletErrorKind::ConnectionLost => true,
            OutletErrorKind::Cancelled
            | OutletErrorKind::LeaseExpired
            | OutletErrorKind::Local(_)
            | OutletErrorKind::NotConnected
            | OutletErrorKind::Misconfigured
            | OutletErrorKind::Refused
            | OutletErrorKind::ReadbackDiffers
            | OutletErrorKind::Interrupted => false,
        }
    }
}
