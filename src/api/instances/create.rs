//! Creates an instance.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use serde::Deserialize;
use serde_json::Value;

use super::lookup::{changeable_machine, find};
use super::view::view;
use crate::api::check_name::check_name;
use crate::api::client::RequestSender;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::etag::KnownTags;
use crate::api::json_body::JsonObject;
use crate::api::problem::Problem;
use crate::api::reserved_names::ReservedNames;
use crate::engine::{EngineError, LinkTarget, LinkTargets};
use crate::machine::{LinkName, Visit, reword_library_error};
use crate::store::instances::InstanceKey;

/// The routes of this file; instances cannot have the names `reserved`.
pub(in crate::api) fn routes(reserved: ReservedNames) -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/{instance}", put(create).layer(Extension(reserved)))]
}

/// `PUT /api/v1/machines/{machine}/{instance}`: creates an instance in the machine's initial state; an existing one is
/// shown. The body can have `links` to existing instances. With `If-None-Match: *` the instance must not exist.
async fn create(
    State(api): State<Arc<ApiContext>>,
    Extension(reserved): Extension<ReservedNames>,
    Path((machine, name)): Path<(String, String)>,
    RequestSender(sender): RequestSender,
    headers: HeaderMap,
    JsonObject(mut body): JsonObject,
) -> Result<Response, Problem> {
    let machine = changeable_machine(&api, &machine)?;
    check_name("name", &name)?;
    if reserved.contains(&name) {
        return Err(Problem::invalid(format!("name: {name:?} is reserved, as {reserved} are")));
    }
    let links = body.remove("links").map(links).transpose()?.unwrap_or_default();
    if let Some(key) = body.keys().next() {
        let detail = format!(
            "{key}: unknown; an instance is created with its `links` only, in the machine's initial state"
        );
        return Err(Problem::invalid(detail));
    }
    match api.engine.create_linked((&machine, &name), &links, None, sender).await {
        Ok(_) => {
            let location = format!("/api/v1/machines/{machine}/{name}");
            let created = view(&api, &find(&api, &machine, &name).await?, Some(true))?;
            Ok((StatusCode::CREATED, [(header::LOCATION, location)], created).into_response())
        }
        Err(EngineError::Exists(_)) if KnownTags::of(&headers).is_any() => {
            let detail = format!("{machine} {name} exists already");
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "changed", detail))
        }
        Err(EngineError::Exists(_)) => view(&api, &find(&api, &machine, &name).await?, Some(false)),
        Err(EngineError::NoInstance(InstanceKey::Name(machine, name))) => {
            Err(Problem::invalid(format!("links: there is no {machine} {name:?}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Parses the links of a new instance: `{"LINK": "NAME", "LINK": {"name": "NAME", "visit": 3}}`.
fn links(links: Value) -> Result<LinkTargets, Problem> {
    let Value::Object(links) = links else {
        return Err(Problem::invalid("links: must be an object with the name of an instance for each link"));
    };
    let link = |(link, to): (String, Value)| {
        let name = LinkName::new(&link).map_err(|error| Problem::invalid(format!("links: {error}")))?;
        let invalid = |what: &str| Problem::invalid(format!("links.{link}: {what}"));
        let to = match to {
            Value::String(name) => LinkTarget { name, visit: None },
            Value::Object(_) => {
                let NewLinkBody { name, visit } = serde_json::from_value(to)
                    .map_err(|error| invalid(&reword_library_error(&error.to_string())))?;
                LinkTarget { name, visit }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(invalid("must be the name of an instance, or an object with `name` and `visit`"));
            }
        };
        check_name(&format!("links.{link}"), &to.name)?;
        Ok((name, to))
    };
    links.into_iter().map(link).collect()
}

/// A link with an optional visit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLinkBody {
    name: String,
    visit: Option<Visit>,
}
