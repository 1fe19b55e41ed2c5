//! Hands out actions after the commit that requested them.
//!
//! One loop starts actions that can start and stops cancelled ones; every commit and every change notification wakes it. The
//! list of actions of a visit is one task: it starts once its claims are granted, and runs the actions one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
use crate::formatting::with_causes;
use crate::store::actions::{self, StartableAction};
use crate::store::workers::{self, WorkerStatus};
use crate::store::{Store, StoreError, resources};

/// How long a granted action may wait to be started, in farm time: the process that could start it may have a local fault.
const GRANT_TIMEOUT: TimeDelta = TimeDelta::seconds(5);

/// How long the queues are left alone after a look at them, as a multiple of the time that it took: the longer they are, the
/// more it costs the database, and each end of an action would cause another one.
const PAUSE_PER_LOOK: u32 = 9;

/// The longest such pause.
const MAX_LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Hands out actions until `stop`, then releases them.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let store = engine.store();
        match store.within(Store::MAX_STATEMENT_TIME, RegisteredWorker::register(store)).await {
            Ok(registered) => run_registered(&engine, registered, &stop).await,
            Err(error) => {
                tracing::debug!(error = %with_causes(&error), "cannot register worker");
                pause_before_retry().await;
            }
        }
    }
}

/// Allows deadlines to fire. They are held after a downtime, during which boards could not report.
fn allow_deadlines(engine: &Engine, registered: &RegisteredWorker) {
    let hold = registered.hold_deadlines_for;
    if hold >= lease::LEASE_DURATION {
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(hold_ms, "deadlines held after downtime");
    }
    engine.inner.queue.deadlines().allow_after(hold, registered.lease_ends_at());
    engine.inner.queue.wake();
}

/// Runs under one registration, until its lease expires or `stop`.
async fn run_registered(engine: &Engine, registered: RegisteredWorker, stop: &CancellationToken) {
    engine.inner.worker.lease().extend(registered.lease_ends_at());
    engine.inner.running.stop(StopScope::Nothing);
    allow_deadlines(engine, &registered);
    let worker = registered.identity;
    let lease_expired = CancellationToken::new();
    // In tasks of their own: a lease must not expire because many actions are handed out.
    let mut background = JoinSet::new();
    let reclaim_needed = Arc::new(Notify::new());
    background.spawn(renew_lease(
        engine.clone(),
        registered,
        Arc::clone(&reclaim_needed),
        lease_expired.clone(),
    ));
    background.spawn(reclaim(engine.clone(), worker, reclaim_needed));
    let mut tasks = JoinSet::new();
    let (mut is_healthy, mut queues_from) = (true, Instant::now());
    'looks: while !stop.is_cancelled() && !lease_expired.is_cancelled() {
        let (mut next_at, mut may_have_more, mut fault) = (None, false, None);
        let mut pause = None;
        // What needs no grant does not wait until the queues are read.
        for work in [WaitingActions::Unqueued, WaitingActions::Queued] {
            let began = Instant::now();
            let left_alone = queues_from.saturating_duration_since(began);
            if matches!(work, WaitingActions::Queued) {
                pause = Some(left_alone).filter(|left| !left.is_zero());
            }
            let find_work = find_work(engine, worker, work, pause);
            let found = tokio::select! {
                found = engine.store().within(Store::MAX_STATEMENT_TIME, find_work) => found,
                () = stop.cancelled() => break 'looks,
                () = lease_expired.cancelled() => break 'looks,
            };
            if matches!(work, WaitingActions::Queued) && pause.is_none() {
                queues_from = Instant::now() + look_pause(began.elapsed());
            }
            let started = match found {
                Ok(StartableActions { actions, has_more, next_at: next }) => {
                    next_at = next;
                    let started = hand_out(engine, worker, actions, &mut tasks).await;
                    // What was started begins before the next look.
                    tokio::task::yield_now().await;
                    started.map(|started| has_more && started > 0)
                }
                Err(error) => Err(error),
            };
            match started {
                Ok(more) => may_have_more |= more,
                Err(error) => fault = Some(error),
            }
        }
        match fault {
            None => is_healthy = true,
            Some(error) => {
                // The store logs outages of the database.
                if !error.is_transient() && std::mem::replace(&mut is_healthy, false) {
                    tracing::warn!(error = %with_causes(&error), "cannot hand out actions");
                }
                pause_before_retry().await;
            }
        }
        if may_have_more {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = lease_expired.cancelled() => {}
            () = engine.inner.actions_changed.notified() => {}
            // A resource has settled, or its gap has passed.
            () = sleep_until(engine, next_at) => {}
            // The queues may be looked at again.
            () = sleep_real_time(pause.unwrap_or_default()), if pause.is_some() => {}
            // In case a notification was lost.
            () = sleep_real_time(lease::LEASE_DURATION) => {}
        }
        while tasks.try_join_next().is_some() {}
    }
    drain(engine, worker, tasks, background, &lease_expired).await;
}

