//! The instances of a machine, by name.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::lookup::machine_of;
use crate::api::context::{Api, Routes};
use crate::api::problem::Problem;
use crate::api::query::Parameters;
use crate::store::instances::{self, Listed};

/// The most instances in one answer.
const MAX_LIMIT: i64 = 1000;

/// The routes of this file.
pub(in crate::api) fn routes() -> Routes {
    vec![("/api/v1/machines/{machine}/instances", get(list))]
}

/// Which part of a list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only names after this one.
    #[serde(default)]
    after: String,
    /// At most so many.
    limit: Option<i64>,
}

/// `GET /api/v1/machines/{machine}/instances?after=&limit=`: the instances by name, and the state that each is in.
async fn list(
    State(api): State<Arc<Api>>,
    Path(machine): Path<String>,
    Parameters(ListQuery { after, limit }): Parameters<ListQuery>,
) -> Result<Json<Value>, Problem> {
    let machine = machine_of(&api, &machine)?;
    let limit = limit.unwrap_or(MAX_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid(format!(
            "limit={limit}: from 1 to {MAX_LIMIT} instances can be asked for"
        )));
    }
    if after.contains('\0') {
        return Err(Problem::invalid(format!("after={after:?}: no instance has such a name")));
    }
    let mut db = api.engine.store().reader().await?;
    let listed = instances::list_page(&mut db, &machine, &after, limit).await?;
    let is_full = usize::try_from(limit).is_ok_and(|limit| listed.len() == limit);
    let next = listed.last().filter(|_| is_full).map(|last| last.name.clone());
    let view = |one: &Listed| {
        json!({
            "name": one.name, "state": one.state, "since": one.since, "visit": one.visit,
            "deadline": one.deadline_at,
        })
    };
    Ok(Json(json!({ "instances": listed.iter().map(view).collect::<Vec<_>>(), "next": next })))
}
