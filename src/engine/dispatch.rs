//! Hands out actions after the commit that asked for them.
//!
//! One loop starts what may start and stops what was cancelled; it is woken by every commit and every hint. Each visit's
//! list of actions is one task: it begins once it has what it claims, and runs its actions one after the other.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::action_run::run_actions;
use super::error::EngineError;
use super::grants::{self, StartableActions};
use super::handle::Engine;
use super::lease::{self, FutureLeases, LeaseRenewal, RegisteredWorker, WorkerIdentity};
use super::retry_pause::pause_before_retry;
use super::running_actions::StopScope;
use crate::clock::sleep_real_time;
use crate::store::actions::{self, StartableAction};
use crate::store::workers::{self, WorkerStatus};
use crate::store::{Store, StoreError, resources};

/// How long a granted action may wait for somebody to start it, in the farm's time: whoever could may have other trouble.
const GRANT_TIMEOUT: TimeDelta = TimeDelta::seconds(5);

/// Hands out actions until `stop`, then lets go of them.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let store = engine.store();
        match store.within(Store::MAX_STATEMENT_TIME, RegisteredWorker::register(store)).await {
            Ok(registered) => run_registered(&engine, registered, &stop).await,
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "cannot register as a worker yet");
                pause_before_retry().await;
            }
        }
    }
}

/// Lets deadlines pass. While there was no server, nobody could report anything, and silence says nothing.
fn allow_deadlines(engine: &Engine, registered: &RegisteredWorker) {
    let hold = registered.hold_deadlines_for;
    if hold >= lease::LEASE_DURATION {
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            hold_ms,
            "no server was running: deadlines are held, so that what could not be reported meanwhile can be reported"
        );
    }
    engine.inner.queue.deadlines().allow_after(hold, registered.lease_ends_at());
    engine.inner.queue.wake();
}

