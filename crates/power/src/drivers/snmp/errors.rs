//! What an error of the library, or a missing answer, means for the outlet.

use std::error::Error as _;
use std::io;

use async_snmp::v3::ReportStatus;
use async_snmp::{Error, ErrorStatus};
use device_io::LocalTrouble;

use super::socket::CallRecord;
use crate::client::{RequestKind, hex};
use crate::error::{OutletError, OutletErrorKind};

/// The answer to a call that the device refused.
pub(super) fn refusal(authority: &str, kind: RequestKind, status: ErrorStatus) -> OutletError {
    let is_order = kind == RequestKind::Order;
    let (kind, meaning) = match status {
        // Version 1 answers noSuchName also where an object may be read and not set. Source: RFC 1157 section 4.1.5.
        ErrorStatus::NoSuchName if is_order => {
            (OutletErrorKind::Misconfigured, "it has no such outlet, or the community may not switch it")
        }
        ErrorStatus::NoSuchName | ErrorStatus::NoCreation | ErrorStatus::InconsistentName => {
            (OutletErrorKind::Misconfigured, "it has no such outlet")
        }
        ErrorStatus::NoAccess
        | ErrorStatus::AuthorizationError
        | ErrorStatus::NotWritable
        | ErrorStatus::ReadOnly => (
            OutletErrorKind::Misconfigured,
            "it has no such outlet, or the community or user may not switch it",
        ),
        ErrorStatus::BadValue
        | ErrorStatus::WrongType
        | ErrorStatus::WrongLength
        | ErrorStatus::WrongEncoding
        | ErrorStatus::WrongValue => {
            (OutletErrorKind::Misconfigured, "it does not take this value for the outlet")
        }
        // Some PDUs of APC answer this to orders that they follow. Source: Emulab, snmpit_apc.pm, `$ignore_errors`.
        ErrorStatus::GenErr if is_order => {
            (OutletErrorKind::Unconfirmed, "the order failed, or was followed")
        }
        // Source: RFC 3416 section 4.2.5: nothing was set, but for undoFailed.
        ErrorStatus::TooBig
        | ErrorStatus::GenErr
        | ErrorStatus::InconsistentValue
        | ErrorStatus::ResourceUnavailable
        | ErrorStatus::CommitFailed => (OutletErrorKind::Refused, "it refuses for now"),
        ErrorStatus::UndoFailed | ErrorStatus::NoError | ErrorStatus::Unknown(_) | _ => {
            (OutletErrorKind::Unconfirmed, "the order may have been followed")
        }
    };
    OutletError::new(kind, format!("{authority} answered {status}: {meaning}"))
        .with_answer(status.to_string())
}

/// The outlet does not exist, as a reading shows.
pub(super) fn no_such_outlet(authority: &str, words: &str) -> OutletError {
    let reason = format!("{authority} answered {words}: it has no such outlet");
    OutletError::new(OutletErrorKind::Misconfigured, reason).with_answer(words)
}

/// An answer that does not belong to its request.
pub(super) fn unexpected(authority: &str) -> OutletError {
    OutletError::new(OutletErrorKind::Unconfirmed, format!("unexpected answer from {authority}"))
}

/// The device reports that it did not process the request.
pub(super) fn report(authority: &str, status: &ReportStatus) -> OutletError {
    let (kind, meaning) = match status {
        ReportStatus::UnknownUserName { .. } => {
            (OutletErrorKind::Misconfigured, "it does not know the user of the credential")
        }
        ReportStatus::WrongDigest { .. } => {
            (OutletErrorKind::Misconfigured, "the password of the credential is wrong, or `auth` is")
        }
        ReportStatus::DecryptionError { .. } => (
            OutletErrorKind::Misconfigured,
            "the privacy password of the credential is wrong, or `privacy` is",
        ),
        ReportStatus::UnsupportedSecurityLevel { .. } => {
            (OutletErrorKind::Misconfigured, "the user is set up for another `auth` or `privacy`")
        }
        ReportStatus::NotInTimeWindow { .. } | ReportStatus::UnknownEngineId { .. } => {
            (OutletErrorKind::Refused, "it has restarted, or its clock jumped")
        }
        ReportStatus::Other { .. } | _ => (OutletErrorKind::Misconfigured, "it does not process the request"),
    };
    OutletError::new(kind, format!("{authority} reported {status}: {meaning}"))
        .with_answer(status.to_string())
}

