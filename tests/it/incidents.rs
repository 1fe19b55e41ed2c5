//! Tests of incidents: relay boards that do not answer, and the boards that wait for them.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use lifeguard::clock::Clock;
use lifeguard::farm::relay::RelayBehaviour;
use lifeguard::store::Store;
use reqwest::Method;
use serde_json::{Value, json};

use crate::rack::Rack;
use crate::replay::assert_history_gives_instances;
use crate::world::{WAIT_TIMEOUT, World, wait_until, yield_briefly};

/// The name of the incident at a rack's relay board.
fn incident_of(rack: &Rack) -> String {
    rack.resource().replace("://", "_").replace(':', "_")
}

/// Advances the clock in steps until the condition holds.
async fn pass_time_until(world: &World, what: &str, condition: impl AsyncFn() -> bool) {
    let give_up_at = Instant::now() + WAIT_TIMEOUT;
    while !condition().await {
        assert!(Instant::now() < give_up_at, "it never was so: {what}");
        world.clock.advance(Duration::from_millis(200));
        yield_briefly().await;
    }
}

/// The open incidents.
async fn open_incidents(world: &World) -> Vec<Value> {
    world.get("/api/v1/incidents").await["incidents"].as_array().unwrap().clone()
}

async fn until_open(world: &World) -> Value {
    pass_time_until(world, "an incident is open", async || !open_incidents(world).await.is_empty()).await;
    open_incidents(world).await.remove(0)
}

async fn until_closed(world: &World) {
    pass_time_until(world, "no incident is open", async || open_incidents(world).await.is_empty()).await;
}

/// Registers boards `b0`, `b1`, … at the coils of a rack.
async fn register_boards(world: &World, rack: &Rack, boards: u16) -> Vec<String> {
    let names: Vec<String> = (0..boards).map(|number| format!("b{number}")).collect();
    for (coil, name) in (0..).zip(&names) {
        world.register(name, rack.power_facts(coil)).await;
    }
    names
}

async fn reboot(world: &World, names: &[String]) {
    for name in names {
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
    }
}

/// Waits until the boards are rebooted, without a retry, and has their images report.
async fn until_ready(world: &World, names: &[String]) {
    for name in names {
        let is_back = |device: &Value| device["state"] == "RebootComplete";
        let device = world.pass_time_until(name, "its power is back", is_back).await;
        assert_eq!((&device["counters"], &device["visit"]), (&json!({}), &json!(3)), "{device:#}");
        world.report(name, "image-running").await;
        world.until_state(name, "Ready").await;
    }
}

/// How often the state of an incident was left by the event `open`.
async fn openings(world: &World, incident: &str) -> usize {
    let path = format!("/api/v1/machines/incident/{incident}/history?limit=1000");
    let history = world.get(&path).await["history"].as_array().unwrap().clone();
    history.iter().filter(|entry| entry["event"] == "open" && entry["outcome"] == "moved").count()
}

