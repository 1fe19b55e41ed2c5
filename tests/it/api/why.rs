use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use insta::assert_snapshot;
use lifeguard::tftp::client::{TransferOptions, fetch};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;

use super::{pretty_json, send};
use crate::rack::Rack;
use crate::versions::{changed, load};
use crate::world::{World, unreachable_power, wait_until};

async fn why(world: &World, name: &str) -> Value {
    world.get(&format!("/api/v1/devices/{name}/why")).await
}

/// The explanation of a board, without parts that depend on the test's machine.
async fn explanation(world: &World, rack: &Rack, name: &str) -> String {
    let why = why(world, name).await;
    let sentences = why["sentences"].as_array().unwrap().iter().map(|sentence| sentence.as_str().unwrap());
    let explanation = sentences.collect::<Vec<_>>().join("\n").replace(&rack.resource(), "modbus://relay");
    format!("{name}, {}, {}\n{explanation}", why["state"].as_str().unwrap(), why["kind"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_at_one_relay_board_show_which_is_cycled_and_which_are_queued() {
    let world = World::new().await;
    let rack = Rack::new(&world, 3);
    for (coil, name) in (0..3).zip(["b1", "b2", "b3"]) {
        world.register(name, rack.slow_power_facts(coil)).await;
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
        if name == "b1" {
            world
                .until(name, "only power is to be cycled", |device| {
                    device["actions"][0]["action"] == "power-cycle"
                })
                .await;
            world.clock.advance(Duration::from_secs(5));
        }
    }
    world.clock.advance(Duration::from_secs(7));
    let explanations = [
        explanation(&world, &rack, "b1").await,
        explanation(&world, &rack, "b2").await,
        explanation(&world, &rack, "b3").await,
    ];
    assert_snapshot!(explanations.join("\n\n"), @"
    b1, RebootRebooting, working
    Runs power-cycle at modbus://relay since 12:00:00 UTC (12 s); it waits for power-cycle-ok or power-cycle-failed from its action; at 12:01:00 UTC (in 48 s) it tries RebootRebooting again (try 1 of 200, 199 left after it), in the end to FailedRebootRebooting.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.
    It came from New at 12:00:00 UTC, when an operator (127.0.0.1) asked for rq-reboot.
    No dwell statistics yet: no samples since 2026-01-01.
    Last evidence, at 12:00:00 UTC (12 s ago): clear-pxe-ok came (link pxelinux.cfg/01-02-00-00-00-0c-0f).
    Power: unknown: no observation in its history.

    b2, RebootRebooting, working
    Waits since 12:00:05 UTC (7 s) for resource modbus://relay, 1 request ahead (b1 holds it now), to run clear-pxe and power-cycle; it waits for power-cycle-ok or power-cycle-failed from its actions; its timeout of 1m has not started; when it passes, it tries RebootRebooting again (try 1 of 200, 199 left after it), in the end to FailedRebootRebooting.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.
    It came from New at 12:00:05 UTC, when an operator (127.0.0.1) asked for rq-reboot.
    No dwell statistics yet: no samples since 2026-01-01.
    Power: unknown: no observation in its history.

    b3, RebootRebooting, working
    Waits since 12:00:05 UTC (7 s) for resource modbus://relay, 2 requests ahead (b1 holds it now), to run clear-pxe and power-cycle; it waits for power-cycle-ok or power-cycle-failed from its actions; its timeout of 1m has not started; when it passes, it tries RebootRebooting again (try 1 of 200, 199 left after it), in the end to FailedRebootRebooting.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.
    It came from New at 12:00:05 UTC, when an operator (127.0.0.1) asked for rq-reboot.
    No dwell statistics yet: no samples since 2026-01-01.
    Power: unknown: no observation in its history.
    ");
    let last = why(&world, "b3").await;
    assert_snapshot!(pretty_json(&last["actions"][0]).replace(&rack.resource(), "modbus://relay"), @r#"
    {
      "action": "clear-pxe",
      "asked_at": "2026-01-01T12:00:05Z",
      "attempts": 0,
      "cancelled": false,
      "holder": "b1",
      "is_compensation": false,
      "is_leftover": false,
      "requests_ahead": 2,
      "resource": "modbus://relay",
      "started_at": null,
      "status": "WAITING"
    }
    "#);
    assert_eq!((&last["deadline"], &last["since"]), (&Value::Null, &json!("2026-01-01T12:00:05Z")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_waiting_for_its_image_shows_its_deadline_and_remaining_tries() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    let mut more = rack.power_facts(0);
    more["mac"] = json!("02:00:00:00:00:07");
    world.register("b1", more).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    for _ in 0..3 {
        world.pass_time_until("b1", "power is back", |device| device["state"] == "RebootComplete").await;
        world.pass_deadline("b1").await;
    }
    world.pass_time_until("b1", "power is back", |device| device["state"] == "RebootComplete").await;
    world.clock.advance(Duration::from_secs(12));
    let link = "pxelinux.cfg/01-02-00-00-00-00-07";
    fetch(world.server.tftp.unwrap(), [127, 0, 7, 1].into(), link, &TransferOptions::default())
        .await
        .unwrap_err();
    wait_until("the end of the fetch is written", async || {
        let history = world.history("b1").await;
        history
            .iter()
            .any(|entry| entry["event"] == "fetched" && entry["reason"] == "its boot config: no such file")
    })
    .await;
    let why = why(&world, "b1").await;
    let at = |key: &str| why[key].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!(at("deadline") - at("since"), TimeDelta::minutes(10));
    assert_eq!(
        why["on_deadline"],
        json!({
            "to": "RebootRebooting", "retries": 3, "max_retries": 10, "retries_left": 7,
            "exceeded_to": "FailedRebootComplete", "time_limit": "10m after entry",
        })
    );
    let sentences: Vec<&str> =
        why["sentences"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let has = |parts: &[&str]| {
        let is_said = sentences.iter().any(|sentence| parts.iter().all(|part| sentence.contains(part)));
        assert!(is_said, "{parts:?} in {sentences:#?}");
    };
    has(&[
        "Waits since",
        "for image-running from the board",
        "(try 4 of 10, 6 left after it), in the end to FailedRebootComplete",
    ]);
    has(&["It came from RebootRebooting", "when power-cycle-ok came"]);
    // Its three visits so far took the whole time limit each.
    has(&["Dwell time: 10 min (median), 95 % within 10 min; from 3 samples"]);
    has(&["Last evidence", "(0 s ago): its boot config: no such file"]);
    has(&["it asked for its boot config 12 s after power-on"]);
    assert_eq!(why["dwell_time"]["samples"], 3);
    assert_eq!(why["evidence"]["observed"]["requests"][0]["file"], link);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resting_and_failed_boards_show_the_available_requests() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    world.image("self-test").await;
    world.register("new", unreachable_power(0)).await;
    world.register("bad", unreachable_power(1)).await;
    world.force("bad", "ReimageBooted").await;
    world.report_with("bad", "image-failed", json!({ "fault": "board", "reason": "no card" })).await;
    // Its polls are answered, or at most two in a row are not, which does not count as silent yet.
    let answers = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let poll_url = format!("tcp://{}", answers.local_addr().unwrap());
    world.register("well", json!({ "poll_url": poll_url })).await;
    world.force("well", "RebootComplete").await;
    world.report("well", "image-running").await;
    world.register("unwired", json!({})).await;
    world.force("unwired", "RebootRebooting").await;
    world.until("unwired", "its actions are over", |device| device["actions"] == json!([])).await;
    let mut explanations = Vec::new();
    for name in ["new", "bad", "unwired"] {
        explanations.push(explanation(&world, &rack, name).await);
    }
    assert_snapshot!(explanations.join("\n\n"), @"
    new, New, resting
    Rests since 12:00:00 UTC (0 s): nobody has asked for anything yet; nothing is under way; an operator may ask for rq-lock-out, rq-reboot, rq-reimage or rq-self-test, or move it by force.
    Refused now: rq-maintenance (the maintenance image has no boot config for this board's hardware).
    It was registered at 12:00:00 UTC (127.0.0.1).
    Dwell time: 0 s (median), 95 % within 0 s; from 3 samples since 2026-01-01.
    Power: unknown: no observation in its history.

    bad, FailedBadBoard, failed
    Needs an operator since 12:00:00 UTC (0 s): the board says that it is broken itself: look at the failure, then at the board; failure: no card; nothing is under way; an operator may ask for rq-cancel, rq-lock-out, rq-reboot, rq-reimage or rq-self-test, or move it by force.
    Refused now: rq-maintenance (the maintenance image has no boot config for this board's hardware).
    It came from ReimageBooted at 12:00:00 UTC, when it reported image-failed: no card.
    No dwell statistics yet: no samples since 2026-01-01.
    Last evidence, at 12:00:00 UTC (0 s ago): it reported image-failed: no card.
    Power: on, at 12:00:00 UTC (0 s ago): the board reported image-failed.

    unwired, FailedRebootRebooting, failed
    Needs an operator since 12:00:00 UTC (0 s): power could not be cycled: look at the failure, the relay board and the network; failure: board unwired has no power URL, so its power cannot be switched; nothing is under way; an operator may ask for rq-cancel or rq-lock-out, or move it by force.
    Refused now: rq-maintenance (the board has no power URL, so its power cannot be cycled), rq-reboot (the board has no power URL, so its power cannot be cycled), rq-reimage (the board has no power URL, so its power cannot be cycled), rq-self-test (the board has no power URL, so its power cannot be cycled).
    It came from RebootRebooting at 12:00:00 UTC, when power-cycle-failed came: board unwired has no power URL, so its power cannot be switched.
    No dwell statistics yet: no samples since 2026-01-01.
    Last evidence, at 12:00:00 UTC (0 s ago): power-cycle-failed came: board unwired has no power URL, so its power cannot be switched.
    ");
    let requests = why(&world, "new").await["requests"].clone();
    let lines: Vec<String> = requests.as_array().unwrap().iter().map(Value::to_string).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","refusal_reason":null,"required_args":["reason"],"targets":["LockedOut"]}
    {"about":"boot the maintenance image and leave the board to a person","event":"rq-maintenance","refusal_reason":"the maintenance image has no boot config for this board's hardware","required_args":[],"targets":["MaintenanceRebooting"]}
    {"about":"power-cycle the board and wait for its image","event":"rq-reboot","refusal_reason":null,"required_args":[],"targets":["RebootRebooting"]}
    {"about":"install an image; boot_config, an object, may come with it","event":"rq-reimage","refusal_reason":null,"required_args":["image"],"targets":["ReimageRebooting"]}
    {"about":"boot the self-test image and wait for its verdict","event":"rq-self-test","refusal_reason":null,"required_args":[],"targets":["SelfTestRebooting"]}
    "#);

    // Ready is re-entered every five minutes, which is one stay in the statistics.
    for _ in 0..2 {
        world.pass_deadline("well").await;
    }
    let well = why(&world, "well").await;
    assert_eq!((&well["kind"], &well["since"]), (&json!("resting"), &json!("2026-01-01T12:00:00Z")));
    // Its actions continue, so the re-entries are not in its history.
    assert_eq!(well["entered_at"], well["since"]);
    let first = well["sentences"][0].as_str().unwrap();
    assert!(first.starts_with("Rests since 12:00:00 UTC (10 min): the board's image runs"), "{first}");
    assert!(first.contains("poll-failed would lead to RebootRebooting"), "{first}");

    // Another try of a working state is.
    world.force("bad", "RebootRebooting").await;
    world.pass_deadline("bad").await;
    let bad = why(&world, "bad").await;
    let at = |key: &str| bad[key].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!((&bad["state"], &bad["visit"]), (&json!("RebootRebooting"), &json!(5)));
    assert_eq!(at("entered_at") - at("since"), TimeDelta::minutes(1));
    let first = bad["sentences"][0].as_str().unwrap();
    assert!(first.contains("(1 min; this try since 12:11:00 UTC)"), "{first}");

    // Entries older than the retention are removed.
    let pool = world.database.pool().await;
    sqlx::query("DELETE FROM history").execute(&pool).await.unwrap();
    let why = why(&world, "new").await;
    assert_eq!((&why["since"], &why["evidence"]), (&why["entered_at"], &Value::Null));
    assert!(why["sentences"].to_string().contains("is no longer in history"), "{why}");

    let answer = send(&world, "GET /api/v1/devices/none/why", "").await;
    assert_eq!(answer.status_and_body(), "404 no_device: there is no board \"none\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_whose_definition_was_replaced_shows_it() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    world.force("b1", "RebootComplete").await;
    assert_eq!(why(&world, "b1").await["definition"], 1);
    world.clock.advance(Duration::from_mins(1));
    let longer = changed(&[("after: 600s, target: RebootRebooting", "after: 900s, target: RebootRebooting")]);
    assert_eq!(load(&world, &longer, "").await.0, 200);
    let why = why(&world, "b1").await;
    assert_eq!((&why["definition"], &why["entered_under"]), (&json!(2), &json!(1)));
    assert_eq!(why["deadline"], "2026-01-01T12:15:00Z");
    let last = why["sentences"].as_array().unwrap().last().unwrap();
    assert_eq!(
        last,
        "The definition has changed: the state was entered under definition 1, and 2 is active since 12:01:00 UTC."
    );
}

/// Inserts a move of `instance`, `seconds` after 2025-12-31 12:00.
async fn moved(pool: &PgPool, instance: i64, visit: i64, seconds: i64, from: &str, to: Option<&str>) {
    let at: DateTime<Utc> = "2025-12-31T12:00:00Z".parse().unwrap();
    sqlx::query(
        "INSERT INTO history (at, instance_id, visit, kind, from_state, to_state, event, source)
         VALUES ($1, $2, $3, 'event', $4, $5, 'x', 'operator')",
    )
    .bind(at + TimeDelta::seconds(seconds))
    .bind(instance)
    .bind(visit)
    .bind(from)
    .bind(to)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typical_times_come_from_completed_dwell_times() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    sqlx::query("SELECT history_partition('2025-12-31')").execute(&pool).await.unwrap();
    // Twenty dwell times in RebootComplete: 10 s, 20 s, … 200 s, the longest with a re-entry in the middle; and one in
    // Ready before each, of 100 s, re-entered a thousand times by its own deadline.
    let mut at = 0;
    for number in 1..=20 {
        moved(&pool, 1, number * 9, at, "RebootComplete", Some("Ready")).await;
        at += 100;
        moved(&pool, 1, number * 9 + 1, at, "Ready", Some("RebootComplete")).await;
        if number == 20 {
            moved(&pool, 1, number * 9 + 2, at + 50, "RebootComplete", None).await;
        }
        at += 10 * number;
    }
    moved(&pool, 1, 1000, at, "RebootComplete", Some("Ready")).await;
    sqlx::query(
        "INSERT INTO history (at, kind, from_state, instances, visits) VALUES ($1, 'kept', 'Ready', $2, $3)",
    )
    .bind("2025-12-31T12:00:50Z".parse::<DateTime<Utc>>().unwrap())
    .bind(vec![1_i64; 1000])
    .bind((0..1000).collect::<Vec<i64>>())
    .execute(&pool)
    .await
    .unwrap();
    // Removed instances and other machines are not included.
    moved(&pool, 99, 1, 0, "Ready", Some("RebootComplete")).await;
    moved(&pool, 99, 2, 9999, "RebootComplete", Some("Ready")).await;

    for name in ["b1", "b2", "b3"] {
        world.register(name, json!({})).await;
        world.force(name, "RebootComplete").await;
    }
    let first = why(&world, "b1").await["dwell_time"].clone();
    let expected = json!({
        "p50_s": 105.0, "p95_s": 190.5, "samples": 20, "since": "2025-12-31T00:00:00Z", "sampled_one_in": 1,
    });
    assert_eq!(first, expected);
    // The statistics are cached for a while.
    moved(&pool, 2, 9, 0, "Ready", Some("RebootComplete")).await;
    moved(&pool, 2, 10, 99, "RebootComplete", Some("Ready")).await;
    assert_eq!(why(&world, "b2").await["dwell_time"], expected);
    world.force("b3", "LockedOut").await;
    let none = why(&world, "b3").await;
    assert_eq!(none["dwell_time"], Value::Null);
    let explanation = none["sentences"].to_string();
    assert!(explanation.contains("No dwell statistics yet: no samples since 2025-12-31"), "{explanation}");
}
