//! Explains why an instance is in its state, from its definition, its record and the dwell statistics.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::dwell_times::MachineDwellTimes;
use super::error::EngineError;
use super::face::{FaceSummary, Faces};
use super::handle::Engine;
use super::history_text::{describe_arrival, describe_evidence, observed_at};
use super::open_action::OpenAction;
use super::resource_snapshot::WaitForecast;
use crate::actions::ActionRegistry;
use crate::explain::{
    self, AwaitedEvent, Explanation, InstanceCircumstances, PendingAction, PossibleRequest,
    TimeoutConsequence,
};
use crate::formatting::{count, elapsed, time};
use crate::machine::{Definition, Instance, Links, MachineName, StateKind, StateName, Visit};
use crate::store::actions::{self, ActionSummary};
use crate::store::definitions::{self, ActivatedDefinition};
use crate::store::history::{self, HistoryEntry};
use crate::store::instances::{self, InstanceId, InstanceKey, LockedInstance};
use crate::store::{DbConnection, StoreError, dwell_times};

/// How often an instance is read again that changed while it was read.
const MAX_READ_TRIES: usize = 3;

/// Why an instance is in its state.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceExplanation {
    /// The instance's number.
    #[serde(skip)]
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: StateName,
    /// The label of the state, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The kind of the state.
    pub kind: StateKind,
    /// The state's description in the definition, or empty.
    pub about: String,
    /// The explanation in sentences for people, the answer first.
    pub sentences: Vec<String>,
    /// Since when it is in this state; re-entries by the state's own timeout do not count.
    pub since: DateTime<Utc>,
    /// The number of the present visit.
    pub visit: Visit,
    /// When it last entered the state, as its history has it; where actions continue, re-entries are not recorded.
    pub entered_at: DateTime<Utc>,
    /// The events that can still arrive, from outside and from its actions.
    pub awaited_events: Vec<AwaitedEvent>,
    /// When the state's timeout passes; nothing until it starts.
    pub deadline: Option<DateTime<Utc>>,
    /// What happens when the deadline passes, and how many tries are left.
    pub on_deadline: Option<TimeoutConsequence>,
    /// How long instances stay in this state; nothing where none has left it lately.
    pub dwell_time: Option<StateDwellStatistics>,
    /// The last observation: a read-back, a file that was fetched, a report.
    pub evidence: Option<LastEvidence>,
    /// The instances that it is linked to.
    #[serde(skip_serializing_if = "Links::is_empty")]
    pub links: Links,
    /// Further details from its face, by name.
    #[serde(flatten)]
    pub details: Map<String, Value>,
    /// Its actions that have not ended, with their places in queues.
    pub actions: Vec<OpenAction>,
    /// What an operator can request now. A forced move is always possible.
    pub requests: Vec<PossibleRequest>,
    /// The last recorded reason of a failure.
    pub failure: Option<String>,
    /// The number of the active definition.
    pub definition: i32,
    /// The number of the definition under which it entered the state, where that is another one.
    pub entered_under: Option<i32>,
}

/// How long instances stay in a state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateDwellStatistics {
    /// The median, in seconds.
    pub p50_s: f64,
    /// The 95th percentile, in seconds.
    pub p95_s: f64,
    /// The number of completed dwell times.
    pub samples: i64,
    /// The beginning of the sample window.
    pub since: DateTime<Utc>,
    /// One instance in this many was sampled.
    pub sampled_one_in: i64,
}

/// The last observation about an instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastEvidence {
    /// When it was made.
    pub at: DateTime<Utc>,
    /// The observation in words.
    pub words: String,
    /// The sender, where it is known.
    pub sender: Option<String>,
    /// The observed values.
    pub observed: Option<Map<String, Value>>,
}

/// What reading a record needs.
#[derive(Clone, Copy)]
struct RecordContext<'a> {
    faces: &'a Faces,
    active: &'a ActivatedDefinition,
    now: DateTime<Utc>,
}

/// The record of an instance.
struct InstanceRecord {
    id: InstanceId,
    instance: Instance,
    actions: Vec<ActionSummary>,
    /// The forecast for the actions that wait for resources.
    wait_forecast: WaitForecast,
    arrival: Option<HistoryEntry>,
    evidence: Option<HistoryEntry>,
    /// When it last entered its state, re-entries included.
    entered_at: Option<DateTime<Utc>>,
    summary: FaceSummary,
    /// The activated definitions, where one was activated since it entered its state.
    activations: Vec<ActivatedDefinition>,
}