async fn assert_replays(world: &World) {
    let store = Store::open(world.database.connect_options()).await.unwrap();
    assert_history_gives_instances(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_board_that_is_dead_for_five_minutes_is_one_incident_and_costs_no_board_a_try() {
    let world = World::new().await;
    let rack = Rack::new(&world, 14);
    let names = register_boards(&world, &rack, 14).await;
    // The relay board has no such coil.
    world.register("bad", rack.power_facts(40)).await;
    rack.relay.set_behaviour(RelayBehaviour::Hanging);
    reboot(&world, &names).await;
    assert_eq!(world.request("bad", "rq-reboot", json!({})).await.0, 200);

    let incident = until_open(&world).await;
    assert_eq!((&incident["resource"], &incident["open"]), (&json!(rack.resource()), &json!(true)));
    wait_until("all boards wait", async || open_incidents(&world).await[0]["waiting"] == 15).await;
    let until = world.clock.now() + TimeDelta::minutes(5);
    pass_time_until(&world, "five minutes pass", async || world.clock.now() >= until).await;

    let open = open_incidents(&world).await;
    assert_eq!(open.len(), 1, "{open:?}");
    for name in names.iter().map(String::as_str).chain(["bad"]) {
        let device = world.get(&format!("/api/v1/devices/{name}")).await;
        let state = (&device["state"], &device["visit"], &device["counters"], &device["deadline"]);
        assert_eq!(state, (&json!("RebootRebooting"), &json!(2), &json!({}), &Value::Null), "{device:#}");
        let why = world.get(&format!("/api/v1/devices/{name}/why")).await;
        let sentence = why["sentences"][0].as_str().unwrap();
        let expected = format!("waits for incident at {}, open for 5 min: no answer from", rack.resource());
        assert!(sentence.contains(&expected) && sentence.contains("; 15 boards wait; "), "{sentence}");
    }
    let page = reqwest::get(format!("http://{}/", world.server.http)).await.unwrap().text().await.unwrap();
    assert!(page.contains("incident at modbus:"), "{page}");
    assert_eq!(rack.switched(14), []);

    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    until_closed(&world).await;
    let closed_at = world.clock.now();
    let failed =
        world.pass_time_until("bad", "it failed", |device| device["state"] == "FailedRebootRebooting");
    let failed = failed.await;
    let at: DateTime<Utc> = failed["since"].as_str().unwrap().parse().unwrap();
    assert!(at - closed_at < TimeDelta::minutes(1), "{failed:#}");
    assert_eq!(failed["data"]["failure"], "illegal data address: the relay board has no coil 40");
    until_ready(&world, &names).await;
    let off: Vec<u16> = rack.switched(14).iter().filter(|(_, is_on)| !is_on).map(|(coil, _)| *coil).collect();
    assert_eq!(off, (0..14).collect::<Vec<_>>(), "each was cycled once, in the order of the requests");
    assert_eq!(openings(&world, &incident_of(&rack)).await, 1);
    assert_replays(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failure_of_one_board_at_a_dead_relay_board_counts() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    let names = register_boards(&world, &rack, 1).await;
    rack.relay.set_behaviour(RelayBehaviour::Refusing);
    reboot(&world, &names).await;
    for count in 1..=2 {
        let counted = |device: &Value| device["counters"]["RebootRebooting"] == count;
        world.pass_time_until("b0", "its try is counted", counted).await;
    }
    assert_eq!(open_incidents(&world).await, Vec::<Value>::new());
    let history = world.history("b0").await;
    let failed = history.iter().find(|entry| entry["event"] == "power-cycle-failed").unwrap();
    assert_eq!(failed["args"]["fault"], "resource", "{failed:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_between_two_failures_shows_that_the_relay_board_answers() {
    let world = World::new().await;
    let rack = Rack::new(&world, 3);
    let names = register_boards(&world, &rack, 3).await;
    let has_failed = async |name: &str| {
        world.history(name).await.iter().any(|entry| entry["event"] == "power-cycle-failed")
    };
    for (name, behaviour) in [
        ("b0", RelayBehaviour::Refusing),
        ("b1", RelayBehaviour::OneClientAtATime),
        ("b2", RelayBehaviour::Refusing),
    ] {
        rack.relay.set_behaviour(behaviour);
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
        if name == "b1" {
            world
                .pass_time_until("b1", "its power is back", |device| device["state"] == "RebootComplete")
                .await;
        } else {
            pass_time_until(&world, "its power cycle failed", async || has_failed(name).await).await;
        }
    }
    assert_eq!(open_incidents(&world).await, Vec::<Value>::new());
    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    for name in [&names[0], &names[2]] {
        world.pass_time_until(name, "its power is back", |device| device["state"] == "RebootComplete").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_open_one_incident_and_it_survives_the_death_of_one() {
    let world = World::new().await;
    let other = world.second_server().await;
    let pool = world.database.pool().await;
    let rack = Rack::new(&world, 6);
    let names = register_boards(&world, &rack, 6).await;
    rack.relay.set_behaviour(RelayBehaviour::Refusing);
    reboot(&world, &names).await;
    until_open(&other).await;
    let leases = "SELECT count(*) FROM worker WHERE lease_until > clock_timestamp()";
    // Like `kill -9`: its actions stay unfinished, and its lease remains.
    drop(world.server);
    sqlx::query(
        "UPDATE worker SET lease_until = clock_timestamp() - interval '1 s'
          WHERE worker_id = (SELECT min(worker_id) FROM worker)",
    )
    .execute(&pool)
    .await
    .unwrap();
    wait_until("one is left", async || {
        sqlx::query_scalar::<_, i64>(leases).fetch_one(&pool).await.unwrap() == 1
    })
    .await;
    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    until_closed(&other).await;
    until_ready(&other, &names).await;
    assert_eq!(openings(&other, &incident_of(&rack)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_board_that_dies_during_a_cycle_restores_the_power_and_costs_no_try() {
    let world = World::new().await;
    let rack = Rack::new(&world, 3);
    let names = ["b0", "b1", "b2"].map(str::to_owned);
    world.register("b0", rack.slow_power_facts(0)).await;
    world.register("b1", rack.power_facts(1)).await;
    world.register("b2", rack.power_facts(2)).await;
    reboot(&world, &names[..1]).await;
    rack.until(0, false).await;
    rack.relay.set_behaviour(RelayBehaviour::Refusing);
    reboot(&world, &names[1..]).await;
    until_open(&world).await;
    wait_until("the first board waits again", async || open_incidents(&world).await[0]["waiting"] == 3).await;
    assert!(!rack.is_on(0));
    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    until_closed(&world).await;
    pass_time_until(&world, "the power is restored", async || rack.is_on(0)).await;
    until_ready(&world, &names).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_is_closed_by_hand_and_opens_again_while_its_resource_does_not_answer() {
    let world = World::new().await;
    let rack = Rack::new(&world, 3);
    let names = register_boards(&world, &rack, 3).await;
    rack.relay.set_behaviour(RelayBehaviour::Refusing);
    reboot(&world, &names).await;
    until_open(&world).await;
    let path = format!("/api/v1/incidents/{}", incident_of(&rack));
    let close = format!("{path}/close");
    let (status, closed) = world.call(Method::POST, &close, Some(json!({ "reason": "try it" }))).await;
    assert_eq!((status.as_u16(), &closed["open"]), (200, &json!(false)), "{closed}");
    pass_time_until(&world, "it opens again", async || openings(&world, &incident_of(&rack)).await == 2)
        .await;
    wait_until("all wait in their order", async || {
        world.get(&path).await["queue"] == json!(["b0", "b1", "b2"])
    })
    .await;

    // The next probe is minutes away.
    let probed = async || open_incidents(&world).await[0]["next_probe_at"].is_string();
    pass_time_until(&world, "a probe has begun", probed).await;
    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    assert_eq!(world.call(Method::POST, &close, None).await.0, 200);
    let (status, problem) = world.call(Method::POST, &close, None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_accepted")), "{problem}");
    until_ready(&world, &names).await;
    let (status, problem) = world.call(Method::GET, "/api/v1/incidents/elsewhere", None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("no_incident")), "{problem}");
    let all = world.get("/api/v1/incidents?all=true").await;
    assert_eq!((&all["incidents"][0]["open"], &all["incidents"][1]), (&json!(false), &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outlets_of_a_device_that_serves_many_clients_are_one_incident_too() {
    let world = World::new().await;
    let names = ["p1", "p2", "p3"];
    for (number, name) in (1..).zip(names) {
        world.register(name, json!({ "power_url": format!("tasmota://127.0.0.1:1/{number}") })).await;
    }
    for name in names {
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
    }
    let incident = until_open(&world).await;
    assert_eq!(incident["resource"], "tasmota://127.0.0.1:1");
    wait_until("all boards wait", async || open_incidents(&world).await[0]["waiting"] == 3).await;
    let until = world.clock.now() + TimeDelta::minutes(3);
    pass_time_until(&world, "three minutes pass", async || world.clock.now() >= until).await;
    for name in names {
        let device = world.get(&format!("/api/v1/devices/{name}")).await;
        assert_eq!((&device["visit"], &device["counters"]), (&json!(2), &json!({})), "{device:#}");
    }
}
