//! Errors of calls to an outlet and of whole runs.

use device_io::LocalTrouble;

/// Error of a call to an outlet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutletError {
    /// The kind of error, which decides how the run continues.
    pub kind: OutletErrorKind,
    /// One sentence for the operator.
    pub reason: String,
    /// The device's answer, verbatim, if it explains the error.
    pub answer: Option<String>,
}

/// How a run continues after an error. Drivers return the kinds up to [`ConnectionLost`](Self::ConnectionLost); the
/// others are set by the run itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutletErrorKind {
    /// The lease of this process has expired: nothing more is sent.
    LeaseExpired,
    /// A local fault of this machine; nothing was sent.
    Local(LocalTrouble),
    /// There is no connection; nothing was sent.
    NotConnected,
    /// It fails until the configuration is changed: the device refused (no such outlet, or it cannot be read this way), or
    /// a credential is missing. Nothing was switched.
    Misconfigured,
    /// The device refused for now. Nothing was switched.
    Refused,
    /// The device answered in another protocol; the outlet may have been switched.
    WrongProtocol,
    /// The device answered without confirming; the outlet may have been switched.
    Unconfirmed,
    /// The device has not answered yet; the outlet may have been switched. It can be read on the same connection.
    AnswerPending,
    /// The connection was lost; the outlet may have been switched.
    ConnectionLost,
    /// The run was cancelled.
    Cancelled,
    /// The state read back differs from the state set.
    ReadbackDiffers,
    /// Earlier runs were interrupted too often.
    Interrupted,
}

impl OutletError {
    /// Creates an error without an answer of the device.
    #[must_use]
    pub fn new(kind: OutletErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: formatting::without_error_numbers(&reason.into()), answer: None }
    }

    /// Adds the device's answer.
    #[must_use]
    pub fn with_answer(self, answer: impl Into<String>) -> Self {
        Self { answer: Some(answer.into()), ..self }
    }

    /// The error came up before the order was sent, so nothing was switched.
    pub(crate) fn before_order(self) -> Self {
        if self.kind == OutletErrorKind::WrongProtocol {
            return Self { kind: OutletErrorKind::Misconfigured, ..self };
        }
        if self.may_have_switched() { Self { kind: OutletErrorKind::NotConnected, ..self } } else { self }
    }

    /// The device cannot time a power cycle.
    pub(crate) fn unable_to_cycle() -> Self {
        Self::new(OutletErrorKind::Misconfigured, "the device cannot time a power cycle")
    }

    /// The run was cancelled.
    pub(crate) fn cancelled() -> Self {
        Self::new(OutletErrorKind::Cancelled, "cancelled")
    }

    /// The run was cancelled after this error.
    pub(crate) fn then_cancelled(self) -> Self {
        Self::new(OutletErrorKind::Cancelled, format!("{}, then cancelled", self.reason))
    }

    /// Whether the device did not answer, before or after the order. This is a fault of the device or the network; all other
    /// errors are of one outlet, of its URL, or of this process.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self.kind {
            OutletErrorKind::NotConnected
            | OutletErrorKind::AnswerPending
            | OutletErrorKind::ConnectionLost => true,
            OutletErrorKind::LeaseExpired
            | OutletErrorKind::Local(_)
            | OutletErrorKind::Misconfigured
            | OutletErrorKind::Refused
            | OutletErrorKind::WrongProtocol
            | OutletErrorKind::Unconfirmed
            | OutletErrorKind::Cancelled
            | OutletErrorKind::ReadbackDiffers
            | OutletErrorKind::Interrupted => false,
        }
    }

    /// Whether the device answered, however unwelcome the answer.
    pub(crate) fn is_answer(&self) -> bool {
        match self.kind {
            OutletErrorKind::Misconfigured
            | OutletErrorKind::Refused
            | OutletErrorKind::WrongProtocol
            | OutletErrorKind::Unconfirmed
            | OutletErrorKind::ReadbackDiffers => true,
            OutletErrorKind::NotConnected
            | OutletErrorKind::AnswerPending
            | OutletErrorKind::ConnectionLost
            | OutletErrorKind::LeaseExpired
            | OutletErrorKind::Local(_)
            | OutletErrorKind::Cancelled
            | OutletErrorKind::Interrupted => false,
        }
    }

    /// Whether the outlet may have been switched despite the error.
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
