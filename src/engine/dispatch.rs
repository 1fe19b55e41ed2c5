//! Hands out actions after the commit that asked for them, and brings their ends back.
//!
//! One loop starts what may start and stops what was cancelled; it is woken by every commit and every hint, and looks by
//! itself when the lease is renewed. Each visit's list of actions is one task: it begins once it has its place, and runs
//! its actions one after the other.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::commit::board;
use super::lease::Registered;
use super::{Engine, EngineError, Submission, lease};
use crate::action::{Evidence, Failed, Job};
use crate::machine::{Cause, EventName, Source};
use crate::store::actions::{self, ActionId, Ended, RunningAction, Startable};
use crate::store::instances::{self, InstanceId, Locked, Target};
use crate::store::workers::WorkerId;
use crate::store::{StoreError, Tx, devices, images, workers};

/// How many actions are looked up at a time.
const BATCH: i64 = 256;
/// How many of them are begun at once.
const AT_ONCE: usize = 8;
/// How long a report waits for the end of an action that it may depend on.
const LONGEST_END: Duration = Duration::from_secs(5);

/// What this process is carrying out, and how to stop it.
#[derive(Debug, Default)]
pub(super) struct Running {
    actions: Mutex<HashMap<ActionId, Stoppable>>,
    /// The instances of which an action has ended that is not written down yet.
    ending: watch::Sender<HashSet<InstanceId>>,
}

#[derive(Debug)]
struct Stoppable {
    token: CancellationToken,
    holds_place: bool,
}

impl Running {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<ActionId, Stoppable>) -> T) -> T {
        // A panic elsewhere cannot have left the map half-written: each use is one call.
        work(&mut self.actions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, action: &RunningAction) -> CancellationToken {
        let token = CancellationToken::new();
        let stoppable = Stoppable { token: token.clone(), holds_place: action.place.is_some() };
        self.with(|actions| actions.insert(action.id, stoppable));
        token
    }

    fn leave(&self, action: ActionId) {
        self.with(|actions| actions.remove(&action));
    }

    fn cancel(&self, action: ActionId) {
        self.with(|actions| actions.get(&action).map(|one| one.token.cancel()));
    }

    fn cancel_all(&self) {
        self.with(|actions| actions.values().for_each(|one| one.token.cancel()));
    }

    /// Whether an action of `instance` has ended and that is still to be written down.
    pub(super) fn is_ending(&self, instance: InstanceId) -> bool {
        self.ending.borrow().contains(&instance)
    }

    /// Waits until that is written down, or for a few seconds.
    pub(super) async fn wait_for_ends(&self, instance: InstanceId) {
        let mut ending = self.ending.subscribe();
        tokio::select! {
            // The sender lives as long as we do.
            _ = ending.wait_for(|ending| !ending.contains(&instance)) => {}
            () = lease::pause(LONGEST_END) => {}
        }
    }

    /// What holds a place is short and better ended than begun again elsewhere; the rest may go on for hours.
    fn cancel_without_place(&self) {
        self.with(|actions| {
            actions.values().filter(|one| !one.holds_place).for_each(|one| one.token.cancel())
        });
    }
}

/// Hands out actions until `stop`, then lets go of them.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match Registered::register(engine.db(), engine.inner.lease).await {
            Ok(registered) => serve(&engine, registered, &stop).await,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "cannot register as a worker yet");
                lease::rest().await;
            }
        }
    }
}

/// Works under one registration, until it lapses or `stop`.
async fn serve(engine: &Engine, registered: Registered, stop: &CancellationToken) {
    let worker = registered.id;
    let lapsed = CancellationToken::new();
    // Beside the work, which may be much: a lease must not lapse because there is a lot to hand out.
    let mut keeper = JoinSet::new();
    keeper.spawn(registered.keep(engine.db().clone(), lapsed.clone()));
    let mut tasks = JoinSet::new();
    let mut is_well = true;
    while !stop.is_cancelled() && !lapsed.is_cancelled() {
        match hand_out(engine, worker, &mut tasks).await {
            Ok(()) => is_well = true,
            Err(error) => {
                if std::mem::replace(&mut is_well, false) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "actions wait for the database");
                }
                lease::rest().await;
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = lapsed.cancelled() => {}
            () = engine.inner.actions_changed.notified() => {}
            // Only the safety net: whatever there is to hand out was hinted at.
            () = lease::pause(engine.inner.lease.holds) => {}
        }
        while tasks.try_join_next().is_some() {}
    }
    if !lapsed.is_cancelled() {
        engine.inner.running.cancel_without_place();
        tokio::select! {
            () = lapsed.cancelled() => {}
            () = async { while tasks.join_next().await.is_some() {} } => {}
        }
    }
    if lapsed.is_cancelled() {
        tracing::warn!("the lease ran out: others may have taken over, so everything is let go");
        engine.inner.running.cancel_all();
        tasks.join_all().await;
    } else if let Err(error) = workers::retire(engine.db(), worker).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "could not hand actions back; the lease will lapse"
        );
    }
}

/// Stops what was cancelled and starts what may start.
async fn hand_out(engine: &Engine, worker: WorkerId, tasks: &mut JoinSet<()>) -> Result<(), StoreError> {
    let startable = {
        let mut db = engine.db().reader().await?;
        for cancelled in actions::list_cancelled(&mut db, worker).await? {
            engine.inner.running.cancel(cancelled);
        }
        actions::list_startable(&mut db, BATCH).await?
    };
    let mut begun =
        stream::iter(startable).map(|action| begin(engine, worker, action)).buffer_unordered(AT_ONCE);
    while let Some(begun) = begun.next().await {
        match begun {
            Ok(Some(started)) => {
                let engine = engine.clone();
                tasks.spawn(async move { carry_out(&engine, worker, started).await });
            }
            Ok(None) => {}
            // Somebody else took the place between our look and our transaction.
            Err(EngineError::Store(error)) if error.is_constraint("action_place") => {}
            Err(EngineError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an action cannot be started");
            }
        }
    }
    Ok(())
}