/// How long the queues are left alone after a look that took `look`.
fn look_pause(look: Duration) -> Duration {
    (look * PAUSE_PER_LOOK).min(MAX_LOOK_PAUSE)
}

/// Renews the lease until it expires; then `lease_expired` is cancelled. Nothing else here may take long.
async fn renew_lease(
    engine: Engine,
    mut registered: RegisteredWorker,
    reclaim_needed: Arc<Notify>,
    lease_expired: CancellationToken,
) {
    loop {
        let is_listening = engine.inner.queue.deadlines().is_listening();
        let status = WorkerStatus { now: engine.clock().now(), running_for: engine.uptime(), is_listening };
        match registered.renew(engine.store(), status).await {
            LeaseRenewal::Renewed(peers) => {
                engine.inner.farm_time.update(peers.farm_time);
                engine.inner.worker.lease().extend(registered.lease_ends_at());
                let deadlines = engine.inner.queue.deadlines();
                let had_ended = deadlines.extend_lease(registered.lease_ends_at());
                if deadlines.set_share(registered.deadline_share(&peers)) || had_ended {
                    engine.inner.queue.wake();
                }
                if peers.has_expired {
                    reclaim_needed.notify_one();
                }
                if engine.inner.definitions.note_activation(registered.identity.life, peers.activation) {
                    reclaim_needed.notify_one();
                }
            }
            LeaseRenewal::Failed => {}
            LeaseRenewal::Expired => return lease_expired.cancel(),
        }
        sleep_real_time(lease::RENEWAL_INTERVAL).await;
    }
}

/// Reclaims the actions of expired workers, releases lost actions, and reads the active definitions.
async fn reclaim(engine: Engine, worker: WorkerIdentity, reclaim_needed: Arc<Notify>) {
    let mut leases = FutureLeases::default();
    let store = engine.store();
    loop {
        // All of these are retried soon.
        match store.within(Store::MAX_STATEMENT_TIME, release_lost_actions(&engine, worker)).await {
            Ok(0) => {}
            Ok(lost) => tracing::info!(actions = lost, "released actions whose start was not confirmed"),
            Err(error) => {
                tracing::debug!(error = %with_causes(&error), "cannot release lost actions");
            }
        }
        match store.within(Store::MAX_STATEMENT_TIME, revoke_grants(&engine, worker)).await {
            Ok(0) => {}
            Ok(revoked) => {
                tracing::info!(actions = revoked, "revoked grants of unstarted actions");
            }
            Err(error) => tracing::debug!(error = %with_causes(&error), "cannot revoke grants"),
        }
        match store
            .within(Store::MAX_STATEMENT_TIME, leases.reclaim_expired(store, engine.clock().now()))
            .await
        {
            Ok(expired) if expired.is_empty() => {}
            Ok(expired) => {
                tracing::info!(workers = expired.join(", "), "removed workers that ended or expired");
                engine.inner.actions_changed.notify_one();
            }
            Err(error) => {
                tracing::debug!(error = %with_causes(&error), "cannot reclaim actions of expired workers");
            }
        }
        if let Err(error) = store.within(Store::MAX_STATEMENT_TIME, engine.retry_failed_actions()).await {
            tracing::debug!(
                error = %with_causes(&error),
                "cannot retry actions that failed before an incident"
            );
        }
        // The pipeline reads the definitions itself; until then, explanations use these.
        if engine.inner.definitions.is_behind()
            && let Err(error) = store.within(Store::MAX_STATEMENT_TIME, engine.reload_definitions()).await
        {
            tracing::debug!(error = %with_causes(&error), "cannot read active definitions");
        }
        tokio::select! {
            () = reclaim_needed.notified() => {}
            () = sleep_real_time(Duration::from_secs(1)) => {}
        }
    }
}

/// Waits for short actions, stops long-running ones, and releases the rest; stops all of them at once where the lease has
/// expired.
async fn drain(
    engine: &Engine,
    worker: WorkerIdentity,
    mut tasks: JoinSet<()>,
    mut background: JoinSet<()>,
    lease_expired: &CancellationToken,
) {
    engine.inner.running.stop(StopScope::LongRunning);
    tokio::select! {
        () = lease_expired.cancelled() => {
            // The actions of this worker may have been reclaimed: it must not act any more.
            background.shutdown().await;
            tracing::warn!(actions = tasks.len(), "lease expired, releasing actions");
            engine.inner.running.stop(StopScope::Everything);
            while tasks.join_next().await.is_some() {}
        }
        () = async { while tasks.join_next().await.is_some() {} } => {
            // Otherwise it could remove the row of this worker, which records since when no server accepts reports.
            background.shutdown().await;
            let store = engine.store();
            if let Err(error) = store.within(Store::MAX_STATEMENT_TIME, workers::retire(store, worker.id, worker.life, engine.clock().now())).await {
                tracing::warn!(
                    error = %with_causes(&error),
                    "cannot release actions, lease will expire"
                );
            }
        }
    }
}

