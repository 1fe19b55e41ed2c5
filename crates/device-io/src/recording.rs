//! A stream that records the first bytes received, for the evidence.

use std::borrow::BorrowMut;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many received bytes are recorded.
pub(crate) const MAX_RECORDED_BYTES: usize = 4096;

/// A stream `S` that records the first bytes received in `R`, a buffer or a reference to one.
#[derive(Debug)]
pub(crate) struct RecordingStream<S, R> {
    pub(crate) stream: S,
    pub(crate) received: R,
}

impl<S: AsyncRead + Unpin, R: BorrowMut<Vec<u8>> + Unpin> AsyncRead for RecordingStream<S, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        let received = self.received.borrow_mut();
        let free = MAX_RECORDED_BYTES.saturating_sub(received.len());
        received.extend(buffer.filled().iter().skip(before).take(free));
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin, R: Unpin> AsyncWrite for RecordingStream<S, R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
