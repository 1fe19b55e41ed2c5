//! Boards in lists: all, those that match, those that changed, and how many there are in each state.
//!
//! Whoever asks again and again pays for what changed only: an entity tag is made of the query and of a [`Cursor`], so
//! that 304 is answered without a look at any board; and with `since` only the boards that changed are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::body::{Parameters, json, known_tags, not_modified};
use super::problem::fault;
use super::{Api, Problem};
use crate::clock::pause;
use crate::machine::MachineName;
use crate::store::changes::{self, Cursor, Now};
use crate::store::devices::{self, Filter, Listed};
use crate::store::{Snapshot, StoreError};

/// How many boards are read at a time: some hundreds of kilobytes of JSON.
const PAGE: i64 = 1000;
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

/// A board in a list.
#[derive(Serialize)]
struct ListedView<'a> {
    name: &'a str,
    state: &'a str,
    since: DateTime<Utc>,
    visit: i64,
    deadline: Option<DateTime<Utc>>,
    fqdn: &'a str,
    mac: &'a str,
    hardware: &'a str,
    environment: &'a str,
    image: Option<&'a RawValue>,
    next_image: Option<&'a RawValue>,
    comments: &'a str,
}

impl<'a> From<&'a Listed> for ListedView<'a> {
    fn from(board: &'a Listed) -> Self {
        Self {
            name: &board.name,
            state: &board.state,
            since: board.entered_at,
            visit: board.visit,
            deadline: board.deadline_at,
            fqdn: &board.fqdn,
            mac: &board.mac,
            hardware: &board.hardware,
            environment: &board.environment,
            image: board.image.as_ref().map(|image| &*image.0),
            next_image: board.next_image.as_ref().map(|image| &*image.0),
            comments: &board.comments,
        }
    }
}

/// What changed since an earlier answer.
#[derive(Serialize)]
struct ChangesView<'a> {
    /// What to ask for as `since` the next time.
    cursor: String,
    devices: Vec<ListedView<'a>>,
    /// The boards that are not in the list, or not any more.
    removed: BTreeSet<String>,
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
    let states =
        state.map(|state| state.split(',').map(|one| one.trim().to_owned()).collect()).unwrap_or_default();
    let filter = Filter { states, hardware, environment, image, name, among: None };
    if let Some(since) = since {
        if limit.is_some() || after.is_some() {
            return Err(Problem::invalid(
                "since tells all that changed: it goes with neither after nor limit",
            ));
        }
        return changed(&api, filter, &since).await;
    }
    let kind = kind(&("devices", raw));
    if let Some(tag) = current_tag(&api, &headers, &kind).await? {
        return Ok(not_modified(&tag));
    }
    let mut snapshot = api.engine.store().snapshot().await?;
    let cursor = changes::state(&mut snapshot).await?;
    let tag = format!("{kind}.{cursor}");
    let (after, left) = (after.unwrap_or_default(), limit.unwrap_or(i64::MAX));
    let mut pages = Pages { snapshot, machine: api.machine.clone(), filter, after, left, is_at_end: false };
    // What fails before anything was sent is told as a problem.
    let first = pages.next().await?;
    let mut body = format!(r#"{{"cursor":"{cursor}","devices":["#).into_bytes();
    if pages.is_at_end {
        first.write(&mut body).map_err(|error| fault(&error))?;
        return Ok(json(&tag, body));
    }
    let (sender, receiver) = mpsc::channel(1);
    let (longest, mut task) = (api.longest_list, JoinSet::new());
    task.spawn(async move {
        let sent = tokio::select! {
            sent = pages.send(first, body, &sender) => sent,
            () = pause(longest) => Err(format!("it took longer than {longest:?}").into()),
        };
        if let Err(error) = sent {
            tracing::warn!(error = &*error as &dyn Error, "a list broke off");
        }
    });
    let rest = stream::try_unfold(Some((receiver, task)), |rest| async {
        let Some((mut receiver, task)) = rest else { return Ok(None) };
        match receiver.recv().await {
            Some(Part { bytes, is_last }) => Ok(Some((bytes, (!is_last).then_some((receiver, task))))),
            // Whoever listens must not take a part for the whole: the connection is cut.
            None => Err("the list broke off"),
        }
    });
    Ok(json(&tag, Body::from_stream(rest)))
}

