//! What happened, once more through the kernel: as it was, which must give what is stored; or as it would have been
//! under another definition.

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

/// How long the database may take for one reading of all there is.
const REPLAY_READ_TIMEOUT: Duration = Duration::from_hours(24);

/// What is to be replayed.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// The machine whose instances' history it is.
    pub machine: MachineName,
    /// Only this instance's.
    pub name: Option<String>,
    /// From when on another definition is taken to have been in force; from the beginning where nothing is said. What is
    /// compared with the record is from then on, too.
    pub since: Option<DateTime<Utc>>,
    /// The other definition.
    pub what_if_definition: Option<Arc<Definition>>,
}

/// What a replay came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ReplayReport {
    /// How many instances were replayed.
    pub instances: u64,
    /// How many entries of history.
    pub entries: u64,
    /// Instances whose first entries are gone, so that nothing can be said of them.
    pub forgotten: u64,
    /// Instances of which something cannot be read: they are replayed up to there.
    pub unreadable: Vec<UnreadableRecord>,
    /// The first thing that is not as it is stored.
    pub difference: Option<ReplayDifference>,
    /// What would have gone differently under another definition.
    pub what_if: Option<WhatIfReport>,
}

/// Something stored that this program cannot read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnreadableRecord {
    /// The instance's name.
    pub name: String,
    /// The entry of history; nothing where it is the instance itself.
    pub entry: Option<i64>,
    /// What cannot be read.
    pub reason: String,
}

/// Something that replay does not give as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayDifference {
    /// The instance's name.
    pub name: String,
    /// The entry of history; nothing where it is the instance itself.
    pub entry: Option<i64>,
    /// What it is about: `state`, `visit`, `outcome`, …
    pub what: String,
    /// What is stored.
    pub stored: String,
    /// What the kernel makes of it.
    pub replayed: String,
}

/// Why nothing could be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such instance, or none at all.
    #[error("{machine} has no instance{}", .name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default())]
    NoInstance {
        /// The machine.
        machine: MachineName,
        /// The name that was asked for.
        name: Option<String>,
    },
    /// A definition that was in force is none to this program.
    #[error("this program does not take definition {number} of {machine} any more: {faults}")]
    Unreadable {
        /// The machine.
        machine: MachineName,
        /// The definition's number.
        number: i32,
        /// What is wrong with it.
        faults: machine::SourceFaults,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// The definitions that were in force, and from which entry of history on.
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
        for adopted in definitions::list_activated(db, machine).await? {
            let number = adopted.number;
            let definition = if let Some(definition) = known.get(&number) {
                Arc::clone(definition)
            } else {
                let source = definitions::read_source(db, machine, number).await?.unwrap_or_default();
                let unreadable =
                    |faults| ReplayError::Unreadable { machine: machine.clone(), number, faults };
                Arc::new(machine::load_stored(&source, vocabulary).map_err(unreadable)?.0)
            };
            known.insert(number, Arc::clone(&definition));
            timeline.activations.push((adopted, definition));
        }
        Ok(timeline)
    }

    /// The place in the timeline of what was in force for entry `id`.
    fn index_at(&self, id: i64) -> usize {
        self.activations.partition_point(|(adopted, _)| adopted.first_history <= id).saturating_sub(1)
    }

    /// What was in force for entry `id`.
    fn definition(&self, id: i64) -> Option<&Definition> {
        self.activations.get(self.index_at(id)).map(|(_, definition)| &**definition)
    }

    /// How instances were carried over to what was in force for entry `id`.
    fn activation(&self, id: i64) -> Activation {
        let place = self.index_at(id);
        let before = place.checked_sub(1).and_then(|before| self.activations.get(before));
        let Some((_, present)) = self.activations.get(place) else { return Activation::default() };
        Activation::new(before.map(|(_, definition)| &**definition), present)
    }
}

/// One instance on its way through its history.
#[derive(Default)]
struct InstanceReplay<'a> {
    name: String,
    instance: Option<Instance>,
    /// Whether its first entries are gone.
    is_forgotten: bool,
    /// Whether one of its entries cannot be read, so that nothing can be said of what comes after it.
    is_unreadable: bool,
    /// Entries of one moment, which belong to one transaction: their order is that of their visits.
    pending_entries: Vec<HistoryEntry>,
    what_if: Option<WhatIfReplay<'a>>,
}

