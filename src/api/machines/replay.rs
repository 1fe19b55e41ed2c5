//! Replays history.

use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde::{Deserialize, Serialize};

use super::background_check::read_definition;
use crate::activation::{ComparedCount, WhatIfReport};
use crate::api::client::ClientKey;
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::definition_text::DefinitionText;
use crate::api::fair_semaphore::FairSemaphore;
use crate::api::instances::lookup::no_machine;
use crate::api::large_requests::PERMIT_TIMEOUT;
use crate::api::problem::Problem;
use crate::api::query_parameters::QueryParameters;
use crate::engine::replay::{
    self as engine, ReplayDifference, ReplayError, ReplayReport, ReplayRequest, UnreadableRecord,
};
use crate::machine::MachineName;

/// A replay holds one of the few snapshots while it reads all of the history, and lists need snapshots too.
static REPLAY_PERMIT: LazyLock<FairSemaphore> = LazyLock::new(|| FairSemaphore::new(1));

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/machines/{machine}/replay", post(replay))]
}

/// The query of `replay`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayQuery {
    /// Only the history of this instance.
    instance: Option<String>,
    /// Only entries from this time on.
    since: Option<chrono::DateTime<chrono::Utc>>,
}

/// The result of a replay.
#[derive(Debug, Serialize)]
struct ReplayedView {
    instances: u64,
    entries: u64,
    without_history: u64,
    unreadable: Vec<UnreadableRecord>,
    difference: Option<ReplayDifference>,
    what_if: Option<WhatIfView>,
}

/// What would have been different under another definition.
#[derive(Debug, Serialize)]
struct WhatIfView {
    #[serde(flatten)]
    what_if: WhatIfReport,
    /// How often a power action was requested, and would have been.
    power_operations: ComparedCount,
}

impl From<ReplayReport> for ReplayedView {
    fn from(report: ReplayReport) -> Self {
        let ReplayReport { instances, entries, forgotten, unreadable, difference, what_if } = report;
        let what_if = what_if.map(WhatIfView::from);
        Self { instances, entries, without_history: forgotten, unreadable, difference, what_if }
    }
}

impl From<WhatIfReport> for WhatIfView {
    fn from(what_if: WhatIfReport) -> Self {
        let mut power_operations = ComparedCount::default();
        let power = what_if.actions.iter().filter(|(action, _)| action.as_str().starts_with("power-"));
        power.for_each(|(_, counts)| power_operations.add(*counts));
        Self { what_if, power_operations }
    }
}

/// `POST /api/v1/machines/{machine}/replay?instance=&since=`: decides recorded history again and compares the result with
/// what is stored; with a definition as the body, it also reports what would have been different under that.
async fn replay(
    State(api): State<Arc<ApiContext>>,
    Path(machine): Path<String>,
    QueryParameters(ReplayQuery { instance, since }): QueryParameters<ReplayQuery>,
    client: ClientKey,
    DefinitionText { text, permit }: DefinitionText,
) -> Result<Json<ReplayedView>, Problem> {
    let name = MachineName::new(&machine).map_err(|_| Problem::no_machine(&machine))?;
    if instance.as_ref().is_some_and(|name| name.contains('\0')) {
        return Err(Problem::invalid("instance: a name has no character U+0000"));
    }
    let what_if_definition = if text.trim().is_empty() {
        None
    } else {
        Some(Arc::new(read_definition(api.engine.vocabulary(), &machine, text, client, &permit).await?.0))
    };
    let _permit = REPLAY_PERMIT.acquire(client, PERMIT_TIMEOUT, "replays").await?;
    let _snapshot = api.snapshot_permits.acquire(client).await?;
    let request = ReplayRequest { machine: name, name: instance, since, what_if_definition };
    match engine::replay(api.engine.store(), api.engine.vocabulary(), &request).await {
        Ok(report) => Ok(Json(report.into())),
        Err(ReplayError::NoMachine(_)) => Err(no_machine(&api, &machine)),
        Err(error @ ReplayError::NoInstance { .. }) => {
            Err(Problem::new(StatusCode::NOT_FOUND, "no_instance", error.to_string()))
        }
        Err(error @ ReplayError::Unreadable { .. }) => {
            Err(Problem::new(StatusCode::CONFLICT, "unreadable_definition", error.to_string()))
        }
        Err(ReplayError::Store(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn client(number: u8) -> ClientKey {
        ClientKey::of([192, 0, 2, number].into())
    }

    #[tokio::test]
    async fn one_history_is_replayed_at_a_time() {
        let acquire = |number| REPLAY_PERMIT.acquire(client(number), PERMIT_TIMEOUT, "tests");
        let held = acquire(1).await.unwrap();
        assert!(acquire(2).now_or_never().is_none());
        drop(held);
        assert!(acquire(2).now_or_never().is_some());
    }
}
