//! Lists boards by name.

use std::collections::BTreeMap;
use std::num::ParseIntError;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;

use super::changes::list_changes;
use super::device_list_stream::DeviceListStream;
use super::list_cursor::ListCursor;
use super::list_tags::{current_tag, query_hash};
use super::unknown_values;
use crate::api::client::ClientKey;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::etag::not_modified;
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;
use crate::boards::DEVICE_FIELDS;
use crate::boards::store::lists::BoardFilter;
use crate::machine::reword_library_error;
use crate::store::changes;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/devices", get(list))]
}

/// The query of a list.
#[derive(Debug, Default)]
struct DeviceListQuery {
    /// States, separated by commas; `*` in one stands for any text.
    state: Option<String>,
    /// The values of the fields by which lists can be filtered.
    fields: BTreeMap<&'static str, String>,
    image: Option<String>,
    /// A part of the name.
    name: Option<String>,
    /// Only boards after this name: the `next` of the previous page.
    after: Option<String>,
    limit: Option<i64>,
    /// Only changes since an earlier answer: its `cursor`.
    since: Option<String>,
}

impl DeviceListQuery {
    fn read(mut query: BTreeMap<String, String>) -> Result<Self, Problem> {
        let fields = DEVICE_FIELDS.iter().filter(|field| field.filter.is_some());
        let fields = fields.filter_map(|field| Some((field.name, query.remove(field.name)?))).collect();
        let mut take = |key: &str| query.remove(key);
        let limit = |text: String| {
            text.parse().map_err(|error: ParseIntError| {
                Problem::invalid(format!("query: limit: {}", reword_library_error(&error.to_string())))
            })
        };
        let limit = take("limit").map(limit).transpose()?;
        let read = Self {
            state: take("state"),
            fields,
            image: take("image"),
            name: take("name"),
            after: take("after"),
            limit,
            since: take("since"),
        };
        let Some(unknown) = query.into_keys().next() else { return Ok(read) };
        let filters = DEVICE_FIELDS.iter().filter(|field| field.filter.is_some()).map(|field| field.name);
        let known = ["state"].into_iter().chain(filters).chain(["image", "name", "after", "limit", "since"]);
        let known: Vec<String> = known.map(|key| format!("`{key}`")).collect();
        let detail =
            format!("query: {unknown}: unknown field `{unknown}`, expected one of {}", known.join(", "));
        Err(Problem::invalid(detail))
    }
}

/// `GET /api/v1/devices?state=&hardware=&environment=&image=&name=&after=&limit=&since=`: boards by name.
async fn list(
    State(api): State<Arc<ApiContext>>,
    client: ClientKey,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
    QueryParameters(query): QueryParameters<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    let DeviceListQuery { state, fields, image, name, after, limit, since } = DeviceListQuery::read(query)?;
    let texts = [&state, &image, &name, &after].into_iter().flatten().chain(fields.values());
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(Problem::invalid("a query parameter holds the character U+0000"));
    }
    if limit.is_some_and(|limit| limit < 1) {
        return Err(Problem::invalid("limit must be 1 or more"));
    }
    let states: Vec<String> =
        state.map(|state| state.split(',').map(|name| name.trim().to_owned()).collect()).unwrap_or_default();
    // Labels and failed tries are those of a definition. If another one is activated in between, the next tag differs.
    let number = api.engine.definition_number(&api.machine);
    let definition = api.engine.definition(&api.machine).ok();
    if let Some(definition) = &definition {
        unknown_values::refuse_states(definition, &states)?;
    }
    let filter = BoardFilter { states, fields, image, name, among: None };
    if let Some(since) = since {
        if limit.is_some() || after.is_some() {
            return Err(Problem::invalid(
                "since lists all changes: it cannot be combined with after or limit",
            ));
        }
        return list_changes(&api, client, filter, (number, definition.as_deref()), &since).await;
    }
    let kind = query_hash(&("devices", raw, number));
    if let Some(tag) = current_tag(&api, &headers, &kind).await? {
        return Ok(not_modified(&tag));
    }
    let permit = api.snapshot_permits.acquire(client).await?;
    let mut snapshot = api.engine.store().snapshot().await?;
    let cursor = changes::current_cursor(&mut snapshot).await?;
    let tag = format!("{kind}.{cursor}");
    let cursor = ListCursor { definition: number, changes: cursor };
    let body = format!(r#"{{"cursor":"{cursor}","devices":["#).into_bytes();
    let (after, remaining) = (after.unwrap_or_default(), limit.unwrap_or(i64::MAX));
    let snapshot = (snapshot, permit);
    let list = DeviceListStream {
        snapshot,
        machine: api.machine.clone(),
        filter,
        definition,
        after,
        remaining,
        body,
    };
    list.answer(&tag, api.list_timeouts).await
}
