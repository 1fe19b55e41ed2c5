//! Tests of bounds: an action's time, a forgotten lock, pages of other sites.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::rack::Rack;
use crate::world::{World, await_within_timeout, unreachable_power, wait_until, yield_briefly};
use lifeguard::cli::serve::ServeOptions;
use lifeguard::engine::{EngineError, Submission};
use lifeguard::farm::relay::RelayBehaviour;
use lifeguard::machine::{Cause, EventName, MachineName};
use lifeguard::store::instances::InstanceKey;

/// The board lifecycle with a power cycle limited to a second.
fn short_limit_definition() -> String {
    let board = include_str!("../../states/board.yaml");
    let hurried = board.replace(
        "invoke: [clear-pxe, power-cycle]",
        "invoke: [clear-pxe, { action: power-cycle, limit: 1s }]",
    );
    assert_ne!(hurried, board);
    hurried
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_times_out_fails_once_with_that_reason() {
    let world = World::with_definition(&short_limit_definition()).await;
    let rack = Rack::new(&world, 1);
    rack.relay.set_behaviour(RelayBehaviour::Hanging);
    world.register("b1", rack.power_facts(0)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    world.until("b1", "time runs", |device| device["deadline"].is_string()).await;

    // Its second, plus the time to stop.
    let has_failed = async || {
        world.clock.advance(Duration::from_millis(250));
        world.history("b1").await.iter().any(|entry| entry["event"] == "power-cycle-failed")
    };
    wait_until("the power cycle has failed", has_failed).await;
    let device = world.get("/api/v1/devices/b1").await;
    assert_eq!((&device["state"], &device["actions"]), (&json!("RebootRebooting"), &json!([])));
    let ends: Vec<Value> = world
        .history("b1")
        .await
        .into_iter()
        .filter(|entry| entry["event"] == "power-cycle-failed")
        .collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert!(ends[0]["reason"].as_str().unwrap().starts_with("timed out after 1s"), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_board_does_not_block_others() {
    let world = World::new().await;
    for (coil, name) in [(1, "b1"), (2, "b2")] {
        world.register(name, unreachable_power(coil)).await;
        world.force(name, "RebootComplete").await;
    }
    // Like a process paused within a transaction.
    let pool = world.database.pool().await;
    let mut forgotten = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM instance WHERE name = 'b1' FOR UPDATE").execute(&mut *forgotten).await.unwrap();
    world.clock.advance(Duration::from_mins(10));
    world.until_state("b2", "RebootRebooting").await;
    assert_eq!(world.state("b1").await, "RebootComplete");
    let (status, answer) = world.report("b1", "image-running").await;
    assert_eq!((status, &answer["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));

    forgotten.rollback().await.unwrap();
    world.until_state("b1", "RebootRebooting").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_takes_too_long_is_answered_503_and_may_have_been_applied() {
    let event_timeout = Duration::from_secs(3);
    let world = World::with_serve_options(|options| ServeOptions { event_timeout, ..options }).await;
    world.register("b1", unreachable_power(0)).await;
    world.force("b1", "RebootComplete").await;
    let pool = world.database.pool().await;
    // The database delays this event for as long as the row exists.
    sqlx::raw_sql(
        "CREATE TABLE gate AS SELECT 1;
         CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             WHILE EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NEW; END $$;
         CREATE TRIGGER wait BEFORE INSERT ON history FOR EACH ROW WHEN (NEW.event = 'image-running')
             EXECUTE FUNCTION wait()",
    )
    .execute(&pool)
    .await
    .unwrap();
    let (status, answer) = await_within_timeout("an answer", world.report("b1", "image-running")).await;
    assert_eq!((status, &answer["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
    assert_eq!(answer["cause"], "silent", "{answer}");
    sqlx::query("DELETE FROM gate").execute(&pool).await.unwrap();
    world.until_state("b1", "Ready").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_queue_limit_are_answered_with_retry_after() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let pool = world.database.pool().await;
    let mut forgotten = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM instance FOR UPDATE").execute(&mut *forgotten).await.unwrap();
    let name = EventName::new("image-running").unwrap();
    let cause = Cause::Event { name, source: lifeguard::boards::BOARD_SOURCE, args: Map::new(), visit: None };
    let board = InstanceKey::Name(MachineName::new("board").unwrap(), "b1".to_owned());
    // As many as the engine queues, plus two batches in progress, plus some more; rejected ones are sent again at once,
    // so that the queue stays full until this is observed.
    let stop = CancellationToken::new();
    let mut senders = JoinSet::new();
    for _ in 0..9000 {
        let (engine, stop) = (world.server.engine.clone(), stop.clone());
        let submission = Submission::new(board.clone(), cause.clone());
        senders.spawn(async move {
            loop {
                match engine.submit(submission.clone()).await {
                    Ok(_) => return true,
                    Err(EngineError::Busy | EngineError::Store(_)) if stop.is_cancelled() => return false,
                    Err(EngineError::Busy | EngineError::Store(_)) => yield_briefly().await,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    let http = reqwest::Client::new();
    let url = format!("http://{}/api/v1/devices/b1/events/image-running", world.server.http);
    wait_until("one is refused because too much waits", async || {
        let answer = http.post(&url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "1");
        // One that is accepted meanwhile times out waiting for the board.
        answer.json::<Value>().await.unwrap()["code"] == "busy"
    })
    .await;

    stop.cancel();
    forgotten.rollback().await.unwrap();
    // Each answered event is in history once.
    let mut done = 0;
    while let Some(is_done) = senders.join_next().await {
        done += i64::from(is_done.unwrap());
    }
    let written = "SELECT sum(coalesce((evidence->>'reports')::bigint, 1))::bigint FROM history
                    WHERE event = 'image-running'";
    assert_eq!(sqlx::query_scalar::<_, i64>(written).fetch_one(&pool).await.unwrap(), done);
    assert!(done > 0);
    assert_eq!(world.report("b1", "image-running").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_waiting_action_is_not_started_and_blocks_no_other() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    let rack = Rack::new(&world, 1);
    world.register("b1", rack.power_facts(0)).await;
    // As left by an interrupted hand-over: of an ended visit, and of a removed board.
    let sql =
        "INSERT INTO action (instance_id, visit, seq, action, settings, place, status, cancelled, asked_at)
               SELECT unowned.id, 1, 1, 'power-cycle', '{}', $1, 'WAITING', true, now()
                 FROM (SELECT instance_id AS id FROM instance UNION ALL SELECT 4711) unowned";
    sqlx::query(sql).bind(rack.resource()).execute(&pool).await.unwrap();
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    world.pass_time_until("b1", "power is back", |device| device["state"] == "RebootComplete").await;
    assert_eq!(
        rack.switched(1),
        [(0, false), (0, true)],
        "cycled for the visit that asked, and for no other"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_cannot_change_anything() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let http = reqwest::Client::new();
    for (method, path) in [
        (Method::POST, "/api/v1/devices/b1/requests/rq-reboot"),
        (Method::GET, "/api/v1/devices/b1/events/image-running"),
        (Method::DELETE, "/api/v1/devices/b1"),
    ] {
        let request = http.request(method, format!("http://{}{path}", world.server.http));
        let answer = request.header("sec-fetch-site", "cross-site").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "other_site");
    }
    assert_eq!(world.history("b1").await.len(), 1, "nothing but its registration");
    let page = http.get(format!("http://{}/", world.server.http)).header("sec-fetch-site", "cross-site");
    assert_eq!(page.send().await.unwrap().status(), StatusCode::OK, "a link to the page may be followed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_may_have_a_boot_link_cannot_be_removed() {
    let world = World::new().await;
    world.register("b1", unreachable_power(0)).await;
    world.image("base").await;
    assert_eq!(world.request("b1", "rq-reimage", json!({ "image": "base" })).await.0, 200);
    let path = "/api/v1/devices/b1";
    let other_mac = json!({ "mac": "02:00:00:00:00:99" });
    for (method, body) in [(Method::DELETE, None), (Method::PATCH, Some(other_mac))] {
        let (status, answer) = world.call(method, path, body).await;
        assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("boot_link")), "{answer}");
    }
    world.force("b1", "RebootRebooting").await;
    assert_eq!(world.call(Method::DELETE, path, None).await.0, StatusCode::NO_CONTENT);
}
