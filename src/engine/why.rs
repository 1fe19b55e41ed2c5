//! Why an instance stands where it stands: what its definition says, what is recorded, and what is usual, put together.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::dwell_times::Times;
use super::error::EngineError;
use super::face::{Account, Faces};
use super::handle::Engine;
use super::resources::Outlook;
use super::tell::{arrived, heard_at, seen};
use crate::actions::Registry;
use crate::explain::words::{span, time};
use crate::explain::{self, Awaited, Circumstances, Doing, Request, Then};
use crate::machine::{Definition, Instance, Kind, Links, MachineName, StateName, Visit};
use crate::store::actions::{self, OpenAction};
use crate::store::definitions::{self, Adopted};
use crate::store::history::{self, Entry};
use crate::store::instances::{self, InstanceId, Locked, Target};
use crate::store::{Connection, StoreError, stays};

/// How often an instance is read anew that moved on while it was read.
const TRIES: usize = 3;

/// Why an instance stands where it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Why {
    /// The instance's number.
    #[serde(skip)]
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: StateName,
    /// What being in the state means.
    pub kind: Kind,
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
    pub waits_for: Vec<Awaited>,
    /// Until when, once the state's time runs.
    pub until: Option<DateTime<Utc>>,
    /// What happens then, and how many tries are left.
    pub then: Option<Then>,
    /// How long instances usually stay in this state; nothing where none has left it lately.
    pub usual: Option<UsualStay>,
    /// What was last heard from the world: a read-back, a file that was fetched, a report.
    pub evidence: Option<LastEvidence>,
    /// The instances that it is linked to.
    #[serde(skip_serializing_if = "Links::is_empty")]
    pub links: Links,
    /// What its face tells beside all else.
    #[serde(flatten)]
    pub details: Map<String, Value>,
    /// What it still has to do, and what it queues for.
    pub doing: Vec<Doing>,
    /// What an operator may ask for now. A forced move is always possible.
    pub may: Vec<Request>,
    /// The last reason that was told for a failure.
    pub failure: Option<String>,
    /// The number of the definition that is in force.
    pub definition: i32,
    /// The number of the one under which it entered the state, where that is another one.
    pub entered_under: Option<i32>,
}

/// How long instances usually stay in a state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsualStay {
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
struct Context<'a> {
    faces: &'a Faces,
    in_force: &'a Adopted,
    now: DateTime<Utc>,
}

/// What is recorded of an instance.
struct Record {
    id: InstanceId,
    instance: Instance,
    actions: Vec<OpenAction>,
    /// What those may expect that wait for resources.
    outlook: Outlook,
    arrival: Option<Entry>,
    evidence: Option<Entry>,
    account: Account,
    /// The definitions that came into force, where one did since it entered its state.
    adopted: Vec<Adopted>,
}

