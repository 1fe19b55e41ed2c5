//! Boards in lists: all, those that match, those that changed, and how many there are in each state.
//!
//! Whoever asks again and again pays for what changed only: an entity tag is made of the query and of a [`Cursor`], so
//! that 304 is answered without a look at any board; and with `since` only the boards that changed are sent.

mod board;
mod sending;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

pub use self::sending::Patience;
use self::sending::Sending;
use super::body::{Parameters, json, known_tags, not_modified};
use super::connections::Client;
use super::problem::fault;
use super::{Api, Problem};
use crate::machine::Definition;
use crate::store::StoreError;
use crate::store::changes::{self, Cursor, Now};
use crate::store::lists::{self, Filter};

/// How many rows of the log are read for a client that comes back.
const MOST_CHANGES: u16 = 4096;
/// How many boards may have changed for it to be worth telling which.
const MOST_CHANGED: usize = 10_000;

/// Which boards a list is about, as clients ask.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// States, separated by commas; `Failed*` stands for all that begin so.
    state: Option<String>,
    hardware: Option<String>,
    environment: Option<String>,
    image: Option<String>,
    /// A part of the name.
    name: Option<String>,
    /// Only boards after this name: the `next` of the list before.
    after: Option<String>,
    limit: Option<i64>,
    /// Only what changed since an earlier answer: its `cursor`.
    since: Option<String>,
}

/// How many boards are in each state.
#[derive(Serialize)]
struct StatesView<'a> {
    cursor: String,
    total: i64,
    states: &'a BTreeMap<String, i64>,
}

/// `GET /api/v1/devices?state=&hardware=&environment=&image=&name=&after=&limit=&since=`: boards by name.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Response, Problem> {
    let ListQuery { state, hardware, environment, image, name, after, limit, since } = query;
    let texts = [&state, &hardware, &environment, &image, &name, &after];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Problem::invalid("a query parameter holds the character U+0000"));
    }
    if limit.is_some_and(|limit| limit < 1) {
        return Err(Problem::invalid("limit must be 1 or more"));
    }
    let states: Vec<String> =
        state.map(|state| state.split(',').map(|one| one.trim().to_owned()).collect()).unwrap_or_default();
    let definition = api.engine.definition(&api.machine).ok();
    if let Some(definition) = &definition {
        unknown::refuse_states(definition, &states)?;
    }
    let filter = Filter { states, hardware, environment, image, name, among: None };
    if let Some(since) = since {
        if limit.is_some() || after.is_some() {
            return Err(Problem::invalid(
                "since tells all that changed: it goes with neither after nor limit",
            ));
        }
        return changed(&api, client, filter, definition.as_deref(), &since).await;
    }
    let kind = kind(&("devices", raw));
    if let Some(tag) = current_tag(&api, &headers, &kind).await? {
        return Ok(not_modified(&tag));
    }
    let permit = api.snapshot_permit(client).await?;
    let mut snapshot = api.engine.store().snapshot().await?;
    let cursor = changes::state(&mut snapshot).await?;
    let tag = format!("{kind}.{cursor}");
    let body = format!(r#"{{"cursor":"{cursor}","devices":["#).into_bytes();
    let (after, left) = (after.unwrap_or_default(), limit.unwrap_or(i64::MAX));
    let snapshot = (snapshot, permit);
    let list = Sending { snapshot, machine: api.machine.clone(), filter, definition, after, left, body };
    list.answer(&tag, api.patience).await
}

/// The tag of what the client has, where nothing has changed since it was given that.
async fn current_tag(api: &Api, headers: &HeaderMap, kind: &str) -> Result<Option<String>, StoreError> {
    for known in known_tags(headers) {
        if known == "*" {
            let cursor = changes::state(&mut *api.engine.store().reader().await?).await?;
            return Ok(Some(format!("{kind}.{cursor}")));
        }
        let Some(cursor) = known.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let Ok(cursor) = cursor.parse() else { continue };
        if changes::is_current(&mut *api.engine.store().reader().await?, &cursor).await? {
            return Ok(Some(known.to_owned()));
        }
    }
    Ok(None)
}

/// Tells what changed since an earlier answer.
async fn changed(
    api: &Api,
    client: Client,
    filter: Filter,
    definition: Option<&Definition>,
    since: &str,
) -> Result<Response, Problem> {
    let since: Cursor = since.parse().map_err(|_| {
        let shown: String = since.chars().take(80).collect();
        Problem::invalid(format!("since: {shown:?} is not a cursor: take the `cursor` of an earlier answer"))
    })?;
    let gone = || {
        let detail = "what changed since this cursor is too much, or not known any more: list anew without since, \
                      and go on from the cursor of that answer";
        Problem::new(StatusCode::GONE, "cursor_gone", detail)
    };
    let _permit = api.snapshot_permit(client).await?;
    let mut snapshot = api.engine.store().snapshot().await?;
    let read = changes::read(&mut snapshot, &since, MOST_CHANGES).await?.ok_or_else(gone)?;
    let mut among = BTreeSet::new();
    let mut removed = BTreeSet::new();
    for logged in read.changed {
        match logged.changed.now {
            Now::Is { .. } => _ = among.insert(logged.changed.id),
            Now::Removed { machine, name } if machine == api.machine => _ = removed.insert(name),
            Now::Removed { .. } => {}
        }
    }
    if among.len() + removed.len() > MOST_CHANGED {
        return Err(gone());
    }
    let among: Vec<_> = among.into_iter().collect();
    let mut body = format!(r#"{{"cursor":"{}","devices":["#, read.cursor).into_bytes();
    if !among.is_empty() {
        let all = lists::read_names(&mut snapshot, &api.machine, &among).await?;
        removed.extend(all);
        let filter = Filter { among: Some(among), ..filter };
        let mut boards = pin!(lists::read(&mut snapshot, &api.machine, &filter, "", i64::MAX));
        while let Some(board) = boards.try_next().await? {
            let board = board.read()?;
            // A board may have been removed and another one have come by its name; one that does not match is not in the list.
            removed.remove(board.name);
            board::add(&board, definition, &mut body).map_err(|error| fault(&error))?;
        }
    }
    body.extend(br#"],"removed":"#);
    serde_json::to_writer(&mut body, &removed).map_err(|error| fault(&error))?;
    body.push(b'}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// `GET /api/v1/states`: how many boards are in each state.
pub(super) async fn states(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let kind = kind(&"states");
    if let Some(tag) = current_tag(&api, &headers, &kind).await? {
        return Ok(not_modified(&tag));
    }
    let counts = api.engine.count_by_state(&api.machine).await?;
    let cursor = counts.cursor.to_string();
    let tag = format!("{kind}.{cursor}");
    let view = StatesView { cursor, total: counts.value.values().sum(), states: &counts.value };
    let body = serde_json::to_vec(&view).map_err(|error| fault(&error))?;
    Ok(json(&tag, body))
}

/// What the answers to one question of one version of the program have in common.
fn kind(question: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), question).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
