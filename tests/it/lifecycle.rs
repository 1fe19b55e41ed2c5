//! Tests of the board lifecycle through a whole server: rest, reboot, time limits, polls.

use std::time::Duration;

use lifeguard::store::Store;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::rack::Rack;
use crate::replay::assert_history_gives_instances;
use crate::world::{World, await_within_timeout, unreachable_power};

/// A listener that answers polls, and the board's settings for it.
async fn answering() -> (TcpListener, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, json!({ "poll_url": url }))
}

/// Waits for a poll and its answer: time that passes before would count as a board that does not answer.
async fn poll_ends(listener: &TcpListener) {
    let poll = async { listener.accept().await.unwrap().0.read(&mut [0]).await.unwrap() };
    assert_eq!(await_within_timeout("a poll", poll).await, 0);
}

fn both(one: &Value, other: &Value) -> Value {
    let mut both = one.as_object().unwrap().clone();
    both.extend(other.as_object().unwrap().clone());
    both.into()
}

/// Sets counters as if the time limits had passed before.
async fn set_counters(world: &World, name: &str, counters: Value) {
    let pool = world.database.pool().await;
    sqlx::query("UPDATE instance SET counters = $2 WHERE name = $1")
        .bind(name)
        .bind(counters)
        .execute(&pool)
        .await
        .unwrap();
}

fn is_armed(device: &Value) -> bool {
    device["deadline"].is_string()
}

