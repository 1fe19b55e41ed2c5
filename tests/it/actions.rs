//! Tests of the rows of actions: the visit they belong to, and the effect of leaving a state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lifeguard::engine::{self, Faces};
use lifeguard::machine::{ActionInvocation, ActionName, Instance, Links, MachineName, StateName, Visit};
use lifeguard::store::actions::{self, NewAction, RunningAction, StartableAction, Suspension, WorkerId};
use lifeguard::store::batches::{self, ActionChanges, Batch, DecidedUpdate};
use lifeguard::store::changes::{self, ChangeOrigin};
use lifeguard::store::claims::Claim;
use lifeguard::store::definitions::ActivationId;
use lifeguard::store::instances::{self, InstanceId};
use lifeguard::store::links::LinkedIds;
use lifeguard::store::workers::{self, WorkerStatus};
use lifeguard::store::{DbConnection, Store, Tx};
use serde_json::Map;
use sqlx::PgConnection;

use crate::database::database;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// Writes a decision on the current instance.
async fn write(store: &Store, id: InstanceId, worker: WorkerId, decide: impl FnOnce(&mut DecidedUpdate)) {
    write_by(&mut store.connect().await.unwrap(), id, worker, decide).await;
}

/// The same on a connection of the batch writer.
async fn write_by(
    db: &mut PgConnection,
    id: InstanceId,
    worker: WorkerId,
    decide: impl FnOnce(&mut DecidedUpdate),
) {
    let seen = batches::read(db, &[id], &[]).await.unwrap().remove(0);
    let mut decided = DecidedUpdate {
        instance: Some(seen.instance.clone()),
        base: seen,
        left_visit: None,
        entries: Vec::new(),
        reentered: None,
        actions: None,
        linked: None,
        coupling: None,
        is_silent: false,
    };
    decide(&mut decided);
    let group = Batch { decided: &[decided], dropped_holds: &[], passed_on_grants: &[] };
    let applied =
        batches::write(db, group, ChangeOrigin(1), ActivationId(i64::MAX), Some(worker), NOW).await.unwrap();
    assert!(applied.overtaken.is_empty());
}

fn changes(decided: &mut DecidedUpdate) -> &mut ActionChanges {
    decided.actions.get_or_insert_default()
}

/// The actions that a process with these local faults may start.
async fn startable(db: &mut DbConnection, troubles: &[String]) -> Vec<StartableAction> {
    let mut found = engine::find_unqueued(db, troubles).await.unwrap().actions;
    found.extend(engine::find_grantable(db, &Faces::default(), troubles, NOW).await.unwrap().actions);
    found
}

/// Starts the only action that may be started.
async fn start(store: &Store, worker: WorkerId) -> RunningAction {
    let mut db = store.reader().await.unwrap();
    let startable = startable(&mut db, &[]).await;
    let [StartableAction { id, instance, grant }] = &startable[..] else { panic!("not one: {startable:?}") };
    let (id, instance, grant) = (*id, *instance, grant.clone());
    write(store, instance, worker, |decided| changes(decided).started = Some((id, grant))).await;
    let live = actions::list_live(&mut db, &[instance]).await.unwrap();
    live.into_iter().find(|live| live.worker == Some(worker)).unwrap().action
}

/// Leaves the state; returns whether its action continues, in which case no new one is requested.
async fn leave(store: &Store, instance: InstanceId, worker: WorkerId) -> bool {
    write(store, instance, worker, |decided| decided.left_visit = Some(Visit(6))).await;
    let next = |decided: &mut DecidedUpdate| {
        // The requested action belongs to the new visit.
        let instance = Arc::make_mut(decided.instance.as_mut().unwrap());
        instance.visit = instance.visit.next();
    };
    let before = actions::list_summaries(&mut store.reader().await.unwrap(), instance).await.unwrap().len();
    let invoke = ActionInvocation { action: ActionName::new("poll").unwrap(), limit: None, with: Map::new() };
    let poll = NewAction { invoke, claims: Vec::new(), queue_at: None, compensation: None };
    let ask = |decided: &mut DecidedUpdate| {
        next(decided);
        let changes = changes(decided);
        (changes.invoked, changes.keeps_actions) = (vec![poll], true);
    };
    write(store, instance, worker, ask).await;
    let goes_on =
        actions::list_summaries(&mut store.reader().await.unwrap(), instance).await.unwrap().len() == before;
    write(store, instance, worker, |decided| decided.left_visit = Some(Visit(6))).await;
    goes_on
}

