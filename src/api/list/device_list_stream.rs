//! Sends a list while it is read from the database, in one snapshot.

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
use crate::formatting::with_causes;
use crate::machine::{Definition, MachineName};
use crate::store::{Snapshot, StoreError};

/// How many boards are read by one statement. The limit keeps the database from sorting and sending a whole
/// farm for a client that disconnects.
const BOARDS_PER_READ: i64 = 10_000;
/// The size of a part that is sent at once, in bytes.
const LIST_PART_BYTES: usize = 64 * 1024;
/// How much longer the timeout of the database is than ours: ours passes first and names what took too long.
const DATABASE_TIMEOUT_MARGIN: Duration = Duration::from_secs(5);

/// A list to send.
pub(super) struct DeviceListStream {
    /// The snapshot, with its permit.
    pub(super) snapshot: (Snapshot, FairPermit),
    pub(super) machine: MachineName,
    pub(super) filter: BoardFilter,
    /// The active definition of boards, if there is one.
    pub(super) definition: Option<Arc<Definition>>,
    /// The last name that was read, or the `after` of the query.
    pub(super) after: String,
    /// How many boards are still to be sent.
    pub(super) remaining: i64,
    /// The JSON that was written and not sent yet; first up to the beginning of the array.
    pub(super) body: Vec<u8>,
}

/// A part of a list.
struct ListPart {
    bytes: Bytes,
    is_last: bool,
}

/// Passes parts to the answer, or the problem where reading fails before the first one.
struct ListPartSender {
    parts: mpsc::Sender<Result<ListPart, Problem>>,
    /// How long a part may wait for the client.
    stall_timeout: Duration,
    has_begun: bool,
}

/// Why a list was not sent completely.
#[derive(Debug, Error)]
enum ListError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Unknown(String),
    #[error("the client disconnected")]
    Gone,
    #[error("the client read nothing for {0:?}")]
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
            ListError::Unknown(detail) => Self::invalid(detail),
            ListError::Json(_) | ListError::Gone | ListError::Stalled(_) => internal_error(&error),
        }
    }
}

impl DeviceListStream {
    /// Answers with the list.
    pub(super) async fn answer(mut self, tag: &str, timeouts: ListTimeouts) -> Result<Response, Problem> {
        let ListTimeouts { first_part_timeout, whole_timeout, stall_timeout } = timeouts;
        self.snapshot.0.take_time(whole_timeout + DATABASE_TIMEOUT_MARGIN).await?;
        self.snapshot.0.avoid_sorting().await?;
        let (sender, mut parts) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(
            self.run(ListPartSender { parts: sender, stall_timeout, has_begun: false }, whole_timeout),
        );
        let first = tokio::select! {
            first = parts.recv() => first,
            () = sleep_real_time(first_part_timeout) => return Err(ListError::TooLong(first_part_timeout).into()),
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
                // The connection is cut, so that the client does not take a part for the whole.
                Some(Err(_)) | None => Err("list aborted"),
            }
        });
        let all = stream::iter([Ok(first)]).chain(rest);
        Ok(json(tag, Body::from_stream(all)))
    }

    /// Sends the list. It runs in its own task, so that a client that stops reading does not hold one of the few snapshots for
    /// ever.
    async fn run(self, mut sender: ListPartSender, whole_timeout: Duration) {
        let sent = tokio::select! {
            sent = self.send(&mut sender) => sent,
            () = sleep_real_time(whole_timeout) => Err(ListError::TooLong(whole_timeout)),
        };
        match sent {
            Ok(()) | Err(ListError::Gone) => {}
            Err(error) if sender.has_begun => {
                tracing::warn!(error = %with_causes(&error), "list aborted");
            }
            Err(error) => {
                // The client may have disconnected.
                let _ = sender.parts.send(Err(error.into())).await;
            }
        }
    }

    async fn send(self, sender: &mut ListPartSender) -> Result<(), ListError> {
        let Self {
            snapshot: (mut snapshot, permit),
            machine,
            filter,
            definition,
            mut after,
            mut remaining,
            mut body,
        } = self;
        let is_whole = after.is_empty();
        let has_more = loop {
            let wanted = BOARDS_PER_READ.min(remaining);
            let mut read = 0;
            // One more than wanted shows whether there are more.
            let mut boards = pin!(lists::read(&mut snapshot, &machine, &filter, &after, wanted + 1)?);
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
                    sender.send_part(ListPart { bytes: written.into(), is_last: false }).await?;
                }
            }
            remaining -= wanted;
            if read <= wanted || remaining == 0 {
                break read > wanted;
            }
        };
        if is_whole && after.is_empty() {
            // No board matches: a value of the filter may be misspelt.
            if let Some(unknown) =
                unknown_values::find_unknown_value(&mut snapshot, &machine, &filter).await?
            {
                return Err(ListError::Unknown(unknown));
            }
        }
        // Released for others while the client reads the end.
        drop((snapshot, permit));
        body.extend(br#"],"next":"#);
        serde_json::to_writer(&mut body, &has_more.then_some(after))?;
        body.push(b'}');
        sender.send_part(ListPart { bytes: body.into(), is_last: true }).await
    }
}

impl ListPartSender {
    /// Passes a part on, as soon as the client has read the one before.
    async fn send_part(&mut self, part: ListPart) -> Result<(), ListError> {
        tokio::select! {
            sent = self.parts.send(Ok(part)) => sent.map_err(|_| ListError::Gone)?,
            () = sleep_real_time(self.stall_timeout) => return Err(ListError::Stalled(self.stall_timeout)),
        }
        self.has_begun = true;
        Ok(())
    }
}
