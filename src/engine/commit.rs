//! The one path by which anything that happens becomes durable: lock, decide, write, commit.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{Engine, EngineError};
use crate::action;
use crate::machine::{
    self, Cause, Decision, Definition, Effect, Ignored, Instance, Invoke, Outcome, Source, StateName,
    Stimulus, Visit,
};
use crate::store::actions::{self, NewAction};
use crate::store::history::{self, NewEntry, Told};
use crate::store::instances::{self, InstanceId, Locked, Target};
use crate::store::{StoreError, Tx, devices};

/// How often a transaction that another one came before is tried again.
const TRIES: usize = 5;

/// Something that happened, for the engine to decide on.
#[derive(Debug, Clone)]
pub struct Submission {
    /// To which instance.
    pub target: Target,
    /// What.
    pub cause: Cause,
    /// Who says so, as far as is known.
    pub sender: Option<String>,
    /// What was observed, for history.
    pub evidence: Option<Map<String, Value>>,
    /// What people should read beside it in history.
    pub remark: Option<String>,
}

impl Submission {
    /// Something that happened to `target`, of which nothing more is known.
    #[must_use]
    pub fn new(target: Target, cause: Cause) -> Self {
        Self { target, cause, sender: None, evidence: None, remark: None }
    }

    fn is_from_board(&self) -> bool {
        matches!(self.cause, Cause::Event { source: Source::Board, .. })
    }
}

/// A submission that has been decided on; what it changed is durable.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The instance's number.
    pub id: InstanceId,
    /// What it amounted to.
    pub outcome: Outcome,
    /// The instance after it.
    pub instance: Instance,
}

