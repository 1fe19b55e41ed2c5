//! Tests of the engine's actions: in order, one per resource, cancelled when their state is left.

use std::time::Duration;

use lifeguard::clock::sleep_real_time;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::rack::Rack;
use crate::world::{World, unreachable_power, wait_until};

/// Lets another process, with a lease of a day, run a power cycle for board `name` that holds the rack's resource.
async fn hold_resource(pool: &PgPool, rack: &Rack, name: &str) -> JoinSet<()> {
    sqlx::query(
        "WITH other AS (INSERT INTO worker (name, lease_until)
                        VALUES ('other', clock_timestamp() + interval '1 day') RETURNING worker_id)
         INSERT INTO action (instance_id, visit, seq, action, settings, place, status, worker_id, asked_at, began_at)
         SELECT i.instance_id, i.visit, 1, 'power-cycle', '{}', $2, 'RUNNING', other.worker_id, i.entered_at,
                i.entered_at
           FROM instance i, other WHERE i.name = $1",
    )
    .bind(name)
    .bind(rack.resource())
    .execute(pool)
    .await
    .unwrap();
    let (pool, mut other) = (pool.clone(), JoinSet::new());
    other.spawn(async move {
        // A lease that is not renewed expires.
        loop {
            let sql =
                "UPDATE worker SET lease_until = clock_timestamp() + interval '1 day' WHERE name = 'other'";
            sqlx::query(sql).execute(&pool).await.unwrap();
            sleep_real_time(Duration::from_millis(200)).await;
        }
    });
    other
}

/// Expires the other process's lease.
async fn release_resource(pool: &PgPool, mut other: JoinSet<()>) {
    other.shutdown().await;
    let sql = "UPDATE worker SET lease_until = clock_timestamp() - interval '1 s' WHERE name = 'other'";
    sqlx::query(sql).execute(pool).await.unwrap();
}

