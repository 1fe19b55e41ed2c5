//! Creating an instance.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::put;

use super::lookup::{changeable, find};
use super::view::view;
use crate::api::check_name::check_name;
use crate::api::client::Sender;
use crate::api::context::{Api, Routes};
use crate::api::etag::known_tags;
use crate::api::json_body::Object;
use crate::api::problem::Problem;
use crate::api::reserved::ReservedNames;
use crate::engine::EngineError;

/// The routes of this file, where instances cannot have the names `reserved`.
pub(in crate::api) fn routes(reserved: ReservedNames) -> Routes {
    vec![("/api/v1/machines/{machine}/{instance}", put(create).layer(Extension(reserved)))]
}

/// `PUT /api/v1/machines/{machine}/{instance}`: creates an instance in the machine's initial state; one that is there
/// already is shown. With `If-None-Match: *` it must not be there.
async fn create(
    State(api): State<Arc<Api>>,
    Extension(reserved): Extension<ReservedNames>,
    Path((machine, name)): Path<(String, String)>,
    Sender(sender): Sender,
    headers: HeaderMap,
    Object(body): Object,
) -> Result<Response, Problem> {
    let machine = changeable(&api, &machine)?;
    check_name("name", &name)?;
    if reserved.contains(&name) {
        return Err(Problem::invalid(format!("name: {name:?} is reserved, as {reserved} are")));
    }
    if let Some(key) = body.keys().next() {
        let detail =
            format!("{key}: unknown; an instance begins with nothing but its machine's initial state");
        return Err(Problem::invalid(detail));
    }
    match api.engine.create(&machine, &name, None, sender).await {
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
        Err(error) => Err(error.into()),
    }
}