impl Engine {
    /// Decides on `submission` and answers once the result is durable.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] and [`EngineError::NoMachine`], with nothing written; [`EngineError::Store`] when the
    /// database fails.
    #[tracing::instrument(name = "engine.submit", level = "debug", skip_all)]
    pub async fn submit(&self, submission: Submission) -> Result<Committed, EngineError> {
        let mut tries = 1;
        loop {
            match self.submit_once(&submission).await {
                Err(EngineError::Store(StoreError::Conflict(_))) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    async fn submit_once(&self, submission: &Submission) -> Result<Committed, EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let mut locked = self.lock(&mut tx, &submission.target).await?;
        if submission.is_from_board() && self.inner.running.is_ending(locked.id) {
            // The board came up because its power cycle ended: its report must not overtake that, as it does where
            // the end waits for a database that was away.
            drop(tx);
            self.inner.running.wait_for_ends(locked.id).await;
            tx = self.inner.store.begin().await?;
            locked = self.lock(&mut tx, &submission.target).await?;
        }
        let decision = self.apply(&mut tx, &locked, submission).await?;
        self.commit(tx).await?;
        tell(&locked.instance, &decision);
        Ok(Committed { id: locked.id, outcome: decision.outcome, instance: decision.instance })
    }

    /// Locks `target` until `tx` ends.
    pub(super) async fn lock(&self, tx: &mut Tx, target: &Target) -> Result<Locked, EngineError> {
        instances::lock(tx, target).await?.ok_or_else(|| EngineError::NoInstance(target.clone()))
    }

    /// Commits, and wakes whoever may have something to do now.
    pub(super) async fn commit(&self, tx: Tx) -> Result<(), EngineError> {
        tx.commit().await?;
        self.wake();
        Ok(())
    }

    /// Decides on what happened to a locked instance and writes what follows from it.
    pub(super) async fn apply(
        &self,
        tx: &mut Tx,
        locked: &Locked,
        submission: &Submission,
    ) -> Result<Decision, EngineError> {
        let before = &locked.instance;
        let definition = self.definition(&before.machine)?;
        let now = self.inner.clock.now();
        let stimulus = stimulus(definition, locked, submission.cause.clone());
        let decision = machine::decide(definition, before, &stimulus, now);
        let is_ours = matches!(submission.cause, Cause::Deadline { .. } | Cause::Began { .. });
        if is_ours && matches!(decision.outcome, Outcome::Ignored(_)) {
            // Our own clockwork came late or twice; nobody waits for an answer and nothing happened.
            return Ok(decision);
        }
        if decision.instance != *before {
            instances::save(tx, locked.id, before.visit, &decision.instance).await?;
        }
        self.write(tx, locked.id, before, &Told::Stimulus(stimulus), &decision, submission, now).await?;
        Ok(decision)
    }

    /// Writes history and actions of a decision.
    #[expect(clippy::too_many_arguments, reason = "the parts of one transaction, of which none is optional")]
    pub(super) async fn write(
        &self,
        tx: &mut Tx,
        id: InstanceId,
        before: &Instance,
        told: &Told,
        decision: &Decision,
        submission: &Submission,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        // An action whose end a state does not list is no surprise: it ends, and the deadline decides.
        let is_action = matches!(submission.cause, Cause::Event { source: Source::Action, .. });
        let ignored = match &decision.outcome {
            Outcome::Ignored(Ignored::NotHandled { .. } | Ignored::NotAllowed { .. }) if is_action => None,
            Outcome::Ignored(why) => Some(why.to_string()),
            Outcome::Moved { .. } | Outcome::Stayed => None,
        };
        // How the last boot went is of no interest to a board at rest.
        let remark = submission.remark.clone().filter(|_| !decision.keeps_actions());
        let reasons: Vec<String> = ignored.into_iter().chain(remark).collect();
        let entry = NewEntry {
            instance: id,
            at: now,
            told,
            sender: submission.sender.as_deref(),
            outcome: Some(&decision.outcome),
            from: &before.state,
            to: &decision.instance.state,
            visit: decision.instance.visit,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            evidence: submission.evidence.as_ref(),
        };
        if decision.keeps_actions() && matches!(told, Told::Stimulus(stimulus) if stimulus.device.is_empty())
        {
            history::append_kept(tx, now, &before.state, &[(id, decision.instance.visit)]).await?;
        } else {
            history::append(tx, &entry).await?;
        }
        for effect in &decision.effects {
            match effect {
                Effect::Cancel { .. } => actions::cancel_state(tx, id).await?,
                Effect::Keep { .. } if actions::has_live(tx, id).await? => {}
                Effect::Keep { visit, actions } | Effect::Invoke { visit, actions } => {
                    let new = with_places(tx, id, &before.name, actions).await?;
                    actions::insert(tx, id, *visit, &new, now).await?;
                }
            }
        }
        if decision.outcome != Outcome::Stayed && decision.instance == *before {
            return Ok(());
        }
        Ok(crate::store::hint(tx).await?)
    }

    /// Writes down something that was noticed about an instance, without deciding anything.
    pub(super) async fn append_note(
        &self,
        tx: &mut Tx,
        instance: InstanceId,
        state: &StateName,
        visit: Visit,
        note: Note,
    ) -> Result<(), EngineError> {
        let entry = NewEntry {
            instance,
            at: self.clock().now(),
            told: &Told::Note(note.name.to_owned()),
            sender: note.sender.as_deref(),
            outcome: None,
            from: state,
            to: state,
            visit,
            reason: note.remark,
            evidence: (!note.evidence.is_empty()).then_some(&note.evidence),
        };
        Ok(history::append(tx, &entry).await?)
    }
}

/// Something noticed.
pub(super) struct Note {
    pub(super) name: &'static str,
    pub(super) sender: Option<String>,
    pub(super) evidence: Map<String, Value>,
    pub(super) remark: Option<String>,
}

/// Logs a state change that has become durable.
pub(super) fn tell(before: &Instance, decision: &Decision) {
    let (name, to) = (before.name.as_str(), &decision.instance.state);
    if let Outcome::Moved { from, .. } = &decision.outcome
        && !decision.keeps_actions()
    {
        tracing::info!(device.name = name, %from, device.state = %to, "{name}: {from} → {to}");
    }
}

/// Makes the stimulus: the device's facts go along where a guard may read them, and so into history.
pub(super) fn stimulus(definition: &Definition, locked: &Locked, cause: Cause) -> Stimulus {
    let reads = machine::reads_device(definition, &locked.instance.state, &cause);
    Stimulus { cause, device: if reads { locked.device.clone() } else { Map::new() } }
}

/// Says what each action holds while it runs: its own place, or already that of one which comes after it. The whole
/// list waits for its turn before it begins, so that a board loses no time of its deadline in a queue.
async fn with_places(
    tx: &mut Tx,
    id: InstanceId,
    name: &str,
    invoked: &[Invoke],
) -> Result<Vec<NewAction>, EngineError> {
    let device = devices::find_device(tx, id).await?;
    let board = device.map(|device| board(name, device));
    let mut place = None;
    let mut new: Vec<NewAction> = invoked
        .iter()
        .rev()
        .map(|invoke| {
            let own = board.as_ref().and_then(|board| action::place(&invoke.action, board));
            place = own.or_else(|| place.take());
            NewAction { invoke: invoke.clone(), place: place.clone() }
        })
        .collect();
    new.reverse();
    Ok(new)
}

/// What drivers may know of a device.
pub(super) fn board(name: &str, device: devices::Device) -> action::Board {
    action::Board {
        name: name.to_owned(),
        fqdn: device.fqdn,
        mac: device.mac,
        power_url: device.power_url,
        poll_url: device.poll_url,
    }
}
