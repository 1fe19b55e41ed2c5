//! Why an instance stands where it stands: what its definition says, what is recorded, and what is usual, put together.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::dwell_times::MachineDwellTimes;
use super::error::EngineError;
use super::face::{FaceSummary, Faces};
use super::handle::Engine;
use super::history_text::{describe_arrival, describe_evidence, observed_at};
use super::resources::WaitForecast;
use crate::actions::ActionRegistry;
use crate::explain::{
    self, AwaitedEvent, InstanceCircumstances, PendingAction, PossibleRequest, TimeoutConsequence,
};
use crate::formatting::{count, elapsed, time};
use crate::machine::{Definition, Instance, Links, MachineName, StateKind, StateName, Visit};
use crate::store::actions::{self, ActionSummary};
use crate::store::definitions::{self, ActivatedDefinition};
use crate::store::history::{self, HistoryEntry};
use crate::store::instances::{self, InstanceId, InstanceKey, LockedInstance};
use crate::store::{DbConnection, StoreError, dwell_times};

/// How often an instance is read anew that moved on while it was read.
const MAX_READ_TRIES: usize = 3;

/// Why an instance stands where it stands.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceExplanation {
    /// The instance's number.
    #[serde(skip)]
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: StateName,
    /// What people see for the state: its label, or its name.
    pub label: String,
    /// What being in the state means.
    pub kind: StateKind,
    /// What the definition says of the state, or empty.
    pub about: String,
    /// All of this in sentences for people, the answer first.
    pub sentences: Vec<String>,
    /// Since when it is in this state, tries included.
    pub since: DateTime<Utc>,
    /// Which visit of a state this is.
    pub visit: Visit,
    /// When that began.
    pub entered_at: DateTime<Utc>,
    /// The events that can still come, from outside and from its actions.
    pub waits_for: Vec<AwaitedEvent>,
    /// Until when, once the state's time runs.
    pub until: Option<DateTime<Utc>>,
    /// What happens then, and how many tries are left.
    pub then: Option<TimeoutConsequence>,
    /// How long instances usually stay in this state; nothing where none has left it lately.
    pub usual: Option<StateDwellStatistics>,
    /// What was last heard from the world: a read-back, a file that was fetched, a report.
    pub evidence: Option<LastEvidence>,
    /// The instances that it is linked to.
    #[serde(skip_serializing_if = "Links::is_empty")]
    pub links: Links,
    /// What its face tells beside all else.
    #[serde(flatten)]
    pub details: Map<String, Value>,
    /// What it still has to do, and what it queues for.
    pub doing: Vec<PendingAction>,
    /// What an operator may ask for now. A forced move is always possible.
    pub may: Vec<PossibleRequest>,
    /// The last reason that was told for a failure.
    pub failure: Option<String>,
    /// The number of the definition that is in force.
    pub definition: i32,
    /// The number of the one under which it entered the state, where that is another one.
    pub entered_under: Option<i32>,
}

/// How long instances usually stay in a state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateDwellStatistics {
    /// Half of the stays took no longer, in seconds.
    pub p50_s: f64,
    /// Of a hundred, ninety-five took no longer, in seconds.
    pub p95_s: f64,
    /// How many stays there were.
    pub stays: i64,
    /// Since when: they began and ended after that.
    pub since: DateTime<Utc>,
    /// One instance in so many was looked at.
    pub one_in: i64,
}

/// What was last heard from the world about an instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastEvidence {
    /// When.
    pub at: DateTime<Utc>,
    /// In words.
    pub words: String,
    /// Who said so, as far as is known.
    pub sender: Option<String>,
    /// What was observed.
    pub observed: Option<Map<String, Value>>,
}

/// By what a record is read.
#[derive(Clone, Copy)]
struct RecordContext<'a> {
    faces: &'a Faces,
    active: &'a ActivatedDefinition,
    now: DateTime<Utc>,
}

/// What is recorded of an instance.
struct InstanceRecord {
    id: InstanceId,
    instance: Instance,
    actions: Vec<ActionSummary>,
    /// What those may expect that wait for resources.
    wait_forecast: WaitForecast,
    arrival: Option<HistoryEntry>,
    evidence: Option<HistoryEntry>,
    summary: FaceSummary,
    /// The definitions that came into force, where one did since it entered its state.
    activations: Vec<ActivatedDefinition>,
}

