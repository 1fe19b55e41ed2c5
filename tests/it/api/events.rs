use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::json;
use tokio::net::TcpListener;

use super::{contract, dump_tables, send};
use crate::replay::assert_history_gives_instances;
use crate::world::{World, wait_until};

/// A board in Ready that is known to run: nothing happens to it by itself.
async fn ready(world: &World, name: &str) -> TcpListener {
    let up = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let poll_url = format!("tcp://{}", up.local_addr().unwrap());
    world.register(name, json!({ "poll_url": poll_url })).await;
    world.force(name, "RebootComplete").await;
    let answer = send(world, &format!("POST /api/v1/devices/{name}/events/image-running"), "").await;
    assert_eq!((answer.status, &answer.json()["to"]), (200, &json!("Ready")));
    world.until(name, "it is polled", |device| device["deadline"].is_string()).await;
    let pool = world.database.pool().await;
    let sql = "SELECT answered_url IS NOT NULL FROM device JOIN instance USING (instance_id) WHERE name = $1";
    wait_until("that it answers is remembered", async || {
        sqlx::query_scalar::<_, bool>(sql).bind(name).fetch_one(&pool).await.unwrap()
    })
    .await;
    up
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unexpected_reports_of_a_board_change_nothing() {
    let world = World::new().await;
    let _up = ready(&world, "b1").await;
    let before = dump_tables(&world).await;
    let known = world.history("b1").await.len();
    let big = format!("{{\"log\": \"{}\"}}", "x".repeat(1024 * 1024));
    let deep = "[".repeat(10_000);
    let requests = [
        ("POST /api/v1/devices/b1/events/image-running", ""),
        ("POST /api/v1/devices/b1/events/image-running", " \r\n"),
        ("POST /api/v1/devices/b1/events/image-running", "{\"tries\": 3}"),
        ("GET /api/v1/devices/b1/events/image-running?kernel=6.1%20lts", ""),
        ("GET /api/v1/devices/b1/events/image-running?visit=2", ""),
        ("GET /api/v1/devices/b1/events/image-running?visit=4", ""),
        ("GET /api/v1/devices/b1/events/image-running?visit=-1", ""),
        ("GET /api/v1/devices/b1/events/image-failed", ""),
        ("GET /api/v1/devices/b1/events/image-running?visit=two", ""),
        ("GET /api/v1/devices/b1/events/image-running?visit=", ""),
        ("GET /api/v1/devices/b1/events/image-running?visit=9223372036854775808", ""),
        ("GET /api/v1/devices/b1/events/image-running?a=%00", ""),
        ("HEAD /api/v1/devices/b1/events/image-running", ""),
        ("PUT /api/v1/devices/b1/events/image-running", ""),
        ("POST /api/v1/devices/b2/events/image-running", ""),
        ("POST /api/v1/devices/b1%00/events/image-running", ""),
        ("POST /api/v1/devices/b1%2fevents/events/image-running", ""),
        ("POST /api/v1/devices/b1/events/image-runing", ""),
        ("POST /api/v1/devices/b1/events/image-running%00", ""),
        ("POST /api/v1/devices/b1/events/rq-reboot", ""),
        ("POST /api/v1/devices/b1/events/power-cycle-ok", ""),
        ("POST /api/v1/devices/b1/events/image-running", &big),
        ("POST /api/v1/devices/b1/events/image-running", &deep),
        ("POST /api/v1/devices/b1/events/image-running", "{\n  \"reason\": ]\n}"),
        ("POST /api/v1/devices/b1/events/image-running", "{\"reason\": 1e999}"),
        ("POST /api/v1/devices/b1/events/image-running", "{\"reason\": \"\\ud800\"}"),
        ("POST /api/v1/devices/b1/events/image-running", "reason=none&fault=board"),
        ("POST /api/v1/devices/b1/events/image-running", "[\"reason\"]"),
        ("POST /api/v1/devices/b1/events/image-running", "null"),
        ("POST /api/v1/devices/b1/events/image-running", "{\"reason\": [{\"a\": \"\\u0000\"}]}"),
        ("POST /api/v1/devices/b1/events/image-running", "{\"\\u0000\": 1}"),
    ];
    let mut answers = Vec::new();
    for (line, body) in requests {
        let answer = send(&world, line, body.to_owned()).await;
        let shown: String = body.chars().take(40).collect();
        if line.starts_with("HEAD") {
            answers.push(format!("{line}\n{} allow: {}", answer.status, answer.header("allow")));
        } else {
            answers.push(format!("{line} {shown:?}\n{}", answer.status_and_body()));
        }
        assert_eq!(dump_tables(&world).await, before, "{line}");
    }
    assert_snapshot!(answers.join("\n\n"), @r#"
    POST /api/v1/devices/b1/events/image-running ""
    200 {"outcome":"ignored","reason":"state Ready does not wait for image-running","state":"Ready","visit":3}

    POST /api/v1/devices/b1/events/image-running " \r\n"
    200 {"outcome":"ignored","reason":"state Ready does not wait for image-running","state":"Ready","visit":3}

    POST /api/v1/devices/b1/events/image-running "{\"tries\": 3}"
    200 {"outcome":"ignored","reason":"state Ready does not wait for image-running","state":"Ready","visit":3}

    GET /api/v1/devices/b1/events/image-running?kernel=6.1%20lts ""
    200 {"outcome":"ignored","reason":"state Ready does not wait for image-running","state":"Ready","visit":3}

    GET /api/v1/devices/b1/events/image-running?visit=2 ""
    200 {"outcome":"ignored","reason":"stale: it speaks of visit 2, this is visit 3","state":"Ready","visit":3}

    GET /api/v1/devices/b1/events/image-running?visit=4 ""
    200 {"outcome":"ignored","reason":"it speaks of visit 4, but this is only visit 3","state":"Ready","visit":3}

    GET /api/v1/devices/b1/events/image-running?visit=-1 ""
    200 {"outcome":"ignored","reason":"stale: it speaks of visit -1, this is visit 3","state":"Ready","visit":3}

    GET /api/v1/devices/b1/events/image-failed ""
    422 invalid: image-failed needs the argument `reason`

    GET /api/v1/devices/b1/events/image-running?visit=two ""
    422 invalid: visit="two" is not the number of a visit

    GET /api/v1/devices/b1/events/image-running?visit= ""
    422 invalid: visit="" is not the number of a visit

    GET /api/v1/devices/b1/events/image-running?visit=9223372036854775808 ""
    422 invalid: visit="9223372036854775808" is not the number of a visit

    GET /api/v1/devices/b1/events/image-running?a=%00 ""
    422 invalid: a query parameter holds the character U+0000, which cannot be stored

    HEAD /api/v1/devices/b1/events/image-running
    405 allow: GET,POST

    PUT /api/v1/devices/b1/events/image-running ""
    405 method_not_allowed: this path does not accept this method; `Allow` lists those that it accepts

    POST /api/v1/devices/b2/events/image-running ""
    404 no_device: there is no board "b2"

    POST /api/v1/devices/b1%00/events/image-running ""
    404 no_device: there is no board "b1\0"

    POST /api/v1/devices/b1%2fevents/events/image-running ""
    404 no_device: there is no board "b1/events"

    POST /api/v1/devices/b1/events/image-runing ""
    422 no_event: boards have no event "image-runing"
    {"events":["image-failed","image-installed","image-installing","image-running","live-running","maintenance-running","self-test-failed","self-test-ok","self-test-running"]}

    POST /api/v1/devices/b1/events/image-running%00 ""
    422 no_event: boards have no event "image-running\0"
    {"events":["image-failed","image-installed","image-installing","image-running","live-running","maintenance-running","self-test-failed","self-test-ok","self-test-running"]}

    POST /api/v1/devices/b1/events/rq-reboot ""
    422 no_event: rq-reboot is an operator's request, not a board's event: POST it to …/requests/rq-reboot
    {"events":["image-failed","image-installed","image-installing","image-running","live-running","maintenance-running","self-test-failed","self-test-ok","self-test-running"]}

    POST /api/v1/devices/b1/events/power-cycle-ok ""
    422 no_event: boards have no event "power-cycle-ok"
    {"events":["image-failed","image-installed","image-installing","image-running","live-running","maintenance-running","self-test-failed","self-test-ok","self-test-running"]}

    POST /api/v1/devices/b1/events/image-running "{\"log\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    413 too_large: a body may have at most 65536 bytes

    POST /api/v1/devices/b1/events/image-running "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
    400 bad_json: the body is not JSON: recursion limit exceeded at line 1 column 128
    {"column":128,"line":1}

    POST /api/v1/devices/b1/events/image-running "{\n  \"reason\": ]\n}"
    400 bad_json: the body is not JSON: expected value at line 2 column 13
    {"column":13,"line":2}

    POST /api/v1/devices/b1/events/image-running "{\"reason\": 1e999}"
    422 invalid: reason: this number exceeds double precision; the maximum is 1.797e308

    POST /api/v1/devices/b1/events/image-running "{\"reason\": \"\\ud800\"}"
    400 bad_json: the body is not JSON: unexpected end of hex escape at line 1 column 19
    {"column":19,"line":1}

    POST /api/v1/devices/b1/events/image-running "reason=none&fault=board"
    400 bad_json: the body is not JSON: expected value at line 1 column 1
    {"column":1,"line":1}

    POST /api/v1/devices/b1/events/image-running "[\"reason\"]"
    422 invalid: the body must be a JSON object, or empty

    POST /api/v1/devices/b1/events/image-running "null"
    422 invalid: the body must be a JSON object, or empty

    POST /api/v1/devices/b1/events/image-running "{\"reason\": [{\"a\": \"\\u0000\"}]}"
    422 invalid: reason[0].a: a text contains the character U+0000, which cannot be stored

    POST /api/v1/devices/b1/events/image-running "{\"\\u0000\": 1}"
    422 invalid: a text contains the character U+0000, which cannot be stored
    "#);

    let history = world.history("b1").await;
    let new = history[known..].iter().map(|entry| {
        let [event, outcome, visit, reason, args] =
            ["event", "outcome", "visit", "reason", "args"].map(|key| entry[key].to_string());
        format!("{event} {outcome} {visit} {reason} {args}")
    });
    assert_snapshot!(new.collect::<Vec<_>>().join("\n"), @r#"
    "image-running" "ignored" 3 "state Ready does not wait for image-running" null
    "image-running" "ignored" 3 "state Ready does not wait for image-running" null
    "image-running" "ignored" 3 "state Ready does not wait for image-running" {"tries":3}
    "image-running" "ignored" 3 "state Ready does not wait for image-running" {"kernel":"6.1 lts"}
    "image-running" "ignored" 3 "stale: it speaks of visit 2, this is visit 3" null
    "image-running" "ignored" 3 "it speaks of visit 4, but this is only visit 3" null
    "image-running" "ignored" 3 "stale: it speaks of visit -1, this is visit 3" null
    "image-failed" "ignored" 3 "image-failed needs the argument `reason`" null
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_report_with_a_reason_is_accepted_and_one_without_is_refused() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    world.force("b1", "ReimageBooted").await;
    let requests = [
        ("GET /api/v1/devices/b1/events/image-failed", ""),
        (
            "POST /api/v1/devices/b1/events/image-failed?fault=image&reason=in+the+query",
            "{\"reason\": \"in the body\"}",
        ),
        ("GET /api/v1/devices/b1/boot-config", ""),
        ("GET /api/v1/devices/b2/boot-config", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    GET /api/v1/devices/b1/events/image-failed
    422 invalid: image-failed needs the argument `reason`

    POST /api/v1/devices/b1/events/image-failed?fault=image&reason=in+the+query
    200 {"from":"ReimageBooted","outcome":"moved","to":"FailedBadImage","visit":3}

    GET /api/v1/devices/b1/boot-config
    200 {"boot_config":null,"image":null,"name":"b1","next_boot_config":null,"next_image":null,"state":"FailedBadImage","visit":3}

    GET /api/v1/devices/b2/boot-config
    404 no_device: there is no board "b2"
    "#);
    assert_eq!(world.get("/api/v1/devices/b1").await["data"]["failure"], "in the body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_reports_in_a_loop_is_answered_200_and_fills_no_history() {
    const REPORTS: usize = 100;
    let world = World::new().await;
    let _up = ready(&world, "b1").await;
    let known = world.history("b1").await.len();
    let path = "POST /api/v1/devices/b1/events/image-running";
    let body = json!({ "log": "x".repeat(60_000) }).to_string();
    let mut sent = 0;
    // Concurrently, as many as a board in a loop has connections.
    while sent < REPORTS {
        let reports = (0..20).map(|_| send(&world, path, body.clone()));
        for answer in futures_util::future::join_all(reports).await {
            assert_eq!((answer.status, &answer.json()["outcome"]), (200, &json!("ignored")));
            sent += 1;
        }
    }
    let history = world.history("b1").await;
    let rows = &history[known..];
    let counted = |row: &serde_json::Value| row["evidence"]["reports"].as_u64().unwrap_or(1);
    assert_eq!(rows.iter().map(counted).sum::<u64>(), REPORTS as u64, "each is counted once");
    assert!(rows.len() <= 60, "{} entries for {REPORTS} reports", rows.len());
    for row in rows {
        assert_eq!(row["args"], json!({ "left_out_bytes": body.len(), "log": null }));
    }
    assert_history_gives_instances(world.server.engine.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_reports_of_a_board_are_answered_with_a_delay() {
    let world = World::new().await;
    let _up = ready(&world, "b1").await;
    let line = "POST /api/v1/devices/b1/events/image-running";
    let started = Instant::now();
    for _ in 0..11 {
        assert_eq!(send(&world, line, "").await.status, 200);
    }
    // Ten are answered at once, then one per second: a slow machine takes longer, none is faster.
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}