/// An action of which the database says that this process runs it.
struct Started {
    action: RunningAction,
    job: Job,
}

/// Takes an action and, where it is the first of its visit, lets the state's time limit begin to run.
async fn begin(engine: &Engine, worker: WorkerId, action: Startable) -> Result<Option<Started>, EngineError> {
    let mut tx = engine.db().begin().await?;
    let target = Target::Id(action.instance);
    let locked = engine.lock(&mut tx, &target).await?;
    let Some(started) = take(engine, &mut tx, &locked, worker, action.id).await? else { return Ok(None) };
    let began = Submission {
        evidence: Some(Map::from_iter([("action".to_owned(), Value::from(started.action.action.as_str()))])),
        ..Submission::new(target, Cause::Began { visit: started.action.visit })
    };
    engine.apply(&mut tx, &locked, &began).await?;
    engine.commit(tx).await?;
    Ok(Some(started))
}

/// Marks an action as this worker's and gathers what its driver must know.
async fn take(
    engine: &Engine,
    tx: &mut Tx,
    locked: &Locked,
    worker: WorkerId,
    action: ActionId,
) -> Result<Option<Started>, EngineError> {
    let Some(action) = actions::start(tx, action, worker, engine.clock().now()).await? else {
        return Ok(None);
    };
    let instance = &locked.instance;
    let device = devices::find_device(tx, locked.id).await?;
    let image = instance.data.get("next_image").and_then(Value::as_str);
    let boot_config = match (image, &device) {
        (Some(image), Some(device)) => images::find_boot_config(tx, image, &device.hardware).await?,
        _ => None,
    };
    let board = device.map(|device| board(&instance.name, device)).unwrap_or_default();
    let job = Job { action: action.action.clone(), board, boot_config, with: action.settings.clone() };
    Ok(Some(Started { action, job }))
}

/// Carries an action out, and those that follow it in its visit.
async fn carry_out(engine: &Engine, worker: WorkerId, first: Started) {
    let mut next = Some(first);
    while let Some(Started { action, job }) = next {
        let token = engine.inner.running.enter(&action);
        let result = engine.inner.worker.run(job, action.limit, token.clone()).await;
        engine.inner.running.leave(action.id);
        engine.inner.running.ending.send_modify(|ending| _ = ending.insert(action.instance));
        next = loop {
            match end(engine, worker, &action, &result, &token).await {
                Ok(next) => break next,
                // The end of an action is not lost with a connection: it is reported until it is durable.
                Err(EngineError::Store(error)) if error.is_passing() => lease::rest().await,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        action = %action.action,
                        "the end of an action could not be written; it will be handed out again"
                    );
                    break None;
                }
            }
        };
        engine.inner.running.ending.send_modify(|ending| _ = ending.remove(&action.instance));
    }
}

/// Makes the end of an action durable as the event that it is, and takes the next of its visit.
async fn end(
    engine: &Engine,
    worker: WorkerId,
    action: &RunningAction,
    result: &Result<Evidence, Failed>,
    token: &CancellationToken,
) -> Result<Option<Started>, EngineError> {
    let mut tx = engine.db().begin().await?;
    let target = Target::Id(action.instance);
    let locked = instances::lock(&mut tx, &target).await?;
    if token.is_cancelled()
        && result.is_err()
        && let Some(locked) = &locked
        && locked.instance.visit == action.visit
    {
        // Stopped because this process stops, not because the board left: whoever comes next does it again.
        return Ok(None);
    }
    let ended = actions::delete_ended(&mut tx, action.id, worker).await?;
    let Some(locked) = locked.filter(|_| ended == Ended::Running) else {
        crate::store::hint(&mut tx).await?;
        engine.commit(tx).await?;
        return Ok(None);
    };
    let submission = report(target, action, result)?;
    let decision = engine.apply(&mut tx, &locked, &submission).await?;
    let next = match result {
        Ok(_) if decision.instance.visit == action.visit => {
            match actions::find_next(&mut tx, action.instance, action.visit).await? {
                Some(next) => take(engine, &mut tx, &locked, worker, next).await?,
                None => None,
            }
        }
        Ok(_) => None,
        Err(_) => {
            // What was to follow makes no sense without this one.
            actions::cancel(&mut tx, action.instance, action.visit).await?;
            None
        }
    };
    crate::store::hint(&mut tx).await?;
    engine.commit(tx).await?;
    Ok(next)
}

/// The event that an action's end is.
fn report(
    target: Target,
    action: &RunningAction,
    result: &Result<Evidence, Failed>,
) -> Result<Submission, EngineError> {
    let (suffix, evidence, remark) = match result {
        Ok(evidence) => ("ok", evidence, None),
        Err(failed) => ("failed", &failed.evidence, Some(failed.reason.clone())),
    };
    let name = instances::name(EventName::new(&format!("{}-{suffix}", action.action)))?;
    let mut args = Map::new();
    if let Some(reason) = &remark {
        args.insert("reason".to_owned(), Value::from(reason.as_str()));
    }
    let cause = Cause::Event { name, source: Source::Action, args, visit: Some(action.visit) };
    let evidence = (!evidence.is_empty()).then(|| evidence.clone());
    Ok(Submission { evidence, remark, ..Submission::new(target, cause) })
}
