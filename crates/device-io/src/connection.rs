//! Connections with bounded delivery.

use std::io::{self, Read};
use std::time::Duration;

use futures_util::FutureExt;
use socket2::SockRef;

use crate::tls::DeviceStream;

/// The shortest delivery timeout: 0 would select the system's default.
const MIN_DELIVERY_TIMEOUT: Duration = Duration::from_millis(1);

/// Bytes discarded at once.
const DISCARDED_BYTES: usize = 512;

/// A connection to a device. Dropping it between a request and its answer discards unsent data, because another process
/// may hold the device by then.
#[derive(Debug)]
pub struct DeviceConnection {
    stream: DeviceStream,
    is_answer_due: bool,
}

impl DeviceConnection {
    /// Wraps a stream on which no request was sent.
    ///
    /// # Errors
    ///
    /// When a socket option cannot be set.
    pub fn new(stream: impl Into<DeviceStream>) -> io::Result<Self> {
        let stream = stream.into();
        SockRef::from(stream.tcp()).set_tcp_nodelay(true)?;
        Ok(Self { stream, is_answer_due: false })
    }

    /// Bounds the delivery of data sent from now on. The kernel enforces this even while this process is stopped.
    ///
    /// # Errors
    ///
    /// When the socket option cannot be set.
    pub fn deliver_within(&self, limit: Duration) -> io::Result<()> {
        SockRef::from(self.stream.tcp()).set_tcp_user_timeout(Some(limit.max(MIN_DELIVERY_TIMEOUT)))
    }

    /// Returns the stream for a request; an answer is due until [`answered`](Self::answered).
    pub fn request(&mut self) -> &mut DeviceStream {
        self.is_answer_due = true;
        &mut self.stream
    }

    /// Discards what was received so far on a connection without TLS; what arrives later is not distinguished. An error is
    /// left to the next request.
    pub fn discard_received(&mut self) {
        let (socket, mut chunk) = (SockRef::from(self.stream.tcp()), [0; DISCARDED_BYTES]);
        // The socket is non-blocking.
        while matches!((&*socket).read(&mut chunk), Ok(1..)) {}
    }

    /// Records that the answer is complete.
    pub fn answered(&mut self) {
        self.is_answer_due = false;
    }

    /// Whether the device has closed the connection while no request was pending.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.stream.tcp().peek(&mut [0]).now_or_never(), Some(Ok(0) | Err(_)))
    }

    /// Returns the delivery timeout.
    ///
    /// # Errors
    ///
    /// When the socket option cannot be read.
    pub fn delivery_limit(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self.stream.tcp()).tcp_user_timeout()
    }
}

impl Drop for DeviceConnection {
    fn drop(&mut self) {
        if !self.is_answer_due {
            return;
        }
        // The connection is closed even if this fails.
        if let Err(error) = SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot discard unsent data of a device connection");
        }
    }
}
