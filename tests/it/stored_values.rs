//! Tests of stored values: accepted values can be read by later processes, replayed and compared; others are refused,
//! and an unreadable row affects only itself.

use std::time::Duration;

use lifeguard::engine::replay::{ReplayReport, ReplayRequest, replay};
use lifeguard::machine::MachineName;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::World;

/// Boards report their temperature; the value decides.
const THERMOMETER: &str = "
machine: board
initial: Cold
events:
  warm: { from: board, args: [celsius] }
groups:
  all:
    states: [Cold, Hot]
    resting: true
    on:
      warm:
        - if: args.celsius >= 9007199254740993 || args.celsius == 1.7976931348623157e308
          target: Hot
          do: { set: { celsius: $args.celsius } }
        - if: args.celsius >= 0.1
          do: { set: { celsius: $args.celsius } }
        - target: Cold
          do: { unset: celsius }
states:
  Cold: {}
  Hot: {}
";

async fn replayed(world: &World) -> ReplayReport {
    let wanted = ReplayRequest {
        machine: MachineName::new("board").unwrap(),
        name: None,
        since: None,
        what_if_definition: None,
    };
    replay(world.server.engine.store(), lifeguard::boards::vocabulary(), &wanted).await.unwrap()
}

async fn report_warm(world: &World, name: &str, body: &str) -> (StatusCode, Value) {
    let url = format!("http://{}/api/v1/devices/{name}/events/warm", world.server.http);
    let answer = reqwest::Client::new().post(url).body(body.to_owned()).send().await.unwrap();
    (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_accepted_number_is_read_replayed_and_compared_as_sent() {
    let world = World::with_definition(THERMOMETER).await;
    let cases = [
        ("greatest", "1.7976931348623157e308", "Hot", None),
        ("exact", "9007199254740993", "Hot", Some("9007199254740993")),
        ("point", "9007199254740993.00", "Hot", Some("9007199254740993.00")),
        ("below", "9007199254740992.00", "Cold", Some("9007199254740992.00")),
        ("tenth", "0.1", "Cold", Some("0.1")),
        (
            "digits",
            "1.100000000000000000000000000000000000000001",
            "Cold",
            Some("1.100000000000000000000000000000000000000001"),
        ),
        ("short", "1.5e2", "Cold", Some("150")),
        ("nothing", "0.099999999999999991", "Cold", Some("null")),
        ("zero", "-0.0", "Cold", Some("null")),
    ];
    for (name, number, state, _) in cases {
        world.register(name, json!({})).await;
        let (status, answer) = report_warm(&world, name, &format!("{{\"celsius\": {number}}}")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(world.state(name).await, state, "{number}");
    }
    // A process without any cached data.
    let world = world.restart_after(Duration::ZERO).await.unwrap();
    for (name, number, state, kept) in cases {
        let device = world.get(&format!("/api/v1/devices/{name}")).await;
        assert_eq!(device["state"], state, "{number}");
        if let Some(kept) = kept {
            assert_eq!(device["data"]["celsius"].to_string(), kept);
        }
        let (status, _) = report_warm(&world, name, &format!("{{\"celsius\": {number}}}")).await;
        assert_eq!(status, StatusCode::OK);
        let history = world.history(name).await;
        let sent: Vec<String> = history
            .iter()
            .filter(|entry| entry["event"] == "warm")
            .map(|entry| entry["args"].to_string())
            .collect();
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0], sent[1]);
    }
    let replayed = replayed(&world).await;
    assert_eq!((replayed.instances, replayed.difference, replayed.unreadable), (9, None, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_cannot_be_stored_or_compared_are_refused_without_a_write() {
    let world = World::with_definition(THERMOMETER).await;
    world.register("b1", json!({})).await;
    let before = world.history("b1").await;
    let deep = format!("{{\"celsius\": {}1{}}}", "[".repeat(100), "]".repeat(100));
    for (body, expected) in [
        ("{\"celsius\": 1e309}", "celsius: this number exceeds double precision"),
        ("{\"celsius\": 1e-400}", "celsius: this number has too many digits"),
        ("{\"celsius\": \"\\u0000\"}", "celsius: a text contains the character U+0000"),
        (deep.as_str(), "nested too deeply"),
    ] {
        let (status, answer) = report_warm(&world, "b1", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains(expected), "{answer}");
    }
    assert_eq!(world.history("b1").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_entry_affects_only_itself() {
    let world = World::with_definition(THERMOMETER).await;
    for name in ["b1", "b2"] {
        world.register(name, json!({})).await;
        for celsius in [1, 2] {
            report_warm(&world, name, &json!({ "celsius": celsius }).to_string()).await;
        }
    }
    let pool = world.database.pool().await;
    sqlx::query(
        "UPDATE history SET kind = 'of a later version'
          WHERE history_id = (SELECT min(history_id) FROM history JOIN instance USING (instance_id)
                               WHERE name = 'b1' AND kind = 'event')",
    )
    .execute(&pool)
    .await
    .unwrap();

    let history = world.history("b1").await;
    assert_eq!(history.len(), 3);
    assert_eq!(history[1]["kind"], "unreadable");
    assert_eq!(history[1]["reason"], "column `kind` cannot be read");
    let why = world.get("/api/v1/devices/b1/why").await;
    assert_eq!(why["state"], "Cold");
    let replayed = replayed(&world).await;
    assert_eq!((replayed.instances, replayed.difference), (2, None));
    let [unreadable] = &replayed.unreadable[..] else { panic!("{:?}", replayed.unreadable) };
    assert_eq!(
        (unreadable.name.as_str(), unreadable.reason.as_str()),
        ("b1", "column `kind` cannot be read")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_instance_affects_only_itself() {
    let world = World::with_definition(THERMOMETER).await;
    for name in ["b1", "b2", "b3"] {
        world.register(name, json!({})).await;
    }
    let pool = world.database.pool().await;
    let broken = "UPDATE instance SET counters = '{\"not a name\": 1}' WHERE name = 'b1'";
    sqlx::query(broken).execute(&pool).await.unwrap();
    // A process without any cached data.
    let world = world.restart_after(Duration::ZERO).await.unwrap();

    let reports = ["b1", "b2", "b3"].map(|name| report_warm(&world, name, "{\"celsius\": 1}"));
    let [(b1, _), (b2, _), (b3, _)] = {
        let [one, two, three] = reports;
        let (one, two, three) = tokio::join!(one, two, three);
        [one, two, three]
    };
    assert_eq!((b1, b2, b3), (StatusCode::INTERNAL_SERVER_ERROR, StatusCode::OK, StatusCode::OK));
    let (status, listed) = world.call(Method::GET, "/api/v1/devices", None).await;
    assert_eq!(status, StatusCode::OK, "{listed}");
    assert_eq!(listed["devices"].as_array().unwrap().len(), 3);
    let replayed = replayed(&world).await;
    assert_eq!((replayed.instances, replayed.difference), (3, None));
    let [unreadable] = &replayed.unreadable[..] else { panic!("{:?}", replayed.unreadable) };
    assert!(
        unreadable.entry.is_none() && unreadable.reason.contains("column `counters` cannot be read"),
        "{unreadable:?}"
    );
}
