//! Tests of linked instances: a raised event is decided in the same transaction.

mod boards;
mod checked;
mod concurrent_writers;
mod crash;
mod created;
mod raised;
mod raised_event_effects;
mod removed;

use lifeguard::engine::replay::{ReplayRequest, replay};
use lifeguard::machine::MachineName;
use lifeguard::store::Store;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::send;
use crate::world::World;

pub(super) const LEASE: &str = include_str!("lease.yaml");
pub(super) const THING: &str = include_str!("thing.yaml");

/// A server with the machines `lease` and `thing`.
async fn world() -> World {
    let world = World::new().await;
    load(&world, "thing", THING).await;
    load(&world, "lease", LEASE).await;
    world
}

async fn load(world: &World, machine: &str, text: &str) {
    let answer = send(world, &format!("PUT /api/v1/machines/{machine}"), text.to_owned()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Creates an instance: `lease/l1`.
async fn create(world: &World, which: &str, links: Value) -> Value {
    let (status, answer) = call(world, Method::PUT, which, Some(json!({ "links": links }))).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer
}

async fn call(world: &World, method: Method, which: &str, body: Option<Value>) -> (StatusCode, Value) {
    world.call(method, &format!("/api/v1/machines/{which}"), body).await
}

async fn show(world: &World, which: &str) -> Value {
    world.get(&format!("/api/v1/machines/{which}")).await
}

async fn post(world: &World, which: &str, event: &str) -> Value {
    let (status, answer) = call(world, Method::POST, &format!("{which}/events/{event}"), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// The history of an instance, one line per entry: `event: from → to (sender)`.
async fn history(world: &World, which: &str) -> Vec<String> {
    let answer = world.get(&format!("/api/v1/machines/{which}/history?limit=1000")).await;
    let line = |entry: &Value| {
        let text = |member: &str| entry[member].as_str().unwrap_or_default().to_owned();
        let sender = Some(text("sender")).filter(|sender| sender.contains('/'));
        let sender = sender.map(|sender| format!(" ({sender})")).unwrap_or_default();
        let came = match text("outcome").as_str() {
            "moved" => format!("{} → {}", text("from"), text("to")),
            "stayed" => "stayed".to_owned(),
            _ => format!("ignored: {}", text("reason")),
        };
        format!("{}: {came}{sender}", text("event"))
    };
    answer["history"].as_array().unwrap().iter().rev().map(line).collect()
}

/// A lease `l1` that holds the thing `t1`.
async fn leased() -> World {
    let world = world().await;
    create(&world, "thing/t1", json!({})).await;
    create(&world, "lease/l1", json!({ "thing": "t1" })).await;
    post(&world, "thing/t1", "rq-boot").await;
    assert_eq!(show(&world, "lease/l1").await["state"], "Leased");
    world
}

/// Replays the history of all instances of `machines`.
async fn assert_replay_is_exact(store: &Store, machines: &[&str]) {
    for machine in machines {
        let machine = MachineName::new(machine).unwrap();
        let wanted = ReplayRequest { machine, name: None, since: None, what_if_definition: None };
        let replayed = replay(store, lifeguard::boards::vocabulary(), &wanted).await.unwrap();
        assert!(replayed.instances > 0 && replayed.forgotten == 0, "{replayed:?}");
        assert_eq!((replayed.difference, replayed.unreadable), (None, Vec::new()));
    }
}