/// An error of the library that no answer caused.
pub(super) fn of_library(authority: &str, error: &Error, record: &CallRecord) -> OutletError {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    if record.is_sent {
        return unexpected(authority).with_answer(words);
    }
    OutletError::new(OutletErrorKind::NotConnected, format!("no request to {authority}: {words}"))
}

/// The socket failed.
pub(super) fn of_socket(
    authority: &str,
    kind: RequestKind,
    error: &io::Error,
    trouble: Option<LocalTrouble>,
    record: &CallRecord,
) -> OutletError {
    let is_refused =
        matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable);
    let kind = match trouble {
        Some(trouble) if !record.is_sent => OutletErrorKind::Local(trouble),
        // The network says that this datagram, the only one of its socket without an answer, did not arrive.
        Some(_) | None if !record.is_sent || is_refused || kind == RequestKind::Query => {
            OutletErrorKind::NotConnected
        }
        Some(_) | None => OutletErrorKind::ConnectionLost,
    };
    OutletError::new(kind, format!("no connection to {authority}: {error}"))
}

/// There was no answer in time.
pub(super) fn unanswered(
    authority: &str,
    kind: RequestKind,
    limit: &str,
    hint: &str,
    record: &CallRecord,
) -> OutletError {
    let kind = match kind {
        RequestKind::Order if record.is_sent => OutletErrorKind::AnswerPending,
        RequestKind::Query if record.is_sent => OutletErrorKind::ConnectionLost,
        RequestKind::Order | RequestKind::Query => OutletErrorKind::NotConnected,
    };
    let error = OutletError::new(kind, format!("no answer from {authority} within {limit}{hint}"));
    match &record.ignored {
        Some(datagram) => error.with_answer(hex(datagram)),
        None => error,
    }
}

/// The device answered in another protocol.
pub(super) fn foreign(authority: &str, datagram: &[u8]) -> OutletError {
    let reason = format!("{authority} answered, but not with SNMP");
    OutletError::new(OutletErrorKind::WrongProtocol, reason).with_answer(hex(datagram))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_configuration_error_unless_it_is_about_time() {
        for (status, kind) in [
            (ReportStatus::UnsupportedSecurityLevel { counter: 1 }, OutletErrorKind::Misconfigured),
            (ReportStatus::UnknownUserName { counter: 1 }, OutletErrorKind::Misconfigured),
            (ReportStatus::WrongDigest { counter: 1 }, OutletErrorKind::Misconfigured),
            (ReportStatus::DecryptionError { counter: 1 }, OutletErrorKind::Misconfigured),
            (ReportStatus::NotInTimeWindow { counter: 1 }, OutletErrorKind::Refused),
            (ReportStatus::UnknownEngineId { counter: 1 }, OutletErrorKind::Refused),
        ] {
            let error = report("pdu.lab:161", &status);
            assert!(error.kind == kind && error.answer == Some(status.to_string()), "{error:?}");
            assert!(!error.may_have_switched(), "{error:?}");
        }
    }

    #[test]
    fn a_missing_answer_says_whether_the_outlet_may_have_been_switched() {
        for (kind, is_sent, expected) in [
            (RequestKind::Order, true, OutletErrorKind::AnswerPending),
            (RequestKind::Order, false, OutletErrorKind::NotConnected),
            (RequestKind::Query, true, OutletErrorKind::ConnectionLost),
            (RequestKind::Query, false, OutletErrorKind::NotConnected),
        ] {
            let record = CallRecord { is_sent, ..CallRecord::default() };
            assert_eq!(unanswered("pdu.lab:161", kind, "5s", "", &record).kind, expected);
        }
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        let record = CallRecord { is_sent: true, ..CallRecord::default() };
        for (kind, error, expected) in [
            (RequestKind::Order, &refused, OutletErrorKind::NotConnected),
            (RequestKind::Order, &broken, OutletErrorKind::ConnectionLost),
            (RequestKind::Query, &broken, OutletErrorKind::NotConnected),
        ] {
            assert_eq!(of_socket("pdu.lab:161", kind, error, None, &record).kind, expected);
        }
    }
}