/// A list, page by page, all of one moment.
struct Pages {
    snapshot: Snapshot,
    machine: MachineName,
    filter: Filter,
    after: String,
    /// How many are still wanted.
    left: i64,
    is_at_end: bool,
}

/// A part of a list.
struct Page {
    boards: Vec<Listed>,
    is_last: bool,
    /// What to ask for as `after` to read on; nothing at the end.
    next: Option<String>,
}

/// A part of a list as it is sent.
struct Part {
    bytes: Bytes,
    is_last: bool,
}

impl Pages {
    /// Sends all pages, the first of which is read already; `body` goes before it. Ends early where nobody listens.
    ///
    /// It runs in a task of its own, or else a client that takes nothing any more would keep one of the few snapshots for
    /// ever.
    async fn send(
        mut self,
        mut page: Page,
        mut body: Vec<u8>,
        to: &mpsc::Sender<Part>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        loop {
            // The next page is asked for before this one is written, so that the database and we work at once.
            let (next, written) = futures_util::join!(
                async { if self.is_at_end { Ok(None) } else { self.next().await.map(Some) } },
                async { page.write(&mut body) },
            );
            written?;
            let part = Part { bytes: Bytes::from(std::mem::take(&mut body)), is_last: page.is_last };
            let is_heard = to.send(part).await.is_ok();
            match next? {
                Some(next) if is_heard => page = next,
                Some(_) | None => return Ok(()),
            }
            body.push(b',');
        }
    }

    async fn next(&mut self) -> Result<Page, StoreError> {
        // One more than is wanted tells whether there are more.
        let wanted = PAGE.min(self.left);
        let Self { snapshot, machine, filter, after, .. } = self;
        let mut boards = devices::list(snapshot, machine, filter, after, wanted + 1).await?;
        let has_more = i64::try_from(boards.len()).unwrap_or(i64::MAX) > wanted;
        boards.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        self.left -= wanted;
        self.is_at_end = !has_more || self.left == 0;
        if let Some(last) = boards.last() {
            self.after.clone_from(&last.name);
        }
        let next = has_more.then(|| self.after.clone());
        Ok(Page { boards, is_last: self.is_at_end, next })
    }
}

impl Page {
    /// Writes the page's part of the list's JSON.
    fn write(&self, body: &mut Vec<u8>) -> serde_json::Result<()> {
        for (index, board) in self.boards.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            serde_json::to_writer(&mut *body, &ListedView::from(board))?;
        }
        if self.is_last {
            body.extend(br#"],"next":"#);
            serde_json::to_writer(&mut *body, &self.next)?;
            body.push(b'}');
        }
        Ok(())
    }
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
async fn changed(api: &Api, filter: Filter, since: &str) -> Result<Response, Problem> {
    let since: Cursor = since.parse().map_err(|_| {
        let shown: String = since.chars().take(80).collect();
        Problem::invalid(format!("since: {shown:?} is not a cursor: take the `cursor` of an earlier answer"))
    })?;
    let gone = || {
        let detail = "what changed since this cursor is too much, or not known any more: list anew without since, \
                      and go on from the cursor of that answer";
        Problem::new(StatusCode::GONE, "cursor_gone", detail)
    };
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
    let mut boards = Vec::new();
    if !among.is_empty() {
        let all = devices::list_names(&mut snapshot, &api.machine, &among).await?;
        removed.extend(all);
        let filter = Filter { among: Some(among), ..filter };
        boards = devices::list(&mut snapshot, &api.machine, &filter, "", i64::MAX).await?;
    }
    // A board may have been removed and another one have come by its name; one that does not match is not in the list.
    for board in &boards {
        removed.remove(&board.name);
    }
    let cursor = read.cursor.to_string();
    let devices = boards.iter().map(ListedView::from).collect();
    Ok(axum::Json(ChangesView { cursor, devices, removed }).into_response())
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
