//! Lists the instances of a machine by name.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::lookup::machine_of;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;
use crate::store::instances::{self, InstanceSummary};

/// The maximum number of instances of a page.
const MAX_LISTED_INSTANCES: i64 = 1000;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/instances", get(list))]
}

/// The query of `list`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceListQuery {
    /// Only names after this one.
    #[serde(default)]
    after: String,
    /// The maximum number of instances.
    limit: Option<i64>,
}

/// `GET /api/v1/machines/{machine}/instances?after=&limit=`: the instances by name, with their states.
async fn list(
    State(api): State<Arc<ApiContext>>,
    Path(machine): Path<String>,
    QueryParameters(InstanceListQuery { after, limit }): QueryParameters<InstanceListQuery>,
) -> Result<Json<Value>, Problem> {
    let machine = machine_of(&api, &machine)?;
    let limit = limit.unwrap_or(MAX_LISTED_INSTANCES);
    if !(1..=MAX_LISTED_INSTANCES).contains(&limit) {
        return Err(Problem::invalid(format!(
            "limit={limit}: from 1 to {MAX_LISTED_INSTANCES} instances can be asked for"
        )));
    }
    if after.contains('\0') {
        return Err(Problem::invalid(format!("after={after:?}: no instance has such a name")));
    }
    let mut db = api.engine.store().reader().await?;
    let listed = instances::list_page(&mut db, &machine, &after, limit).await?;
    let is_full = usize::try_from(limit).is_ok_and(|limit| listed.len() == limit);
    let next = listed.last().filter(|_| is_full).map(|last| last.name.clone());
    let definition = api.engine.definition(&machine).ok();
    let view = |instance: &InstanceSummary| {
        let mut view = json!({
            "name": instance.name, "state": instance.state, "since": instance.since, "visit": instance.visit,
            "deadline": instance.deadline_at,
        });
        let label = definition.as_ref().and_then(|definition| definition.explicit_label(&instance.state));
        if let Some(label) = label {
            view["label"] = label.into();
        }
        view
    };
    Ok(Json(json!({ "instances": listed.iter().map(view).collect::<Vec<_>>(), "next": next })))
}
