//! Tests of the change log: nothing is missed, delivered twice or delayed, in any order of commits.

use std::sync::atomic::{AtomicU64, Ordering};

use lifeguard::boards::store::devices;
use lifeguard::engine::{FeedFollower, FeedUpdate};
use lifeguard::machine::{MachineName, Visit};
use lifeguard::store::changes::{
    self, ChangeCursor, ChangeOrigin, InstanceChange, InstanceChangeKind, LoggedChange,
};
use lifeguard::store::instances::InstanceId;
use lifeguard::store::{ConnectionBudget, Store, Tx};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::database::{TestDatabase, database};
use crate::world::{World, await_within_timeout, wait_until};

const ORIGIN: ChangeOrigin = ChangeOrigin(7);
const NOTHING: [i64; 0] = [];

async fn store(database: &TestDatabase) -> Store {
    Store::open(database.connect_options()).await.unwrap()
}

/// Starts a transaction that changes an instance.
async fn change(store: &Store, id: i64) -> Tx {
    let mut tx = store.begin().await.unwrap();
    let now = InstanceChangeKind::Written { visit: Visit(1), deadline_at: None };
    changes::append(&mut tx, ORIGIN, &[InstanceChange { id: InstanceId(id), kind: now }]).await.unwrap();
    tx
}

async fn state(store: &Store) -> ChangeCursor {
    changes::current_cursor(&mut store.reader().await.unwrap()).await.unwrap()
}

/// Reads from `cursor` on; returns the changed instances.
async fn read(store: &Store, cursor: &mut ChangeCursor) -> Vec<i64> {
    let read = changes::read(&mut store.reader().await.unwrap(), cursor, 100).await.unwrap();
    let changes = read.expect("the log reaches back to the cursor");
    *cursor = changes.cursor;
    // Through its text form, as a client uses it.
    *cursor = cursor.to_string().parse().unwrap();
    changes.changes.iter().map(|logged| logged.change.id.0).collect()
}

async fn is_gone(store: &Store, cursor: &ChangeCursor) -> bool {
    changes::read(&mut store.reader().await.unwrap(), cursor, 100).await.unwrap().is_none()
}

#[tokio::test]
async fn a_slow_commit_between_two_fast_ones_is_delivered_exactly_once() {
    let database = database().await;
    let store = store(&database).await;
    let mut cursor = state(&store).await;
    assert_eq!(read(&store, &mut cursor).await, NOTHING);

    change(&store, 1).await.commit().await.unwrap();
    let slow = change(&store, 2).await;
    change(&store, 3).await.commit().await.unwrap();
    assert_eq!(read(&store, &mut cursor).await, [1, 3], "committed changes are delivered at once");
    assert_eq!(read(&store, &mut cursor).await, NOTHING);

    slow.commit().await.unwrap();
    assert_ne!(state(&store).await, cursor, "the slow one shows");
    assert_eq!(read(&store, &mut cursor).await, [2], "its number is lower than a delivered one");
    assert_eq!(read(&store, &mut cursor).await, NOTHING);

    let given_up = change(&store, 4).await;
    change(&store, 5).await.commit().await.unwrap();
    assert_eq!(read(&store, &mut cursor).await, [5]);
    drop(given_up);
    change(&store, 6).await.commit().await.unwrap();
    assert_eq!(read(&store, &mut cursor).await, [6]);
}

#[tokio::test]
async fn a_long_transaction_of_others_delays_nothing_and_costs_nothing() {
    let database = database().await;
    let store = store(&database).await;
    let mut others = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    let mut long = others.begin().await.unwrap();
    sqlx::query("CREATE TABLE other AS SELECT 1").execute(&mut *long).await.unwrap();

    let mut cursor = state(&store).await;
    for id in 1..=5 {
        change(&store, id).await.commit().await.unwrap();
        assert_eq!(read(&store, &mut cursor).await, [id], "at once, and nothing again");
    }
    // Its start does not advance while the other is open.
    let mut tx = store.begin().await.unwrap();
    assert_eq!(changes::prune(&mut tx, 1).await.unwrap(), 0, "none is older than the open transaction");
    tx.commit().await.unwrap();
    long.commit().await.unwrap();
    assert_eq!(read(&store, &mut cursor).await, NOTHING);
}

