//! What happens to instances of any machine: events, and moves by force.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::super::body::{Body, Object, Parameters, Sender, expected_tags};
use super::super::events::Answer;
use super::super::requests::{NewForce, forced, not_accepted};
use super::super::{Api, Problem};
use super::changeable;
use crate::engine::{Committed, EngineError, Submission};
use crate::machine::{Cause, Definition, EventName, Ignored, Outcome, Source, Visit};
use crate::store::instances::Target;

/// What may be said of an event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Spoken {
    /// The visit that it speaks of.
    visit: Option<i64>,
}

/// `PUT` or `POST /api/v1/machines/{machine}/{instance}/events/{event}?visit=`: sends an event that the definition
/// declares, with its arguments as the body; with `If-Match` only where the instance is still as that says.
///
/// What changes nothing is 409 for whoever asks for something, and 200 where the event is one that the thing itself
/// reports: it may have come twice.
pub(in crate::api) async fn send(
    State(api): State<Arc<Api>>,
    Path((machine, name, event)): Path<(String, String, String)>,
    Parameters(Spoken { visit }): Parameters<Spoken>,
    Sender(sender): Sender,
    headers: HeaderMap,
    Object(args): Object,
) -> Result<Json<Answer>, Problem> {
    let machine = changeable(&api, &machine)?;
    let definition = api.engine.definition(&machine)?;
    let Some((event, source)) = declared(&definition, &event) else {
        let known: Vec<&EventName> = sendable(&definition).map(|(name, _)| name).collect();
        let detail = format!("{machine} has no event {event:?} that could be sent");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_event", detail).with("events", known));
    };
    let cause = Cause::Event { name: event, source, args, visit: visit.map(Visit) };
    let said = Submission { sender, ..Submission::new(Target::Name(machine.clone(), name), cause) };
    let committed = submit(&api, said, &headers).await?;
    let Outcome::Ignored(why) = &committed.outcome else { return Ok(Json(committed.into())) };
    if matches!(why, Ignored::MissingArgument { .. } | Ignored::Refused { .. }) {
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", why.to_string()))
    } else if source == Source::Board {
        Ok(Json(committed.into()))
    } else {
        Err(not_accepted(&definition, &committed.instance, why))
    }
}

/// The events that can be sent from outside, and as whom.
fn sendable(definition: &Definition) -> impl Iterator<Item = (&EventName, Source)> {
    let source = |name, event: &BTreeSet<Source>| {
        event.iter().find(|source| **source != Source::Action).map(|source| (name, *source))
    };
    definition.events.iter().filter_map(move |(name, event)| source(name, &event.from))
}

/// The declared event of this name, and as whom it is sent: each has one sender.
pub(in crate::api) fn declared(definition: &Definition, event: &str) -> Option<(EventName, Source)> {
    sendable(definition).find(|(name, _)| name.as_str() == event).map(|(name, source)| (name.clone(), source))
}

/// Lets something happen to an instance, on the conditions of a request's headers.
pub(in crate::api) async fn submit(
    api: &Api,
    said: Submission,
    headers: &HeaderMap,
) -> Result<Committed, Problem> {
    let missing = match &said.target {
        Target::Name(machine, name) => Problem::no_instance(machine, name),
        Target::Id(_) => Problem::no_device(""),
    };
    if matches!(&said.target, Target::Name(_, name) if name.contains('\0')) {
        return Err(missing);
    }
    match api.engine.submit(Submission { only_as: expected_tags(headers), ..said }).await {
        Err(EngineError::NoInstance(_)) => Err(missing),
        result => Ok(result?),
    }
}

/// `POST /api/v1/machines/{machine}/{instance}/force`: moves an instance whatever its state accepts, if it is where it is
/// believed to be.
pub(in crate::api) async fn force(
    State(api): State<Arc<Api>>,
    Path((machine, name)): Path<(String, String)>,
    Sender(sender): Sender,
    headers: HeaderMap,
    Body(new): Body<NewForce>,
) -> Result<Json<Answer>, Problem> {
    let machine = changeable(&api, &machine)?;
    let (cause, remark) = forced(new)?;
    let said = Submission { sender, remark, ..Submission::new(Target::Name(machine.clone(), name), cause) };
    let committed = submit(&api, said, &headers).await?;
    match &committed.outcome {
        Outcome::Ignored(why) => {
            Err(not_accepted(&*api.engine.definition(&machine)?, &committed.instance, why))
        }
        Outcome::Moved { .. } | Outcome::Stayed => Ok(Json(committed.into())),
    }
}