fn actions_ahead(device: &Value) -> Vec<i64> {
    device["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| action["requests_ahead"].as_i64().unwrap())
        .collect()
}

fn events(history: &[Value]) -> Vec<&str> {
    history.iter().map(|entry| entry["event"].as_str().unwrap()).collect()
}

/// Passes the deadline of a board that cannot be switched: the compensation of its last try needs time to end.
async fn pass_deadline(world: &World, name: &str) {
    world.pass_time_until(name, "a deadline is armed", |device| device["deadline"].is_string()).await;
    world.pass_deadline(name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_in_a_queue_loses_none_of_its_time() {
    let world = World::new().await;
    let rack = Rack::new(&world, 3);
    for (name, coil) in [("b0", 0), ("b1", 1), ("b2", 2)] {
        // Off for longer than the time until the queue is checked again.
        world.register(name, json!({ "power_url": format!("{}/{coil}?off=2s", rack.resource()) })).await;
    }
    let pool = world.database.pool().await;
    let other = hold_resource(&pool, &rack, "b0").await;
    for name in ["b1", "b2"] {
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
    }
    // Another board's deadline shows that the timer has run each time.
    world.register("elsewhere", unreachable_power(0)).await;
    world.force("elsewhere", "RebootRebooting").await;
    for _ in 0..30 {
        pass_deadline(&world, "elsewhere").await;
    }
    for (name, before) in [("b1", 1), ("b2", 2)] {
        let device = world.get(&format!("/api/v1/devices/{name}")).await;
        assert_eq!((&device["deadline"], &device["counters"]), (&Value::Null, &json!({})), "{device:#}");
        assert_eq!((actions_ahead(&device), &device["visit"]), (vec![before, before], &json!(2)));
    }
    assert_eq!(rack.switched(3), []);

    release_resource(&pool, other).await;
    // The other process's action is taken over, and finishes first.
    world.pass_time_until("b0", "the resource is free", |device| device["actions"] == json!([])).await;
    for name in ["b1", "b2"] {
        let is_armed = |device: &Value| device["deadline"].is_string();
        let device = world.until(name, "it was granted the resource", is_armed).await;
        assert_eq!(device["state"], "RebootRebooting");
        let history = world.history(name).await;
        let began = history.iter().find(|entry| entry["kind"] == "began").unwrap();
        let at = |value: &Value| value.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        assert_eq!(at(&device["deadline"]) - at(&began["at"]), chrono::TimeDelta::seconds(60));
        let is_back = |device: &Value| device["state"] == "RebootComplete";
        let device = world.pass_time_until(name, "power is back", is_back).await;
        assert_eq!((&device["counters"], &device["visit"]), (&json!({}), &json!(3)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_board_has_one_operation_at_a_time_however_many_boards_are_rebooted_at_once() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    let names: Vec<String> = (0..8).map(|number| format!("b{number}")).collect();
    for (coil, name) in (0..).zip(&names) {
        world.register(name, rack.power_facts(coil)).await;
    }
    let requests = names.iter().map(|name| world.request(name, "rq-reboot", json!({})));
    for (status, answer) in futures_util::future::join_all(requests).await {
        assert_eq!(status, 200, "{answer}");
    }
    for name in &names {
        let is_back = |device: &Value| device["state"] == "RebootComplete";
        let device = world.pass_time_until(name, "power is back", is_back).await;
        assert_eq!(device["counters"], json!({}));
    }
    // The relay board closes a second client's connection at once, and that client reconnects.
    assert_eq!(rack.relay.connections(), 8);
    let switched = rack.switched(8);
    assert_eq!(switched.len(), 16);
    for cycle in switched.chunks(2) {
        assert_eq!((cycle[0].1, cycle[1]), (false, (cycle[0].0, true)), "{switched:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_is_switched_off_only_after_the_boot_link_is_cleared() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    world.register("b1", rack.slow_power_facts(0)).await;
    let link = world.link("b1").await;
    std::os::unix::fs::symlink("../configs/old", &link).unwrap();
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;
    assert!(!link.is_symlink(), "the link is gone before power goes off");
    let history = world.history("b1").await;
    assert_eq!(events(&history), ["created", "rq-reboot", "actions-began", "clear-pxe-ok"]);
    assert_eq!(history[3]["evidence"]["removed"], "old");
    let device = world.get("/api/v1/devices/b1").await;
    assert_eq!(device["actions"].as_array().unwrap().len(), 1);
    assert_eq!(device["actions"][0]["action"], "power-cycle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_after_a_failed_one_are_not_run() {
    let world = World::new().await;
    let rack = Rack::new(&world, 2);
    world.register("b1", rack.power_facts(0)).await;
    // The directory of links is a file: links can be neither found nor removed.
    let links = world.server.boot_root.join("pxelinux.cfg");
    fs_err::remove_dir_all(&links).unwrap();
    fs_err::write(&links, "").unwrap();
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    let idle = |device: &Value| device["actions"] == json!([]);
    let device = world.until("b1", "nothing is left to do", idle).await;
    assert_eq!(device["state"], "RebootRebooting");
    assert!(device["deadline"].is_string(), "the deadline tries again");
    let history = world.history("b1").await;
    assert_eq!(events(&history), ["created", "rq-reboot", "actions-began", "clear-pxe-failed"]);
    assert!(history[3]["reason"].as_str().unwrap().contains("not a directory"), "{}", history[3]);

    // The resource is free, although the action that was to hold it never ran.
    world.register("b2", rack.power_facts(1)).await;
    fs_err::remove_file(&links).unwrap();
    fs_err::create_dir(&links).unwrap();
    assert_eq!(world.request("b2", "rq-reboot", json!({})).await.0, 200);
    world.pass_time_until("b2", "power is back", |device| device["state"] == "RebootComplete").await;
    assert_eq!(rack.switched(2), [(1, false), (1, true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_a_state_while_the_power_is_off_restores_it_and_the_late_end_changes_nothing() {
    let world = World::new().await;
    let rack = Rack::new(&world, 2);
    world.register("b1", rack.slow_power_facts(0)).await;
    world.register("b2", rack.slow_power_facts(1)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;
    assert_eq!(world.request("b2", "rq-reboot", json!({})).await.0, 200);
    assert_eq!(actions_ahead(&world.get("/api/v1/devices/b2").await), [1, 1]);

    // Waiting actions are removed without an entry.
    world.force("b2", "New").await;
    assert_eq!(world.get("/api/v1/devices/b2").await["actions"], json!([]));
    world.force("b1", "New").await;
    rack.until(0, true).await;
    let device = world.until("b1", "nothing is left", |device| device["actions"] == json!([])).await;
    assert_eq!((&device["state"], &device["visit"]), (&json!("New"), &json!(3)));
    assert_eq!((&device["counters"], &device["deadline"]), (&json!({}), &Value::Null));
    assert_eq!(rack.switched(2), [(0, false), (0, true)]);

    // The result of the cancelled cycle is recorded.
    let history = world.history("b1").await;
    let last = history.last().unwrap();
    assert_eq!((&last["event"], &last["outcome"]), (&json!("power-cycle-failed"), &json!("ignored")));
    assert_eq!(last["evidence"]["observed"], "on");
    assert!(last["reason"].as_str().unwrap().contains("stale"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_is_held_until_the_cancelled_cycle_has_ended() {
    let world = World::new().await;
    let rack = Rack::new(&world, 2);
    world.register("b1", rack.slow_power_facts(0)).await;
    world.register("b2", rack.power_facts(1)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;
    // From here on the relay board does not answer: restoring the power takes until the calls time out.
    rack.relay.set_behaviour(lifeguard::farm::relay::RelayBehaviour::Hanging);
    world.force("b1", "New").await;
    assert_eq!(world.request("b2", "rq-reboot", json!({})).await.0, 200);
    let device = world.get("/api/v1/devices/b1").await;
    assert_eq!((&device["state"], &device["actions"][0]["cancelled"]), (&json!("New"), &json!(true)));
    let waiting = world.get("/api/v1/devices/b2").await;
    assert_eq!((actions_ahead(&waiting), &waiting["deadline"]), (vec![1, 1], &Value::Null));
    rack.relay.set_behaviour(lifeguard::farm::relay::RelayBehaviour::Normal);
    world
        .pass_time_until("b2", "it was granted the resource", |device| device["state"] == "RebootComplete")
        .await;
    assert!(rack.is_on(0) && rack.is_on(1));
    let switched = rack.switched(2);
    assert_eq!(switched, [(0, false), (0, true), (1, false), (1, true)], "never two boards in between");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_whose_start_was_committed_but_lost_is_started_again() {
    let world = World::new().await;
    let rack = Rack::new(&world, 2);
    world.register("b1", rack.power_facts(0)).await;
    world.register("b2", rack.power_facts(1)).await;
    // As after a connection that breaks during COMMIT: the row says that this process runs it.
    let pool = world.database.pool().await;
    wait_until("the server is a worker", async || {
        let workers = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM worker");
        workers.fetch_one(&pool).await.unwrap() == 1
    })
    .await;
    sqlx::query(
        "INSERT INTO action (instance_id, visit, seq, action, settings, place, status, worker_id, asked_at, began_at)
         SELECT i.instance_id, i.visit, 1, 'power-cycle', '{}', $1, 'RUNNING', w.worker_id, i.entered_at, i.entered_at
           FROM instance i, worker w WHERE i.name = 'b1'",
    )
    .bind(rack.resource())
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(world.request("b2", "rq-reboot", json!({})).await.0, 200);
    world
        .pass_time_until("b2", "it was granted the resource", |device| device["state"] == "RebootComplete")
        .await;
    assert_eq!(rack.switched(2), [(0, false), (0, true), (1, false), (1, true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_actions_of_a_removed_board_end_and_its_resource_is_free() {
    let world = World::new().await;
    let rack = Rack::new(&world, 2);
    world.register("b1", rack.slow_power_facts(0)).await;
    world.register("b2", rack.power_facts(1)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;
    let removed = world.call(reqwest::Method::DELETE, "/api/v1/devices/b1", None).await;
    assert_eq!(removed.0, StatusCode::NO_CONTENT);
    assert_eq!(world.request("b2", "rq-reboot", json!({})).await.0, 200);
    world
        .pass_time_until("b2", "it was granted the resource", |device| device["state"] == "RebootComplete")
        .await;
    assert!(rack.is_on(0), "the board that was removed has its power");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farm_at_rest_writes_nothing() {
    let world = World::new().await;
    for number in 0..20 {
        world.register(&format!("b{number}"), json!({})).await;
    }
    let pool = world.database.pool().await;
    // Every write gives a row a new version, even one that changes nothing.
    let versions = "WITH resting AS (SELECT instance_id, xmin FROM instance WHERE name <> 'witness')
                    SELECT concat_ws(' ',
                        (SELECT count(*) || ':' || sum(xmin::text::bigint) FROM resting),
                        (SELECT count(*) || ':' || max(history_id) FROM history JOIN resting USING (instance_id)),
                        (SELECT count(*) || ':' || sum(device.xmin::text::bigint)
                           FROM device JOIN resting USING (instance_id)),
                        (SELECT count(*) FROM action JOIN resting USING (instance_id)))";
    let before = sqlx::query_scalar::<_, String>(versions).fetch_one(&pool).await.unwrap();
    // Its deadline, repeated for an hour, shows that the timer has run each time.
    world.register("witness", unreachable_power(0)).await;
    world.force("witness", "RebootRebooting").await;
    for _ in 0..60 {
        pass_deadline(&world, "witness").await;
    }
    let after = sqlx::query_scalar::<_, String>(versions).fetch_one(&pool).await.unwrap();
    assert_eq!(after, before);
    // A write is detected.
    world.force("b0", "RebootComplete").await;
    world.pass_deadline("b0").await;
    let after = sqlx::query_scalar::<_, String>(versions).fetch_one(&pool).await.unwrap();
    assert_ne!(after, before);
}