/// Replays history, of one moment of the database: others may go on writing. Definitions may name what `vocabulary` has.
///
/// # Errors
///
/// [`ReplayError`].
pub async fn replay(
    store: &Store,
    vocabulary: &Vocabulary,
    wanted: &ReplayRequest,
) -> Result<ReplayReport, ReplayError> {
    let ReplayRequest { machine, name, .. } = wanted;
    let mut snapshot = store.snapshot().await?;
    // All of it is read in one go, however much there is.
    snapshot.take_time(REPLAY_READ_TIMEOUT).await?;
    let timeline = DefinitionTimeline::read(&mut snapshot, vocabulary, machine).await?;
    let stored = instances::list(&mut snapshot, machine, name.as_deref()).await?;
    if stored.is_empty() {
        return Err(ReplayError::NoInstance { machine: machine.clone(), name: name.clone() });
    }
    let life = |stored: &StoredInstance| {
        (stored.id, InstanceReplay { name: stored.name.clone(), ..InstanceReplay::default() })
    };
    let mut lives: HashMap<InstanceId, InstanceReplay> = stored.iter().map(life).collect();
    let mut replayed = ReplayReport::default();
    let mut until = DateTime::<Utc>::MIN_UTC;
    {
        let mut entries = std::pin::pin!(history::stream(&mut snapshot, machine, name.as_deref()));
        while let Some(entry) = entries.next().await {
            let (id, entry) = entry?;
            let Some(life) = lives.get_mut(&id) else { continue };
            replayed.entries += 1;
            until = until.max(entry.at);
            if life.is_unreadable {
                continue;
            }
            if life.pending_entries.first().is_some_and(|first| first.at != entry.at) {
                replay_moment(life, &timeline, wanted, &mut replayed);
            }
            life.pending_entries.push(entry);
        }
    }
    for StoredInstance { id, name, instance: stored } in stored {
        let Some(mut life) = lives.remove(&id) else { continue };
        replay_moment(&mut life, &timeline, wanted, &mut replayed);
        if life.is_forgotten {
            replayed.forgotten += 1;
            continue;
        }
        replayed.instances += 1;
        if life.is_unreadable {
            continue;
        }
        let stored = match stored {
            Ok(stored) => stored,
            Err(reason) => {
                replayed.unreadable.push(UnreadableRecord { name, entry: None, reason });
                continue;
            }
        };
        if let Some(instance) = &life.instance {
            compare(instance, &stored, &mut replayed.difference);
        }
        if let Some(course) = life.what_if {
            course.end(&stored, until, replayed.what_if.get_or_insert_default());
            // Under another definition very many time limits may pass; what is reported is not to wait for that.
            tokio::task::yield_now().await;
        }
    }
    Ok(replayed)
}

/// Lets `life` go through what happened at one moment.
fn replay_moment<'a>(
    life: &mut InstanceReplay<'a>,
    timeline: &DefinitionTimeline,
    wanted: &'a ReplayRequest,
    replayed: &mut ReplayReport,
) {
    let mut moment = std::mem::take(&mut life.pending_entries);
    // What began a visit comes before all else of that visit.
    moment.sort_by_key(|entry| (entry.visit, entry.outcome != "moved", entry.id));
    for entry in &moment {
        let Some(definition) = timeline.definition(entry.id) else { continue };
        let is_since = wanted.since.is_none_or(|since| entry.at >= since);
        match &entry.content {
            HistoryContent::Stimulus(stimulus) => {
                let Some(decision) = life.decide(definition, stimulus, entry.at) else { continue };
                if let Some(before) = life.instance.as_ref().filter(|_| is_since) {
                    check(&decision, before, entry, &mut replayed.difference);
                }
                if let Some(with) = wanted.what_if_definition.as_ref().filter(|_| is_since) {
                    let recorded = RecordedDecision { at: entry.at, stimulus, decision: &decision };
                    life.advance_what_if(with, definition, recorded);
                }
                life.instance = Some(decision.instance);
            }
            HistoryContent::Note(note) if note == "adopted" => {
                let deadline = entry.evidence.as_ref().and_then(|evidence| evidence.get("deadline"));
                let deadline_at = deadline.and_then(Value::as_str).and_then(|at| at.parse().ok());
                if let Some(instance) = &mut life.instance {
                    timeline.activation(entry.id).apply(instance, entry.to.clone(), deadline_at);
                }
            }
            HistoryContent::Note(_) => {}
            HistoryContent::Unreadable(why) => {
                // What it did to the instance cannot be known, nor what came of that.
                life.is_unreadable = true;
                let (name, reason) = (life.name.clone(), why.clone());
                replayed.unreadable.push(UnreadableRecord { name, entry: Some(entry.id), reason });
                return;
            }
        }
    }
}

impl<'a> InstanceReplay<'a> {
    /// What the definition in force makes of an entry; nothing where the instance's first entries are gone.
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

    /// Lets what would have been go on beside what was.
    fn advance_what_if(
        &mut self,
        with: &'a Definition,
        definition: &Definition,
        recorded: RecordedDecision<'_>,
    ) {
        match (&mut self.what_if, &self.instance) {
            (Some(course), _) => course.follow(recorded),
            (None, None) => self.what_if = Some(WhatIfReplay::begin(with, &self.name, recorded)),
            (None, Some(before)) => {
                self.what_if = WhatIfReplay::branch_off(with, definition, before, recorded.at);
                if let Some(course) = &mut self.what_if {
                    course.follow(recorded);
                }
            }
        }
    }
}

/// Notes where an entry does not tell what the kernel makes of its stimulus.
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

/// Notes where an instance is not as it is stored.
fn compare(replayed: &Instance, stored: &Instance, difference: &mut Option<ReplayDifference>) {
    let time = |at: Option<DateTime<Utc>>| at.map_or_else(|| "none".to_owned(), |at| at.to_rfc3339());
    let span = |left: Option<Duration>| format!("{left:?}");
    let pairs = [
        ("state", stored.state.to_string(), replayed.state.to_string()),
        ("visit", stored.visit.to_string(), replayed.visit.to_string()),
        ("entered_at", time(Some(stored.entered_at)), time(Some(replayed.entered_at))),
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
