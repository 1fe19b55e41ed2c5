//! Hands out actions after the commit that asked for them.
//!
//! One loop starts what may start and stops what was cancelled; it is woken by every commit and every hint. Each visit's
//! list of actions is one task: it begins once it has its place, and runs its actions one after the other.

use std::error::Error;

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::carry::{Started, carry_out, take};
use super::lease::{self, Registered};
use super::running::LetGo;
use super::{Engine, EngineError, Submission, rest};
use crate::clock::pause;
use crate::machine::Cause;
use crate::store::actions::{self, Startable, WorkerId};
use crate::store::instances::{self, Target};
use crate::store::{StoreError, workers};

/// How many actions are looked up at a time.
const BATCH: i64 = 256;
/// How many of them are begun at once.
const AT_ONCE: usize = 8;

/// Hands out actions until `stop`, then lets go of them.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match Registered::register(engine.store()).await {
            Ok(registered) => serve(&engine, registered, &stop).await,
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "cannot register as a worker yet");
                rest().await;
            }
        }
    }
}

/// Works under one registration, until it lapses or `stop`.
async fn serve(engine: &Engine, registered: Registered, stop: &CancellationToken) {
    engine.inner.running.let_go(LetGo::Nothing);
    let worker = registered.id;
    let lapsed = CancellationToken::new();
    // Beside the work, which may be much: a lease must not lapse because there is a lot to hand out.
    let mut keeper = JoinSet::new();
    keeper.spawn(keep(engine.clone(), registered, lapsed.clone()));
    let mut tasks = JoinSet::new();
    let mut is_well = true;
    while !stop.is_cancelled() && !lapsed.is_cancelled() {
        match hand_out(engine, worker, &mut tasks).await {
            Ok(()) => is_well = true,
            Err(error) => {
                if std::mem::replace(&mut is_well, false) {
                    tracing::warn!(error = &error as &dyn Error, "actions wait for the database");
                }
                rest().await;
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = lapsed.cancelled() => {}
            () = engine.inner.actions_changed.notified() => {}
            // Only the safety net: whatever there is to hand out was hinted at.
            () = pause(lease::HOLDS) => {}
        }
        while tasks.try_join_next().is_some() {}
    }
    wind_up(engine, worker, tasks, &lapsed).await;
}

/// Renews the lease, hands back what was lost and takes over from the dead, until the lease has run out; then `lapsed`
/// is cancelled.
async fn keep(engine: Engine, mut registered: Registered, lapsed: CancellationToken) {
    loop {
        pause(lease::PERIOD).await;
        if !registered.renew(engine.store()).await {
            return lapsed.cancel();
        }
        // Both are tried again soon, and what stands in the way is said by whoever else needs the database.
        if let Ok(lost @ 1..) = hand_back_lost(&engine, registered.id).await {
            tracing::info!(actions = lost, "handed back what was lost in the middle of a commit");
        }
        if let Ok(dead @ 1..) = workers::bury(engine.store()).await {
            tracing::info!(workers = dead, "took over from processes that died");
        }
    }
}

/// Lets short work end, stops what would go on for ever, and hands the rest back; all of it at once where the lease has
/// lapsed.
async fn wind_up(engine: &Engine, worker: WorkerId, mut tasks: JoinSet<()>, lapsed: &CancellationToken) {
    engine.inner.running.let_go(LetGo::WithoutPlace);
    tokio::select! {
        () = lapsed.cancelled() => {
            tracing::warn!("the lease ran out: others may have taken over, so everything is let go");
            engine.inner.running.let_go(LetGo::Everything);
            tasks.join_all().await;
        }
        () = async { while tasks.join_next().await.is_some() {} } => {
            if let Err(error) = workers::retire(engine.store(), worker).await {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "could not hand actions back; the lease will lapse"
                );
            }
        }
    }
}

/// Stops what was cancelled and starts what may start.
async fn hand_out(engine: &Engine, worker: WorkerId, tasks: &mut JoinSet<()>) -> Result<(), StoreError> {
    let startable = {
        let mut db = engine.store().reader().await?;
        for cancelled in actions::list_cancelled(&mut db, worker).await? {
            engine.inner.running.cancel(cancelled);
        }
        actions::list_startable(&mut db, BATCH).await?
    };
    let begin = |action| begin(engine, worker, action);
    let mut begun = stream::iter(startable).map(begin).buffer_unordered(AT_ONCE);
    while let Some(begun) = begun.next().await {
        match begun {
            Ok(Some(started)) => {
                let engine = engine.clone();
                tasks.spawn(async move { carry_out(&engine, worker, started).await });
            }
            Ok(None) => {}
            // Somebody else took the place between our look and our transaction.
            Err(EngineError::Store(error)) if error.is_constraint("action_place") => {}
            Err(EngineError::Store(error)) if error.is_passing() => return Err(error),
            // One that cannot be begun does not keep the others waiting.
            Err(error) => tracing::error!(error = &error as &dyn Error, "an action cannot be started"),
        }
    }
    Ok(())
}

/// Takes an action and, where it is the first of its visit, lets the state's time limit begin to run.
async fn begin(engine: &Engine, worker: WorkerId, action: Startable) -> Result<Option<Started>, EngineError> {
    let mut tx = engine.store().begin().await?;
    let target = Target::Id(action.instance);
    let locked = instances::lock(&mut tx, &target).await?;
    let started = match &locked {
        Some(locked) => take(engine, &mut tx, locked, worker, action.id).await?,
        None => None,
    };
    let (Some(locked), Some(started)) = (locked, started) else {
        actions::delete_unwanted(&mut tx, action.id).await?;
        tx.commit().await?;
        return Ok(None);
    };
    let began = Submission {
        evidence: Some(Map::from_iter([("action".to_owned(), Value::from(started.action.action.as_str()))])),
        ..Submission::new(target, Cause::Began { visit: started.action.speaks_for(locked.instance.visit) })
    };
    engine.apply(&mut tx, &locked, &began).await?;
    engine.commit(tx).await?;
    Ok(Some(started))
}

/// Hands back what is this worker's by the database and nobody here knows of; says how much that was.
async fn hand_back_lost(engine: &Engine, worker: WorkerId) -> Result<usize, StoreError> {
    // Read before it is compared: what is read was entered before its start was committed.
    let mut lost = actions::list_running(&mut *engine.store().reader().await?, worker).await?;
    lost.retain(|action| !engine.inner.running.has(*action));
    if !lost.is_empty() {
        let mut tx = engine.store().begin().await?;
        actions::hand_back(&mut tx, &[worker], Some(&lost)).await?;
        crate::store::hint(&mut tx).await?;
        tx.commit().await?;
        engine.wake();
    }
    Ok(lost.len())
}
