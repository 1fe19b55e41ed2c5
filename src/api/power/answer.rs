//! Waiting for the end of an operation by hand, and its answer.

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::api::client::ClientKey;
use crate::api::context::ApiContext;
use crate::api::problem::Problem;
use crate::api::wait;
use crate::boards::Board;
use crate::outlets::{OUTLET_MACHINE, OperationResult, StartedOperation};
use crate::store::actions::ActionSummary;

/// How long a request waits for the end of its operation, where it does not say.
const DEFAULT_TIMEOUT_S: u32 = 60;
/// The longest that it may wait.
const MAX_TIMEOUT_S: u32 = 600;

/// Reads how long a request waits.
pub(super) fn timeout(given: Option<u32>) -> Result<Duration, Problem> {
    match given.unwrap_or(DEFAULT_TIMEOUT_S) {
        seconds @ 1..=MAX_TIMEOUT_S => Ok(Duration::from_secs(seconds.into())),
        _ => Err(Problem::invalid(format!("timeout_s: 1 to {MAX_TIMEOUT_S}"))),
    }
}

/// An operation that was begun, and what its answer has in any case.
pub(super) struct PendingAnswer {
    pub(super) started: StartedOperation,
    /// The fields that say what was asked for.
    pub(super) asked: Map<String, Value>,
    /// The boards of its outlet.
    pub(super) boards: Vec<Board>,
}

impl PendingAnswer {
    /// Waits until the operation ends, and answers: 200 with what was observed, a problem where it failed, and 202 where it
    /// has not ended within `timeout`. `complete` adds to the answer of one that ended.
    pub(super) async fn wait(
        self,
        api: &ApiContext,
        (client, sender): (ClientKey, Option<String>),
        timeout: Duration,
        complete: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Response, Problem> {
        let Self { started, mut asked, boards } = self;
        let at = (api.outlets.machine(), started.instance.as_str());
        asked.insert("instance".to_owned(), json!(started.instance));
        let ended = wait::until(api, client, timeout, at, |read| {
            read.instance.visit != started.visit || read.instance.remaining.is_some()
        });
        ended.await?;
        if let Some(result) = api.outlets.result(&started).await? {
            let mut warnings = Vec::new();
            for board in &boards {
                warnings.extend(api.boards.power(board).await?.and_then(|power| power.warning));
            }
            if !warnings.is_empty() {
                asked.insert("warnings".to_owned(), json!(warnings));
            }
            return answer(asked, &result, complete);
        }
        let open = api.outlets.open_action(&started).await?;
        if let Some(ActionSummary { suspended_at: Some(_), reason, .. }) = &open {
            // It would be done whenever the fault is over, when nobody expects it.
            api.outlets.cancel(&started, sender).await?;
            let reason = reason.clone().unwrap_or_else(|| "a fault of this server".to_owned());
            return Err(failed(asked, &reason, Some("server")));
        }
        Ok(pending(asked, &started, open.as_ref()))
    }
}

/// Answers the end of an operation.
fn answer(
    mut asked: Map<String, Value>,
    result: &OperationResult,
    complete: impl FnOnce(&mut Map<String, Value>),
) -> Result<Response, Problem> {
    let OperationResult { failure, fault, evidence, asked_at, began_at, ended_at } = result;
    let seconds = |span: TimeDelta| span.to_std().unwrap_or_default().as_secs_f64();
    asked.insert("queued_s".to_owned(), json!(seconds(began_at.unwrap_or(*ended_at) - *asked_at)));
    asked.insert("took_s".to_owned(), json!(began_at.map(|began_at| seconds(*ended_at - began_at))));
    asked.insert("ended_at".to_owned(), json!(ended_at));
    if let Some(observed) = evidence.get("observed") {
        asked.insert("observed".to_owned(), observed.clone());
    }
    asked.insert("evidence".to_owned(), json!(evidence));
    complete(&mut asked);
    if let Some(reason) = failure {
        return Err(failed(asked, reason, fault.as_deref()));
    }
    asked.insert("outcome".to_owned(), json!("ok"));
    Ok(Json(asked).into_response())
}

/// The problem of an operation that failed.
fn failed(asked: Map<String, Value>, reason: &str, fault: Option<&str>) -> Problem {
    let problem = Problem::new(StatusCode::BAD_GATEWAY, "power_failed", reason).with("outcome", "failed");
    let problem = problem.with("fault", fault);
    asked.into_iter().fold(problem, |problem, (name, value)| problem.with(&name, value))
}

/// The answer while an operation has not ended.
fn pending(
    mut asked: Map<String, Value>,
    started: &StartedOperation,
    open: Option<&ActionSummary>,
) -> Response {
    let path = format!("/api/v1/machines/{OUTLET_MACHINE}/{}/why", started.instance);
    asked.insert("outcome".to_owned(), json!("pending"));
    asked.insert("see".to_owned(), json!(path));
    let state = open.map(|action| if action.is_queued() { "queued" } else { "running" });
    asked.insert("action".to_owned(), json!(state));
    if let Some(reason) = open.and_then(|action| action.reason.as_deref()) {
        asked.insert("reason".to_owned(), json!(reason));
    }
    (StatusCode::ACCEPTED, [(header::LOCATION, path)], Json(asked)).into_response()
}
