//! Replay of history through the kernel: as it was, which must give the stored results, or under another definition.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::{Value, json};

use crate::activation::{Activation, RecordedDecision, WhatIfReplay, WhatIfReport};
use crate::machine::{
    self, Cause, Decision, Definition, Instance, MachineName, Outcome, Stimulus, Vocabulary,
};
use crate::store::definitions::{self, ActivatedDefinition};
use crate::store::history::{self, HistoryContent, HistoryEntry};
use crate::store::instances::{self, InstanceId, StoredInstance};
use crate::store::{Snapshot, Store, StoreError};

/// The time limit of reading all of history.
const REPLAY_READ_TIMEOUT: Duration = Duration::from_hours(24);

/// The parameters of a replay.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// The machine.
    pub machine: MachineName,
    /// The name of the only instance to replay; all instances where it is not given.
    pub name: Option<String>,
    /// From when on the other definition applies and results are compared; from the beginning where it is not given.
    pub since: Option<DateTime<Utc>>,
    /// The other definition, where there is one.
    pub what_if_definition: Option<Arc<Definition>>,
}

/// The result of a replay.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ReplayReport {
    /// The number of replayed instances.
    pub instances: u64,
    /// The number of entries of history.
    pub entries: u64,
    /// The number of instances whose first entries are no longer in history; these are not replayed.
    pub forgotten: u64,
    /// Entries and instances that cannot be read; the instances are replayed up to there.
    pub unreadable: Vec<UnreadableRecord>,
    /// The first difference from the stored results.
    pub difference: Option<ReplayDifference>,
    /// The differences under the other definition.
    pub what_if: Option<WhatIfReport>,
}

/// A stored record that this program cannot read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnreadableRecord {
    /// The instance's name.
    pub name: String,
    /// The entry of history; nothing where it is the instance itself.
    pub entry: Option<i64>,
    /// Why it cannot be read.
    pub reason: String,
}

/// A difference between a replayed and a stored result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayDifference {
    /// The instance's name.
    pub name: String,
    /// The entry of history; nothing where it is the instance itself.
    pub entry: Option<i64>,
    /// The field: `state`, `visit`, `outcome`, …
    pub what: String,
    /// The stored value.
    pub stored: String,
    /// The replayed value.
    pub replayed: String,
}

/// An error of a replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The machine never had a definition.
    #[error("there is no machine {0}")]
    NoMachine(MachineName),
    /// There is no such instance, or the machine has none.
    #[error("{machine} has no instance{}", .name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default())]
    NoInstance {
        /// The machine.
        machine: MachineName,
        /// The requested name.
        name: Option<String>,
    },
    /// This program cannot parse a definition that was active.
    #[error("cannot parse definition {number} of {machine}: {faults}")]
    Unreadable {
        /// The machine.
        machine: MachineName,
        /// The definition's number.
        number: i32,
        /// What is wrong with it.
        faults: machine::SourceFaults,
    },
    /// The database failed.
    #[error("database error")]
    Store(#[from] StoreError),
}

/// The activated definitions, each with its first entry of history.
struct DefinitionTimeline {
    activations: Vec<(ActivatedDefinition, Arc<Definition>)>,
}

impl DefinitionTimeline {
    async fn read(
        db: &mut Snapshot,
        vocabulary: &Vocabulary,
        machine: &MachineName,
    ) -> Result<Self, ReplayError> {
        let mut timeline = Self { activations: Vec::new() };
        let mut known: BTreeMap<i32, Arc<Definition>> = BTreeMap::new();
        for activated in definitions::list_activated(db, machine).await? {
            let number = activated.number;
            let definition = if let Some(definition) = known.get(&number) {
                Arc::clone(definition)
            } else {
                let source = definitions::read_source(db, machine, number).await?.unwrap_or_default();
                let unreadable =
                    |faults| ReplayError::Unreadable { machine: machine.clone(), number, faults };
                Arc::new(machine::load_stored(&source, vocabulary).map_err(unreadable)?.0)
            };
            known.insert(number, Arc::clone(&definition));
            timeline.activations.push((activated, definition));
        }
        Ok(timeline)
    }

    /// Returns the index of the definition that was active for entry `id`.
    fn index_at(&self, id: i64) -> usize {
        self.activations.partition_point(|(activated, _)| activated.first_history <= id).saturating_sub(1)
    }

    /// Returns the definition that was active for entry `id`.
    fn definition(&self, id: i64) -> Option<&Definition> {
        self.activations.get(self.index_at(id)).map(|(_, definition)| &**definition)
    }

