//! What the server tells about each fetch, for the boards' histories.

use std::net::SocketAddr;
use std::time::Duration;

use super::packet::TftpErrorCode;

/// One read request that is being answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TftpFetch {
    /// Which request it is, counted from 1 since the server was bound.
    pub number: u64,
    /// Who asks; an IPv4 client is named by its IPv4 address also where the server listens on `[::]`.
    pub peer: SocketAddr,
    /// The file as asked for, without leading `/`; where it is no UTF-8, other bytes than ASCII are written `\xff`. It came
    /// from the network: any text without NUL, from up to 500 bytes.
    pub file: String,
}

/// How a fetch ended.
///
/// A count of bytes is of payload that the client acknowledged, never of what was only sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferEnd {
    /// The client acknowledged the last block.
    Sent {
        /// The payload's bytes; in netascii more than the file has.
        bytes: u64,
        /// From the request to the last acknowledgement, in real time.
        took: Duration,
    },
    /// There is no such file, and the client was told so.
    NotFound,
    /// The request was declined, and the client was told so.
    Refused(TftpRefusal),
    /// The client stopped answering, and all retransmissions were in vain.
    Silent {
        /// What had arrived by then; 0 also when the client never answered at all.
        bytes_acked: u64,
        /// Whether all of the file was sent: a boot loader may run it without acknowledging the last block.
        is_all_sent: bool,
    },
    /// The client gave the transfer up.
    Aborted {
        /// What had arrived by then.
        bytes_acked: u64,
        /// How it did so.
        by: ClientAbort,
    },
    /// The server gave the transfer up.
    Dropped {
        /// What had arrived by then.
        bytes_acked: u64,
        /// Why.
        why: TransferDropReason,
    },
    /// Something on our side failed: an operator's to mend.
    ServerError {
        /// What failed, for people; may name paths of this machine, so not for the client.
        reason: String,
    },
}

/// How a client gave a transfer up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAbort {
    /// It sent an ERROR packet. With [`TftpErrorCode::OPTIONS`] and nothing transferred, it only asked for the size.
    Error {
        /// The code it sent.
        code: TftpErrorCode,
        /// The message it sent: any text.
        message: String,
    },
    /// It asked for something from the same port again, as a board does that was reset.
    NewRequest,
    /// Its machine said that nobody listens at the port any more.
    PortClosed,
}

/// Why the server gave a transfer up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferDropReason {
    /// The client had not answered, and others needed the room.
    #[error("not answered, and others needed the room")]
    Overload,
    /// It took longer than [`TftpLimits::max_transfer_time`](super::TftpLimits::max_transfer_time).
    #[error("it took too long")]
    TooLong,
    /// Its client took it more slowly than [`TftpLimits::slow_allowance`](super::TftpLimits::slow_allowance) allows.
    #[error("the client is too slow")]
    TooSlow,
}

/// Why a request was declined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TftpRefusal {
    /// The name, or a link on its way, leads out of the boot tree.
    #[error("outside the boot tree")]
    Outside,
    /// Links lead to links, too many of them.
    #[error("too many symbolic links")]
    Loop,
    /// It is a directory, a pipe, a socket or a device.
    #[error("not a regular file")]
    NotAFile,
    /// The server's user may not read it.
    #[error("access denied")]
    Unreadable,
    /// The mode is neither octet nor netascii.
    #[error("only octet and netascii are served")]
    Mode,
}

impl TftpRefusal {
    /// The code that the client is told.
    ///
    /// A directory is "not found": curl's and boot loaders' users learn most from that.
    pub(super) fn code(&self) -> TftpErrorCode {
        match self {
            Self::NotAFile => TftpErrorCode::NOT_FOUND,
            Self::Outside | Self::Loop | Self::Unreadable => TftpErrorCode::ACCESS,
            Self::Mode => TftpErrorCode::ILLEGAL,
        }
    }
}

/// Is told what boards fetch.
///
/// [`TftpObserver::on_request`] and [`TftpObserver::dropped`] are called in the order of the requests. All are called on the server's way
/// and must not block.
pub trait TftpObserver: Send + Sync + 'static {
    /// A client asked for a file; the transfer is beginning or about to.
    fn on_request(&self, fetch: &TftpFetch);

    /// The fetch is over. Not told of fetches that were running when the server stopped.
    fn on_end(&self, fetch: &TftpFetch, end: TransferEnd);

    /// A request was not taken for want of room, and not answered: the client may ask again.
    fn on_drop(&self, fetch: &TftpFetch);
}