/// Inserts an instance in its first visit, which requests `action`.
async fn insert(store: &Store, action: &str) -> InstanceId {
    let mut tx = store.begin().await.unwrap();
    let id = insert_as(&mut tx, "b1", Some(action)).await;
    tx.commit().await.unwrap();
    id
}

async fn insert_as(tx: &mut Tx, name: &str, action: Option<&str>) -> InstanceId {
    let instance = Instance {
        machine: MachineName::new("board").unwrap(),
        name: name.to_owned(),
        state: StateName::new("S").unwrap(),
        visit: Visit(1),
        since: NOW,
        deadline_at: None,
        remaining: None,
        counters: BTreeMap::new(),
        data: Map::new(),
        links: Links::new(),
    };
    let id = instances::insert(tx, &instance, &LinkedIds::new()).await.unwrap().unwrap();
    if let Some(action) = action {
        let invoke =
            ActionInvocation { action: ActionName::new(action).unwrap(), limit: None, with: Map::new() };
        let claims = vec![Claim::exclusive(&format!("relay of {name}"))];
        let new = NewAction { invoke, claims, queue_at: None, compensation: None };
        actions::insert(tx, id, Visit(1), &[new], NOW).await.unwrap();
    }
    id
}

/// How often the instance's first action was started without finishing.
async fn attempts(store: &Store, id: InstanceId) -> i32 {
    actions::list_summaries(&mut store.reader().await.unwrap(), id).await.unwrap()[0].attempts
}

/// The instance's remaining time.
async fn remaining(store: &Store, id: InstanceId) -> Option<Duration> {
    let mut db = store.connect().await.unwrap();
    batches::read(&mut db, &[id], &[]).await.unwrap().remove(0).instance.remaining
}

fn suspension(action: &RunningAction, is_counted: bool) -> Suspension {
    let (trouble, reason) = ("memory".to_owned(), "no memory".to_owned());
    Suspension { action: action.id, trouble, reason, is_counted, is_compensation: false }
}

#[tokio::test]
async fn a_suspended_action_keeps_its_remaining_time_for_its_own_visit_only() {
    let database = database().await;
    let store = Store::open(database.connect_options()).await.unwrap();
    let id = insert(&store, "power-on").await;
    let worker = workers::register(&store, "one", Duration::from_mins(1), Duration::ZERO).await.unwrap().id;
    for (is_counted, counted) in [(false, 0), (true, 1), (false, 1)] {
        let running = start(&store, worker).await;
        write(&store, id, worker, |decided| {
            Arc::make_mut(decided.instance.as_mut().unwrap()).remaining =
                Some(Duration::from_micros(7_000_001));
            changes(decided).suspended = Some(suspension(&running, is_counted));
        })
        .await;
        assert_eq!(attempts(&store, id).await, counted);
        assert_eq!(remaining(&store, id).await, Some(Duration::from_micros(7_000_001)));
    }
    let mut db = store.reader().await.unwrap();
    let open = actions::list_summaries(&mut db, id).await.unwrap();
    let stored = (open[0].status.as_str(), open[0].suspended_at, open[0].reason.as_deref());
    assert_eq!(stored, ("WAITING", Some(NOW), Some("no memory")));
    // Not by a process with that local fault, but by one without.
    let with = |troubles: &[&str]| troubles.iter().map(|trouble| (*trouble).to_owned()).collect::<Vec<_>>();
    assert_eq!(startable(&mut db, &with(&["descriptors", "memory"])).await, []);
    assert_eq!(startable(&mut db, &with(&["descriptors"])).await.len(), 1);
    start(&store, worker).await;
    let open = actions::list_summaries(&mut db, id).await.unwrap();
    assert_eq!((open[0].suspended_at, open[0].reason.as_deref()), (None, None));
    // A process of an earlier version enters states without these columns.
    let sql = "UPDATE instance SET remaining_us = 7000001, remaining_visit = visit WHERE instance_id = $1";
    sqlx::query(sql).bind(id.0).execute(&database.pool().await).await.unwrap();
    assert_eq!(remaining(&store, id).await, Some(Duration::from_micros(7_000_001)));
    let sql = "UPDATE instance SET visit = visit + 1 WHERE instance_id = $1";
    sqlx::query(sql).bind(id.0).execute(&database.pool().await).await.unwrap();
    assert_eq!(remaining(&store, id).await, None);
}

