//! Tests of the history's partitions: where entries are stored, creation and removal of partitions, and the migration
//! of old rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, Utc};
use futures_util::future::{BoxFuture, join_all};
use insta::assert_snapshot;
use lifeguard::cli::serve::LifeguardServer;
use lifeguard::clock::{Clock, ManualClock, SystemClock, time_after};
use lifeguard::machine::{
    ActionName, Cause, EventName, EventSource, InstanceAddress, Link, LinkName, Links, MachineName,
    ModelAnswers, ModelQuestion, Outcome, Prediction, StateName, Stimulus, Visit,
};
use lifeguard::store::history::{self, HistoryContent, HistoryEntry, NewHistoryEntry};
use lifeguard::store::instances::InstanceId;
use lifeguard::store::{MIGRATOR, Store, StoreError, partitions};
use serde_json::{Map, Value, json};
use sqlx::postgres::PgPool;
use sqlx::{Connection, PgConnection};

use crate::database::{TestDatabase, database, empty_database};
use crate::world::{World, await_within_timeout, options, unreachable_power, wait_until, yield_briefly};

/// The migration that partitions history, and the one before it.
const PARTITIONED: i64 = 20_261_124_000_001;
const BEFORE: i64 = 20_261_122_000_003;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn open(database: &TestDatabase) -> Store {
    Store::open(database.connect_options()).await.unwrap()
}

/// The partitions of entries, in the order of their IDs.
async fn partitions_of(pool: &PgPool, instance: i64) -> Vec<String> {
    let sql = "SELECT tableoid::regclass::text FROM history WHERE instance_id = $1 ORDER BY history_id";
    sqlx::query_scalar(sql).bind(instance).fetch_all(pool).await.unwrap()
}

/// Inserts an ignored entry of an instance in visit 2 of `S` at `at`.
async fn note(store: &Store, instance: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
    let state = StateName::new("S").unwrap();
    let entry = NewHistoryEntry {
        instance: InstanceId(instance),
        at,
        content: HistoryContent::Note("peace".to_owned()),
        sender: None,
        outcome: None,
        from: state.clone(),
        to: state,
        visit: Visit(2),
        reason: None,
        evidence: None,
    };
    let mut tx = store.begin().await?;
    history::append(&mut tx, &entry).await?;
    tx.commit().await
}