impl InstanceRecord {
    /// Reads the record; it is read again where the instance changed meanwhile.
    async fn read(
        db: &mut DbConnection,
        (machine, name): (&MachineName, &str),
        context: RecordContext<'_>,
    ) -> Result<Option<Self>, StoreError> {
        let mut found = find(db, machine, name).await?;
        for _ in 0..MAX_READ_TRIES {
            let Some(before) = found else { break };
            let record = Self::of(db, before.clone(), context).await?;
            found = find(db, machine, name).await?;
            if found.as_ref().is_none_or(|later| *later == before) {
                return Ok(found.is_some().then_some(record));
            }
        }
        // The instance changes faster than it can be read; the last reading is as good as another.
        match found {
            Some(present) => Ok(Some(Self::of(db, present, context).await?)),
            None => Ok(None),
        }
    }

    async fn of(
        db: &mut DbConnection,
        (id, instance): (InstanceId, Instance),
        RecordContext { faces, active, now }: RecordContext<'_>,
    ) -> Result<Self, StoreError> {
        let key_entries = dwell_times::find_key_entries(db, id).await?;
        let has_changed = key_entries.arrival.is_some_and(|arrival| arrival < active.first_history);
        let summary = match faces.of(&instance.machine) {
            Some(face) => face.summarize(db, id, &instance, now).await?,
            None => FaceSummary::default(),
        };
        Ok(Self {
            actions: actions::list_summaries(db, id).await?,
            wait_forecast: WaitForecast::default(),
            arrival: entry(db, id, key_entries.arrival).await?,
            evidence: entry(db, id, key_entries.evidence).await?,
            entered_at: key_entries.entered_at,
            summary,
            activations: if has_changed {
                definitions::list_activated(db, &instance.machine).await?
            } else {
                Vec::new()
            },
            id,
            instance,
        })
    }

    /// Adds the reasons of actions that do nothing.
    fn explain_idle(&mut self, kinds: &ActionRegistry) {
        for action in self.actions.iter_mut().filter(|action| action.reason.is_none()) {
            action.reason = kinds.idle_reason(&action.action, &self.summary.action_facts);
        }
    }

    fn open_actions(&self) -> Vec<OpenAction> {
        self.actions.iter().map(|action| OpenAction::new(action, &self.wait_forecast)).collect()
    }

    /// The number of the definition under which it entered its state, if another one is active.
    fn entered_under(&self, active: i32) -> Option<i32> {
        let arrival = self.arrival.as_ref()?.id;
        let then = self.activations.iter().rfind(|activated| activated.first_history <= arrival)?;
        (then.number != active).then_some(then.number)
    }
}

async fn find(
    db: &mut DbConnection,
    machine: &MachineName,
    name: &str,
) -> Result<Option<(InstanceId, Instance)>, StoreError> {
    let stored = instances::list(db, machine, Some(name)).await?.pop();
    let locked = stored.map(LockedInstance::try_from).transpose()?;
    Ok(locked.map(|LockedInstance { id, instance }| (id, instance)))
}

async fn entry(
    db: &mut DbConnection,
    id: InstanceId,
    number: Option<i64>,
) -> Result<Option<HistoryEntry>, StoreError> {
    let Some(number) = number else { return Ok(None) };
    Ok(history::list(db, id, Some(number.saturating_add(1)), 1).await?.pop())
}

impl Engine {
    /// Explains why an instance is in its state.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such instance; [`EngineError::NoMachine`] when there is no active
    /// definition that this program can parse; [`EngineError::Store`] when the database fails.
    pub async fn why(&self, machine: &MachineName, name: &str) -> Result<InstanceExplanation, EngineError> {
        let active = self.active_definitions();
        let active = active.into_iter().find(|active| active.activated.machine == *machine);
        let active = active.ok_or_else(|| EngineError::NoMachine(machine.clone()))?;
        let no_such = || EngineError::NoInstance(InstanceKey::Name(machine.clone(), name.to_owned()));
        if name.contains('\0') {
            return Err(no_such());
        }
        let now = self.clock().now();
        let mut record = {
            let mut db = self.store().reader().await?;
            let context = RecordContext { faces: &self.inner.faces, active: &active.activated, now };
            let record =
                InstanceRecord::read(&mut db, (machine, name), context).await?.ok_or_else(no_such)?;
            let wait_forecast = self.wait_forecasts(&mut db, record.id, &record.actions).await?;
            InstanceRecord { wait_forecast, ..record }
        };
        record.explain_idle(self.kinds());
        let times = self.dwell_times(machine).await;
        Ok(build_explanation(&record, &active.definition, &active.activated, times.as_deref(), now))
    }

    /// Explains what can happen next to an instance that was read already.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoMachine`] when there is no active definition; [`EngineError::Store`] when the database fails.
    pub async fn explain(&self, id: InstanceId, instance: &Instance) -> Result<Explanation, EngineError> {
        let definition = self.definition(&instance.machine)?;
        let facts = match self.inner.faces.of(&instance.machine) {
            Some(face) => {
                let mut db = self.store().reader().await?;
                let shared = face.read_shared(&mut db).await?;
                let facts = face.read_facts(&mut db, &[id]).await?.pop();
                facts.map(|(_, facts)| facts.for_guards(instance, &shared)).unwrap_or_default()
            }
            None => Map::new(),
        };
        Ok(explain::explain(&definition, instance, Some(&facts), self.clock().now()))
    }
}