/// Works under one registration, until it lapses or `stop`.
async fn run_registered(engine: &Engine, registered: RegisteredWorker, stop: &CancellationToken) {
    engine.inner.worker.lease().extend(registered.lease_ends_at());
    engine.inner.running.stop(StopScope::Nothing);
    allow_deadlines(engine, &registered);
    let by = registered.identity;
    let lapsed = CancellationToken::new();
    // Beside the work, which may be much: a lease must not lapse because there is a lot to hand out.
    let mut keeper = JoinSet::new();
    let is_needed = Arc::new(Notify::new());
    keeper.spawn(renew_lease(engine.clone(), registered, Arc::clone(&is_needed), lapsed.clone()));
    keeper.spawn(reclaim(engine.clone(), by, is_needed));
    let mut tasks = JoinSet::new();
    let mut is_well = true;
    while !stop.is_cancelled() && !lapsed.is_cancelled() {
        let looked = tokio::select! {
            looked = engine.store().within(Store::MAX_STATEMENT_TIME, find_work(engine, by)) => looked,
            () = stop.cancelled() => break,
            () = lapsed.cancelled() => break,
        };
        let mut next_at = None;
        let handed_out = match looked {
            Ok(StartableActions { actions, has_more, next_at: next }) => {
                next_at = next;
                hand_out(engine, by, actions, &mut tasks).await.map(|started| has_more && started > 0)
            }
            Err(error) => Err(error),
        };
        match handed_out {
            // There may be more than were looked at.
            Ok(true) => continue,
            Ok(false) => is_well = true,
            Err(error) => {
                // That the database is away is told by the store.
                if !error.is_transient() && std::mem::replace(&mut is_well, false) {
                    tracing::warn!(error = &error as &dyn Error, "actions cannot be handed out");
                }
                pause_before_retry().await;
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = lapsed.cancelled() => {}
            () = engine.inner.actions_changed.notified() => {}
            // A resource has settled, or its gap is over.
            () = sleep_until(engine, next_at) => {}
            // Only the safety net: whatever there is to hand out was hinted at.
            () = sleep_real_time(lease::LEASE_DURATION) => {}
        }
        while tasks.try_join_next().is_some() {}
    }
    drain(engine, by, tasks, keeper, &lapsed).await;
}

/// Renews the lease until it has run out; then `lapsed` is cancelled. Nothing else is done here that could take long.
async fn renew_lease(
    engine: Engine,
    mut registered: RegisteredWorker,
    is_needed: Arc<Notify>,
    lapsed: CancellationToken,
) {
    loop {
        let listens = engine.inner.queue.deadlines().is_listening();
        let news =
            WorkerStatus { now: engine.clock().now(), running_for: engine.uptime(), is_listening: listens };
        match registered.renew(engine.store(), news).await {
            LeaseRenewal::Renewed(colleagues) => {
                engine.inner.farm_time.update(colleagues.farm_time);
                engine.inner.worker.lease().extend(registered.lease_ends_at());
                let deadlines = engine.inner.queue.deadlines();
                let had_ended = deadlines.extend_lease(registered.lease_ends_at());
                if deadlines.set_share(registered.deadline_share(&colleagues)) || had_ended {
                    engine.inner.queue.wake();
                }
                if colleagues.has_expired {
                    is_needed.notify_one();
                }
                if engine.inner.definitions.note_activation(registered.identity.life, colleagues.activation) {
                    is_needed.notify_one();
                }
            }
            LeaseRenewal::Failed => {}
            LeaseRenewal::Expired => return lapsed.cancel(),
        }
        sleep_real_time(lease::RENEWAL_INTERVAL).await;
    }
}

/// Takes over from the dead, hands back what was lost, and looks what is in force.
async fn reclaim(engine: Engine, by: WorkerIdentity, is_needed: Arc<Notify>) {
    let mut leases = FutureLeases::default();
    let store = engine.store();
    loop {
        // Both are tried again soon.
        match store.within(Store::MAX_STATEMENT_TIME, release_lost_actions(&engine, by)).await {
            Ok(0) => {}
            Ok(lost) => tracing::info!(actions = lost, "handed back what was lost in the middle of a commit"),
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "what was lost cannot be handed back yet");
            }
        }
        match store.within(Store::MAX_STATEMENT_TIME, revoke_grants(&engine, by)).await {
            Ok(0) => {}
            Ok(revoked) => {
                tracing::info!(actions = revoked, "grants revoked of actions that were not started");
            }
            Err(error) => tracing::debug!(error = &error as &dyn Error, "grants cannot be revoked yet"),
        }
        match store
            .within(Store::MAX_STATEMENT_TIME, leases.reclaim_expired(store, engine.clock().now()))
            .await
        {
            Ok(0) => {}
            Ok(dead) => {
                tracing::info!(workers = dead, "reclaimed actions of expired workers");
                engine.inner.actions_changed.notify_one();
            }
            Err(error) => tracing::debug!(error = &error as &dyn Error, "cannot take over from the dead yet"),
        }
        // Whoever decides looks by itself; this is for what is explained meanwhile.
        if engine.inner.definitions.is_behind()
            && let Err(error) = store.within(Store::MAX_STATEMENT_TIME, engine.reload_definitions()).await
        {
            tracing::debug!(error = &error as &dyn Error, "cannot see what is in force yet");
        }
        tokio::select! {
            () = is_needed.notified() => {}
            () = sleep_real_time(Duration::from_secs(1)) => {}
        }
    }
}

/// Lets short work end, stops what would go on for ever, and hands the rest back; all of it at once where the lease has
/// lapsed.
async fn drain(
    engine: &Engine,
    by: WorkerIdentity,
    mut tasks: JoinSet<()>,
    mut keeper: JoinSet<()>,
    lapsed: &CancellationToken,
) {
    engine.inner.running.stop(StopScope::LongRunning);
    tokio::select! {
        () = lapsed.cancelled() => {
            // Nothing is done any more in the name of a worker that others may have taken over from.
            keeper.shutdown().await;
            tracing::warn!("the lease ran out: others may have taken over, so everything is let go");
            engine.inner.running.stop(StopScope::Everything);
            while tasks.join_next().await.is_some() {}
        }
        () = async { while tasks.join_next().await.is_some() {} } => {
            // Or it could remove our own row, by which others learn since when nobody listened.
            keeper.shutdown().await;
            let store = engine.store();
            if let Err(error) = store.within(Store::MAX_STATEMENT_TIME, workers::retire(store, by.id, by.life, engine.clock().now())).await {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "could not hand actions back; the lease will lapse"
                );
            }
        }
    }
}

