//! Submits events from outside.

use axum::http::HeaderMap;

use crate::api::context::ApiContext;
use crate::api::etag::tag_condition;
use crate::api::problem::Problem;
use crate::engine::{CommittedSubmission, EngineError, Submission};
use crate::machine::{Definition, EventName, EventSource, Sender};
use crate::store::instances::InstanceKey;

/// The events that can be sent from outside, each with the source to send it as.
pub(super) fn sendable(definition: &Definition) -> impl Iterator<Item = (&EventName, EventSource)> {
    definition.events.iter().filter_map(|(name, event)| {
        let sender = event.from.iter().find(|sender| **sender != Sender::Action)?;
        Some((name, sender.source()?))
    })
}

/// The declared event of this name, with the source to send it as.
pub(in crate::api) fn declared(definition: &Definition, event: &str) -> Option<(EventName, EventSource)> {
    sendable(definition).find(|(name, _)| name.as_str() == event).map(|(name, source)| (name.clone(), source))
}

/// Submits an event or a forced move, with the condition `If-Match` of the request.
pub(in crate::api) async fn submit(
    api: &ApiContext,
    submission: Submission,
    headers: &HeaderMap,
) -> Result<CommittedSubmission, Problem> {
    let missing = match &submission.target {
        InstanceKey::Name(machine, name) => Problem::no_instance(machine, name),
        InstanceKey::Id(_) => Problem::no_device(""),
    };
    if matches!(&submission.target, InstanceKey::Name(_, name) if name.contains('\0')) {
        return Err(missing);
    }
    match api.engine.submit(Submission { tag_condition: tag_condition(headers), ..submission }).await {
        Err(EngineError::NoInstance(_)) => Err(missing),
        result => Ok(result?),
    }
}
