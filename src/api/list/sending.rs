//! A list on its way to a client: it is sent as it is read, all of one moment.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::Problem;
use super::super::body::json;
use super::super::problem::fault;
use super::board;
use crate::clock::pause;
use crate::machine::MachineName;
use crate::store::lists::{self, Filter};
use crate::store::{Snapshot, StoreError};

/// How many boards are read at once. The database need not put a whole farm in order, nor tell it to the end where the
/// client goes away.
const PAGE: i64 = 10_000;
/// How much is sent at once, in bytes.
const PART: usize = 64 * 1024;
/// How long a client may take nothing: there are only so many snapshots.
const STALLED: Duration = Duration::from_secs(10);

/// A list that is to be sent.
pub(super) struct Sending {
    pub(super) snapshot: Snapshot,
    pub(super) machine: MachineName,
    pub(super) filter: Filter,
    /// The last name that was read, or that the client knows.
    pub(super) after: String,
    /// How many boards are still wanted.
    pub(super) left: i64,
    /// What was written and not sent yet: up to the beginning of the array, at first.
    pub(super) body: Vec<u8>,
}

/// A part of a list as it is sent.
struct Part {
    bytes: Bytes,
    is_last: bool,
}

/// Whoever is given the parts: what fails before the first one comes as a problem.
type Listener = mpsc::Sender<Result<Part, Problem>>;

/// Why a list was not sent to its end.
#[derive(Debug, Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("whoever was to take it, or to send it, went away")]
    Gone,
    #[error("the client took nothing for {STALLED:?}")]
    Stalled,
    #[error("the list took longer than {0:?}")]
    TooLong(Duration),
}

impl From<Broken> for Problem {
    fn from(error: Broken) -> Self {
        match error {
            Broken::Store(error) => error.into(),
            Broken::TooLong(_) => {
                let detail = format!("{error}; try again shortly, or ask for fewer boards");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
            Broken::Json(_) | Broken::Gone | Broken::Stalled => fault(&error),
        }
    }
}

impl Sending {
    /// Answers with the list, for which the client may take as long as `longest`.
    pub(super) async fn answer(mut self, tag: &str, longest: Duration) -> Result<Response, Problem> {
        self.snapshot.take_time(Some(longest)).await?;
        let (listener, mut parts) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(self.run(listener, longest));
        let first = match parts.recv().await {
            Some(Ok(Part { bytes, is_last: true })) => return Ok(json(tag, bytes)),
            Some(Ok(Part { bytes, is_last: false })) => bytes,
            Some(Err(problem)) => return Err(problem),
            None => return Err(Broken::Gone.into()),
        };
        let rest = stream::try_unfold(Some((parts, task)), |rest| async {
            let Some((mut parts, task)) = rest else { return Ok(None) };
            match parts.recv().await {
                Some(Ok(Part { bytes, is_last })) => Ok(Some((bytes, (!is_last).then_some((parts, task))))),
                // Whoever listens must not take a part for the whole: the connection is cut.
                Some(Err(_)) | None => Err("the list broke off"),
            }
        });
        let all = stream::iter([Ok(first)]).chain(rest);
        Ok(json(tag, Body::from_stream(all)))
    }

    /// Sends the list. It runs in a task of its own, or else a client that takes nothing any more would keep one of the few
    /// snapshots for ever.
    async fn run(mut self, listener: Listener, longest: Duration) {
        let mut has_begun = false;
        let sent = tokio::select! {
            sent = self.send(&listener, &mut has_begun) => sent,
            () = pause(longest) => Err(Broken::TooLong(longest)),
        };
        match sent {
            Ok(()) | Err(Broken::Gone) => {}
            Err(error) if has_begun => {
                tracing::warn!(error = &error as &dyn Error, "a list broke off");
            }
            Err(error) => {
                let _ = listener.send(Err(error.into())).await;
            }
        }
    }

    async fn send(&mut self, listener: &Listener, has_begun: &mut bool) -> Result<(), Broken> {
        let Self { snapshot, machine, filter, after, left, body } = self;
        loop {
            let wanted = PAGE.min(*left);
            let mut read = 0;
            // One more than is wanted tells whether there are more.
            let mut boards = pin!(lists::boards(snapshot, machine, filter, after, wanted + 1));
            while let Some(board) = boards.try_next().await? {
                read += 1;
                if read > wanted {
                    continue;
                }
                let board = board.read()?;
                board::add(&board, body)?;
                board.name.clone_into(after);
                if body.len() >= PART {
                    pass_on(body, false, listener).await?;
                    *has_begun = true;
                }
            }
            let has_more = read > wanted;
            *left -= wanted;
            if !has_more || *left == 0 {
                body.extend(br#"],"next":"#);
                serde_json::to_writer(&mut *body, &has_more.then_some(after))?;
                body.push(b'}');
                return pass_on(body, true, listener).await;
            }
        }
    }
}

/// Passes on what was written, as soon as what was passed on before is taken.
async fn pass_on(body: &mut Vec<u8>, is_last: bool, listener: &Listener) -> Result<(), Broken> {
    let written = std::mem::replace(body, Vec::with_capacity(PART + PART / 8));
    let part = Part { bytes: Bytes::from(written), is_last };
    tokio::select! {
        sent = listener.send(Ok(part)) => sent.map_err(|_| Broken::Gone),
        () = pause(STALLED) => Err(Broken::Stalled),
    }
}
