//! The body of an answer; its request ends with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};

use super::answer_memory::AnswerMemoryShare;
use super::connection_watch::ConnectionWatch;

/// A request in progress, until its answer has been written.
#[derive(Debug)]
pub(super) struct RequestUnderWay(Arc<ConnectionWatch>);

impl RequestUnderWay {
    pub(super) fn new(watch: &Arc<ConnectionWatch>) -> Self {
        watch.begin_request();
        Self(Arc::clone(watch))
    }
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// The largest piece of an answer that is passed to the connection at once, in bytes.
const MAX_PIECE_BYTES: usize = 64 * 1024;

/// The body of an answer. The request ends when it is dropped. It is passed on in pieces, so that all but the last of them
/// have been written by then.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    /// The rest of the last part of the body.
    rest: Bytes,
    _under_way: RequestUnderWay,
    _share: Option<AnswerMemoryShare>,
}

impl AnswerBody {
    pub(super) fn new(body: Body, under_way: RequestUnderWay, share: Option<AnswerMemoryShare>) -> Self {
        Self { body, rest: Bytes::new(), _under_way: under_way, _share: share }
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        let size = self.rest.len().min(MAX_PIECE_BYTES);
        Frame::data(self.rest.split_to(size))
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.next_piece())));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)?) else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(part) if part.len() > MAX_PIECE_BYTES => {
                self.rest = part;
                self.next_piece()
            }
            Ok(part) => Frame::data(part),
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
