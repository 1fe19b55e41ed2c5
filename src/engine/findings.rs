//! What actions tell while they run: a fact about the instance, or that something is wrong with how it is configured.
//!
//! Neither is a decision about the instance. It is kept until it is written; what dies with the process is found again by the next
//! run.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Map;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::face::LearnedFact;
use super::work::Note;
use super::{Engine, EngineError, rest};
use crate::actions::{Facts, Finding, Findings};
use crate::clock::pause;
use crate::store::actions::{self, ActionId, RunningAction};
use crate::store::instances::InstanceId;
use crate::store::{Life, Store, StoreError};

/// How often findings are written, in real time: when many things are begun at once, all of them are heard of for the first
/// time, and two commits for each few of them would slow down the events.
const WRITE_INTERVAL: Duration = Duration::from_millis(250);

/// The note that something is wrong with how an instance is configured.
const MISCONFIGURED: &str = "misconfigured";
/// The note that it is not any more.
const CONFIGURED: &str = "configured";

/// What an action told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    /// The life of the database in which the numbers of the action and the instance mean something.
    life: Life,
    instance: InstanceId,
    finding: Finding,
}

/// What was told and is not written yet, the latest of each action.
#[derive(Debug, Default)]
pub(super) struct Pending {
    told: Mutex<BTreeMap<ActionId, Told>>,
    is_told: Notify,
}

impl Pending {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<ActionId, Told>) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the facts that were found out about an instance and that the database does not know yet.
    pub(super) fn add_facts(&self, instance: InstanceId, facts: &mut Facts) {
        self.with(|all| {
            for told in all.values().filter(|told| told.instance == instance) {
                if let Finding::Fact { name, value } = &told.finding {
                    facts.insert((*name).to_owned(), value.clone());
                }
            }
        });
    }
}

impl Engine {
    /// Where an action that began in `life` tells what it finds.
    pub(super) fn findings_of(&self, action: &RunningAction, life: Life) -> Findings {
        let (engine, id, instance) = (self.clone(), action.id, action.instance);
        Findings::told_to(move |finding| {
            let pending = &engine.inner.findings;
            pending.with(|told| _ = told.insert(id, Told { life, instance, finding }));
            pending.is_told.notify_one();
        })
    }
}

/// Writes what actions tell until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let pending = &engine.inner.findings;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = pending.is_told.notified() => {}
        }
        pause(WRITE_INTERVAL).await;
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
            pending.is_told.notify_one();
            rest().await;
        }
    }
}

/// Writes what was told; gives the actions of which it could not be written yet.
///
/// A note is in history before its reason is at the action: whoever sees only the first of the two writes it again.
async fn write(engine: &Engine, told: &BTreeMap<ActionId, Told>) -> Result<BTreeSet<ActionId>, StoreError> {
    let store = engine.store();
    let mut left = BTreeSet::new();
    let (mut facts, mut reasons) = (Vec::new(), BTreeMap::new());
    let look = async {
        let mut db = store.reader().await?;
        let life = db.life();
        for (action, Told { life: of, instance, finding }) in told {
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
            let changed = face.learn(&mut db, &facts).await?;
            engine.inner.recent.forget(changed.into_iter());
        }
        let ids: Vec<ActionId> = reasons.keys().copied().collect();
        Ok::<_, StoreError>((life, actions::list_reasons(&mut db, &ids).await?))
    };
    let (life, before) = store.within(Store::LONGEST, look).await?;
    let mut notes = FuturesUnordered::new();
    for (action, before) in before {
        let (Some(told), Some(now)) = (told.get(&action), reasons.get(&action)) else { continue };
        if before.as_deref() == *now {
            continue;
        }
        let (name, remark) = match now {
            Some(reason) => (MISCONFIGURED, (*reason).to_owned()),
            None => (CONFIGURED, format!("no longer so: {}", before.unwrap_or_default())),
        };
        let note = Note { name, sender: None, evidence: Map::new(), remark: Some(remark) };
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
        store.within(Store::LONGEST, set).await?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_counts_before_it_is_written() {
        let (pending, instance) = (Pending::default(), InstanceId(1));
        let finding = Finding::Fact { name: "answered_url", value: "tcp://b1:22".into() };
        pending.with(|told| _ = told.insert(ActionId(1), Told { life: Life::nth(1), instance, finding }));
        let facts_of = |instance| {
            let mut facts = Facts::new();
            pending.add_facts(instance, &mut facts);
            facts
        };
        assert_eq!(facts_of(instance)["answered_url"], "tcp://b1:22");
        assert!(facts_of(InstanceId(2)).is_empty());
    }
}