async fn times(store: &Store, instance: i64) -> Vec<DateTime<Utc>> {
    let mut db = store.reader().await.unwrap();
    let entries = history::list(&mut db, InstanceId(instance), None, 100).await.unwrap();
    entries.iter().map(|entry| entry.at).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_created_in_advance_and_entries_go_to_their_day() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    let store = open(&world.database).await;
    let days = async || partitions::list(&mut store.reader().await.unwrap()).await.unwrap();
    let week = |from: &str, count| day(from).iter_days().take(count).collect::<Vec<_>>();
    // Before the first request.
    assert_eq!(days().await, week("2026-01-01", 8));

    world.register("b1", unreachable_power(0)).await;
    world.clock.advance(Duration::from_hours(36));
    wait_until("days are made ahead", async || days().await == week("2026-01-01", 10)).await;
    world.force("b1", "RebootComplete").await;
    world.clock.advance(Duration::from_hours(24));
    wait_until("and further ahead", async || days().await == week("2026-01-01", 11)).await;
    world.until_state("b1", "RebootRebooting").await;
    assert_eq!(
        partitions_of(&pool, 1).await[..3],
        ["history_20260101", "history_20260103", "history_20260104"]
    );
    let kinds: Vec<Value> = world.history("b1").await.iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds[..3], ["created", "force", "deadline"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_older_than_the_retention_are_dropped() {
    let world = World::new().await;
    let store = open(&world.database).await;
    let days = async || partitions::list(&mut store.reader().await.unwrap()).await.unwrap();
    world.register("b1", json!({})).await;
    note(&store, 1, time("2025-12-01T00:00:00Z")).await.unwrap();
    assert_eq!(times(&store, 1).await.len(), 2);

    // Ninety days are kept: on the ninetieth, the first is not completely too old yet.
    world.clock.advance(Duration::from_hours(90 * 24));
    wait_until("the day was made", async || days().await.contains(&day("2026-04-08"))).await;
    wait_until("what fell into no day and is too old has gone", async || {
        times(&store, 1).await == [time("2026-01-01T12:00:00Z")]
    })
    .await;
    assert_eq!(days().await[0], day("2026-01-01"));
    world.clock.advance(Duration::from_hours(12));
    wait_until("the first day has gone", async || days().await[0] == day("2026-01-02")).await;
    assert!(times(&store, 1).await.is_empty());
    assert_eq!(world.get("/api/v1/devices/b1/history").await["history"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_expired_partition_is_dropped_per_round() {
    let world = World::new().await;
    let store = open(&world.database).await;
    let days = async || partitions::list(&mut store.reader().await.unwrap()).await.unwrap();
    // The first ten days of the year; the last two are within the ninety days before April 9, noon.
    partitions::ensure(&store, day("2026-01-01"), day("2026-01-10")).await.unwrap();
    note(&store, 1, time("2026-01-03T00:00:00Z")).await.unwrap();
    note(&store, 1, time("2025-12-31T00:00:00Z")).await.unwrap();
    world.clock.advance(Duration::from_hours(98 * 24));
    wait_until("a day has gone", async || days().await[0] == day("2026-01-02")).await;
    let rest = [time("2026-01-03T00:00:00Z")];
    wait_until("what is in no day and older has gone with it", async || times(&store, 1).await == rest).await;
    for next in 3..=9 {
        world.clock.advance(Duration::from_hours(1));
        wait_until("another day has gone", async || days().await[0] == day(&format!("2026-01-{next:02}")))
            .await;
    }
    wait_until("nothing is left", async || times(&store, 1).await.is_empty()).await;
}

/// A clock that is ahead of the correct time, like its machine's wall clock, with short waits.
#[derive(Clone)]
struct ClockAhead {
    by: Duration,
    waits: Arc<AtomicU32>,
}

impl Clock for ClockAhead {
    fn now(&self) -> DateTime<Utc> {
        time_after(SystemClock.now(), self.by)
    }

    fn sleep_until(&self, _: DateTime<Utc>) -> BoxFuture<'static, ()> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        Box::pin(yield_briefly())
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(yield_briefly())
    }

    fn wall(&self) -> Option<DateTime<Utc>> {
        Some(self.now())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_dropped_by_a_clock_that_the_database_contradicts_or_at_the_first_reading() {
    let database = Arc::new(database().await);
    let store = open(&database).await;
    let days = async || partitions::list(&mut store.reader().await.unwrap()).await.unwrap();
    let old = SystemClock.now().date_naive().checked_sub_days(Days::new(100)).unwrap();
    partitions::ensure(&store, old, old).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let start = async |by| {
        let clock = ClockAhead { by, waits: Arc::default() };
        (LifeguardServer::start(options(&database, &folder), Arc::new(clock.clone())).await.unwrap(), clock)
    };

    // Four hundred days ahead: all partitions would be too old.
    let (server, clock) = start(Duration::from_hours(400 * 24)).await;
    wait_until("rounds were made", async || clock.waits.load(Ordering::Relaxed) >= 10).await;
    assert_eq!(days().await[0], old);
    server.stop().await.unwrap();

    let (server, _) = start(Duration::ZERO).await;
    wait_until("what is too old has gone", async || days().await[0] > old).await;
    server.stop().await.unwrap();

    // One reading is taken when a server starts.
    partitions::ensure(&store, old, old).await.unwrap();
    let clock = ManualClock::new(SystemClock.now());
    let server =
        LifeguardServer::start(options(&database, &folder), Arc::new(FollowingClock(clock))).await.unwrap();
    server.stop().await.unwrap();
    assert_eq!(days().await[0], old);
}

/// A stopped clock that agrees with its machine's wall clock.
struct FollowingClock(ManualClock);

impl Clock for FollowingClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn sleep_until(&self, at: DateTime<Utc>) -> BoxFuture<'static, ()> {
        self.0.sleep_until(at)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(span)
    }

    fn wall(&self) -> Option<DateTime<Utc>> {
        Some(self.now())
    }
}

#[tokio::test]
async fn rows_of_each_table_can_be_deleted_where_all_tables_are_published() {
    let database = database().await;
    let (store, pool) = (open(&database).await, database.pool().await);
    partitions::ensure(&store, day("2026-01-01"), day("2026-01-01")).await.unwrap();
    sqlx::query("CREATE PUBLICATION everything FOR ALL TABLES").execute(&pool).await.unwrap();
    // Source: PostgreSQL 15 manual, pg_class: `d` is the primary key, or nothing where there is none.
    let unknown = sqlx::query_scalar::<_, String>(
        "SELECT c.oid::regclass::text FROM pg_class c
          WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relreplident = 'd'
            AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)",
    );
    assert_eq!(unknown.fetch_all(&pool).await.unwrap(), Vec::<String>::new());
    // Housekeeping: an entry from before its partition is moved, and one that is too old is removed.
    note(&store, 1, time("2026-01-02T00:00:00Z")).await.unwrap();
    note(&store, 1, time("2025-01-01T00:00:00Z")).await.unwrap();
    assert_eq!(partitions::ensure(&store, day("2026-01-02"), day("2026-01-02")).await.unwrap(), 1);
    partitions::drop_oldest_before(&store, day("2026-01-01")).await.unwrap();
    assert_eq!(times(&store, 1).await, [time("2026-01-02T00:00:00Z")]);
}

#[tokio::test]
async fn an_entry_without_a_partition_is_stored_read_and_moved_later() {
    let database = database().await;
    let (store, pool) = (open(&database).await, database.pool().await);
    let (early, late) = (time("2026-05-01T00:00:00Z"), time("2026-05-02T00:00:00Z"));
    note(&store, 1, early).await.unwrap();
    note(&store, 1, late).await.unwrap();
    assert_eq!(partitions_of(&pool, 1).await, ["history_default", "history_default"]);
    assert_eq!(times(&store, 1).await, [late, early]);

    assert_eq!(partitions::ensure(&store, day("2026-05-01"), day("2026-05-01")).await.unwrap(), 1);
    assert_eq!(partitions_of(&pool, 1).await, ["history_20260501", "history_default"]);
    assert_eq!(times(&store, 1).await, [late, early]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_create_and_drop_partitions_while_others_write() {
    let database = database().await;
    let store = open(&database).await;
    let (first, last) = (day("2026-01-01"), day("2026-01-10"));
    // A process that does not get the lock is told to retry.
    let made = join_all((0..4).map(async |_| {
        while let Err(error) = partitions::ensure(&store, first, last).await {
            assert!(error.is_transient(), "{error}");
        }
    }));
    let write = async |at| {
        while let Err(error) = note(&store, 1, at).await {
            assert!(error.is_transient(), "{error}");
        }
    };
    let hours = |begin: &str| {
        let begin = time(begin);
        (0..40).map(move |number| begin + Duration::from_hours(number))
    };
    tokio::join!(made, join_all(hours("2026-01-05T00:00:00Z").map(&write)));
    let days = partitions::list(&mut store.reader().await.unwrap()).await.unwrap();
    assert_eq!((days.len(), days[0], days[9]), (10, first, last));
    assert_eq!(times(&store, 1).await.len(), 40);

    let dropped =
        join_all((0..4).map(async |_| partitions::drop_oldest_before(&store, day("2026-01-05")).await));
    let (dropped, _) = tokio::join!(dropped, join_all(hours("2026-01-06T00:00:00Z").map(&write)));
    assert!(dropped.iter().filter_map(|one| one.as_ref().err()).all(StoreError::is_transient));
    while partitions::drop_oldest_before(&store, day("2026-01-05")).await.unwrap().is_some() {}
    assert_eq!(partitions::list(&mut store.reader().await.unwrap()).await.unwrap()[0], day("2026-01-05"));
    assert_eq!(times(&store, 1).await.len(), 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_reader_blocks_neither_writers_nor_maintenance() {
    let database = database().await;
    let (store, pool) = (open(&database).await, database.pool().await);
    partitions::ensure(&store, day("2026-01-01"), day("2026-01-02")).await.unwrap();
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM history").fetch_all(&mut *reader).await.unwrap();

    let made =
        await_within_timeout("an answer", partitions::ensure(&store, day("2026-01-01"), day("2026-01-03")))
            .await;
    assert!(made.unwrap_err().is_transient());
    let dropped =
        await_within_timeout("an answer", partitions::drop_oldest_before(&store, day("2026-01-02"))).await;
    assert!(dropped.unwrap_err().is_transient());
    await_within_timeout("an entry", note(&store, 1, time("2026-01-02T00:00:00Z"))).await.unwrap();
    await_within_timeout("an entry", note(&store, 1, time("2026-01-03T00:00:00Z"))).await.unwrap();

    reader.rollback().await.unwrap();
    assert_eq!(partitions::ensure(&store, day("2026-01-01"), day("2026-01-03")).await.unwrap(), 1);
    let dropped = partitions::drop_oldest_before(&store, day("2026-01-02")).await.unwrap();
    assert_eq!(dropped, Some(day("2026-01-01")));
    assert_eq!(times(&store, 1).await.len(), 2);
}

#[tokio::test]
async fn shared_history_of_many_instances_is_replayed_in_order() {
    let database = database().await;
    let store = open(&database).await;
    let state = StateName::new("S").unwrap();
    let (one, other) = (InstanceId(1), InstanceId(2));
    let at = time("2026-01-01T00:00:00Z");
    // Of the same transaction, and written before the entry that began the visit.
    note(&store, 1, at).await.unwrap();
    let pool = database.pool().await;
    for (instances, visits) in [([1, 2], [2, 70]), ([2, 1], [71, 3])] {
        let sql =
            "INSERT INTO history (at, kind, from_state, instances, visits) VALUES ($1, 'kept', 'S', $2, $3)";
        sqlx::query(sql).bind(at).bind(instances).bind(visits).execute(&pool).await.unwrap();
    }

    let mut db = store.reader().await.unwrap();
    let formatted = |entries: &[HistoryEntry]| {
        entries.iter().map(|entry| (entry.visit.0, entry.content.clone())).collect::<Vec<_>>()
    };
    let note = (2, HistoryContent::Note("peace".to_owned()));
    let kept = |visit: i64| {
        let cause = Cause::Deadline { visit: Visit(visit - 1) };
        (visit, HistoryContent::Stimulus(Stimulus::new(cause)))
    };
    assert_eq!(formatted(&history::list(&mut db, one, None, 10).await.unwrap()), std::slice::from_ref(&note));
    assert_eq!(formatted(&history::list_all(&mut db, one).await.unwrap()), [kept(2), note, kept(3)]);
    let all = history::list_all(&mut db, other).await.unwrap();
    assert_eq!(formatted(&all), [kept(70), kept(71)]);
    assert_eq!((all[0].at, &all[0].from, &all[0].to, all[0].outcome.as_str()), (at, &state, &state, "moved"));
}

#[tokio::test]
async fn every_kind_of_stimulus_is_read_as_it_was_written() {
    let database = database().await;
    let store = open(&database).await;
    let (from, to) = (StateName::new("S").unwrap(), StateName::new("T").unwrap());
    let event = |source, visit| Cause::Event {
        name: EventName::new("e").unwrap(),
        source,
        args: Map::from_iter([("x".to_owned(), json!(1))]),
        visit,
    };
    let moved = Outcome::Moved { from: from.clone(), to: to.clone() };
    let mut predicted = ModelAnswers::default();
    for (argument, states) in [("x", &["good"][..]), ("y", &["good", "bad"]), ("z", &[])] {
        let question = ModelQuestion { model: "the model".to_owned(), argument: argument.to_owned() };
        let states = states.iter().map(|state| (*state).to_owned()).collect();
        predicted.insert(question, Prediction::of(&json!([1]), states));
    }
    let lease = InstanceAddress { machine: MachineName::new("lease").unwrap(), name: "r/1".to_owned() };
    let link = Link { to: lease, visit: Some(Visit(3)) };
    let mut written = Vec::new();
    for spoken in [4, 5, 6, 7] {
        for outcome in [&moved, &Outcome::Stayed] {
            for cause in [
                Cause::Created { links: Links::from([(LinkName::new("lease").unwrap(), link.clone())]) },
                Cause::Created { links: Links::new() },
                event(lifeguard::boards::BOARD_SOURCE, None),
                event(EventSource::Operator, Some(Visit(spoken))),
                event(EventSource::Instance(link.to.clone()), Some(Visit(spoken))),
                event(EventSource::Action, Some(Visit(spoken))),
                Cause::Began { visit: Visit(spoken) },
                Cause::Suspend { visit: Visit(spoken) },
                Cause::Retry { visit: Visit(spoken), action: ActionName::new("heat").unwrap() },
                Cause::Deadline { visit: Visit(spoken) },
                Cause::Force { expected: from.clone(), to: to.clone(), reason: "so".to_owned() },
            ] {
                let predicted = if spoken == 6 { predicted.clone() } else { ModelAnswers::default() };
                let formatted = HistoryContent::Stimulus(Stimulus { predicted, ..Stimulus::new(cause) });
                let after = if *outcome == moved { &to } else { &from };
                let entry = NewHistoryEntry {
                    instance: InstanceId(1),
                    at: time("2026-01-01T00:00:00Z"),
                    content: formatted.clone(),
                    sender: Some("anna".to_owned()),
                    outcome: Some(outcome.clone()),
                    from: from.clone(),
                    to: after.clone(),
                    visit: Visit(6),
                    reason: None,
                    evidence: None,
                };
                let mut tx = store.begin().await.unwrap();
                history::append(&mut tx, &entry).await.unwrap();
                tx.commit().await.unwrap();
                let outcome = if *outcome == moved { "moved" } else { "stayed" };
                written.push((formatted, after.clone(), outcome.to_owned()));
            }
        }
    }
    let mut db = store.reader().await.unwrap();
    let entries = history::list(&mut db, InstanceId(1), None, 1000).await.unwrap();
    let read: Vec<_> =
        entries.into_iter().rev().map(|entry| (entry.content, entry.to, entry.outcome)).collect();
    assert_eq!(read, written);
}

#[tokio::test]
async fn history_from_before_partitioning_is_kept_and_continues() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    MIGRATOR.run_to(BEFORE, &mut connection).await.unwrap();
    let rows = include_str!("../../fixtures/migrations/20261124000001_history.sql");
    sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    let as_json = "SELECT jsonb_agg(jsonb_build_array(history_id, instance_id, at, kind, event, source, sender,
                       CASE WHEN kind IN ('began', 'deadline')
                            THEN coalesce(spoken_visit, visit - (coalesce(outcome, 'moved') = 'moved')::int)
                            ELSE spoken_visit END,
                       args, device, coalesce(outcome, 'moved'), from_state, coalesce(to_state, from_state), visit,
                       reason, evidence) ORDER BY history_id) FROM history";
    let before = sqlx::query_scalar::<_, Value>(as_json).fetch_one(&mut connection).await.unwrap();
    assert_eq!(before.as_array().unwrap().len(), 11);

    MIGRATOR.run_to(PARTITIONED, &mut connection).await.unwrap();
    let after = sqlx::query_scalar::<_, Value>(as_json).fetch_one(&mut connection).await.unwrap();
    assert_eq!(after, before);

    // After the remaining migrations, everything is read correctly.
    let store = open(&database).await;
    let days = partitions::list(&mut store.reader().await.unwrap()).await.unwrap();
    assert_eq!(days, [day("2026-11-01"), day("2026-11-02"), day("2026-11-03")]);
    let entries = history::list_all(&mut store.reader().await.unwrap(), InstanceId(1)).await.unwrap();
    let formatted = entries.iter().map(|entry| {
        let formatted = match &entry.content {
            HistoryContent::Stimulus(Stimulus { cause, .. }) => format!("{cause:?}"),
            HistoryContent::Note(note) | HistoryContent::Unreadable(note) => note.clone(),
        };
        format!("{} {} {} {formatted}", entry.visit, entry.outcome, entry.to)
    });
    assert_snapshot!(formatted.collect::<Vec<_>>().join("\n"), @r#"
    1 moved New Created { links: {} }
    2 moved ReimageRebooting Event { name: "rq-reimage", source: Operator, args: {"image": String("linux")}, visit: None }
    2 stayed ReimageRebooting Began { visit: Visit(2) }
    3 moved ReimageRebooting Deadline { visit: Visit(2) }
    3 ignored ReimageRebooting Event { name: "power-cycle-ok", source: Action, args: {}, visit: Some(Visit(2)) }
    3 noted ReimageRebooting asked
    5 moved Ready Deadline { visit: Visit(3) }
    5 stayed Ready Deadline { visit: Visit(5) }
    5 ignored Ready Event { name: "image-running", source: Face(SenderName("board")), args: {}, visit: Some(Visit(5)) }
    7 moved ReimageDone Force { expected: "Ready", to: "ReimageDone", reason: "it smells" }
    "#);

    // IDs continue after the last one used.
    note(&store, 1, time("2026-11-03T01:00:00Z")).await.unwrap();
    let last = history::list(&mut store.reader().await.unwrap(), InstanceId(1), None, 1).await.unwrap();
    assert_eq!(last[0].id, 13);
}