#[tokio::test]
async fn a_cancelled_and_suspended_power_cycle_still_restores_the_power() {
    let database = database().await;
    let store = Store::open(database.connect_options()).await.unwrap();
    let id = insert(&store, "power-cycle").await;
    let worker = workers::register(&store, "one", Duration::from_mins(1), Duration::ZERO).await.unwrap().id;
    let cycle = start(&store, worker).await;
    write(&store, id, worker, |decided| decided.left_visit = Some(Visit(1))).await;
    write(&store, id, worker, |decided| changes(decided).suspended = Some(suspension(&cycle, true))).await;
    let rescue = start(&store, worker).await;
    assert_eq!((rescue.action.as_str(), rescue.is_compensation, rescue.id), ("power-on", true, cycle.id));
}

#[tokio::test]
async fn the_compensation_of_a_cancelled_power_cycle_outlives_its_state_and_raises_no_event() {
    let database = database().await;
    let store = Store::open(database.connect_options()).await.unwrap();
    let id = insert(&store, "power-cycle").await;
    let dies = workers::register(&store, "dies", Duration::from_mins(1), Duration::ZERO).await.unwrap().id;
    let lives = workers::register(&store, "lives", Duration::from_mins(1), Duration::ZERO).await.unwrap().id;

    let cycle = start(&store, dies).await;
    assert_eq!(cycle.speaks_for(Visit(7)), Visit(7), "its state was re-entered and kept it");
    assert!(!leave(&store, id, lives).await);
    let mut tx = store.begin().await.unwrap();
    actions::hand_back(&mut tx, &[dies], None, NOW).await.unwrap();
    tx.commit().await.unwrap();

    assert!(!leave(&store, id, lives).await);
    let rescue = start(&store, lives).await;
    assert_eq!((rescue.action.as_str(), rescue.speaks_for(Visit(7))), ("power-on", Visit(1)));
    assert_eq!(attempts(&store, id).await, 2, "started twice without finishing");
    assert!(!leave(&store, id, lives).await);
    let open = actions::list_summaries(&mut store.reader().await.unwrap(), id).await.unwrap();
    assert_eq!((open[0].status.as_str(), open[0].is_cancelled), ("RUNNING", false));
}

#[tokio::test]
async fn worker_ids_are_invalid_in_another_life_of_the_database() {
    let database = database().await;
    let store = Store::open(database.connect_options()).await.unwrap();
    let lease = Duration::from_mins(1);
    let news = WorkerStatus { now: NOW, running_for: lease, is_listening: true };
    let worker = workers::register(&store, "one", lease, Duration::ZERO).await.unwrap().id;
    let id = insert(&store, "power-on").await;
    start(&store, worker).await;
    let before = store.life();
    let pool = database.pool().await;
    sqlx::query("UPDATE database_life SET life = life").execute(&pool).await.unwrap();

    // The connection and the caller are of the previous life; only the database knows the current one.
    let mut db = store.reader().await.unwrap();
    assert_eq!(db.life(), before);
    assert_eq!(workers::renew(&mut db, worker, before, lease, news).await.unwrap(), None);
    workers::retire(&store, worker, before, NOW).await.unwrap();
    assert_eq!(actions::list_summaries(&mut db, id).await.unwrap()[0].status, "RUNNING");
    drop(db);

    let mut db = store.connect_for_lease().await.unwrap();
    let present = db.life();
    assert!(present > before);
    assert!(workers::renew(&mut db, worker, present, lease, news).await.unwrap().is_some());
    workers::retire(&store, worker, present, NOW).await.unwrap();
    assert_eq!(actions::list_summaries(&mut db, id).await.unwrap()[0].status, "WAITING");
}