/// Seconds from the last entry of `kind` in its history to the board's deadline.
async fn seconds_after(world: &World, name: &str, kind: &str) -> i64 {
    let device = world.get(&format!("/api/v1/devices/{name}")).await;
    let at = |value: &Value| value.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let deadline = at(&device["deadline"]);
    let history = world.history(name).await;
    let last = history.iter().rev().find(|entry| entry["kind"] == kind).unwrap();
    (deadline - at(&last["at"])).num_seconds()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_whose_power_cannot_be_cycled_fails_after_the_two_hundred_and_first_minute() {
    let world = World::new().await;
    world.register("b1", unreachable_power(0)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    world.pass_time_until("b1", "time runs", is_armed).await;
    assert_eq!(seconds_after(&world, "b1", "began").await, 60);
    world.pass_deadline("b1").await;
    // The compensation of the last try needs time to end.
    let second = world.pass_time_until("b1", "time runs again", is_armed).await;
    assert_eq!(second["state"], "RebootRebooting");
    assert_eq!(second["counters"], json!({ "RebootRebooting": 1 }));

    set_counters(&world, "b1", json!({ "RebootRebooting": 199 })).await;
    world.pass_deadline("b1").await;
    let again = world.until_state("b1", "RebootRebooting").await;
    assert_eq!(again["counters"], json!({ "RebootRebooting": 200 }), "the two hundredth is within the limit");
    world.pass_time_until("b1", "time runs for the last time", is_armed).await;
    world.pass_deadline("b1").await;
    let failed = world.until_state("b1", "FailedRebootRebooting").await;
    assert_eq!(failed["counters"], json!({ "RebootRebooting": 201 }));
    assert_eq!(failed["deadline"], Value::Null);
    // If a busy machine lost its lease during a try, the power remains unrestored while the relay board is unreachable.
    let is_over = |device: &Value| {
        device["actions"].as_array().unwrap().iter().all(|action| action["action"] == "power-on")
    };
    world.pass_time_until("b1", "no cycle is running", is_over).await;

    // Earlier failures do not count against the next request.
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    assert_eq!(world.until_state("b1", "RebootRebooting").await["counters"], json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_whose_image_never_reports_is_rebooted_ten_times_and_then_fails() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    world.register("b1", rack.power_facts(0)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    for reboot in 0..=10 {
        let is_booting = |device: &Value| device["state"] == "RebootComplete";
        let device = world.pass_time_until("b1", "power is back", is_booting).await;
        let counters = if reboot == 0 { json!({}) } else { json!({ "RebootComplete": reboot }) };
        assert_eq!(device["counters"], counters);
        assert_eq!(seconds_after(&world, "b1", "event").await, 600);
        world.pass_deadline("b1").await;
    }
    let failed = world.until_state("b1", "FailedRebootComplete").await;
    assert_eq!(failed["counters"], json!({ "RebootComplete": 11 }));
    assert_eq!(rack.switched(1), [(0, false), (0, true)].repeat(11), "eleven reboots");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reboot_ends_in_ready_which_is_re_entered_every_five_minutes_with_reset_counters() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    let (_listener, polled) = answering().await;
    world.register("b1", both(&rack.power_facts(0), &polled)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    world.pass_time_until("b1", "power is back", |device| device["state"] == "RebootComplete").await;
    set_counters(&world, "b1", json!({ "RebootComplete": 3, "RebootRebooting": 7 })).await;
    assert_eq!(world.report("b1", "image-running").await.1["to"], "Ready");

    let ready = world.until("b1", "it is polled", is_armed).await;
    assert_eq!(ready["counters"], json!({}));
    let until_again = seconds_after(&world, "b1", "began").await;
    assert!((299..=300).contains(&until_again), "at the nearest full second: {until_again}");
    let poll = &ready["actions"][0];
    assert_eq!((&poll["action"], &poll["status"]), (&json!("poll"), &json!("RUNNING")));

    set_counters(&world, "b1", json!({ "RebootComplete": 3 })).await;
    world.pass_deadline("b1").await;
    let again = world.get("/api/v1/devices/b1").await;
    assert_eq!((&again["state"], &again["counters"]), (&json!("Ready"), &json!({})));
    assert_eq!(again["visit"], ready["visit"].as_i64().unwrap() + 1);
    // The poll and the deadline continue without an entry in history.
    assert_eq!((&again["actions"], is_armed(&again)), (&ready["actions"], true));
    assert_eq!(world.history("b1").await.last().unwrap()["kind"], "began");
    world.pass_deadline("b1").await;
    let history = world.history("b1").await;
    assert_eq!(history.last().unwrap()["kind"], "began");
    assert_history_gives_instances(&Store::open(world.database.connect_options()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ready_board_that_falls_silent_is_rebooted() {
    let world = World::new().await;
    let (listener, polled) = answering().await;
    world.register("b1", polled).await;
    world.force("b1", "Ready").await;
    world.until("b1", "it is polled", is_armed).await;
    // It is polled, answers, and is polled again.
    poll_ends(&listener).await;
    world.clock.advance(Duration::from_secs(30));
    poll_ends(&listener).await;
    drop(listener);
    let is_rebooted = |device: &Value| {
        world.clock.advance(Duration::from_millis(500));
        // Without a power URL it fails there at once.
        device["state"] != "Ready"
    };
    world.until("b1", "rebooted", is_rebooted).await;
    let history = world.history("b1").await;
    let failed = history.iter().find(|entry| entry["event"] == "poll-failed").unwrap();
    assert_eq!((&failed["from"], &failed["to"]), (&json!("Ready"), &json!("RebootRebooting")));
    assert!(failed["reason"].as_str().unwrap().contains("3 times in a row"), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_continued_poll_belongs_to_the_current_visit_and_ends_with_its_state() {
    let world = World::new().await;
    let mut listeners = Vec::new();
    for name in ["silent", "forced", "locked"] {
        let (listener, polled) = answering().await;
        world.register(name, polled).await;
        world.force(name, "Ready").await;
        world.until(name, "it is polled", is_armed).await;
        listeners.push(listener);
    }
    // Each was entered at the same moment, so one step of the clock starts a new visit of all.
    for visit in [3, 4] {
        world.clock.advance(Duration::from_mins(5));
        for name in ["silent", "forced", "locked"] {
            world.until(name, "a new visit", |device| device["visit"] == visit).await;
        }
    }
    world.force("forced", "New").await;
    assert_eq!(world.request("locked", "rq-lock-out", json!({ "reason": "r" })).await.0, 200);
    drop(listeners.remove(0));
    let is_rebooted = |device: &Value| {
        world.clock.advance(Duration::from_secs(1));
        // Without a power URL it fails there at once.
        device["state"] != "Ready"
    };
    world.until("silent", "rebooted", is_rebooted).await;
    let failed =
        world.history("silent").await.into_iter().find(|entry| entry["event"] == "poll-failed").unwrap();
    assert_eq!((&failed["outcome"], &failed["visit"]), (&json!("moved"), &json!(5)), "{failed}");
    for name in ["forced", "locked"] {
        world.until(name, "no poll any more", |device| device["actions"] == json!([])).await;
    }
    assert_history_gives_instances(&Store::open(world.database.connect_options()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_poll_is_started_again_with_the_next_visit() {
    let world = World::new().await;
    let (listener, polled) = answering().await;
    world.register("b1", polled).await;
    world.force("b1", "Ready").await;
    world.until("b1", "it is polled", is_armed).await;
    poll_ends(&listener).await;
    // One poll lasts a day; the deadline fires earlier, and the running poll continues.
    world.clock.advance(Duration::from_mins(24 * 60 - 4));
    world.until("b1", "the deadline has passed", |device| device["visit"] == 3).await;
    poll_ends(&listener).await;
    // The poll ends in its last minutes, before the next deadline.
    world.clock.advance(Duration::from_mins(3));
    let ended = world.until("b1", "the poll has ended", |device| device["actions"] == json!([])).await;
    assert!(is_armed(&ended) && ended["state"] == "Ready", "{ended}");
    world.pass_deadline("b1").await;
    let again =
        world.until("b1", "it is polled again", |device| device["actions"][0]["status"] == "RUNNING").await;
    poll_ends(&listener).await;
    // The deadline ran from entry already: the start of the poll changes nothing.
    assert_eq!(again["deadline"], world.get("/api/v1/devices/b1").await["deadline"]);
    let kinds: Vec<Value> = world.history("b1").await.iter().map(|entry| entry["event"].clone()).collect();
    assert_eq!(kinds, ["created", "forced", "actions-began", "poll-ok"]);
    assert_history_gives_instances(&Store::open(world.database.connect_options()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_stops_whenever_ready_is_left() {
    let world = World::new().await;
    let mut listeners = Vec::new();
    for (coil, name) in (0..).zip(["forced", "asked", "locked", "removed"]) {
        let (listener, polled) = answering().await;
        world.register(name, both(&polled, &unreachable_power(coil))).await;
        world.force(name, "Ready").await;
        poll_ends(&listener).await;
        listeners.push(listener);
    }
    world.force("forced", "New").await;
    assert_eq!(world.request("asked", "rq-reboot", json!({})).await.0, 200);
    assert_eq!(world.request("locked", "rq-lock-out", json!({ "reason": "r" })).await.0, 200);
    let removed = world.call(reqwest::Method::DELETE, "/api/v1/devices/removed", None).await;
    assert_eq!(removed.0, 204);
    let pool = world.database.pool().await;
    let polls = "SELECT count(*) FROM action WHERE action = 'poll'";
    crate::world::wait_until("polls are gone", async || {
        sqlx::query_scalar::<_, i64>(polls).fetch_one(&pool).await.unwrap() == 0
    })
    .await;
    world.clock.advance(Duration::from_hours(1));
    // A poll would happen now: another board's poll shows it.
    let (listener, polled) = answering().await;
    world.register("other", polled).await;
    world.force("other", "Ready").await;
    poll_ends(&listener).await;
    for listener in listeners {
        let listener = listener.into_std().unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_and_failed_boards_rest_without_a_deadline_and_accept_operators_requests() {
    let world = World::new().await;
    world.image("linux").await;
    let failed: Vec<String> = include_str!("../../states/board.yaml")
        .lines()
        .filter_map(|line| {
            line.strip_prefix("  Failed")?.split_once(':').map(|(name, _)| format!("Failed{name}"))
        })
        .collect();
    assert!(failed.len() > 10, "{failed:?}");
    world.register("b1", unreachable_power(0)).await;
    for state in failed.iter().map(String::as_str).chain(["New"]) {
        for (request, to) in [("rq-reboot", "RebootRebooting"), ("rq-reimage", "ReimageRebooting")] {
            world.force("b1", state).await;
            let device = world.get("/api/v1/devices/b1").await;
            assert_eq!(device["deadline"], Value::Null, "{state}");
            for event in ["image-running", "live-running", "image-installed", "maintenance-running"] {
                assert_eq!(world.report("b1", event).await.1["outcome"], "ignored", "{event} in {state}");
            }
            let (status, answer) = world.request("b1", request, json!({ "image": "linux" })).await;
            assert_eq!((status.as_u16(), &answer["to"]), (200, &json!(to)), "{request} in {state}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_fires_on_time_and_not_a_microsecond_before() {
    let world = World::new().await;
    world.register("early", unreachable_power(0)).await;
    world.register("late", unreachable_power(1)).await;
    world.force("early", "RebootComplete").await;
    world.clock.advance(Duration::from_micros(1));
    world.force("late", "RebootComplete").await;
    let visit = world.get("/api/v1/devices/late").await["visit"].clone();

    // One microsecond before the later deadline: all due ones fire, which the earlier one shows.
    world.clock.advance(Duration::from_mins(10) - Duration::from_micros(1));
    world.until_state("early", "RebootRebooting").await;
    let late = world.get("/api/v1/devices/late").await;
    assert_eq!((&late["state"], &late["visit"]), (&json!("RebootComplete"), &visit));
    world.clock.advance(Duration::from_micros(1));
    let fired = world.until_state("late", "RebootRebooting").await;
    assert_eq!(fired["since"], late["deadline"], "fired at its time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_deadline_armed_later_wakes_the_timer() {
    // Ten seconds are less than the timer's longest sleep, and end only if it is woken.
    let text = include_str!("../../states/board.yaml");
    let world = World::with_definition(
        &text.replace("{ after: 60s, target: ReimageRebooting,", "{ after: 10s, target: ReimageRebooting,"),
    )
    .await;
    world.register("long", json!({})).await;
    world.register("short", json!({})).await;
    world.force("long", "RebootComplete").await;
    world.force("short", "ReimageBooted").await;
    world.clock.advance(Duration::from_secs(10));
    world.until("short", "its time is over", |device| device["state"] != "ReimageBooted").await;
    assert_eq!(world.state("long").await, "RebootComplete");
}
