//! Creating an instance.

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
use crate::api::etag::known_tags;
use crate::api::json_body::JsonObject;
use crate::api::problem::Problem;
use crate::api::reserved_names::ReservedNames;
use crate::engine::{EngineError, LinkTarget, LinkTargets};
use crate::machine::{LinkName, Visit, reword_library_error};
use crate::store::instances::InstanceKey;

/// The routes of this file, where instances cannot have the names `reserved`.
pub(in crate::api) fn routes(reserved: ReservedNames) -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/{instance}", put(create).layer(Extension(reserved)))]
}

/// `PUT /api/v1/machines/{machine}/{instance}`: creates an instance in the machine's initial state; one that is there
/// already is shown. The body may have its `links` to instances that are there. With `If-None-Match: *` it must not be there.
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
            "{key}: unknown; an instance begins with nothing but its `links` and its machine's initial state"
        );
        return Err(Problem::invalid(detail));
    }
    match api.engine.create_linked((&machine, &name), &links, None, sender).await {
        Ok(_) => {
            let location = format!("/api/v1/machines/{machine}/{name}");
            let shown = view(&api, &find(&api, &machine, &name).await?)?;
            Ok((StatusCode::CREATED, [(header::LOCATION, location)], shown).into_response())
        }
        Err(EngineError::Exists(_)) if known_tags(&headers).any(|tag| tag == "*") => {
            let detail = format!("{machine} {name} is there already");
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "changed", detail))
        }
        Err(EngineError::Exists(_)) => view(&api, &find(&api, &machine, &name).await?),
        Err(EngineError::NoInstance(InstanceKey::Name(machine, name))) => {
            Err(Problem::invalid(format!("links: there is no {machine} {name:?}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The links that an instance has from the beginning: `{"LINK": "NAME", "LINK": {"name": "NAME", "visit": 3}}`.
fn links(links: Value) -> Result<LinkTargets, Problem> {
    let Value::Object(links) = links else {
        return Err(Problem::invalid(
            "links: an object is needed, with the name of an instance for each link",
        ));
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
                return Err(invalid(
                    "the name of an instance is needed, or an object with `name` and `visit`",
                ));
            }
        };
        check_name(&format!("links.{link}"), &to.name)?;
        Ok((name, to))
    };
    links.into_iter().map(link).collect()
}

/// A link whose visit may be given too.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLinkBody {
    name: String,
    visit: Option<Visit>,
}
