//! Writes down what actions find out.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
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
use crate::store::actions::{self, ActionId, RunningAction};
use crate::store::{DatabaseLife, Store, StoreError};

/// How often findings are written, in real time: when many things are begun at once, all of them are heard of for the first
/// time, and two commits for each few of them would slow down the events.
const WRITE_INTERVAL: Duration = Duration::from_millis(250);

/// The note that something is wrong with how an instance is configured.
const MISCONFIGURED_NOTE: &str = "misconfigured";
/// The note that it is not any more.
const CONFIGURED_NOTE: &str = "configured";

impl Engine {
    /// Where an action that began in `life` tells what it finds.
    pub(super) fn finding_reporter(&self, action: &RunningAction, life: DatabaseLife) -> FindingReporter {
        let (engine, id, instance) = (self.clone(), action.id, action.instance);
        FindingReporter::to_listener(move |finding| {
            let pending = &engine.inner.findings;
            pending.with(|told| _ = told.insert(id, ReportedFinding { life, instance, finding }));
            pending.reported.notify_one();
        })
    }
}

/// Writes what actions tell until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let pending = &engine.inner.findings;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = pending.reported.notified() => {}
        }
        sleep_real_time(WRITE_INTERVAL).await;
        let told = pending.with(|told| told.clone());
        let left = match write(&engine, &told).await {
            Ok(left) => left,
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "what actions told is not written yet");
                told.keys().copied().collect()
            }
        };
        // What was told since stays as well.
        pending
            .with(|now| now.retain(|action, news| left.contains(action) || told.get(action) != Some(news)));
        if !left.is_empty() {
            pending.reported.notify_one();
            pause_before_retry().await;
        }
    }
}

/// Writes what was told; gives the actions of which it could not be written yet.
///
/// A note is in history before its reason is at the action: whoever sees only the first of the two writes it again.
async fn write(
    engine: &Engine,
    told: &BTreeMap<ActionId, ReportedFinding>,
) -> Result<BTreeSet<ActionId>, StoreError> {
    let store = engine.store();
    let mut left = BTreeSet::new();
    let (mut facts, mut reasons) = (Vec::new(), BTreeMap::new());
    let look = async {
        let mut db = store.reader().await?;
        let life = db.life();
        for (action, ReportedFinding { life: of, instance, finding }) in told {
            match finding {
                _ if *of > life => _ = left.insert(*action),
                // In this life its numbers are others'.
                _ if *of < life => {}
                Finding::Fact { name, value } => {
                    facts.push(LearnedFact { instance: *instance, name, value });
                    // Whoever found something out is told all right.
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
    let (life, before) = store.within(Store::MAX_STATEMENT_TIME, look).await?;
    let mut notes = FuturesUnordered::new();
    for (action, before) in before {
        let (Some(told), Some(now)) = (told.get(&action), reasons.get(&action)) else { continue };
        if before.as_deref() == *now {
            continue;
        }
        let (name, remark) = match now {
            Some(reason) => (MISCONFIGURED_NOTE, (*reason).to_owned()),
            None => (CONFIGURED_NOTE, format!("no longer so: {}", before.unwrap_or_default())),
        };
        let note = InstanceNote { name, sender: None, evidence: Map::new(), reason: Some(remark) };
        notes.push(async move { (action, engine.note(told.instance, note).await) });
    }
    let mut changed = Vec::new();
    while let Some((action, noted)) = notes.next().await {
        match noted {
            Ok(()) => changed.push((action, reasons.get(&action).copied().flatten())),
            // The instance is gone.
            Err(EngineError::NoInstance(_)) => {}
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "what an action told is not noted yet");
                left.insert(action);
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
    Ok(left)
}