#[tokio::test]
async fn empty_tables_during_a_restore_are_an_outage_not_an_internal_error() {
    let database = database().await;
    let store = Store::open(database.connect_options()).await.unwrap();
    let mut db = store.reader().await.unwrap();
    let cursor = changes::current_cursor(&mut db).await.unwrap();
    sqlx::query("DELETE FROM database_life").execute(&database.pool().await).await.unwrap();
    for error in [
        changes::current_cursor(&mut db).await.map(drop),
        changes::is_current(&mut db, &cursor).await.map(drop),
        changes::read(&mut db, &cursor, 10).await.map(drop),
    ] {
        assert_eq!(error.unwrap_err().cause().unwrap().code(), "incomplete");
    }
}

#[tokio::test]
async fn a_batch_reads_only_its_own_actions() {
    let database = database().await;
    let store = Store::open(database.connect_options()).await.unwrap();
    let worker = workers::register(&store, "one", Duration::from_mins(1), Duration::ZERO).await.unwrap().id;
    let mut tx = store.begin().await.unwrap();
    let idle = insert_as(&mut tx, "idle", None).await;
    tx.commit().await.unwrap();
    // PostgreSQL plans this statement now, while it knows that there is no action, and keeps the plan.
    sqlx::query("VACUUM ANALYZE action").execute(&database.pool().await).await.unwrap();
    let mut db = store.connect().await.unwrap();
    write_by(&mut db, idle, worker, |decided| decided.left_visit = Some(Visit(1))).await;
    let mut tx = store.begin().await.unwrap();
    let mut boards = Vec::new();
    for board in 0..200 {
        boards.push(insert_as(&mut tx, &format!("b{board}"), Some("power-cycle")).await);
    }
    tx.commit().await.unwrap();
    let startable = startable(&mut db, &[]).await;
    for waiting in &startable[..100] {
        write_by(&mut db, waiting.instance, worker, |decided| {
            changes(decided).started = Some((waiting.id, waiting.grant.clone()));
        })
        .await;
    }

    sqlx::query("BEGIN").execute(&mut *db).await.unwrap();
    let before = actions_read(&mut db).await;
    write_by(&mut db, startable[0].instance, worker, |decided| {
        changes(decided).ended = vec![startable[0].id];
    })
    .await;
    write_by(&mut db, startable[1].instance, worker, |decided| decided.left_visit = Some(Visit(1))).await;
    let trouble = actions::list_live(&mut db, &[startable[2].instance]).await.unwrap().remove(0).action;
    let suspend = |decided: &mut DecidedUpdate| changes(decided).suspended = Some(suspension(&trouble, true));
    write_by(&mut db, startable[2].instance, worker, suspend).await;
    write_by(&mut db, startable[100].instance, worker, |decided| {
        changes(decided).started = Some((startable[100].id, startable[100].grant.clone()));
    })
    .await;
    write_by(&mut db, startable[101].instance, worker, |decided| decided.left_visit = Some(Visit(1))).await;
    let read = actions_read(&mut db).await - before;
    sqlx::query("ROLLBACK").execute(&mut *db).await.unwrap();
    assert!((5..50).contains(&read), "five groups about one action each read {read}");
}

/// Rows of actions read by this transaction, as counted by the database.
pub(crate) async fn actions_read(db: &mut PgConnection) -> i64 {
    let sql = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'action'";
    sqlx::query_scalar(sql).fetch_one(db).await.unwrap()
}
