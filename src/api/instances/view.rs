//! An instance in full, as JSON.

use std::collections::BTreeMap;

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::context::ApiContext;
use crate::api::etag;
use crate::api::problem::{Problem, internal_error};
use crate::explain::{Explanation, explain};
use crate::machine::{CounterName, Links, MachineName, StateName, Visit};
use crate::store::batches::VersionedInstance;

/// An instance in full.
#[derive(Debug, Serialize)]
struct InstanceView {
    machine: MachineName,
    name: String,
    state: StateName,
    /// The label of the state, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    since: DateTime<Utc>,
    visit: Visit,
    deadline: Option<DateTime<Utc>>,
    counters: BTreeMap<CounterName, i64>,
    /// How often the state's time limit has passed without success, if such failures are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_tries: Option<i64>,
    /// The last recorded reason of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    data: Map<String, Value>,
    /// The instances that it is linked to.
    #[serde(skip_serializing_if = "Links::is_empty")]
    links: Links,
    #[serde(flatten)]
    explanation: Explanation,
    /// In answers to a creation: whether the instance is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<bool>,
}

/// Answers with an instance in full; `created` says whether the request created it, if it was to.
pub(super) fn view(
    api: &ApiContext,
    versioned: &VersionedInstance,
    created: Option<bool>,
) -> Result<Response, Problem> {
    let instance = &versioned.instance;
    let definition = api.engine.definition(&instance.machine)?;
    let view = InstanceView {
        machine: instance.machine.clone(),
        name: instance.name.clone(),
        label: definition.explicit_label(instance.state.as_str()).map(str::to_owned),
        state: instance.state.clone(),
        since: instance.since,
        visit: instance.visit,
        deadline: instance.deadline_at,
        counters: definition.effective_counters(&instance.counters).into_owned(),
        failed_tries: definition.failed_tries(instance.state.as_str(), &instance.counters),
        failure: instance.data.get("failure").and_then(Value::as_str).map(str::to_owned),
        data: instance.data.clone(),
        links: instance.links.clone(),
        // Not by facts: they are not covered by the entity tag.
        explanation: explain(&definition, instance, None, api.engine.clock().now()),
        created,
    };
    Ok(etag::json(
        &api.engine.tag(versioned),
        serde_json::to_vec(&view).map_err(|error| internal_error(&error))?,
    ))
}