impl Record {
    /// Reads it; what is not of one moment is read again.
    async fn read(
        db: &mut Connection,
        (machine, name): (&MachineName, &str),
        context: Context<'_>,
    ) -> Result<Option<Self>, StoreError> {
        let mut found = find(db, machine, name).await?;
        for _ in 0..TRIES {
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
        db: &mut Connection,
        (id, instance): (InstanceId, Instance),
        Context { faces, in_force, now }: Context<'_>,
    ) -> Result<Self, StoreError> {
        let landmarks = stays::find_landmarks(db, id).await?;
        let has_changed = landmarks.arrival.is_some_and(|arrival| arrival < in_force.first_history);
        let account = match faces.of(&instance.machine) {
            Some(face) => face.account(db, id, &instance, now).await?,
            None => Account::default(),
        };
        Ok(Self {
            actions: actions::list_open(db, id).await?,
            outlook: Outlook::default(),
            arrival: entry(db, id, landmarks.arrival).await?,
            evidence: entry(db, id, landmarks.evidence).await?,
            account,
            adopted: if has_changed { definitions::list(db, &instance.machine).await? } else { Vec::new() },
            id,
            instance,
        })
    }

    /// Says of actions that do nothing why that is so.
    fn explain_idle(&mut self, kinds: &Registry) {
        for action in self.actions.iter_mut().filter(|action| action.reason.is_none()) {
            action.reason = kinds.idle(&action.action, &self.account.action_facts);
        }
    }

    fn doing(&self) -> Vec<Doing> {
        let doing = |action: &OpenAction| {
            let outlook = self.outlook.of(action);
            Doing {
                action: action.action.clone(),
                began_at: action.began_at,
                resource: action.resource(),
                ahead: i64::try_from(outlook.ahead).unwrap_or(i64::MAX),
                holder: (!outlook.holders.is_empty()).then(|| outlook.holders.join(", ")),
                expected_at: outlook.expected_at,
                is_leftover: action.cancelled || action.rescue,
                suspended_at: action.suspended_at,
                reason: action.reason.clone(),
            }
        };
        self.actions.iter().map(doing).collect()
    }

    /// The number of the definition under which it entered its state, if another one is in force.
    fn entered_under(&self, in_force: i32) -> Option<i32> {
        let arrival = self.arrival.as_ref()?.id;
        let then = self.adopted.iter().rfind(|adopted| adopted.first_history <= arrival)?;
        (then.number != in_force).then_some(then.number)
    }
}

async fn find(
    db: &mut Connection,
    machine: &MachineName,
    name: &str,
) -> Result<Option<(InstanceId, Instance)>, StoreError> {
    let stored = instances::list(db, machine, Some(name)).await?.pop();
    let locked = stored.map(Locked::try_from).transpose()?;
    Ok(locked.map(|Locked { id, instance }| (id, instance)))
}

async fn entry(
    db: &mut Connection,
    id: InstanceId,
    number: Option<i64>,
) -> Result<Option<Entry>, StoreError> {
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
    pub async fn why(&self, machine: &MachineName, name: &str) -> Result<Why, EngineError> {
        let in_force = self.in_force().into_iter().find(|one| one.adopted.machine == *machine);
        let in_force = in_force.ok_or_else(|| EngineError::NoMachine(machine.clone()))?;
        let no_such = || EngineError::NoInstance(Target::Name(machine.clone(), name.to_owned()));
        if name.contains('\0') {
            return Err(no_such());
        }
        let now = self.clock().now();
        let mut record = {
            let mut db = self.store().reader().await?;
            let context = Context { faces: &self.inner.faces, in_force: &in_force.adopted, now };
            let record = Record::read(&mut db, (machine, name), context).await?.ok_or_else(no_such)?;
            let outlook = self.outlook(&mut db, record.id, &record.actions).await?;
            Record { outlook, ..record }
        };
        record.explain_idle(self.kinds());
        let times = self.usual_times(machine).await;
        Ok(put_together(&record, &in_force.definition, &in_force.adopted, times.as_deref(), now))
    }
}

fn put_together(
    record: &Record,
    definition: &Definition,
    in_force: &Adopted,
    times: Option<&Times>,
    now: DateTime<Utc>,
) -> Why {
    let instance = &record.instance;
    let (doing, since) = (record.doing(), instance.since);
    let may = explain::requests(definition, instance, &record.account.facts, now);
    let circumstances = Circumstances { since, doing: &doing, requests: &may };
    let mut sentences = explain::why(definition, instance, circumstances, now);
    let explanation = explain::explain(definition, instance);
    let usual = times.and_then(|times| usual_stay(times, instance.state.as_str()));
    let entered_under = record.entered_under(in_force.number);
    sentences.push(match &record.arrival {
        Some(arrival) => arrived(arrival, now),
        None => "History does not tell any more how it came here.".to_owned(),
    });
    sentences.extend(times.map(|times| usually(usual.as_ref(), times, explanation.kind, now - since)));
    sentences.extend(record.evidence.as_ref().map(|evidence| {
        format!(
            "Last evidence, at {} ({} ago): {}.",
            time(heard_at(evidence), now),
            span(now - heard_at(evidence)),
            seen(evidence)
        )
    }));
    // While it queues for a resource or holds one, what is known is of the time before.
    let is_on_its_way =
        explanation.kind == Kind::Working && doing.iter().all(|doing| doing.resource.is_none());
    sentences.extend(record.account.progress.clone().filter(|_| is_on_its_way));
    sentences.extend(entered_under.map(|number| {
        let (present, at) = (in_force.number, time(in_force.at, now));
        format!("The machine was changed since: it came here under definition {number}, and {present} is in force since {at}.")
    }));
    Why {
        id: record.id,
        name: instance.name.clone(),
        state: instance.state.clone(),
        kind: explanation.kind,
        about: explanation.about,
        sentences,
        since,
        visit: instance.visit,
        entered_at: instance.entered_at,
        waits_for: explain::awaited(definition, instance, &doing),
        until: instance.deadline_at,
        then: explanation.then,
        usual,
        evidence: record.evidence.as_ref().map(|evidence| LastEvidence {
            at: heard_at(evidence),
            words: seen(evidence),
            sender: evidence.sender.clone(),
            observed: evidence.evidence.clone(),
        }),
        links: instance.links.clone(),
        details: record.account.details.clone(),
        failure: instance.data.get("failure").and_then(Value::as_str).map(str::to_owned),
        doing,
        may,
        definition: in_force.number,
        entered_under,
    }
}

fn usual_stay(times: &Times, state: &str) -> Option<UsualStay> {
    let of = times.by_state.get(state)?;
    let window = times.window;
    Some(UsualStay {
        p50_s: of.p50.as_seconds_f64(),
        p95_s: of.p95.as_seconds_f64(),
        stays: of.stays,
        since: window.since,
        one_in: window.one_in,
    })
}

/// How long instances usually stay, and whether this one stays longer.
fn usually(usual: Option<&UsualStay>, times: &Times, kind: Kind, stays_for: chrono::TimeDelta) -> String {
    let since = times.window.since.format("%Y-%m-%d");
    let Some(usual) = usual else {
        return format!(
            "No usual time yet: no stay here that began and ended since {since} has been counted."
        );
    };
    let of = |seconds: f64| {
        let millis = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        span(chrono::TimeDelta::from_std(millis).unwrap_or_default())
    };
    let stays = if usual.stays == 1 { "1 stay".to_owned() } else { format!("{} stays", usual.stays) };
    let among = match usual.one_in {
        1 => String::new(),
        many => format!(", of one in {many}"),
    };
    let is_longer = kind == Kind::Working && stays_for.as_seconds_f64() > usual.p95_s;
    let longer = if is_longer { "; this one takes longer" } else { "" };
    format!(
        "Usual time here: {} (median), 95 of 100 within {}; from {stays}{among} that began and ended since {since}{longer}.",
        of(usual.p50_s),
        of(usual.p95_s),
    )
}