/// Ends at `at`, if there is such a time.
async fn sleep_until(engine: &Engine, at: Option<DateTime<Utc>>) {
    match at {
        Some(at) => engine.clock().sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Takes back what was granted to actions that nobody starts.
async fn revoke_grants(engine: &Engine, by: WorkerIdentity) -> Result<usize, StoreError> {
    let mut tx = engine.store().begin().await?;
    if !by.life.is_present(&mut tx).await? {
        return Ok(0);
    }
    let now = engine.clock().now();
    let revoked = actions::revoke_grants(&mut tx, now - GRANT_TIMEOUT).await?;
    tx.commit().await?;
    // By itself: instances are locked above, and resources are locked before them.
    let mut tx = engine.store().begin().await?;
    let strays = resources::drop_stray_holds(&mut tx, &engine.held_by_states(), now).await?;
    tx.commit().await?;
    if revoked > 0 || strays > 0 {
        engine.inner.actions_changed.notify_one();
        engine.inner.written.notify_one();
    }
    Ok(revoked)
}

/// Stops what was cancelled, and gives what may start.
async fn find_work(engine: &Engine, by: WorkerIdentity) -> Result<StartableActions, StoreError> {
    let mut db = engine.store().reader().await?;
    if db.life() != by.life {
        // The lease lapses before long.
        return Ok(StartableActions::default());
    }
    for cancelled in actions::list_cancelled(&mut db, by.id).await? {
        engine.inner.running.cancel(cancelled);
    }
    grants::find_startable(&mut db, &engine.inner.faces, &engine.inner.troubles.keys(), engine.clock().now())
        .await
}

/// Starts what may start; says how many were started.
async fn hand_out(
    engine: &Engine,
    by: WorkerIdentity,
    startable: Vec<StartableAction>,
    tasks: &mut JoinSet<()>,
) -> Result<i64, StoreError> {
    let (mut started, mut fault) = (0, None);
    // All at once: they become one group.
    let begin = |action| engine.begin(action, by);
    let mut begun = startable.into_iter().map(begin).collect::<FuturesUnordered<_>>();
    while let Some(begun) = begun.next().await {
        match begun {
            Ok(Some(first)) => {
                started += 1;
                let engine = engine.clone();
                tasks.spawn(async move { run_actions(&engine, by, first).await });
            }
            // A server of the release before took it between our look and our transaction, or somebody keeps the row.
            Err(EngineError::Store(error)) if error.is_constraint("action_place") => {}
            Ok(None) | Err(EngineError::Store(StoreError::Locked(_) | StoreError::Conflict(_))) => {}
            Err(EngineError::Store(error)) if error.is_transient() => fault = Some(error),
            // One that cannot be begun does not keep the others waiting.
            Err(error) => tracing::error!(error = &error as &dyn Error, "an action cannot be started"),
        }
    }
    fault.map_or(Ok(started), Err)
}

/// Hands back what is this worker's by the database and nobody here knows of; says how much that was.
async fn release_lost_actions(engine: &Engine, by: WorkerIdentity) -> Result<usize, StoreError> {
    // Read before it is compared: what is read was entered before its start was committed.
    let mut lost = {
        let mut db = engine.store().reader().await?;
        if db.life() == by.life { actions::list_running(&mut db, by.id).await? } else { Vec::new() }
    };
    lost.retain(|action| !engine.inner.running.has(*action));
    if !lost.is_empty() {
        let mut tx = engine.store().begin().await?;
        if !by.life.is_present(&mut tx).await? {
            return Ok(0);
        }
        actions::hand_back(&mut tx, &[by.id], Some(&lost), engine.clock().now()).await?;
        tx.commit().await?;
        engine.inner.actions_changed.notify_one();
        engine.inner.written.notify_one();
    }
    Ok(lost.len())
}
