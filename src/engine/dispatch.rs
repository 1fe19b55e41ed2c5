//! Hands out actions after the commit that asked for them, and brings their ends back.
//!
//! One loop starts what may start and stops what was cancelled; it is woken by every commit and every hint, and looks by
//! itself when the lease is renewed. Each visit's list of actions is one task: it begins once it has its place, and runs
//! its actions one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::commit::board;
use super::lease::Registered;
use super::{Engine, EngineError, Submission, lease};
use crate::action::{Evidence, Failed, Job};
use crate::machine::{Cause, EventName, Source};
use crate::store::actions::{self, ActionId, Ended, RunningAction, Startable};
use crate::store::instances::{self, Locked, Target};
use crate::store::workers::WorkerId;
use crate::store::{StoreError, Tx, devices, images, workers};

/// How many actions are looked up at a time.
const BATCH: i64 = 256;

/// What this process is carrying out, and how to stop it.
///
/// An action is in here from before its start is committed until after its end is: one that the database gives this
/// process and that is not in here was lost with a connection, in the middle of a commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    actions: HashMap<ActionId, Stoppable>,
    let_go: LetGo,
}

#[derive(Debug)]
struct Stoppable {
    token: CancellationToken,
    holds_place: bool,
}

/// What this process stops because it cannot or will not go on, what begins meanwhile included.
#[derive(Debug, Clone, Copy, Default)]
enum LetGo {
    #[default]
    Nothing,
    /// What holds a place is short and better ended than begun again elsewhere; the rest may go on for hours.
    WithoutPlace,
    Everything,
}

impl LetGo {
    fn stops(self, action: &Stoppable) -> bool {
        match self {
            Self::Nothing => false,
            Self::WithoutPlace => !action.holds_place,
            Self::Everything => true,
        }
    }
}

impl Running {
    fn with<T>(&self, work: impl FnOnce(&mut Held) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, action: &RunningAction) -> Hold {
        let token = CancellationToken::new();
        let stoppable = Stoppable { token: token.clone(), holds_place: action.place.is_some() };
        self.with(|held| {
            if held.let_go.stops(&stoppable) {
                token.cancel();
            }
            held.actions.insert(action.id, stoppable);
        });
        Hold { running: self.clone(), action: action.id, token }
    }

    fn has(&self, action: ActionId) -> bool {
        self.with(|held| held.actions.contains_key(&action))
    }

    fn cancel(&self, action: ActionId) {
        self.with(|held| held.actions.get(&action).map(|one| one.token.cancel()));
    }

    fn let_go(&self, what: LetGo) {
        self.with(|held| {
            held.let_go = what;
            for action in held.actions.values().filter(|action| what.stops(action)) {
                action.token.cancel();
            }
        });
    }
}

/// An action's place among what this process carries out; given up when this is dropped.
#[derive(Debug)]
struct Hold {
    running: Running,
    action: ActionId,
    token: CancellationToken,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.running.with(|held| held.actions.remove(&self.action));
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
async fn serve(engine: &Engine, mut registered: Registered, stop: &CancellationToken) {
    engine.inner.running.let_go(LetGo::Nothing);
    let mut tasks = JoinSet::new();
    let mut is_well = true;
    let worker = registered.id;
    let mut renewal = Box::pin(lease::pause(engine.inner.lease.period()));
    loop {
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
            () = stop.cancelled() => break,
            () = engine.inner.actions_changed.notified() => {}
            Some(_) = tasks.join_next() => {}
            () = &mut renewal => {
                renewal = Box::pin(lease::pause(engine.inner.lease.period()));
                if !registered.renew(engine.db()).await {
                    tracing::warn!("the lease ran out: others may have taken over, so everything is let go");
                    engine.inner.running.let_go(LetGo::Everything);
                    tasks.join_all().await;
                    return;
                }
                if let Ok(lost @ 1..) = hand_back_lost(engine, worker).await {
                    tracing::info!(actions = lost, "handed back what was lost in the middle of a commit");
                }
                if let Ok(dead @ 1..) = workers::bury(engine.db()).await {
                    tracing::info!(workers = dead, "took over from processes that died");
                }
            }
        }
    }
    wind_up(engine, registered, tasks).await;
}

/// Lets short work end, stops what would go on for ever, and hands the rest back.
async fn wind_up(engine: &Engine, mut registered: Registered, mut tasks: JoinSet<()>) {
    engine.inner.running.let_go(LetGo::WithoutPlace);
    while !tasks.is_empty() {
        tokio::select! {
            _ = tasks.join_next() => {}
            () = lease::pause(engine.inner.lease.period()) => {
                if !registered.renew(engine.db()).await {
                    break;
                }
            }
        }
    }
    if let Err(error) = workers::retire(engine.db(), registered.id).await {
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
    for action in startable {
        match begin(engine, worker, action).await {
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

/// Hands back what is this worker's by the database and nobody here knows of; says how much that was.
async fn hand_back_lost(engine: &Engine, worker: WorkerId) -> Result<usize, StoreError> {
    // Read before it is compared: what is read was entered before its start was committed.
    let mut lost = actions::list_running(&mut *engine.db().reader().await?, worker).await?;
    lost.retain(|action| !engine.inner.running.has(*action));
    if !lost.is_empty() {
        let mut tx = engine.db().begin().await?;
        actions::hand_back(&mut tx, worker, &lost).await?;
        crate::store::hint(&mut tx).await?;
        tx.commit().await?;
        engine.wake();
    }
    Ok(lost.len())
}

/// An action of which the database says that this process runs it, once that is committed.
struct Started {
    action: RunningAction,
    job: Job,
    hold: Hold,
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
    let hold = engine.inner.running.enter(&action);
    let instance = &locked.instance;
    let device = devices::find_device(tx, locked.id).await?;
    let image = instance.data.get("next_image").and_then(Value::as_str);
    let boot_config = match (image, &device) {
        (Some(image), Some(device)) => images::find_boot_config(tx, image, &device.hardware).await?,
        _ => None,
    };
    let board = device.map(|device| board(&instance.name, device)).unwrap_or_default();
    let job = Job { action: action.action.clone(), board, boot_config, with: action.settings.clone() };
    Ok(Some(Started { action, job, hold }))
}

/// Carries an action out, and those that follow it in its visit.
async fn carry_out(engine: &Engine, worker: WorkerId, first: Started) {
    let mut next = Some(first);
    while let Some(Started { action, job, hold }) = next {
        let result = engine.inner.worker.run(job, action.limit, hold.token.clone()).await;
        next = loop {
            match end(engine, worker, &action, &result, &hold.token).await {
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
    let is_news = match ended {
        Ended::Running => true,
        // Stale, and for the record: whether an abandoned power cycle left its board with power.
        Ended::Cancelled => action.place.is_some(),
        Ended::Lost => false,
    };
    let Some(locked) = locked.filter(|_| is_news) else {
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
