//! A TCP connection on which nothing is delivered later than it may be.

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use socket2::SockRef;
use tokio::net::TcpStream;

/// The shortest time for delivery: nothing at all would mean the system's own time.
const MIN_DELIVERY_TIMEOUT: Duration = Duration::from_millis(1);

/// A connection to a device. What may still be on its way when it is dropped between a request and its answer is not
/// delivered any more: the device may be another process's by then.
#[derive(Debug)]
pub struct DeviceConnection {
    stream: TcpStream,
    is_answer_due: bool,
}

impl DeviceConnection {
    /// Takes a stream on which nothing was sent.
    ///
    /// # Errors
    ///
    /// When the system does not take an option of its socket.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        SockRef::from(&stream).set_tcp_nodelay(true)?;
        Ok(Self { stream, is_answer_due: false })
    }

    /// Bounds the time in which what is sent from now on is delivered: the kernel sees to that even while this process is
    /// stopped.
    ///
    /// # Errors
    ///
    /// When the system does not take the option.
    pub fn deliver_within(&self, limit: Duration) -> io::Result<()> {
        SockRef::from(&self.stream).set_tcp_user_timeout(Some(limit.max(MIN_DELIVERY_TIMEOUT)))
    }

    /// The stream for a request; an answer is due until [`answered`](Self::answered).
    pub fn request(&mut self) -> &mut TcpStream {
        self.is_answer_due = true;
        &mut self.stream
    }

    /// The answer has come whole.
    pub fn answered(&mut self) {
        self.is_answer_due = false;
    }

    /// Whether the other side has closed it while nothing was asked for.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.stream.peek(&mut [0]).now_or_never(), Some(Ok(0) | Err(_)))
    }

    /// In which time what is sent is delivered.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn delivery_limit(&self) -> io::Result<Option<Duration>> {
        SockRef::from(&self.stream).tcp_user_timeout()
    }
}

impl Drop for DeviceConnection {
    fn drop(&mut self) {
        if !self.is_answer_due {
            return;
        }
        // The connection is closed in any case.
        if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot discard what is still to be sent to a device");
        }
    }
}