/// Sleeps until `at`; without a time it never ends.
async fn sleep_until(engine: &Engine, at: Option<DateTime<Utc>>) {
    match at {
        Some(at) => engine.clock().sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Revokes grants of actions that no process starts.
async fn revoke_grants(engine: &Engine, worker: WorkerIdentity) -> Result<usize, StoreError> {
    let mut tx = engine.store().begin().await?;
    if !worker.life.is_present(&mut tx).await? {
        return Ok(0);
    }
    let now = engine.clock().now();
    let revoked = actions::revoke_grants(&mut tx, now - GRANT_TIMEOUT).await?;
    tx.commit().await?;
    // In another transaction: instances are locked above, and resources have to be locked before instances.
    let mut tx = engine.store().begin().await?;
    let strays = resources::drop_stray_holds(&mut tx, &engine.held_by_states(), now).await?;
    tx.commit().await?;
    if revoked > 0 || strays > 0 {
        engine.inner.actions_changed.notify_one();
        engine.inner.written.notify_one();
    }
    Ok(revoked)
}

/// What a look at waiting actions reads.
#[derive(Debug, Clone, Copy)]
enum WaitingActions {
    /// Actions that need no grant.
    Unqueued,
    /// Actions that wait for resources.
    Queued,
}

/// Finds actions that can start; stops cancelled ones on the way. In a pause the queues are not read.
async fn find_work(
    engine: &Engine,
    worker: WorkerIdentity,
    work: WaitingActions,
    pause: Option<Duration>,
) -> Result<StartableActions, StoreError> {
    let mut db = engine.store().reader().await?;
    if db.life() != worker.life {
        // The lease will not be renewed.
        return Ok(StartableActions::default());
    }
    let troubles = engine.inner.troubles.keys();
    match work {
        WaitingActions::Unqueued => grants::find_unqueued(&mut db, &troubles).await,
        WaitingActions::Queued => {
            // Those that another server cancelled; this server stops those that it cancels itself.
            for cancelled in actions::list_cancelled(&mut db, worker.id).await? {
                engine.inner.running.cancel(cancelled);
            }
            if pause.is_some() {
                return Ok(StartableActions::default());
            }
            let now = engine.clock().now();
            grants::find_grantable(&mut db, &engine.inner.faces, &troubles, now).await
        }
    }
}

/// Starts actions, and returns the number of started ones.
async fn hand_out(
    engine: &Engine,
    worker: WorkerIdentity,
    startable: Vec<StartableAction>,
    tasks: &mut JoinSet<()>,
) -> Result<i64, StoreError> {
    let (mut started, mut fault) = (0, None);
    // All at once, so that they are one batch.
    let begin = |action| engine.begin(action, worker);
    let mut starts = startable.into_iter().map(begin).collect::<FuturesUnordered<_>>();
    while let Some(result) = starts.next().await {
        match result {
            Ok(Some(first)) => {
                started += 1;
                let engine = engine.clone();
                tasks.spawn(async move { run_actions(&engine, worker, first).await });
            }
            // A server of the previous release took it meanwhile, or the row is locked.
            Err(EngineError::Store(error)) if error.is_constraint("action_place") => {}
            Ok(None) | Err(EngineError::Store(StoreError::Locked(_) | StoreError::Conflict(_))) => {}
            Err(EngineError::Store(error)) if error.is_transient() => fault = Some(error),
            // One failure does not prevent the others.
            Err(error) => tracing::error!(error = %with_causes(&error), "cannot start action"),
        }
    }
    fault.map_or(Ok(started), Err)
}

/// Releases actions that the database assigns to this worker and that it does not run; returns their number.
async fn release_lost_actions(engine: &Engine, worker: WorkerIdentity) -> Result<usize, StoreError> {
    // Read before the comparison: an action is registered before its start is committed.
    let mut lost = {
        let mut db = engine.store().reader().await?;
        if db.life() == worker.life { actions::list_running(&mut db, worker.id).await? } else { Vec::new() }
    };
    lost.retain(|action| !engine.inner.running.has(*action));
    if !lost.is_empty() {
        let mut tx = engine.store().begin().await?;
        if !worker.life.is_present(&mut tx).await? {
            return Ok(0);
        }
        actions::hand_back(&mut tx, &[worker.id], Some(&lost), engine.clock().now()).await?;
        tx.commit().await?;
        engine.inner.actions_changed.notify_one();
        engine.inner.written.notify_one();
    }
    Ok(lost.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_long_queues_are_rarer() {
        for (look_ms, pause_ms) in [(0, 0), (2, 18), (16, 144), (111, 999), (112, 1000), (30_000, 1000)] {
            assert_eq!(
                look_pause(Duration::from_millis(look_ms)),
                Duration::from_millis(pause_ms),
                "{look_ms} ms"
            );
        }
    }
}