    /// Returns how instances were migrated to the definition that was active for entry `id`.
    fn activation(&self, id: i64) -> Activation {
        let index = self.index_at(id);
        let before = index.checked_sub(1).and_then(|before| self.activations.get(before));
        let Some((_, present)) = self.activations.get(index) else { return Activation::default() };
        Activation::new(before.map(|(_, definition)| &**definition), present)
    }
}

/// The replay of one instance.
#[derive(Default)]
struct InstanceReplay<'a> {
    name: String,
    instance: Option<Instance>,
    /// Whether its first entries are no longer in history.
    is_forgotten: bool,
    /// Whether one of its entries cannot be read; the later ones are skipped.
    is_unreadable: bool,
    /// Entries of the same time, which belong to one transaction: they are ordered by visit.
    pending_entries: Vec<HistoryEntry>,
    what_if: Option<WhatIfReplay<'a>>,
}

/// Replays history in a snapshot of the database. Definitions can use the names of `vocabulary`.
///
/// # Errors
///
/// [`ReplayError`].
pub async fn replay(
    store: &Store,
    vocabulary: &Vocabulary,
    request: &ReplayRequest,
) -> Result<ReplayReport, ReplayError> {
    let ReplayRequest { machine, name, .. } = request;
    let mut snapshot = store.snapshot().await?;
    // All of history is read in one statement.
    snapshot.take_time(REPLAY_READ_TIMEOUT).await?;
    let timeline = DefinitionTimeline::read(&mut snapshot, vocabulary, machine).await?;
    if timeline.activations.is_empty() {
        return Err(ReplayError::NoMachine(machine.clone()));
    }
    let stored = instances::list(&mut snapshot, machine, name.as_deref()).await?;
    if stored.is_empty() {
        return Err(ReplayError::NoInstance { machine: machine.clone(), name: name.clone() });
    }
    let replay = |stored: &StoredInstance| {
        (stored.id, InstanceReplay { name: stored.name.clone(), ..InstanceReplay::default() })
    };
    let mut replays: HashMap<InstanceId, InstanceReplay> = stored.iter().map(replay).collect();
    let mut replayed = ReplayReport::default();
    let mut last_entry_at = DateTime::<Utc>::MIN_UTC;
    {
        let mut entries = std::pin::pin!(history::stream(&mut snapshot, machine, name.as_deref()));
        while let Some(entry) = entries.next().await {
            let (id, entry) = entry?;
            let Some(replay) = replays.get_mut(&id) else { continue };
            replayed.entries += 1;
            last_entry_at = last_entry_at.max(entry.at);
            if replay.is_unreadable {
                continue;
            }
            if replay.pending_entries.first().is_some_and(|first| first.at != entry.at) {
                replay_moment(replay, &timeline, request, &mut replayed);
            }
            replay.pending_entries.push(entry);
        }
    }
    for StoredInstance { id, name, instance: stored } in stored {
        let Some(mut replay) = replays.remove(&id) else { continue };
        replay_moment(&mut replay, &timeline, request, &mut replayed);
        if replay.is_forgotten {
            replayed.forgotten += 1;
            continue;
        }
        replayed.instances += 1;
        if replay.is_unreadable {
            continue;
        }
        let stored = match stored {
            Ok(stored) => stored,
            Err(reason) => {
                replayed.unreadable.push(UnreadableRecord { name, entry: None, reason });
                continue;
            }
        };
        if let Some(instance) = &replay.instance {
            compare(instance, &stored, &mut replayed.difference);
        }
        if let Some(what_if) = replay.what_if {
            what_if.end(&stored, last_entry_at, replayed.what_if.get_or_insert_default());
            // Under another definition very many timeouts can pass; events must not wait for them.
            tokio::task::yield_now().await;
        }
    }
    Ok(replayed)
}

/// Replays the entries of the same time.
fn replay_moment<'a>(
    replay: &mut InstanceReplay<'a>,
    timeline: &DefinitionTimeline,
    request: &'a ReplayRequest,
    replayed: &mut ReplayReport,
) {
    let mut moment = std::mem::take(&mut replay.pending_entries);
    // The entry that started a visit comes before all others of the visit.
    moment.sort_by_key(|entry| (entry.visit, entry.outcome != "moved", entry.id));
    for entry in &moment {
        let Some(definition) = timeline.definition(entry.id) else { continue };
        let is_since = request.since.is_none_or(|since| entry.at >= since);
        match &entry.content {
            HistoryContent::Stimulus(stimulus) => {
                let Some(decision) = replay.decide(definition, stimulus, entry.at) else { continue };
                if let Some(before) = replay.instance.as_ref().filter(|_| is_since) {
                    check(&decision, before, entry, &mut replayed.difference);
                }
                if let Some(with) = request.what_if_definition.as_ref().filter(|_| is_since) {
                    let recorded = RecordedDecision { at: entry.at, stimulus, decision: &decision };
                    replay.advance_what_if(with, definition, recorded);
                }
                replay.instance = Some(decision.instance);
            }
            HistoryContent::Note(note) if note == "adopted" => {
                let deadline = entry.evidence.as_ref().and_then(|evidence| evidence.get("deadline"));
                let deadline_at = deadline.and_then(Value::as_str).and_then(|at| at.parse().ok());
                if let Some(instance) = &mut replay.instance {
                    timeline.activation(entry.id).apply(instance, entry.to.clone(), deadline_at);
                }
            }
            HistoryContent::Note(_) => {}
            HistoryContent::Unreadable(why) => {
                // Its effect on the instance is unknown.
                replay.is_unreadable = true;
                let (name, reason) = (replay.name.clone(), why.clone());
                replayed.unreadable.push(UnreadableRecord { name, entry: Some(entry.id), reason });
                return;
            }
        }
    }
}