impl InstanceRecord {
    /// Reads it; what is not of one moment is read again.
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
        // It moves on faster than it can be read, so that nothing said of it is true for longer than that.
        match found {
            Some(present) => Ok(Some(Self::of(db, present, context).await?)),
            None => Ok(None),
        }
    }

    async fn of(
        db: &mut DbConnection,
        (id, instance): (InstanceId, Instance),
        RecordContext { faces, active: in_force, now }: RecordContext<'_>,
    ) -> Result<Self, StoreError> {
        let landmarks = dwell_times::find_key_entries(db, id).await?;
        let has_changed = landmarks.arrival.is_some_and(|arrival| arrival < in_force.first_history);
        let account = match faces.of(&instance.machine) {
            Some(face) => face.summarize(db, id, &instance, now).await?,
            None => FaceSummary::default(),
        };
        Ok(Self {
            actions: actions::list_summaries(db, id).await?,
            wait_forecast: WaitForecast::default(),
            arrival: entry(db, id, landmarks.arrival).await?,
            evidence: entry(db, id, landmarks.evidence).await?,
            summary: account,
            activations: if has_changed {
                definitions::list_activated(db, &instance.machine).await?
            } else {
                Vec::new()
            },
            id,
            instance,
        })
    }

    /// Says of actions that do nothing why that is so.
    fn explain_idle(&mut self, kinds: &ActionRegistry) {
        for action in self.actions.iter_mut().filter(|action| action.reason.is_none()) {
            action.reason = kinds.idle_reason(&action.action, &self.summary.action_facts);
        }
    }

    fn doing(&self) -> Vec<PendingAction> {
        let doing = |action: &ActionSummary| {
            let outlook = self.wait_forecast.of(action);
            PendingAction {
                action: action.action.clone(),
                began_at: action.began_at,
                resource: action.resource(),
                ahead: i64::try_from(outlook.ahead).unwrap_or(i64::MAX),
                holder: (!outlook.holders.is_empty()).then(|| outlook.holders.join(", ")),
                expected_at: outlook.expected_at,
                is_leftover: action.is_cancelled || action.is_compensation,
                suspended_at: action.suspended_at,
                reason: action.reason.clone(),
            }
        };
        self.actions.iter().map(doing).collect()
    }

    /// The number of the definition under which it entered its state, if another one is in force.
    fn entered_under(&self, in_force: i32) -> Option<i32> {
        let arrival = self.arrival.as_ref()?.id;
        let then = self.activations.iter().rfind(|adopted| adopted.first_history <= arrival)?;
        (then.number != in_force).then_some(then.number)
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
    /// Says why an instance stands where it stands.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such instance; [`EngineError::NoMachine`] when no definition is in force
    /// that this program understands; [`EngineError::Store`] when the database fails.
    pub async fn why(&self, machine: &MachineName, name: &str) -> Result<InstanceExplanation, EngineError> {
        let in_force = self.active_definitions().into_iter().find(|one| one.activated.machine == *machine);
        let in_force = in_force.ok_or_else(|| EngineError::NoMachine(machine.clone()))?;
        let no_such = || EngineError::NoInstance(InstanceKey::Name(machine.clone(), name.to_owned()));
        if name.contains('\0') {
            return Err(no_such());
        }
        let now = self.clock().now();
        let mut record = {
            let mut db = self.store().reader().await?;
            let context = RecordContext { faces: &self.inner.faces, active: &in_force.activated, now };
            let record =
                InstanceRecord::read(&mut db, (machine, name), context).await?.ok_or_else(no_such)?;
            let outlook = self.wait_forecasts(&mut db, record.id, &record.actions).await?;
            InstanceRecord { wait_forecast: outlook, ..record }
        };
        record.explain_idle(self.kinds());
        let times = self.dwell_times(machine).await;
        Ok(build_explanation(&record, &in_force.definition, &in_force.activated, times.as_deref(), now))
    }
}