#[tokio::test]
async fn every_interleaving_of_three_writers_and_a_reader_delivers_each_change_once() {
    let database = database().await;
    let store = store(&database).await;
    // Each order in which three transactions, started one after the other, can end.
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut cursor = state(&store).await;
        let mut open = Vec::new();
        for id in 0..3 {
            open.push(Some(change(&store, id).await));
            assert_eq!(read(&store, &mut cursor).await, NOTHING, "none has ended");
        }
        for id in order {
            let before = state(&store).await;
            open[id].take().unwrap().commit().await.unwrap();
            assert_ne!(state(&store).await, before, "{order:?}: {id} shows");
            assert_eq!(read(&store, &mut cursor).await, [i64::try_from(id).unwrap()], "{order:?}");
        }
        assert_eq!(read(&store, &mut cursor).await, NOTHING);
    }
}

#[tokio::test]
async fn a_cursor_older_than_the_retained_changes_is_refused() {
    let database = database().await;
    let store = store(&database).await;
    let mut cursors = vec![state(&store).await];
    for id in 1..=10 {
        change(&store, id).await.commit().await.unwrap();
        cursors.push(state(&store).await);
    }
    // Transactions open then have ended; otherwise nothing would be removed: other tests use this server.
    let forget = async |keep, so_many: u64| {
        let forgotten = AtomicU64::new(0);
        wait_until("the log is forgotten", async || {
            let mut tx = store.begin().await.unwrap();
            let forgot = changes::prune(&mut tx, keep).await.unwrap();
            tx.commit().await.unwrap();
            forgotten.fetch_add(forgot, Ordering::Relaxed) + forgot >= so_many
        })
        .await;
        assert_eq!(forgotten.into_inner(), so_many);
    };
    forget(10, 0).await;
    assert!(!is_gone(&store, &cursors[0]).await);
    forget(4, 6).await;
    for cursor in &cursors[..6] {
        assert!(is_gone(&store, cursor).await, "{cursor}");
    }
    // The newest is kept, to distinguish what is visible now from what was before.
    forget(0, 3).await;
    assert!(is_gone(&store, &cursors[8]).await);
    let mut cursor = state(&store).await;
    assert_eq!(read(&store, &mut cursor).await, NOTHING);
    change(&store, 11).await.commit().await.unwrap();
    change(&store, 12).await.commit().await.unwrap();
    // A cursor too far back is invalid too.
    let mut reader = store.reader().await.unwrap();
    for (most, is_read) in [(1, false), (2, true)] {
        let read = changes::read(&mut reader, &cursor, most).await.unwrap();
        assert_eq!(read.is_some(), is_read, "{most}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_life_of_the_database_is_refused() {
    let (one, other) = (database().await, database().await);
    let first = store(&one).await;
    change(&first, 1).await.commit().await.unwrap();
    let cursor = state(&first).await;
    let second = store(&other).await;
    change(&second, 1).await.commit().await.unwrap();
    assert!(is_gone(&second, &cursor).await, "it speaks of another database");
    assert!(!is_gone(&store(&one).await, &cursor).await, "to open it again is no new life");

    // A much older dump is restored: its numbers are those of future transactions.
    let pool = other.pool().await;
    sqlx::query("UPDATE change SET xact = xact + 1000000").execute(&pool).await.unwrap();
    sqlx::query("UPDATE database_life SET life = 1").execute(&pool).await.unwrap();
    let restored = store(&other).await;
    let mut cursor = state(&restored).await;
    change(&restored, 2).await.commit().await.unwrap();
    assert_eq!(read(&restored, &mut cursor).await, [2]);
}

#[tokio::test]
async fn written_changes_are_read_completely() {
    let database = database().await;
    let store = store(&database).await;
    let mut reader = store.reader().await.unwrap();
    let since = changes::current_cursor(&mut reader).await.unwrap();
    let deadline_at = Some("2026-01-01T12:00:00Z".parse().unwrap());
    let machine = MachineName::new("board").unwrap();
    let mut written: Vec<InstanceChange> = (1..=600)
        .map(|id| InstanceChange {
            id: InstanceId(id),
            kind: InstanceChangeKind::Written { visit: Visit(id), deadline_at },
        })
        .collect();
    written[300].kind = InstanceChangeKind::Removed { machine, name: "b300".to_owned() };
    written[301].kind = InstanceChangeKind::Written { visit: Visit(3), deadline_at: None };
    let mut tx = store.begin().await.unwrap();
    changes::append(&mut tx, ORIGIN, &written).await.unwrap();
    tx.commit().await.unwrap();

    let read = changes::read(&mut reader, &since, 3).await.unwrap().unwrap();
    assert!(read.changes.iter().all(|logged| logged.origin == Some(ORIGIN)));
    let mut read: Vec<InstanceChange> = read.changes.into_iter().map(|logged| logged.change).collect();
    read.sort_by_key(|changed| changed.id);
    assert_eq!(read, written);
}

/// Waits until a follower has received a change of board `id`; returns its author and the visits.
async fn changes_of(
    follower: &mut FeedFollower,
    id: InstanceId,
    until: Visit,
) -> (Vec<Option<ChangeOrigin>>, Vec<Visit>) {
    let (mut origins, mut visits) = (Vec::new(), Vec::new());
    while visits.last().is_none_or(|visit| *visit < until) {
        let Some(FeedUpdate::Changed(changed, _)) = await_within_timeout("news", follower.next()).await
        else {
            panic!("all changes are delivered");
        };
        for LoggedChange { origin, change: changed } in changed.iter().filter(|logged| logged.change.id == id)
        {
            let InstanceChangeKind::Written { visit, .. } = changed.kind else {
                panic!("nothing was removed")
            };
            origins.push(*origin);
            visits.push(visit);
        }
    }
    (origins, visits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_in_each_process_receive_the_changes_of_all_processes() {
    let one = World::new().await;
    let other = one.second_server().await;
    let mut followers = [one.server.engine.follow(), other.server.engine.follow()];
    one.register("b1", json!({})).await;
    other.force("b1", "LockedOut").await;
    one.force("b1", "Maintenance").await;
    let board = MachineName::new("board").unwrap();
    let mut db = one.server.engine.store().reader().await.unwrap();
    let id = devices::find(&mut db, &board, "b1").await.unwrap().unwrap().id;
    for follower in &mut followers {
        let (origins, visits) = changes_of(follower, id, Visit(3)).await;
        assert_eq!(visits, [Visit(1), Visit(2), Visit(3)]);
        assert!(origins[0] == origins[2] && origins[0] != origins[1], "{origins:?}");
    }
    let (status, _) = one.call(Method::DELETE, "/api/v1/devices/b1", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for follower in &mut followers {
        let Some(FeedUpdate::Changed(changed, _)) = await_within_timeout("news", follower.next()).await
        else {
            panic!()
        };
        let kind = InstanceChangeKind::Removed { machine: board.clone(), name: "b1".to_owned() };
        assert_eq!(changed[0].change, InstanceChange { id, kind });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_continue_while_commits_wait_for_the_disk() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let mut busy = Vec::new();
    for _ in 0..ConnectionBudget::default().writers {
        busy.push(await_within_timeout("a writer", world.server.engine.store().begin()).await.unwrap());
    }
    // A writer with its own connection waits for these.
    let pool = world.database.pool().await;
    let mut slow = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE instance IN EXCLUSIVE MODE").execute(&mut *slow).await.unwrap();
    for path in ["/api/v1/devices", "/api/v1/devices/b1", "/api/v1/devices/b1/history", "/readyz", "/"] {
        let (status, _) = await_within_timeout(path, world.call(Method::GET, path, None)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    let (status, answer) = world.request("b1", "rq-reboot", json!({})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slowly_read_lists_do_not_block_other_readers() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let mut lists = Vec::new();
    for _ in 0..ConnectionBudget::default().snapshots {
        lists.push(await_within_timeout("a snapshot", world.server.engine.store().snapshot()).await.unwrap());
    }
    for path in ["/api/v1/devices/b1", "/api/v1/devices/b1/history", "/readyz"] {
        let (status, _) = await_within_timeout(path, world.call(Method::GET, path, None)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    let waits = world.call(Method::GET, "/api/v1/devices", None);
    lists.pop();
    assert_eq!(await_within_timeout("the list", waits).await.0, StatusCode::OK);
}

#[test]
fn invalid_cursors_are_refused() {
    for text in ["1f-12", "0-0", "ffffffffffffffff-9-4-7"] {
        assert_eq!(text.parse::<ChangeCursor>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "-",
        "1f",
        "1f-",
        "x-12",
        "1F-12",
        "1f-12-",
        "1f-+12",
        "01f-12",
        "1f-12 ",
        "1f-99999999999999999999",
    ] {
        assert!(text.parse::<ChangeCursor>().is_err(), "{text}");
    }
}
