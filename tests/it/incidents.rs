//! Tests of incidents: relay boards that do not answer, and the boards that wait for them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use lifeguard::actions::OperatorsUrl;
use lifeguard::cli::serve::ServeOptions;
use lifeguard::clock::Clock;
use lifeguard::farm::relay::RelayBehaviour;
use lifeguard::store::Store;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::api::send;
use crate::cli::{lifeguard, run};
use crate::poe_switch::PoeSwitch;
use crate::rack::Rack;
use crate::replay::assert_history_gives_instances;
use crate::world::{WAIT_TIMEOUT, World, pass_time_during, wait_until, yield_briefly};

/// The name of the incident at a rack's relay board.
fn incident_of(rack: &Rack) -> String {
    incident_at(&rack.resource())
}

fn incident_at(resource: &str) -> String {
    resource.replace("://", "_").replace(':', "_")
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
    register_boards_with(world, boards, |coil| rack.power_facts(coil)).await
}

async fn register_boards_with(world: &World, boards: u16, facts: impl Fn(u16) -> Value) -> Vec<String> {
    let names: Vec<String> = (0..boards).map(|number| format!("b{number}")).collect();
    for (number, name) in (0..).zip(&names) {
        world.register(name, facts(number)).await;
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

/// Lets time pass in steps of a second.
async fn pass_time(world: &World, time: TimeDelta) {
    let until = world.clock.now() + time;
    while world.clock.now() < until {
        world.clock.advance(Duration::from_secs(1));
        yield_briefly().await;
    }
}

/// Waits until the board with the bad port failed, which is within a minute from `since`, and checks the reason.
async fn assert_bad_port_failed(world: &World, since: DateTime<Utc>, expected: &str) {
    let is_failed = |device: &Value| device["state"] == "FailedRebootRebooting";
    let failed = world.pass_time_until("bad", "it failed", is_failed).await;
    let at: DateTime<Utc> = failed["since"].as_str().unwrap().parse().unwrap();
    assert!(at - since < TimeDelta::minutes(1), "{failed:#}");
    assert_eq!(failed["data"]["failure"], expected);
}

/// A coil that no relay board here has, and why its board failed.
const BAD_COIL: u16 = 90;
const BAD_COIL_REASON: &str = "illegal data address: the relay board has no coil 90";

/// A device that powers boards, each at an outlet.
trait PowersBoards {
    fn resource(&self) -> String;
    fn facts(&self, board: u16) -> Value;
    /// The facts of a board at an outlet that the device does not have, and why it fails.
    fn bad_outlet(&self) -> (Value, String);
    fn set_dead(&self, is_dead: bool);
    /// The boards that were switched off, in order.
    fn switched_off(&self) -> Vec<u16>;
}

struct RelayBoards {
    rack: Rack,
    boards: u16,
}

impl PowersBoards for RelayBoards {
    fn resource(&self) -> String {
        self.rack.resource()
    }

    fn facts(&self, board: u16) -> Value {
        self.rack.power_facts(board)
    }

    fn bad_outlet(&self) -> (Value, String) {
        (self.rack.power_facts(BAD_COIL), BAD_COIL_REASON.to_owned())
    }

    fn set_dead(&self, is_dead: bool) {
        let behaviour = if is_dead { RelayBehaviour::Hanging } else { RelayBehaviour::OneClientAtATime };
        self.rack.relay.set_behaviour(behaviour);
    }

    fn switched_off(&self) -> Vec<u16> {
        let switched = self.rack.switched(usize::from(self.boards));
        switched.into_iter().filter(|(_, is_on)| !is_on).map(|(coil, _)| coil).collect()
    }
}

/// The board `n` is at the port `n + 1`.
struct SwitchBoards {
    switch: PoeSwitch,
    boards: u16,
}

impl PowersBoards for SwitchBoards {
    fn resource(&self) -> String {
        self.switch.resource()
    }

    fn facts(&self, board: u16) -> Value {
        self.switch.power_facts(board + 1)
    }

    fn bad_outlet(&self) -> (Value, String) {
        let device = self.resource().replace("snmp://", "");
        let reason = format!("{device} answered noSuchInstance: it has no such outlet");
        (self.facts(self.boards), reason)
    }

    fn set_dead(&self, is_dead: bool) {
        self.switch.set_dead(is_dead);
    }

    fn switched_off(&self) -> Vec<u16> {
        let orders = self.switch.orders().into_iter();
        orders.filter(|(_, is_on)| !is_on).map(|(port, _)| port - 1).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_board_that_is_dead_for_five_minutes_is_one_incident_and_costs_no_board_a_try() {
    let world = World::new().await;
    let rack = Rack::new(&world, 14);
    device_is_dead_for_five_minutes(&world, &RelayBoards { rack, boards: 14 }, 14).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_of_sixty_ports_that_is_dead_for_five_minutes_is_one_incident_too() {
    let world = World::new().await;
    let switch = PoeSwitch::new(60).await;
    device_is_dead_for_five_minutes(&world, &SwitchBoards { switch, boards: 60 }, 60).await;
}

/// A device dies under boards that are about to be rebooted, one of them at a port that it does not have.
async fn device_is_dead_for_five_minutes(world: &World, device: &impl PowersBoards, boards: u16) {
    let resource = device.resource();
    let names = register_boards_with(world, boards, |board| device.facts(board)).await;
    let (bad_facts, bad_reason) = device.bad_outlet();
    world.register("bad", bad_facts).await;
    device.set_dead(true);
    let (before, after) = names.split_at(names.len() / 2);
    reboot(world, before).await;
    assert_eq!(world.request("bad", "rq-reboot", json!({})).await.0, 200);
    reboot(world, after).await;
    let all = i64::from(boards) + 1;

    let incident = until_open(world).await;
    assert_eq!((&incident["resource"], &incident["open"]), (&json!(resource), &json!(true)));
    wait_until("all boards wait", async || open_incidents(world).await[0]["waiting"] == all).await;
    pass_time(world, TimeDelta::minutes(5)).await;

    let open = open_incidents(world).await;
    assert_eq!(open.len(), 1, "{open:?}");
    for name in names.iter().map(String::as_str).chain(["bad"]) {
        let device = world.get(&format!("/api/v1/devices/{name}")).await;
        let state = (&device["state"], &device["visit"], &device["counters"], &device["deadline"]);
        assert_eq!(state, (&json!("RebootRebooting"), &json!(2), &json!({}), &Value::Null), "{device:#}");
        let why = world.get(&format!("/api/v1/devices/{name}/why")).await;
        let sentence = why["sentences"][0].as_str().unwrap();
        // Some seconds passed until all boards waited.
        let since = format!("waits for incident at {resource}, open for 5 min");
        let parts = [since.as_str(), ": no answer from", &format!("; {all} boards wait; ")];
        assert!(parts.iter().all(|part| sentence.contains(part)), "{sentence}");
    }
    let page = reqwest::get(format!("http://{}/", world.server.http)).await.unwrap().text().await.unwrap();
    let (scheme, _) = resource.split_once("//").unwrap();
    assert!(page.contains(&format!("incident at {scheme}")), "{page}");
    let metrics =
        reqwest::get(format!("http://{}/metrics", world.server.http)).await.unwrap().text().await.unwrap();
    for metric in ["lifeguard_incident_open 1\n".to_owned(), format!("lifeguard_incident_waiting {all}\n")] {
        assert!(metrics.contains(&metric), "{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n") && metrics.matches("# EOF").count() == 1, "{metrics}");
    assert_eq!(device.switched_off(), Vec::<u16>::new());

    device.set_dead(false);
    until_closed(world).await;
    assert_bad_port_failed(world, world.clock.now(), &bad_reason).await;
    until_ready(world, &names).await;
    assert_eq!(
        device.switched_off(),
        (0..boards).collect::<Vec<_>>(),
        "each was cycled once, in the order of the requests"
    );
    assert_eq!(openings(world, &incident_at(&resource)).await, 1);
    assert_replays(world).await;
}

/// Serves a chat that stores the messages it gets.
async fn chat() -> (String, Arc<Mutex<Vec<Value>>>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (messages, mut server) = (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
    let stored = Arc::clone(&messages);
    server.spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = String::new();
            let message = loop {
                request.push(char::from(connection.read_u8().await.unwrap()));
                let body = request.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str(body));
                if let Some(Ok(message)) = body {
                    break message;
                }
            };
            stored.lock().unwrap().push(message);
            connection.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
        }
    });
    (url, messages, server)
}

/// The built-in definition of incidents, changed as `docs/incidents.md` says.
fn definition_that_notifies_late() -> String {
    let built_in = include_str!("../../states/incident.yaml");
    let opened = &built_in[built_in.find("  Opened:\n").unwrap()..built_in.find("  Open:\n").unwrap()];
    let notifying = "  Notifying:
    about: the operators are notified
    invoke: [{ action: notify, with: { to: operators }, limit: 15s }]
    timeout: { after: 15s, target: OpenForLong }
    on: { notify-ok: OpenForLong, notify-failed: OpenForLong, close: Closed }

  OpenForLong:\n";
    built_in
        .replacen(opened, "", 1)
        .replacen("target: Opened", "target: Open", 1)
        .replacen("exceeded: OpenForLong", "exceeded: Notifying", 1)
        .replacen("  OpenForLong:\n", notifying, 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_of_many_boards_is_one_notification() {
    let (url, messages, _server) = chat().await;
    let operators_url = Some(OperatorsUrl::new(&url).unwrap());
    let world = World::with_serve_options(|options| ServeOptions { operators_url, ..options }).await;
    let unusable = include_str!("../../states/incident.yaml").replace("Closed", "Over");
    let refused = send(&world, "PUT /api/v1/machines/incident", unusable).await;
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (409, Some("not_incidents")),
        "{}",
        refused.text
    );
    let rack = Rack::new(&world, 6);
    let names = register_boards(&world, &rack, 6).await;
    rack.relay.set_behaviour(RelayBehaviour::Refusing);
    reboot(&world, &names).await;
    until_open(&world).await;
    wait_until("all boards wait", async || open_incidents(&world).await[0]["waiting"] == 6).await;
    pass_time(&world, TimeDelta::minutes(5)).await;
    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    until_closed(&world).await;
    until_ready(&world, &names).await;
    let messages = messages.lock().unwrap().clone();
    let described: Vec<_> =
        messages.iter().map(|message| json!([message["instance"], message["state"]])).collect();
    assert_eq!(described, [json!([incident_of(&rack), "Opened"])]);
    let reason =
        format!("no connection to {}: Connection refused", rack.resource().trim_start_matches("modbus://"));
    assert_eq!(messages[0]["facts"], json!({ "resource": rack.resource(), "reason": reason }));
    let loaded = send(&world, "PUT /api/v1/machines/incident", definition_that_notifies_late()).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text);
    assert_eq!(openings(&world, &incident_of(&rack)).await, 1);
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
    world.register("b0", json!({ "power_url": format!("{}/0?off=10s", rack.resource()) })).await;
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
async fn the_queue_of_a_resource_with_an_incident_names_it_and_promises_no_start() {
    let world = World::new().await;
    let (rack, other) = (Rack::new(&world, 3), Rack::new(&world, 1));
    let (resource, elsewhere) = (rack.resource(), other.resource());
    for name in [&resource, &elsewhere] {
        let path = format!("/api/v1/resources/{}", name.replace('/', "%2F"));
        let body = json!({ "capacity": 1 });
        assert_eq!(world.call(Method::PUT, &path, Some(body)).await.0, 200);
    }
    let names = register_boards(&world, &rack, 3).await;
    // One power cycle is seen to last, without which there is no forecast at all.
    reboot(&world, &names[..1]).await;
    until_ready(&world, &names[..1]).await;
    rack.relay.set_behaviour(RelayBehaviour::Hanging);
    reboot(&world, &names).await;
    until_open(&world).await;
    wait_until("all boards wait", async || open_incidents(&world).await[0]["waiting"] == 3).await;

    let queue = world.get("/api/v1/queue").await["queue"].clone();
    let shown = world.get(&format!("/api/v1/resources/{}", resource.replace('/', "%2F"))).await;
    for queue in [&queue, &shown["queue"]] {
        // The probe of the incident may be in it as well.
        let is_board = |waiter: &&Value| waiter["machine"] == "board";
        let waiting: Vec<_> = queue.as_array().unwrap().iter().filter(is_board).collect();
        assert_eq!(waiting.len(), 3, "{queue:#}");
        for ((ahead, name), waiter) in names.iter().enumerate().zip(waiting) {
            assert_eq!(
                (&waiter["name"], &waiter["requests_ahead"]),
                (&json!(name), &json!(ahead)),
                "{queue:#}"
            );
            assert_eq!(
                (&waiter["expected_at"], &waiter["incident"]["resource"]),
                (&Value::Null, &json!(resource))
            );
        }
    }
    assert_eq!(shown["incident"]["resource"], json!(resource), "{shown:#}");
    let free = world.get(&format!("/api/v1/resources/{}", elsewhere.replace('/', "%2F"))).await;
    assert_eq!(free["incident"], Value::Null, "{free:#}");
    let url = format!("http://{}", world.server.http);
    for args in [&["resource", "queue"][..], &["resource", "show", &resource]] {
        let mut command = lifeguard(args);
        command.env("LIFEGUARD_SERVER", &url);
        let printed = run(command).await.out;
        let says = printed.matches(&format!("waits for incident at {resource}")).count();
        assert!(says == 3 && !printed.contains("expected to start"), "{printed}");
    }

    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    until_closed(&world).await;
    let shown = world.get(&format!("/api/v1/resources/{}", resource.replace('/', "%2F"))).await;
    assert_eq!(shown["incident"], Value::Null, "{shown:#}");
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

    // While a probe runs, it would close the incident itself. The next one begins when time passes.
    let history = format!("/api/v1/machines/incident/{}/history?limit=1", incident_of(&rack));
    let has_ended = async || world.get(&history).await["history"][0]["event"] == "probe-failed";
    pass_time_until(&world, "a probe has ended", has_ended).await;
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
async fn during_an_incident_an_operator_reads_at_once_and_switches_nothing() {
    let world = World::new().await;
    let rack = Rack::new(&world, 4);
    let names = register_boards(&world, &rack, 3).await;
    rack.relay.set_behaviour(RelayBehaviour::Refusing);
    reboot(&world, &names).await;
    until_open(&world).await;
    let by_hand = async |operation: &str| {
        let url = format!("{}/3", rack.resource());
        let body = json!({ "operation": operation, "url": url });
        let asked = world.call(Method::POST, "/api/v1/power", Some(body));
        pass_time_during("an answer to an operation by hand", &world.clock, asked).await
    };
    let (status, failed) = by_hand("test").await;
    assert_eq!((status.as_u16(), &failed["code"]), (502, &json!("power_failed")), "{failed}");
    for operation in ["on", "off", "cycle"] {
        let (status, refused) = by_hand(operation).await;
        assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("incident_open")), "{refused}");
        assert_eq!(refused["incident"], json!(incident_of(&rack)), "{refused}");
    }
    assert_eq!(open_incidents(&world).await[0]["waiting"], 3, "who reads by hand does not wait");

    // The next probe is a while away: what was read by hand ends the incident.
    let probed = async || open_incidents(&world).await[0]["next_probe_at"].is_string();
    pass_time_until(&world, "a probe has ended", probed).await;
    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    let (status, read) = by_hand("status").await;
    assert_eq!((status.as_u16(), &read["observed"]), (200, &json!("on")), "{read}");
    until_closed(&world).await;
    until_ready(&world, &names).await;
    let switched = by_hand("off").await.0;
    assert_eq!((switched.as_u16(), rack.is_on(3)), (200, false));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_port_is_failed_within_a_minute_while_the_other_boards_are_rebooted() {
    let world = World::new().await;
    let rack = Rack::new(&world, 6);
    let names = register_boards(&world, &rack, 6).await;
    world.register("bad", rack.power_facts(BAD_COIL)).await;
    let since = world.clock.now();
    reboot(&world, &names).await;
    assert_eq!(world.request("bad", "rq-reboot", json!({})).await.0, 200);
    assert_bad_port_failed(&world, since, BAD_COIL_REASON).await;
    until_ready(&world, &names).await;
    assert_eq!(world.get("/api/v1/incidents?all=true").await["incidents"], json!([]));
}

/// Ready boards at one relay board, with the ports at which they are polled.
struct ReadyBoards {
    rack: Rack,
    names: Vec<String>,
    ports: Vec<SocketAddr>,
    answering: JoinSet<()>,
}

impl ReadyBoards {
    async fn new(world: &World, boards: u16) -> Self {
        Self::named(world, "b", boards).await
    }

    /// Boards whose names begin with `prefix`.
    async fn named(world: &World, prefix: &str, boards: u16) -> Self {
        let rack = Rack::new(world, boards);
        let (mut names, mut ports, mut answering) = (Vec::new(), Vec::new(), JoinSet::new());
        for coil in 0..boards {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap();
            let polled = Arc::new(AtomicUsize::new(0));
            answering.spawn(answer_polls(listener, Arc::clone(&polled)));
            // Long enough for boards that are found silent at the same time to wait for each other.
            let power_url = format!("{}/{coil}?off=5s", rack.resource());
            let mut facts = json!({ "power_url": power_url });
            facts["poll_url"] = json!(format!("tcp://{port}"));
            let name = format!("{prefix}{coil}");
            world.register(&name, facts).await;
            world.force(&name, "Ready").await;
            pass_time_until(world, "it is polled", async || polled.load(Ordering::Relaxed) > 0).await;
            names.push(name);
            ports.push(port);
        }
        Self { rack, names, ports, answering }
    }

    /// None of them answers any more, as without power.
    async fn fall_silent(&mut self) {
        self.answering.shutdown().await;
    }

    /// All of them answer again.
    async fn answer_again(&mut self) {
        for port in &self.ports {
            let listener = TcpListener::bind(port).await.unwrap();
            self.answering.spawn(answer_polls(listener, Arc::default()));
        }
    }

    /// The boards in this state.
    async fn in_state(&self, world: &World, state: &str) -> Vec<String> {
        let listed = world.get(&format!("/api/v1/devices?state={state}")).await;
        let names = listed["devices"].as_array().unwrap().iter().map(|board| board["name"].as_str().unwrap());
        names.filter(|name| self.names.iter().any(|own| own == name)).map(str::to_owned).collect()
    }

    /// The boards that wait for their relay board, in the order of its queue.
    async fn queued(&self, world: &World) -> Vec<String> {
        let path = format!("/api/v1/resources/{}", self.rack.resource().replace('/', "%2F"));
        let resource = world.get(&path).await;
        let waiting = resource["queue"].as_array().unwrap().iter();
        waiting.map(|waits| waits["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The boards whose silence counted, in the order in which their reboots were queued.
    async fn rebooted(&self, world: &World) -> Vec<String> {
        let mut queued = Vec::new();
        for name in &self.names {
            for entry in world.history(name).await {
                if entry["event"] == "poll-failed" {
                    queued.push((entry["id"].as_i64().unwrap(), name.clone()));
                }
            }
        }
        queued.sort();
        queued.into_iter().map(|(_, name)| name).collect()
    }

    /// Waits until an incident is open and only the first silent board is to be rebooted.
    async fn until_one_incident(&self, world: &World) {
        let incident = until_open(world).await;
        assert_eq!(incident["resource"], self.rack.resource());
        let waiting = async || open_incidents(world).await[0]["waiting"].as_u64().unwrap() + 1;
        pass_time_until(world, "the others wait", async || waiting().await >= self.names.len() as u64).await;
        assert_eq!(self.rebooted(world).await.len(), 1);
    }
}

async fn answer_polls(listener: TcpListener, polled: Arc<AtomicUsize>) {
    while let Ok((connection, _)) = listener.accept().await {
        drop(connection);
        polled.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_boards_without_power_are_one_incident_and_are_not_rebooted_when_they_return() {
    let world = World::new().await;
    let mut boards = ReadyBoards::new(&world, 6).await;
    boards.fall_silent().await;
    boards.rack.relay.set_behaviour(RelayBehaviour::Refusing);
    boards.until_one_incident(&world).await;
    pass_time(&world, TimeDelta::minutes(5)).await;
    assert_eq!((open_incidents(&world).await.len(), boards.rebooted(&world).await.len()), (1, 1));
    let waiting = &boards.in_state(&world, "Ready").await[0];
    let why = world.get(&format!("/api/v1/devices/{waiting}/why")).await;
    let sentence = why["sentences"][0].as_str().unwrap();
    assert!(
        sentence.contains(&format!("poll waits for incident at {}", boards.rack.resource())),
        "{sentence}"
    );

    boards.rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    // The relay board is back before its boards are: they have time to boot.
    pass_time(&world, TimeDelta::minutes(2)).await;
    assert_eq!(boards.rebooted(&world).await.len(), 1);
    boards.answer_again().await;
    until_closed(&world).await;
    let first = &boards.rebooted(&world).await[0];
    world.pass_time_until(first, "its power is back", |device| device["state"] == "RebootComplete").await;
    world.report(first, "image-running").await;
    pass_time(&world, TimeDelta::minutes(3)).await;
    assert_eq!(boards.in_state(&world, "Ready").await, boards.names);
    assert_eq!(boards.rebooted(&world).await.len(), 1);
    assert_eq!(openings(&world, &incident_of(&boards.rack)).await, 1);
    assert_replays(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_boards_whose_outlets_are_off_after_a_power_cut_return_in_the_order_of_the_queue() {
    let world = World::new().await;
    let mut boards = ReadyBoards::new(&world, 6).await;
    boards.fall_silent().await;
    boards.rack.relay.set_behaviour(RelayBehaviour::Refusing);
    boards.until_one_incident(&world).await;
    for coil in 0..6 {
        boards.rack.relay.switch(coil, false);
    }
    let before = boards.rack.relay.coil_changes().len();
    boards.rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    assert_return_by_reboots(&world, &boards, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_boards_that_stay_silent_are_rebooted_in_the_order_of_the_queue() {
    let world = World::new().await;
    let mut boards = ReadyBoards::new(&world, 6).await;
    boards.fall_silent().await;
    boards.until_one_incident(&world).await;
    let silent = async || open_incidents(&world).await[0]["waiting"] == 5;
    pass_time_until(&world, "the first one is rebooted", silent).await;
    pass_time(&world, TimeDelta::minutes(2)).await;
    // The relay board itself is free.
    assert_eq!(boards.in_state(&world, "RebootComplete").await, boards.rebooted(&world).await);
    let before = boards.rack.relay.coil_changes().len();
    assert_return_by_reboots(&world, &boards, before).await;
}

/// Waits until each board was rebooted once, and checks that they were switched on in the order of their queue.
async fn assert_return_by_reboots(world: &World, boards: &ReadyBoards, changes_before: usize) {
    let are_silent = async || boards.in_state(world, "Ready").await.is_empty();
    pass_time_until(world, "all are found silent", are_silent).await;
    // The clock stands still, and so does the power cycle of the first one.
    let queue = boards.queued(world).await;
    let all = boards.names.len();
    assert!(queue.len() >= all - 2, "{queue:?}");
    let are_rebooted = async || boards.in_state(world, "RebootComplete").await.len() == all;
    pass_time_until(world, "all have power", are_rebooted).await;
    let mut on: Vec<String> = Vec::new();
    for change in boards.rack.relay.coil_changes().iter().skip(changes_before).filter(|change| change.is_on) {
        on.push(format!("b{}", change.coil));
    }
    assert!(on.ends_with(&queue) && on.len() <= all, "{on:?}, queue {queue:?}");
    for name in &boards.names {
        world.report(name, "image-running").await;
        let ready = world.until_state(name, "Ready").await;
        assert_eq!(ready["counters"], json!({}), "{ready:#}");
    }
    assert_eq!(openings(world, &incident_of(&boards.rack)).await, 1);
    assert_replays(world).await;
}

/// Puts the relay boards of `racks` on the circuit `circuit-3`.
async fn put_on_circuit(world: &World, racks: &[ReadyBoards]) {
    let mut resources = vec![("circuit-3".to_owned(), json!({ "capacity": 1 }))];
    for boards in racks {
        resources.push((boards.rack.resource().replace('/', "%2F"), json!({ "within": "circuit-3" })));
    }
    for (name, resource) in resources {
        let path = format!("/api/v1/resources/{name}");
        let (status, answer) = world.call(Method::PUT, &path, Some(resource)).await;
        assert!(status.is_success(), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_boards_of_several_relay_boards_of_one_circuit_are_one_incident() {
    let world = World::new().await;
    let mut racks = [ReadyBoards::named(&world, "a", 3).await, ReadyBoards::named(&world, "b", 3).await];
    put_on_circuit(&world, &racks).await;
    for boards in &mut racks {
        boards.fall_silent().await;
        boards.rack.relay.set_behaviour(RelayBehaviour::Refusing);
    }
    // Failures at different relay boards of a circuit are compared one after the other, too.
    let pool = world.database.pool().await;
    let mut tx = pool.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('incident circuit-3', 0))";
    sqlx::query(lock).execute(&mut *tx).await.unwrap();
    let waiters = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let is_waited_for = async || sqlx::query_scalar::<_, i64>(waiters).fetch_one(&pool).await.unwrap() > 0;
    pass_time_until(&world, "a failure waits for another one", is_waited_for).await;
    tx.rollback().await.unwrap();
    let is_of_circuit = async || {
        let open = open_incidents(&world).await;
        open.len() == 1 && open[0]["resource"] == "circuit-3" && open[0]["waiting"] == 6
    };
    pass_time_until(&world, "all are one incident", is_of_circuit).await;
    let rebooted = async || racks[0].rebooted(&world).await.len() + racks[1].rebooted(&world).await.len();
    assert_eq!(rebooted().await, 1);
    let why = world.get("/api/v1/devices/a1/why").await;
    let sentence = why["sentences"][0].as_str().unwrap();
    assert!(sentence.contains("waits for incident at circuit-3"), "{sentence}");
    pass_time(&world, TimeDelta::minutes(5)).await;
    assert_eq!((open_incidents(&world).await.len(), rebooted().await), (1, 1));
    for boards in &mut racks {
        boards.rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
        boards.answer_again().await;
    }
    until_closed(&world).await;
    pass_time(&world, TimeDelta::minutes(2)).await;
    let ready = [racks[0].in_state(&world, "Ready").await, racks[1].in_state(&world, "Ready").await].concat();
    assert_eq!(ready.len(), 5, "{ready:?}");
    assert_replays(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_incident_of_a_circuit_lets_cycles_wait_again_that_failed_just_before_at_one_of_its_relay_boards()
{
    let world = World::new().await;
    let first = ReadyBoards::named(&world, "a", 1).await;
    // The polls of the second one fail that much later.
    pass_time(&world, TimeDelta::seconds(15)).await;
    let mut racks = [first, ReadyBoards::named(&world, "b", 1).await];
    put_on_circuit(&world, &racks).await;
    for boards in &mut racks {
        boards.rack.relay.set_behaviour(RelayBehaviour::Refusing);
        boards.fall_silent().await;
    }
    let has_failed =
        async || world.history("a0").await.iter().any(|entry| entry["event"] == "power-cycle-failed");
    pass_time_until(&world, "its power cycle failed", has_failed).await;
    assert_eq!(open_incidents(&world).await, Vec::<Value>::new());

    let is_of_circuit = async || {
        let open = open_incidents(&world).await;
        open.len() == 1 && open[0]["resource"] == "circuit-3" && open[0]["waiting"] == 2
    };
    pass_time_until(&world, "both are one incident", is_of_circuit).await;
    pass_time(&world, TimeDelta::minutes(5)).await;
    for boards in &mut racks {
        boards.rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
        boards.answer_again().await;
    }
    let is_back = |device: &Value| device["state"] == "RebootComplete";
    let device = world.pass_time_until("a0", "its power is back", is_back).await;
    assert_eq!(device["counters"], json!({}), "{device:#}");
    until_closed(&world).await;
    assert_eq!(racks[1].in_state(&world, "Ready").await, ["b0"]);
    assert_replays(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_belongs_to_the_incident_that_opened_within_a_minute_or_was_open() {
    let world = World::new().await;
    let rack = Rack::new(&world, 2);
    let names = register_boards(&world, &rack, 2).await;
    rack.relay.set_behaviour(RelayBehaviour::Refusing);
    reboot(&world, &names).await;
    let opened_at: DateTime<Utc> = until_open(&world).await["opened_at"].as_str().unwrap().parse().unwrap();
    let pool = world.database.pool().await;
    let belongs = async |at: DateTime<Utc>| {
        let statement =
            "SELECT belongs_to_incident(ROW($1, 1, 1, 'power-cycle', $2, $2, false)::resource_failure)";
        let query = sqlx::query_scalar::<_, bool>(statement).bind(rack.resource()).bind(at);
        query.fetch_one(&pool).await.unwrap()
    };
    let seconds = TimeDelta::seconds;
    for (after, expected) in [(-61, false), (-59, true), (0, true), (2, true), (600, true)] {
        assert_eq!(belongs(opened_at + seconds(after)).await, expected, "{after} s after it opened");
    }
    pass_time(&world, TimeDelta::minutes(2)).await;
    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    until_closed(&world).await;
    let closed = world.get("/api/v1/incidents?all=true").await["incidents"][0].clone();
    let closed_at: DateTime<Utc> = closed["closed_at"].as_str().unwrap().parse().unwrap();
    for (after, expected) in [(-1, true), (0, false), (1, false)] {
        assert_eq!(belongs(closed_at + seconds(after)).await, expected, "{after} s after it closed");
    }
    until_ready(&world, &names).await;
}