fn build_explanation(
    record: &InstanceRecord,
    definition: &Definition,
    in_force: &ActivatedDefinition,
    times: Option<&MachineDwellTimes>,
    now: DateTime<Utc>,
) -> InstanceExplanation {
    let instance = &record.instance;
    let (doing, since) = (record.doing(), instance.since);
    let may = explain::requests(definition, instance, &record.summary.facts, now);
    let circumstances = InstanceCircumstances { since, actions: &doing, requests: &may };
    let mut sentences = explain::explain_in_sentences(definition, instance, circumstances, now);
    let explanation = explain::explain(definition, instance);
    let usual = times.and_then(|times| state_dwell_statistics(times, instance.state.as_str()));
    let entered_under = record.entered_under(in_force.number);
    sentences.push(match &record.arrival {
        Some(arrival) => describe_arrival(arrival, now),
        None => "History does not tell any more how it came here.".to_owned(),
    });
    sentences
        .extend(times.map(|times| describe_dwell_time(usual.as_ref(), times, explanation.kind, now - since)));
    sentences.extend(record.evidence.as_ref().map(|evidence| {
        format!(
            "Last evidence, at {} ({} ago): {}.",
            time(observed_at(evidence), now),
            elapsed(now - observed_at(evidence)),
            describe_evidence(evidence)
        )
    }));
    // While it queues for a resource or holds one, what is known is of the time before.
    let is_on_its_way =
        explanation.kind == StateKind::Working && doing.iter().all(|doing| doing.resource.is_none());
    sentences.extend(record.summary.progress.clone().filter(|_| is_on_its_way));
    sentences.extend(entered_under.map(|number| {
        let (present, at) = (in_force.number, time(in_force.at, now));
        format!("The machine was changed since: it came here under definition {number}, and {present} is in force since {at}.")
    }));
    InstanceExplanation {
        id: record.id,
        name: instance.name.clone(),
        state: instance.state.clone(),
        label: definition.label(&instance.state).to_owned(),
        kind: explanation.kind,
        about: explanation.about,
        sentences,
        since,
        visit: instance.visit,
        entered_at: instance.entered_at,
        waits_for: explain::awaited_events(definition, instance, &doing),
        until: instance.deadline_at,
        then: explanation.then,
        usual,
        evidence: record.evidence.as_ref().map(|evidence| LastEvidence {
            at: observed_at(evidence),
            words: describe_evidence(evidence),
            sender: evidence.sender.clone(),
            observed: evidence.evidence.clone(),
        }),
        links: instance.links.clone(),
        details: record.summary.details.clone(),
        failure: instance.data.get("failure").and_then(Value::as_str).map(str::to_owned),
        doing,
        may,
        definition: in_force.number,
        entered_under,
    }
}

fn state_dwell_statistics(times: &MachineDwellTimes, state: &str) -> Option<StateDwellStatistics> {
    let of = times.by_state.get(state)?;
    let window = times.window;
    Some(StateDwellStatistics {
        p50_s: of.p50.as_seconds_f64(),
        p95_s: of.p95.as_seconds_f64(),
        stays: of.samples,
        since: window.since,
        one_in: window.one_in,
    })
}

/// How long instances usually stay, and whether this one stays longer.
fn describe_dwell_time(
    usual: Option<&StateDwellStatistics>,
    times: &MachineDwellTimes,
    kind: StateKind,
    stays_for: chrono::TimeDelta,
) -> String {
    let since = times.window.since.format("%Y-%m-%d");
    let Some(usual) = usual else {
        return format!(
            "No usual time yet: no stay here that began and ended since {since} has been counted."
        );
    };
    let of = |seconds: f64| {
        let millis = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        elapsed(chrono::TimeDelta::from_std(millis).unwrap_or_default())
    };
    let stays = count(usual.stays, "stay");
    let among = match usual.one_in {
        1 => String::new(),
        many => format!(", of one in {many}"),
    };
    let is_longer = kind == StateKind::Working && stays_for.as_seconds_f64() > usual.p95_s;
    let longer = if is_longer { "; this one takes longer" } else { "" };
    format!(
        "Usual time here: {} (median), 95 of 100 within {}; from {stays}{among} that began and ended since {since}{longer}.",
        of(usual.p50_s),
        of(usual.p95_s),
    )
}
