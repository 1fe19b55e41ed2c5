//! Tests of the pipeline: stimuli that arrive together are written together, each once, on the row they were decided
//! on.

use lifeguard::engine::{EngineError, Submission};
use lifeguard::machine::{Cause, EventName, EventSource, MachineName, Outcome};
use lifeguard::store::instances::InstanceKey;
use reqwest::StatusCode;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::world::{World, unreachable_power, until_lock_waiter, wait_until};

fn event(board: &str, name: &str, args: Value) -> Submission {
    let Value::Object(args) = args else { panic!("arguments are an object") };
    let target = InstanceKey::Name(MachineName::new("board").unwrap(), board.to_owned());
    let cause = Cause::Event {
        name: EventName::new(name).unwrap(),
        source: EventSource::Operator,
        args,
        visit: None,
    };
    Submission::new(target, cause)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stimulus_that_cannot_be_written_fails_alone() {
    let world = World::new().await;
    let names: Vec<String> = (0..40).map(|number| format!("b{number}")).collect();
    for name in &names {
        world.register(name, json!({})).await;
    }
    // PostgreSQL stores every text except those with a NUL.
    let submissions = names.iter().enumerate().map(|(number, name)| {
        let args = if number == 17 { json!({ "reason": "r\0" }) } else { json!({ "reason": "r" }) };
        world.server.engine.submit(event(name, "rq-lock-out", args))
    });
    let answers = futures_util::future::join_all(submissions).await;
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(committed) => assert_eq!(committed.instance.state.as_str(), "LockedOut"),
            Err(EngineError::Store(error)) => {
                assert!(number == 17 && !error.is_transient(), "{number}: {error}");
            }
            Err(error) => panic!("{number}: {error}"),
        }
    }
    assert_eq!(world.state("b17").await, "New");
    assert_eq!(world.state("b18").await, "LockedOut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_on_a_row_changed_by_another_process_are_repeated() {
    let world = World::new().await;
    world.register("b1", unreachable_power(0)).await;
    let pool = world.database.pool().await;
    // Another process, between its write and its commit.
    let mut other = pool.begin().await.unwrap();
    sqlx::query("UPDATE instance SET state = 'RebootComplete', visit = visit + 1 WHERE name = 'b1'")
        .execute(&mut *other)
        .await
        .unwrap();
    // The event would be accepted in the state read first, but not in the one it finally meets.
    let engine = world.server.engine.clone();
    let mut submitted = JoinSet::new();
    submitted.spawn(async move { engine.submit(event("b1", "rq-reboot", json!({}))).await });
    until_lock_waiter(&pool).await;
    other.commit().await.unwrap();
    let committed = submitted.join_next().await.unwrap().unwrap().unwrap();
    assert!(matches!(committed.outcome, Outcome::Ignored(_)), "{committed:?}");
    assert_eq!((committed.instance.state.as_str(), committed.instance.visit.0), ("RebootComplete", 2));
    let history = world.history("b1").await;
    let last = history.last().unwrap();
    assert_eq!((&last["from"], &last["visit"]), (&json!("RebootComplete"), &json!(2)), "{last}");
    assert!(world.server.engine.retries().overtaken.get() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_written_only_to_history_show_the_state_at_that_time() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let pool = world.database.pool().await;
    let mut other = pool.begin().await.unwrap();
    sqlx::query("UPDATE instance SET state = 'Maintenance', visit = visit + 1 WHERE name = 'b1'")
        .execute(&mut *other)
        .await
        .unwrap();
    let engine = world.server.engine.clone();
    // It would be accepted in neither.
    let mut late = event("b1", "image-installing", json!({}));
    if let Cause::Event { source, .. } = &mut late.cause {
        *source = lifeguard::boards::BOARD_SOURCE;
    }
    let mut submitted = JoinSet::new();
    submitted.spawn(async move { engine.submit(late).await });
    wait_until("it was tried", async || world.server.engine.retries().overtaken.get() > 0).await;
    other.commit().await.unwrap();
    let committed = submitted.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(committed.instance.state.as_str(), "Maintenance");
    let history = world.history("b1").await;
    assert_eq!(history.len(), 2);
    assert_eq!((&history[1]["from"], &history[1]["visit"]), (&json!("Maintenance"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_stimuli_for_one_board_are_decided_in_sequence() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let force = |from: &str, to: &str| {
        let body = json!({ "from": from, "to": to, "reason": "a race" });
        async { world.call(reqwest::Method::POST, "/api/v1/devices/b1/force", Some(body)).await }
    };
    // Each of them matches the board's state only once.
    let pairs =
        (0..30).map(|number| if number % 2 == 0 { ("New", "Maintenance") } else { ("Maintenance", "New") });
    let answers = futures_util::future::join_all(pairs.map(|(from, to)| force(from, to))).await;
    let moved = answers.iter().filter(|(status, _)| *status == StatusCode::OK).count();
    assert!(answers.iter().all(|(status, _)| [200, 409].contains(&status.as_u16())), "{answers:?}");
    let device = world.get("/api/v1/devices/b1").await;
    assert_eq!(device["visit"], json!(moved + 1));
    let mut visits: Vec<Value> =
        answers.iter().filter_map(|(_, answer)| answer.get("visit").cloned()).collect();
    visits.sort_by_key(Value::as_i64);
    assert!(visits.into_iter().eq((2..=moved + 1).map(|visit| json!(visit))), "each visit was answered once");
    let history = world.history("b1").await;
    assert_eq!(history.len(), 31, "each is in history");
    for pair in history.windows(2) {
        assert_eq!(pair[0]["to"], pair[1]["from"], "one after the other");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_at_the_same_boards_lose_duplicate_and_deadlock_nothing() {
    let one = World::new().await;
    let other = one.second_server().await;
    let names: Vec<String> = (0..8).map(|number| format!("b{number}")).collect();
    for name in &names {
        one.register(name, json!({})).await;
        one.force(name, "ReimageBooting").await;
    }
    // No event is accepted by the state, so that each only adds to history, except for the forced moves between.
    let send = |round: usize, name: &str, world: &World| {
        let engine = world.server.engine.clone();
        let name = name.to_owned();
        async move {
            let args = Map::from_iter([("round".to_owned(), Value::from(round))]);
            engine.submit(event(&name, "rq-unlock", Value::Object(args))).await.unwrap()
        }
    };
    let mut sent = Vec::new();
    for round in 0..25 {
        for name in &names {
            sent.push(send(round, name, &one));
            sent.push(send(round, name, &other));
        }
    }
    let forces = names.iter().map(|name| one.force(name, "ReimageBooted"));
    futures_util::future::join(futures_util::future::join_all(sent), futures_util::future::join_all(forces))
        .await;
    for name in &names {
        let history = one.history(name).await;
        assert_eq!(history.len(), 3 + 50, "{name}");
        for pair in history.windows(2) {
            assert_eq!(pair[0]["to"], pair[1]["from"], "{name}: {pair:#?}");
        }
    }
    let pool = one.database.pool().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(sqlx::query_scalar::<_, i64>(deadlocks).fetch_one(&pool).await.unwrap(), 0);
    for world in [&one, &other] {
        assert_eq!(world.server.engine.retries().conflicts.get(), 0);
    }
}
