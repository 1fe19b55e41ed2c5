//! A list on its way to a client: it is sent as it is read, all of one moment.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::timeouts::ListTimeouts;
use super::{board_json, unknown_values};
use crate::api::etag::json;
use crate::api::fair_semaphore::FairPermit;
use crate::api::problem::{Problem, internal_error};
use crate::boards::store::lists::{self, BoardFilter};
use crate::clock::sleep_real_time;
use crate::machine::{Definition, MachineName};
use crate::store::{Snapshot, StoreError};

/// How many boards are read at once. The database need not sort a whole farm, nor send all of it where the client goes away.
const BOARDS_PER_READ: i64 = 10_000;
/// How much is sent at once, in bytes.
const LIST_PART_BYTES: usize = 64 * 1024;
/// How much longer the database would wait than we do, so that it is we who say what took too long.
const DATABASE_TIMEOUT_MARGIN: Duration = Duration::from_secs(5);

/// A list that is to be sent.
pub(super) struct DeviceListStream {
    /// With the permit for it.
    pub(super) snapshot: (Snapshot, FairPermit),
    pub(super) machine: MachineName,
    pub(super) filter: BoardFilter,
    /// What boards live by, where that is known.
    pub(super) definition: Option<Arc<Definition>>,
    /// The last name that was read, or that the client knows.
    pub(super) after: String,
    /// How many boards are still wanted.
    pub(super) remaining: i64,
    /// What was written and not sent yet: up to the beginning of the array, at first.
    pub(super) body: Vec<u8>,
}

/// A part of a list as it is sent.
struct ListPart {
    bytes: Bytes,
    is_last: bool,
}

/// Where parts are passed on to the answer: what fails before the first one comes there, too.
struct ListPartSender {
    parts: mpsc::Sender<Result<ListPart, Problem>>,
    /// How long a part may wait to be taken.
    stall_timeout: Duration,
    has_begun: bool,
}

/// Why a list was not sent to its end.
#[derive(Debug, Error)]
enum ListError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Unknown(String),
    #[error("nobody takes the list, or sends it, any more")]
    Gone,
    #[error("the client took nothing for {0:?}")]
    Stalled(Duration),
    #[error("the list took longer than {0:?}")]
    TooLong(Duration),
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Store(error) => error.into(),
            ListError::TooLong(_) => {
                let detail = format!("{error}; try again shortly, or ask for fewer boards");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
            ListError::Unknown(what) => Self::invalid(what),
            ListError::Json(_) | ListError::Gone | ListError::Stalled(_) => internal_error(&error),
        }
    }
}

impl DeviceListStream {
    /// Answers with the list.
    pub(super) async fn answer(mut self, tag: &str, timeouts: ListTimeouts) -> Result<Response, Problem> {
        let ListTimeouts { first_part_timeout: begin, whole_timeout: whole, stall_timeout: longest_pause } =
            timeouts;
        self.snapshot.0.take_time(whole + DATABASE_TIMEOUT_MARGIN).await?;
        let (outlet, mut parts) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(
            self.run(ListPartSender { parts: outlet, stall_timeout: longest_pause, has_begun: false }, whole),
        );
        let first = tokio::select! {
            first = parts.recv() => first,
            () = sleep_real_time(begin) => return Err(ListError::TooLong(begin).into()),
        };
        let first = match first {
            Some(Ok(ListPart { bytes, is_last: true })) => return Ok(json(tag, bytes)),
            Some(Ok(ListPart { bytes, is_last: false })) => bytes,
            Some(Err(problem)) => return Err(problem),
            None => return Err(ListError::Gone.into()),
        };
        let rest = stream::try_unfold(Some((parts, task)), |rest| async {
            let Some((mut parts, task)) = rest else { return Ok(None) };
            match parts.recv().await {
                Some(Ok(ListPart { bytes, is_last })) => {
                    Ok(Some((bytes, (!is_last).then_some((parts, task)))))
                }
                // Whoever listens must not take a part for the whole: the connection is cut.
                Some(Err(_)) | None => Err("the list broke off"),
            }
        });
        let all = stream::iter([Ok(first)]).chain(rest);
        Ok(json(tag, Body::from_stream(all)))
    }

    /// Sends the list. It runs in a task of its own, or else a client that takes nothing any more would keep one of the few
    /// snapshots for ever.
    async fn run(self, mut outlet: ListPartSender, whole: Duration) {
        let sent = tokio::select! {
            sent = self.send(&mut outlet) => sent,
            () = sleep_real_time(whole) => Err(ListError::TooLong(whole)),
        };
        match sent {
            Ok(()) | Err(ListError::Gone) => {}
            Err(error) if outlet.has_begun => {
                tracing::warn!(error = &error as &dyn Error, "list aborted");
            }
            Err(error) => {
                // Whoever asked may have gone.
                let _ = outlet.parts.send(Err(error.into())).await;
            }
        }
    }

    async fn send(self, outlet: &mut ListPartSender) -> Result<(), ListError> {
        let Self {
            snapshot: (mut snapshot, permit),
            machine,
            filter,
            definition,
            mut after,
            remaining: mut left,
            mut body,
        } = self;
        let is_whole = after.is_empty();
        let has_more = loop {
            let wanted = BOARDS_PER_READ.min(left);
            let mut read = 0;
            // One more than is wanted tells whether there are more.
            let mut boards = pin!(lists::read(&mut snapshot, &machine, &filter, &after, wanted + 1));
            while let Some(board) = boards.try_next().await? {
                read += 1;
                if read > wanted {
                    continue;
                }
                let board = board.read()?;
                board_json::write_board(&board, definition.as_deref(), &mut body)?;
                board.name.clone_into(&mut after);
                if body.len() >= LIST_PART_BYTES {
                    let written = std::mem::replace(
                        &mut body,
                        Vec::with_capacity(LIST_PART_BYTES + LIST_PART_BYTES / 8),
                    );
                    outlet.send_part(ListPart { bytes: written.into(), is_last: false }).await?;
                }
            }
            left -= wanted;
            if read <= wanted || left == 0 {
                break read > wanted;
            }
        };
        if is_whole && after.is_empty() {
            // No board matches: whoever asked may have meant something else.
            if let Some(unknown) =
                unknown_values::find_unknown_value(&mut snapshot, &machine, &filter).await?
            {
                return Err(ListError::Unknown(unknown));
            }
        }
        // Others may have it while the client takes the end.
        drop((snapshot, permit));
        body.extend(br#"],"next":"#);
        serde_json::to_writer(&mut body, &has_more.then_some(after))?;
        body.push(b'}');
        outlet.send_part(ListPart { bytes: body.into(), is_last: true }).await
    }
}

impl ListPartSender {
    /// Passes a part on, as soon as the one before is taken.
    async fn send_part(&mut self, part: ListPart) -> Result<(), ListError> {
        tokio::select! {
            sent = self.parts.send(Ok(part)) => sent.map_err(|_| ListError::Gone)?,
            () = sleep_real_time(self.stall_timeout) => return Err(ListError::Stalled(self.stall_timeout)),
        }
        self.has_begun = true;
        Ok(())
    }
}
