//! Lists the boards that changed since an earlier answer.

use std::collections::BTreeSet;
use std::pin::pin;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;

use super::board_json;
use super::list_cursor::ListCursor;
use crate::api::client::ClientKey;
use crate::api::context::ApiContext;
use crate::api::problem::{Problem, internal_error};
use crate::boards::store::lists::{self, BoardFilter};
use crate::machine::Definition;
use crate::store::changes::{self, InstanceChangeKind};

/// The maximum number of rows of the change log that are read for an answer.
const MAX_CHANGE_LOG_ROWS: u16 = 4096;
/// The maximum number of changed boards in an answer; for more, a new list is cheaper.
const MAX_CHANGED_BOARDS: usize = 10_000;

/// Answers with the changes since an earlier answer.
pub(super) async fn list_changes(
    api: &ApiContext,
    client: ClientKey,
    filter: BoardFilter,
    (number, definition): (Option<i32>, Option<&Definition>),
    since: &str,
) -> Result<Response, Problem> {
    let since: ListCursor = since.parse().map_err(|_| {
        let shown: String = since.chars().take(80).collect();
        Problem::invalid(format!("since: {shown:?} is not a cursor: take the `cursor` of an earlier answer"))
    })?;
    let gone = || {
        let detail = "too many changes since this cursor, or it has expired, or another definition is active: list \
                      again without since, and continue from the cursor of that answer";
        Problem::new(StatusCode::GONE, "cursor_gone", detail)
    };
    // Labels and failed tries of all boards can differ under another definition.
    if since.definition != number {
        return Err(gone());
    }
    let _permit = api.snapshot_permits.acquire(client).await?;
    let mut snapshot = api.engine.store().snapshot().await?;
    let log = changes::read(&mut snapshot, &since.changes, MAX_CHANGE_LOG_ROWS).await?.ok_or_else(gone)?;
    let mut among = BTreeSet::new();
    let mut removed = BTreeSet::new();
    for logged in log.changes {
        match logged.change.kind {
            InstanceChangeKind::Written { .. } => _ = among.insert(logged.change.id),
            InstanceChangeKind::Removed { machine, name } if machine == api.machine => {
                _ = removed.insert(name);
            }
            InstanceChangeKind::Removed { .. } => {}
        }
    }
    if among.len() + removed.len() > MAX_CHANGED_BOARDS {
        return Err(gone());
    }
    let among: Vec<_> = among.into_iter().collect();
    let cursor = ListCursor { definition: number, changes: log.cursor };
    let mut body = format!(r#"{{"cursor":"{cursor}","devices":["#).into_bytes();
    if !among.is_empty() {
        // Without a filter, all that changed and exist are listed.
        if filter != BoardFilter::default() {
            removed.extend(lists::read_names(&mut snapshot, &api.machine, &among).await?);
        }
        let filter = BoardFilter { among: Some(among), ..filter };
        let mut boards = pin!(lists::read(&mut snapshot, &api.machine, &filter, "", i64::MAX)?);
        while let Some(board) = boards.try_next().await? {
            let board = board.read()?;
            // What is left in `removed` does not exist or does not match the filter. A removed name can belong to a new board.
            removed.remove(board.name);
            board_json::write_board(&board, definition, &mut body).map_err(|error| internal_error(&error))?;
        }
    }
    body.extend(br#"],"removed":"#);
    serde_json::to_writer(&mut body, &removed).map_err(|error| internal_error(&error))?;
    body.push(b'}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
