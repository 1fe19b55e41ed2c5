//! A part of an instance's history, the newest entries first.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use super::entry::EntryView;
use crate::api::context::Api;
use crate::api::problem::{Problem, fault};
use crate::machine::MachineName;
use crate::store::definitions;
use crate::store::history;
use crate::store::instances::InstanceId;
use crate::store::{Store, StoreError};

/// Which part of a history is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Page {
    /// Only entries before this one.
    before: Option<i64>,
    /// At most so many.
    limit: Option<i64>,
}

/// The most entries in one answer.
const MAX_LIMIT: i64 = 1000;
/// How many entries are read at first: they may be large.
const FIRST_READ: i64 = 16;
/// How many are read at once where they are small.
const MAX_READ: i64 = 256;
/// How large a part of an answer is to become, in bytes.
const PART_BYTES: usize = 64 * 1024;

/// Answers with a part of an instance's history: as one where it is short, otherwise in parts that are read as the client
/// takes them.
pub(in crate::api) async fn read(
    api: Arc<Api>,
    machine: MachineName,
    id: InstanceId,
    Page { before, limit }: Page,
) -> Result<Response, Problem> {
    let limit = limit.unwrap_or(100);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid(format!(
            "limit={limit}: from 1 to {MAX_LIMIT} entries can be asked for"
        )));
    }
    let mut rest = Rest { api, machine, id, before, left: limit, at_once: FIRST_READ, is_begun: false };
    let (first, has_more) = rest.next().await?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    if !has_more {
        return Ok((json, first).into_response());
    }
    let parts = stream::try_unfold(Some(rest), async |rest| {
        let Some(mut rest) = rest else { return Ok(None) };
        match rest.next().await {
            Ok((part, has_more)) => Ok(Some((Bytes::from(part), has_more.then_some(rest)))),
            // Whoever listens must not take a part for the whole: the connection is cut. What failed is logged already.
            Err(_) => Err("the history broke off"),
        }
    });
    let all = stream::iter([Ok(Bytes::from(first))]).chain(parts);
    Ok((json, Body::from_stream(all)).into_response())
}

/// What is still to be read of a history.
struct Rest {
    api: Arc<Api>,
    machine: MachineName,
    id: InstanceId,
    before: Option<i64>,
    left: i64,
    /// How many entries are read at once.
    at_once: i64,
    is_begun: bool,
}

impl Rest {
    /// Reads and writes the next part, and says whether there is another.
    async fn next(&mut self) -> Result<(Vec<u8>, bool), Problem> {
        let wanted = self.at_once.min(self.left);
        let store = self.api.engine.store();
        let read = async {
            let mut db = store.reader().await?;
            let adopted = definitions::list(&mut db, &self.machine).await?;
            // One more than is wanted tells whether there are more.
            Ok::<_, StoreError>((adopted, history::list(&mut db, self.id, self.before, wanted + 1).await?))
        };
        let (adopted, mut entries) = store.within(Store::LONGEST, read).await?;
        let most = usize::try_from(wanted).unwrap_or(usize::MAX);
        let has_more = entries.len() > most;
        entries.truncate(most);
        self.left -= wanted;
        self.before = entries.last().map(|last| last.id);
        let mut part = if self.is_begun { Vec::new() } else { br#"{"history":["#.to_vec() };
        for entry in entries {
            if std::mem::replace(&mut self.is_begun, true) {
                part.push(b',');
            }
            serde_json::to_writer(&mut part, &EntryView::new(entry, &adopted))
                .map_err(|error| fault(&error))?;
        }
        // Small entries are read in larger numbers.
        if part.len() < PART_BYTES {
            self.at_once = (self.at_once * 4).min(MAX_READ);
        }
        let goes_on = has_more && self.left > 0;
        if !goes_on {
            part.extend_from_slice(br#"],"next":"#);
            serde_json::to_writer(&mut part, &self.before.filter(|_| has_more))
                .map_err(|error| fault(&error))?;
            part.push(b'}');
        }
        Ok((part, goes_on))
    }
}