fn build_explanation(
    record: &InstanceRecord,
    definition: &Definition,
    active: &ActivatedDefinition,
    times: Option<&MachineDwellTimes>,
    now: DateTime<Utc>,
) -> InstanceExplanation {
    let instance = &record.instance;
    let (actions, since) = (record.open_actions(), instance.since);
    let entered_at = record.entered_at.unwrap_or(since);
    let pending: Vec<PendingAction> = actions.iter().map(|action| action.pending.clone()).collect();
    let explanation = explain::explain(definition, instance, Some(&record.summary.facts), now);
    let circumstances =
        InstanceCircumstances { entered_at, actions: &pending, requests: &explanation.requests };
    let mut sentences = explain::explain_in_sentences(definition, instance, circumstances, now);
    let dwell_time = times.and_then(|times| state_dwell_statistics(times, instance.state.as_str()));
    let entered_under = record.entered_under(active.number);
    sentences.push(match &record.arrival {
        Some(arrival) => describe_arrival(arrival, now),
        None => "The entry into this state is no longer in history.".to_owned(),
    });
    sentences.extend(
        times.map(|times| describe_dwell_time(dwell_time.as_ref(), times, explanation.kind, now - since)),
    );
    sentences.extend(record.evidence.as_ref().map(|evidence| {
        format!(
            "Last evidence, at {} ({} ago): {}.",
            time(observed_at(evidence), now),
            elapsed(now - observed_at(evidence)),
            describe_evidence(evidence)
        )
    }));
    sentences.extend(record.summary.observation.clone());
    // While it waits for a resource or holds one, the recorded progress is outdated.
    let has_progress =
        explanation.kind == StateKind::Working && pending.iter().all(|action| action.resource.is_none());
    sentences.extend(record.summary.progress.clone().filter(|_| has_progress));
    sentences.extend(entered_under.map(|number| {
        let (present, at) = (active.number, time(active.at, now));
        format!(
            "The definition has changed: the state was entered under definition {number}, and {present} is active since {at}."
        )
    }));
    InstanceExplanation {
        id: record.id,
        name: instance.name.clone(),
        state: instance.state.clone(),
        label: definition.explicit_label(instance.state.as_str()).map(str::to_owned),
        kind: explanation.kind,
        about: explanation.about,
        sentences,
        since,
        visit: instance.visit,
        entered_at,
        awaited_events: explain::awaited_events(definition, instance, &pending),
        deadline: instance.deadline_at,
        on_deadline: explanation.on_deadline,
        dwell_time,
        evidence: record.evidence.as_ref().map(|evidence| LastEvidence {
            at: observed_at(evidence),
            words: describe_evidence(evidence),
            sender: evidence.sender.clone(),
            observed: evidence.evidence.clone(),
        }),
        links: instance.links.clone(),
        details: record.summary.details.clone(),
        failure: instance.data.get("failure").and_then(Value::as_str).map(str::to_owned),
        actions,
        requests: explanation.requests,
        definition: active.number,
        entered_under,
    }
}

fn state_dwell_statistics(times: &MachineDwellTimes, state: &str) -> Option<StateDwellStatistics> {
    let statistics = times.by_state.get(state)?;
    let window = times.window;
    Some(StateDwellStatistics {
        p50_s: statistics.p50.as_seconds_f64(),
        p95_s: statistics.p95.as_seconds_f64(),
        samples: statistics.samples,
        since: window.since,
        sampled_one_in: window.one_in,
    })
}

/// Describes how long instances stay in a state, and whether this one stays longer.
fn describe_dwell_time(
    dwell_time: Option<&StateDwellStatistics>,
    times: &MachineDwellTimes,
    kind: StateKind,
    present: chrono::TimeDelta,
) -> String {
    let since = times.window.since.format("%Y-%m-%d");
    let Some(dwell_time) = dwell_time else {
        return format!("No dwell statistics yet: no samples since {since}.");
    };
    let text = |seconds: f64| {
        let millis = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        elapsed(chrono::TimeDelta::from_std(millis).unwrap_or_default())
    };
    let samples = count(dwell_time.samples, "sample");
    let among = match dwell_time.sampled_one_in {
        1 => String::new(),
        many => format!(" of one instance in {many}"),
    };
    let is_longer = kind == StateKind::Working && present.as_seconds_f64() > dwell_time.p95_s;
    let longer = if is_longer { "; this one takes longer" } else { "" };
    format!(
        "Dwell time: {} (median), 95 % within {}; from {samples}{among} since {since}{longer}.",
        text(dwell_time.p50_s),
        text(dwell_time.p95_s),
    )
}
