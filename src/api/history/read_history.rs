//! A page of an instance's history, newest entries first.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use super::entry_view::HistoryEntryView;
use crate::api::context::ApiContext;
use crate::api::problem::{Problem, internal_error};
use crate::machine::MachineName;
use crate::store::definitions;
use crate::store::history;
use crate::store::instances::InstanceId;
use crate::store::{Store, StoreError};

/// The query of a page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct HistoryPageQuery {
    /// Only entries before the one with this number.
    before: Option<i64>,
    /// The maximum number of entries.
    limit: Option<i64>,
}

/// The maximum number of entries of a page.
const MAX_HISTORY_ENTRIES: i64 = 1000;
/// How many entries are read first: entries can be large.
const FIRST_READ_ENTRIES: i64 = 16;
/// The maximum number of entries that are read at once, if they are small.
const MAX_READ_ENTRIES: i64 = 256;
/// Parts of an answer are read larger until they have this many bytes.
const HISTORY_PART_BYTES: usize = 64 * 1024;

/// Answers with a page of an instance's history: in one piece where it is short, otherwise in parts that are read as the
/// client takes them.
pub(in crate::api) async fn read_history(
    api: Arc<ApiContext>,
    machine: MachineName,
    id: InstanceId,
    HistoryPageQuery { before, limit }: HistoryPageQuery,
) -> Result<Response, Problem> {
    let limit = limit.unwrap_or(100);
    if !(1..=MAX_HISTORY_ENTRIES).contains(&limit) {
        return Err(Problem::invalid(format!(
            "limit={limit}: from 1 to {MAX_HISTORY_ENTRIES} entries can be asked for"
        )));
    }
    let mut reader = HistoryReader {
        api,
        machine,
        id,
        before,
        remaining: limit,
        entries_per_read: FIRST_READ_ENTRIES,
        is_begun: false,
    };
    let (first, has_more) = reader.next_part().await?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    if !has_more {
        return Ok((json, first).into_response());
    }
    let parts = stream::try_unfold(Some(reader), async |reader| {
        let Some(mut reader) = reader else { return Ok(None) };
        match reader.next_part().await {
            Ok((part, has_more)) => Ok(Some((Bytes::from(part), has_more.then_some(reader)))),
            // The connection is cut, so that the client does not take a part for the whole. The error is logged already.
            Err(_) => Err("history aborted"),
        }
    });
    let all = stream::iter([Ok(Bytes::from(first))]).chain(parts);
    Ok((json, Body::from_stream(all)).into_response())
}

/// Reads a page part by part.
struct HistoryReader {
    api: Arc<ApiContext>,
    machine: MachineName,
    id: InstanceId,
    before: Option<i64>,
    remaining: i64,
    /// How many entries are read for the next part.
    entries_per_read: i64,
    is_begun: bool,
}

impl HistoryReader {
    /// Reads the next part as JSON; the flag is set if another part follows.
    async fn next_part(&mut self) -> Result<(Vec<u8>, bool), Problem> {
        let wanted = self.entries_per_read.min(self.remaining);
        let store = self.api.engine.store();
        let read = async {
            let mut db = store.reader().await?;
            let activated = definitions::list_activated(&mut db, &self.machine).await?;
            // One more than wanted shows whether there are more.
            Ok::<_, StoreError>((activated, history::list(&mut db, self.id, self.before, wanted + 1).await?))
        };
        let (activated, mut entries) = store.within(Store::MAX_STATEMENT_TIME, read).await?;
        let max_entries = usize::try_from(wanted).unwrap_or(usize::MAX);
        let has_more = entries.len() > max_entries;
        entries.truncate(max_entries);
        self.remaining -= wanted;
        self.before = entries.last().map(|last| last.id);
        let mut part = if self.is_begun { Vec::new() } else { br#"{"history":["#.to_vec() };
        for entry in entries {
            if std::mem::replace(&mut self.is_begun, true) {
                part.push(b',');
            }
            serde_json::to_writer(&mut part, &HistoryEntryView::new(entry, &activated))
                .map_err(|error| internal_error(&error))?;
        }
        if part.len() < HISTORY_PART_BYTES {
            self.entries_per_read = (self.entries_per_read * 4).min(MAX_READ_ENTRIES);
        }
        let is_last = !has_more || self.remaining <= 0;
        if is_last {
            part.extend_from_slice(br#"],"next":"#);
            serde_json::to_writer(&mut part, &self.before.filter(|_| has_more))
                .map_err(|error| internal_error(&error))?;
            part.push(b'}');
        }
        Ok((part, !is_last))
    }
}
