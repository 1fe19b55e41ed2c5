//! Observation of fetches, for the boot log.

use std::net::SocketAddr;
use std::time::Duration;

use super::packet::TftpErrorCode;

/// One read request being answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TftpFetch {
    /// Number of the request, counted from 1 since the server was bound.
    pub number: u64,
    /// The client; an IPv4 client has its IPv4 address also where the server listens on `[::]`.
    pub peer: SocketAddr,
    /// The requested file, without leading `/`; if it is not UTF-8, bytes that are not ASCII are written as `\xff`.
    /// Untrusted: any text without NUL, from up to 500 bytes.
    pub file: String,
}

/// How a fetch ended.
///
/// Byte counts are payload that the client acknowledged, not what was only sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferEnd {
    /// The client acknowledged the last block.
    Sent {
        /// The payload's bytes; in netascii more than the file has.
        bytes: u64,
        /// Time from the request to the last ACK, in real time.
        took: Duration,
    },
    /// There is no such file; the client received an ERROR.
    NotFound,
    /// The request was refused; the client received an ERROR.
    Refused(TftpRefusal),
    /// The client stopped answering; all retransmissions failed.
    Silent {
        /// Bytes acknowledged; 0 also if the client never answered.
        bytes_acked: u64,
        /// Whether all of the file was sent: a boot loader may run it without acknowledging the last block.
        is_all_sent: bool,
    },
    /// The client ended the transfer.
    Aborted {
        /// Bytes acknowledged.
        bytes_acked: u64,
        /// How the client ended it.
        by: ClientAbort,
    },
    /// The server ended the transfer.
    Dropped {
        /// Bytes acknowledged.
        bytes_acked: u64,
        /// The reason.
        why: TransferDropReason,
    },
    /// The server failed; the operator has to fix it.
    ServerError {
        /// What failed; may contain local paths, so it is not sent to the client.
        reason: String,
    },
}

/// How a client ended a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAbort {
    /// It sent an ERROR packet. With [`TftpErrorCode::OPTIONS`] and nothing transferred, it only requested the size.
    Error {
        /// The code it sent.
        code: TftpErrorCode,
        /// The message it sent: any text.
        message: String,
    },
    /// It sent a new request from the same port, like a board after a reset.
    NewRequest,
    /// Its port is closed (ICMP port unreachable).
    PortClosed,
}

/// Why the server ended a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferDropReason {
    /// The client had not answered, and another client needed the capacity.
    #[error("unanswered, dropped for another client")]
    Overload,
    /// It took longer than [`TftpLimits::max_transfer_time`](super::TftpLimits::max_transfer_time).
    #[error("transfer took too long")]
    TooLong,
    /// Its client was slower than [`TftpLimits::slow_allowance`](super::TftpLimits::slow_allowance) allows.
    #[error("client too slow")]
    TooSlow,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TftpRefusal {
    /// The name, or a link on its way, leads out of the boot tree.
    #[error("outside the boot tree")]
    Outside,
    /// Too many symbolic links.
    #[error("too many symbolic links")]
    Loop,
    /// It is a directory, a pipe, a socket or a device.
    #[error("not a regular file")]
    NotAFile,
    /// The server's user may not read it.
    #[error("access denied")]
    Unreadable,
    /// The mode is neither octet nor netascii.
    #[error("only octet and netascii are supported")]
    Mode,
}

impl TftpRefusal {
    /// The error code sent to the client.
    ///
    /// A directory is "not found", which is the most useful error in curl and boot loaders.
    pub(super) fn code(&self) -> TftpErrorCode {
        match self {
            Self::NotAFile => TftpErrorCode::NOT_FOUND,
            Self::Outside | Self::Loop | Self::Unreadable => TftpErrorCode::ACCESS,
            Self::Mode => TftpErrorCode::ILLEGAL,
        }
    }
}

/// Observer of fetches.
///
/// [`TftpObserver::on_request`] and [`TftpObserver::on_drop`] are called in the order of the requests. All are called
/// by the server's tasks and must not block.
pub trait TftpObserver: Send + Sync + 'static {
    /// A client requested a file; the transfer is about to start.
    fn on_request(&self, fetch: &TftpFetch);

    /// The fetch has ended. Not called for fetches running when the server stopped.
    fn on_end(&self, fetch: &TftpFetch, end: TransferEnd);

    /// A request was dropped without an answer for lack of capacity; the client may retry.
    fn on_drop(&self, fetch: &TftpFetch);
}
