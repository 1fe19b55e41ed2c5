//! What actions tell while they run: that a board answers its poll, or that something is wrong with how it is configured.
//!
//! Neither is a decision about the board. What could not be written is written when the database is back; what dies with the
//! process is found again by the next run.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Map;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::work::Note;
use super::{Engine, EngineError, rest};
use crate::action::{Finding, Findings};
use crate::clock::pause;
use crate::store::Store;
use crate::store::actions::{self, ActionId, RunningAction};
use crate::store::devices;
use crate::store::instances::InstanceId;

/// What is told within such a time, in real time, is written together: it is for people, and for what comes later.
const TOGETHER: Duration = Duration::from_millis(250);

/// The note that something is wrong with how a board is configured.
const MISCONFIGURED: &str = "misconfigured";
/// The note that it is not any more.
const CONFIGURED: &str = "configured";

/// What was told and is still to be written, the latest of each action.
#[derive(Debug, Default)]
pub(super) struct Pending {
    findings: Mutex<BTreeMap<ActionId, (InstanceId, Finding)>>,
    told: Notify,
}

impl Pending {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<ActionId, (InstanceId, Finding)>) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.findings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// Where an action tells what it finds.
    pub(super) fn findings_of(&self, action: &RunningAction) -> Findings {
        let (engine, id, instance) = (self.clone(), action.id, action.instance);
        Findings::told_to(move |finding| {
            let pending = &engine.inner.findings;
            pending.with(|findings| _ = findings.insert(id, (instance, finding)));
            pending.told.notify_one();
        })
    }
}

/// Writes what actions tell until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.inner.findings.told.notified() => {}
        }
        // When a rack is powered on, all of its boards answer for the first time.
        pause(TOGETHER).await;
        let told = engine.inner.findings.with(std::mem::take);
        if let Err(error) = write(&engine, &told).await {
            tracing::debug!(error = &error as &dyn Error, "what actions told is not written yet");
            // What was told since counts more.
            engine.inner.findings.with(|findings| {
                for (action, finding) in told {
                    findings.entry(action).or_insert(finding);
                }
            });
            engine.inner.findings.told.notify_one();
            rest().await;
        }
    }
}

async fn write(engine: &Engine, told: &BTreeMap<ActionId, (InstanceId, Finding)>) -> Result<(), EngineError> {
    let (mut answers, mut reasons) = (Vec::new(), Vec::new());
    for (action, (instance, finding)) in told {
        match finding {
            Finding::Answered { poll_url } => {
                answers.push((*instance, poll_url.as_str()));
                reasons.push((*action, None));
            }
            Finding::Misconfigured(reason) => reasons.push((*action, Some(reason.as_str()))),
        }
    }
    let store = engine.store();
    let remember = async {
        let mut db = store.reader().await?;
        devices::remember_answers(&mut db, &answers).await?;
        actions::set_reasons(&mut db, &reasons).await
    };
    let changed = store.within(Store::LONGEST, remember).await?;
    for (action, before) in changed {
        let Some((instance, finding)) = told.get(&action) else { continue };
        let (name, remark) = match finding {
            Finding::Misconfigured(reason) => (MISCONFIGURED, reason.clone()),
            Finding::Answered { .. } => (CONFIGURED, format!("no longer so: {}", before.unwrap_or_default())),
        };
        let note = Note { name, sender: None, evidence: Map::new(), remark: Some(remark) };
        match engine.note(*instance, note).await {
            // The board is gone.
            Ok(()) | Err(EngineError::NoInstance(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
