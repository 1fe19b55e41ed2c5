//! Writes the findings of running actions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Map;
use tokio_util::sync::CancellationToken;

use super::error::EngineError;
use super::face::LearnedFact;
use super::handle::Engine;
use super::pending_findings::ReportedFinding;
use super::retry_pause::pause_before_retry;
use super::work_item::InstanceNote;
use crate::actions::{Finding, FindingReporter};
use crate::clock::sleep_real_time;
use crate::formatting::with_causes;
use crate::store::actions::{self, ActionId, RunningAction};
use crate::store::{DatabaseLife, Store, StoreError};

/// The interval at which findings are written, in real time: when many actions start at once, all of them report, and two
/// commits for every few of them would slow down events.
const WRITE_INTERVAL: Duration = Duration::from_millis(250);

/// The note of a configuration error of an instance.
const MISCONFIGURED_NOTE: &str = "misconfigured";
/// The note that the configuration error is over.
const CONFIGURED_NOTE: &str = "configured";

impl Engine {
    /// Creates the reporter of an action that was started in `life`.
    pub(super) fn finding_reporter(&self, action: &RunningAction, life: DatabaseLife) -> FindingReporter {
        let (engine, id, instance) = (self.clone(), action.id, action.instance);
        FindingReporter::to_listener(move |finding| {
            let pending = &engine.inner.findings;
            pending.with(|findings| _ = findings.insert(id, ReportedFinding { life, instance, finding }));
            pending.reported.notify_one();
        })
    }
}

/// Writes findings until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let pending = &engine.inner.findings;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = pending.reported.notified() => {}
        }
        sleep_real_time(WRITE_INTERVAL).await;
        let findings = pending.with(|findings| findings.clone());
        let unwritten = match write(&engine, &findings).await {
            Ok(unwritten) => unwritten,
            Err(error) => {
                tracing::debug!(error = %with_causes(&error), "cannot write findings");
                findings.keys().copied().collect()
            }
        };
        // Findings that were reported meanwhile stay as well.
        pending.with(|now| {
            now.retain(|action, latest| unwritten.contains(action) || findings.get(action) != Some(latest));
        });
        if !unwritten.is_empty() {
            pending.reported.notify_one();
            pause_before_retry().await;
        }
    }
}

/// Writes findings; returns the actions whose findings could not be written.
///
/// The note is written to history before the reason is set at the action: after a crash between the two it is written again.
async fn write(
    engine: &Engine,
    findings: &BTreeMap<ActionId, ReportedFinding>,
) -> Result<BTreeSet<ActionId>, StoreError> {
    let store = engine.store();
    let mut unwritten = BTreeSet::new();
    let (mut facts, mut reasons) = (Vec::new(), BTreeMap::new());
    let read = async {
        let mut db = store.reader().await?;
        let life = db.life();
        for (action, ReportedFinding { life: of, instance, finding }) in findings {
            match finding {
                _ if *of > life => _ = unwritten.insert(*action),
                // Numbers of an earlier life belong to other actions in this one.
                _ if *of < life => {}
                Finding::Fact { name, value } => {
                    facts.push(LearnedFact { instance: *instance, name, value });
                    // An action that found a fact is configured correctly.
                    reasons.insert(*action, None);
                }
                Finding::Misconfigured(reason) => _ = reasons.insert(*action, Some(reason.as_str())),
            }
        }
        for face in engine.inner.faces.iter().filter(|_| !facts.is_empty()) {
            let changed = face.record_facts(&mut db, &facts).await?;
            engine.inner.instance_cache.remove(changed.into_iter());
        }
        let ids: Vec<ActionId> = reasons.keys().copied().collect();
        Ok::<_, StoreError>((life, actions::list_reasons(&mut db, &ids).await?))
    };
    let (life, before) = store.within(Store::MAX_STATEMENT_TIME, read).await?;
    let mut notes = FuturesUnordered::new();
    for (action, before) in before {
        let (Some(finding), Some(now)) = (findings.get(&action), reasons.get(&action)) else { continue };
        if before.as_deref() == *now {
            continue;
        }
        let (name, reason) = match now {
            Some(reason) => (MISCONFIGURED_NOTE, (*reason).to_owned()),
            None => (CONFIGURED_NOTE, format!("no longer so: {}", before.unwrap_or_default())),
        };
        let note = InstanceNote { name, sender: None, evidence: Map::new(), reason: Some(reason) };
        notes.push(async move { (action, engine.note(finding.instance, note).await) });
    }
    let mut changed = Vec::new();
    while let Some((action, noted)) = notes.next().await {
        match noted {
            Ok(()) => changed.push((action, reasons.get(&action).copied().flatten())),
            // The instance was removed.
            Err(EngineError::NoInstance(_)) => {}
            Err(error) => {
                tracing::debug!(error = %with_causes(&error), "cannot record finding");
                unwritten.insert(action);
            }
        }
    }
    if !changed.is_empty() {
        let set = async {
            let mut db = store.reader().await?;
            if db.life() == life { actions::set_reasons(&mut db, &changed).await } else { Ok(()) }
        };
        store.within(Store::MAX_STATEMENT_TIME, set).await?;
    }
    Ok(unwritten)
}