impl<'a> InstanceReplay<'a> {
    /// Decides on an entry; nothing where the first entries of the instance are no longer in history.
    fn decide(
        &mut self,
        definition: &Definition,
        stimulus: &Stimulus,
        at: DateTime<Utc>,
    ) -> Option<Decision> {
        if let Some(instance) = &self.instance {
            return Some(machine::decide(definition, instance, stimulus, at));
        }
        if let Cause::Created { links } = &stimulus.cause {
            let (links, facts) = (links.clone(), stimulus.facts.clone());
            return Some(machine::create_linked(definition, &self.name, links, facts, at));
        }
        self.is_forgotten = true;
        None
    }

    /// Advances the replay under the other definition.
    fn advance_what_if(
        &mut self,
        with: &'a Definition,
        definition: &Definition,
        recorded: RecordedDecision<'_>,
    ) {
        match (&mut self.what_if, &self.instance) {
            (Some(what_if), _) => what_if.follow(recorded),
            (None, None) => self.what_if = Some(WhatIfReplay::begin(with, &self.name, recorded)),
            (None, Some(before)) => {
                self.what_if = WhatIfReplay::branch_off(with, definition, before, recorded.at);
                if let Some(what_if) = &mut self.what_if {
                    what_if.follow(recorded);
                }
            }
        }
    }
}

/// Records the first difference between an entry and the replayed decision.
fn check(
    decision: &Decision,
    before: &Instance,
    entry: &HistoryEntry,
    difference: &mut Option<ReplayDifference>,
) {
    let outcome = match &decision.outcome {
        Outcome::Moved { .. } => "moved",
        Outcome::Stayed => "stayed",
        Outcome::Ignored(_) => "ignored",
    };
    let after = &decision.instance;
    let pairs = [
        ("state before", entry.from.to_string(), before.state.to_string()),
        ("outcome", entry.outcome.clone(), outcome.to_owned()),
        ("state after", entry.to.to_string(), after.state.to_string()),
        ("visit", entry.visit.to_string(), after.visit.to_string()),
    ];
    record_difference(&before.name, Some(entry.id), pairs, difference);
}

/// Records the first difference between the replayed and the stored instance.
fn compare(replayed: &Instance, stored: &Instance, difference: &mut Option<ReplayDifference>) {
    let time = |at: Option<DateTime<Utc>>| at.map_or_else(|| "none".to_owned(), |at| at.to_rfc3339());
    let span = |left: Option<Duration>| format!("{left:?}");
    let pairs = [
        ("state", stored.state.to_string(), replayed.state.to_string()),
        ("visit", stored.visit.to_string(), replayed.visit.to_string()),
        ("since", time(Some(stored.since)), time(Some(replayed.since))),
        ("deadline", time(stored.deadline_at), time(replayed.deadline_at)),
        ("remaining", span(stored.remaining), span(replayed.remaining)),
        ("counters", json!(stored.counters).to_string(), json!(replayed.counters).to_string()),
        ("data", json!(stored.data).to_string(), json!(replayed.data).to_string()),
        ("links", json!(stored.links).to_string(), json!(replayed.links).to_string()),
    ];
    record_difference(&stored.name, None, pairs, difference);
}

fn record_difference<const N: usize>(
    name: &str,
    entry: Option<i64>,
    pairs: [(&str, String, String); N],
    difference: &mut Option<ReplayDifference>,
) {
    let differs = pairs.into_iter().find(|(_, stored, replayed)| stored != replayed);
    if let (None, Some((what, stored, replayed))) = (&difference, differs) {
        *difference =
            Some(ReplayDifference { name: name.to_owned(), entry, what: what.to_owned(), stored, replayed });
    }
}
