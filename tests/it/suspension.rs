//! Tests of suspension: a local fault is no evidence about a board; it suspends actions, which continue afterwards.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm::relay::RelayBehaviour;
use lifeguard::store::Store;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::database::database;
use crate::rack::Rack;
use crate::replay::assert_history_gives_instances;
use crate::server_process::ServerProcess;
use crate::world::{World, await_within_timeout, pass_a_little_time, wait_until, yield_briefly};

/// A name that never resolves: it is reserved for that (RFC 2606).
const NOWHERE: &str = "tcp://board-1.invalid:22";

/// A machine that works until its poll ends, for at most a minute.
const WORK: &str = "
machine: board
initial: New
events:
  rq-work: { from: operator, about: work }
  rq-lock-out: { from: operator, about: leave it }
states:
  New: { about: nothing is to be done, resting: true, on: { rq-work: Work } }
  Work:
    about: it is polled
    invoke: [{ action: poll, with: { interval: 10s, failures: 2 } }]
    timeout: { after: 60s, target: Work, limit: 3, exceeded: Failed }
    left_to_deadline: [poll-failed]
    on: { rq-lock-out: New, poll-ok: New }
  Failed: { about: too many tries, on: { rq-lock-out: New } }
";

fn action(device: &Value) -> &Value {
    &device["actions"][0]
}

fn is_suspended(device: &Value) -> bool {
    action(device)["status"] == "WAITING" && action(device)["suspended_at"].is_string()
}

fn runs(device: &Value) -> bool {
    action(device)["status"] == "RUNNING"
}

async fn count(world: &World, name: &str, condition: impl Fn(&Value) -> bool) -> usize {
    world.history(name).await.iter().filter(|entry| condition(entry)).count()
}

async fn suspensions(world: &World, name: &str) -> usize {
    count(world, name, |entry| entry["kind"] == "suspend").await
}

/// Advances the clock in steps of a poll's interval until the board satisfies `wanted`.
async fn pass_intervals_until(
    world: &World,
    name: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    for _ in 0..200 {
        let device = world.get(&format!("/api/v1/devices/{name}")).await;
        if wanted(&device) {
            return device;
        }
        world.clock.advance(Duration::from_secs(10));
        for _ in 0..10 {
            yield_briefly().await;
        }
    }
    panic!("{name} never was so: {what}");
}

/// Stops the server and checks the replay.
async fn assert_replayed(world: World) {
    let database = Arc::clone(&world.database);
    await_within_timeout("the end of the server", world.server.stop()).await.unwrap();
    assert_history_gives_instances(&Store::open(database.connect_options()).await.unwrap()).await;
}

async fn change(world: &World, name: &str, change: Value) {
    let (status, answer) = world.call(Method::PATCH, &format!("/api/v1/devices/{name}"), Some(change)).await;
    assert_eq!(status, 200, "{answer}");
}

fn at(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_of_an_unresolvable_name_is_suspended_and_never_reboots_its_board() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    let mut wired = rack.power_facts(0);
    wired["poll_url"] = json!(NOWHERE);
    world.register("b1", wired).await;
    world.force("b1", "Ready").await;
    let device = pass_intervals_until(&world, "b1", "its poll is suspended", is_suspended).await;
    assert!(action(&device)["reason"].as_str().unwrap().contains("board-1.invalid"), "{device:#}");
    assert_eq!((&device["state"], &device["deadline"]), (&json!("Ready"), &Value::Null));
    let why = world.get("/api/v1/devices/b1/why").await;
    let explanation = why["sentences"][0].as_str().unwrap();
    assert!(
        explanation.contains("poll is suspended") && explanation.contains("board-1.invalid"),
        "{explanation}"
    );
    let ready = world.get("/readyz").await;
    assert_eq!((&ready["status"], &ready["troubles"][0]["suspended"]), (&json!("ready"), &json!(1)));
    // It is recorded once however long it lasts, and the board rests.
    wait_until("it was looked at more than once", async || {
        world.get("/readyz").await["troubles"][0]["for_s"].as_u64() >= Some(2)
    })
    .await;
    for _ in 0..30 {
        world.clock.advance(Duration::from_mins(1));
        yield_briefly().await;
    }
    assert_eq!((world.state("b1").await.as_str(), suspensions(&world, "b1").await), ("Ready", 1));
    assert_eq!(count(&world, "b1", |entry| entry["event"] == "poll-failed").await, 0);
    assert_eq!(rack.switched(1), []);
    assert_replayed(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_stops_the_deadline_and_the_remaining_time_runs_afterwards() {
    let world = World::with_definition(WORK).await;
    let board = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.register("b1", json!({ "poll_url": NOWHERE })).await;
    assert_eq!(world.request("b1", "rq-work", json!({})).await.0, 200);
    world.until("b1", "its poll runs", runs).await;
    pass_intervals_until(&world, "b1", "its poll is suspended", is_suspended).await;
    let history = world.history("b1").await;
    let entry = |kind: &str| history.iter().rev().find(|entry| entry["kind"] == kind).unwrap();
    let (began, suspended) = (entry("began"), entry("suspend"));
    let used = at(&suspended["at"]) - at(&began["at"]);
    assert!(used.num_seconds() >= 10, "two probes, ten seconds apart");
    assert_eq!((&suspended["evidence"]["action"], &suspended["outcome"]), (&json!("poll"), &json!("stayed")));
    // A server restart in between changes nothing of that.
    let world = world.restart_after(Duration::from_hours(1)).await.unwrap();
    let device = pass_intervals_until(&world, "b1", "it is suspended again", is_suspended).await;
    assert_eq!(
        (&device["state"], &device["visit"], &device["counters"]),
        (&json!("Work"), &json!(2), &json!({}))
    );
    let left = used_in(&world).await;
    change(&world, "b1", json!({ "poll_url": format!("tcp://{}", board.local_addr().unwrap()) })).await;
    let device =
        world.until("b1", "its poll runs", |device| runs(device) && device["deadline"].is_string()).await;
    assert_eq!((at(&device["deadline"]) - world.clock.now()).num_seconds(), left);
    assert_eq!(action(&device)["attempts"], 1, "what did nothing was no attempt");
    world.pass_deadline("b1").await;
    let device = world.until_state("b1", "Work").await;
    assert_eq!(device["counters"], json!({ "Work": 1 }), "time that our own trouble took was not counted");
    assert_replayed(world).await;
}

/// Remaining seconds of the minute after its actions ran, without suspensions.
async fn used_in(world: &World) -> i64 {
    let mut left = 60;
    let mut since = None;
    for entry in world.history("b1").await {
        match entry["kind"].as_str().unwrap() {
            "began" => since = Some(at(&entry["at"])),
            "suspend" => left -= (at(&entry["at"]) - since.take().unwrap()).num_seconds(),
            _ => {}
        }
    }
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_without_a_poll_url_is_not_polled_and_stays_ready() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    world.register("b1", rack.power_facts(0)).await;
    world.force("b1", "Ready").await;
    let first = world.until("b1", "its poll runs", runs).await;
    for _ in 0..30 {
        world.clock.advance(Duration::from_mins(1));
        yield_briefly().await;
    }
    assert_eq!(world.state("b1").await, "Ready");
    let explanation = world.get("/api/v1/devices/b1/why").await["sentences"][0].as_str().unwrap().to_owned();
    assert!(explanation.contains("the board has no poll URL, so it is not polled"), "{explanation}");
    world.until("b1", "it is re-entered", |device| device["visit"].as_i64() > first["visit"].as_i64()).await;
    // It does not fail after a day either.
    world.clock.advance(Duration::from_hours(25));
    world.until("b1", "its poll runs again", runs).await;
    assert_eq!(world.state("b1").await, "Ready");
    assert_eq!(rack.switched(1), []);
    // Once a poll URL is set, it is polled.
    let board = TcpListener::bind("127.0.0.1:0").await.unwrap();
    change(&world, "b1", json!({ "poll_url": format!("tcp://{}", board.local_addr().unwrap()) })).await;
    await_within_timeout("a poll", board.accept()).await.unwrap();
    assert_replayed(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_never_succeeded_is_reported_and_never_reboots_its_board() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    let board = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = board.local_addr().unwrap();
    drop(board);
    let mut wired = rack.power_facts(0);
    wired["poll_url"] = json!(format!("tcp://{addr}"));
    world.register("b1", wired).await;
    world.force("b1", "Ready").await;
    let device =
        pass_intervals_until(&world, "b1", "it is reported", |device| action(device)["reason"].is_string())
            .await;
    let reason = action(&device)["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("nothing has ever answered at the poll URL tcp://{addr}")), "{reason}");
    for _ in 0..60 {
        world.clock.advance(Duration::from_secs(30));
        yield_briefly().await;
    }
    assert_eq!(world.state("b1").await, "Ready");
    assert_eq!(count(&world, "b1", |entry| entry["event"] == "misconfigured").await, 1);
    assert_eq!(rack.switched(1), []);

    let board = TcpListener::bind(addr).await.unwrap();
    let answers = async {
        loop {
            drop(board.accept().await.unwrap());
        }
    };
    let explanation = pass_intervals_until(&world, "b1", "it is polled successfully", |device| {
        action(device)["reason"].is_null()
    });
    tokio::select! {
        _ = explanation => {}
        () = answers => unreachable!("it answers for ever"),
    }
    wait_until("it is in history", async || {
        count(&world, "b1", |entry| entry["event"] == "configured").await == 1
    })
    .await;
    // Another process knows that it has answered before; from now on its silence counts.
    drop(board);
    let world = world.restart_after(Duration::ZERO).await.unwrap();
    pass_intervals_until(&world, "b1", "it is rebooted", |device| device["state"] != "Ready").await;
    assert_eq!(count(&world, "b1", |entry| entry["event"] == "poll-failed").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_for_one_board_is_retried_and_delays_no_other() {
    let world = World::new().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let poll_url = format!("tcp://{}", closed.local_addr().unwrap());
    drop(closed);
    for name in ["b1", "b2"] {
        world.register(name, json!({ "poll_url": poll_url })).await;
        world.force(name, "Ready").await;
    }
    let pool = world.database.pool().await;
    let sql = "SELECT instance_id FROM instance WHERE name = 'b1'";
    let id: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    let refuse = format!(
        "ALTER TABLE history ADD CONSTRAINT refused
           CHECK (event IS DISTINCT FROM 'misconfigured' OR instance_id <> {id})"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(refuse)).execute(&pool).await.unwrap();
    let noted = async |name| count(&world, name, |entry| entry["event"] == "misconfigured").await;
    let is_reported = |device: &Value| action(device)["reason"].is_string();
    pass_intervals_until(&world, "b2", "it is reported", is_reported).await;
    assert_eq!((noted("b1").await, noted("b2").await), (0, 1));
    sqlx::query("ALTER TABLE history DROP CONSTRAINT refused").execute(&pool).await.unwrap();
    world.until("b1", "it is reported", is_reported).await;
    assert_eq!((noted("b1").await, noted("b2").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unrestored_power_is_restored_later_in_any_state() {
    // The board is locked out while it is off, or once its power cycle has failed.
    for is_early in [true, false] {
        let world = World::new().await;
        let rack = Rack::new(&world, 1);
        world.register("b1", rack.power_facts(0)).await;
        assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
        rack.until(0, false).await;
        rack.relay.set_behaviour(RelayBehaviour::Refusing);
        let lock_out = json!({ "reason": "it smells" });
        if is_early {
            assert_eq!(world.request("b1", "rq-lock-out", lock_out.clone()).await.0, 200);
        }
        let is_kept = |device: &Value| is_suspended(device) && action(device)["action"] == "power-on";
        let device = world.pass_time_until("b1", "what is left is to give power back", is_kept).await;
        let reason = action(&device)["reason"].as_str().unwrap();
        assert!(reason.starts_with("cannot restore power"), "{reason}");
        if !is_early {
            assert_eq!(device["state"], "RebootRebooting");
            assert_eq!(world.request("b1", "rq-lock-out", lock_out).await.0, 200);
        }
        // It is retried repeatedly, and recorded once.
        let again = |device: &Value| action(device)["attempts"].as_i64() >= Some(3);
        world.pass_time_until("b1", "it is tried again", again).await;
        let is_failure = |entry: &Value| entry["event"] == "power-cycle-failed";
        assert_eq!(count(&world, "b1", is_failure).await, 1);
        wait_until("it is reported", async || {
            pass_a_little_time(&world.clock).await;
            world.get("/readyz").await["troubles"][0]["kind"] == "power"
        })
        .await;
        assert!(!rack.is_on(0));

        rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
        world.pass_time_until("b1", "nothing is left", |device| device["actions"] == json!([])).await;
        assert!(rack.is_on(0));
        assert_eq!((world.state("b1").await.as_str(), rack.switched(1).len()), ("LockedOut", 2));
        assert_replayed(world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_compensation_does_not_block_later_power_cycles() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    world.register("b1", rack.power_facts(0)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;
    rack.relay.set_behaviour(RelayBehaviour::Refusing);
    let is_rescue = |action: &Value| action["action"] == "power-on";
    let rescues =
        |device: &Value| device["actions"].as_array().unwrap().iter().filter(|it| is_rescue(it)).count();
    for _ in 0..3 {
        let has_rescue = |device: &Value| rescues(device) == 1 && device["deadline"].is_string();
        world.pass_time_until("b1", "it is dark, and its time limit runs", has_rescue).await;
        world.pass_deadline("b1").await;
    }
    assert_eq!(world.state("b1").await, "RebootRebooting");
    rack.relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    let device = world
        .pass_time_until("b1", "its power came back", |device| device["state"] == "RebootComplete")
        .await;
    assert_eq!((rescues(&device), rack.is_on(0)), (0, true));
    assert_replayed(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unresolvable_relay_board_suspends_its_boards_and_fails_none() {
    let world = World::new().await;
    world.register("b1", json!({ "power_url": "modbus://relay-1.invalid/0" })).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    let device = world.pass_time_until("b1", "it is suspended", is_suspended).await;
    assert_eq!((&device["state"], &device["deadline"]), (&json!("RebootRebooting"), &Value::Null));
    assert!(action(&device)["reason"].as_str().unwrap().contains("relay-1.invalid"), "{device:#}");
    let why = world.get("/api/v1/devices/b1/why").await;
    let explanation = why["sentences"][0].as_str().unwrap();
    assert!(
        explanation.contains("power-cycle is suspended") && explanation.contains("relay-1.invalid"),
        "{explanation}"
    );
    let troubles = world.get("/readyz").await["troubles"].clone();
    assert!(troubles[0]["trouble"].as_str().unwrap().contains("relay-1.invalid"), "{troubles}");
    // A correct URL wakes it.
    let rack = Rack::new(&world, 1);
    change(&world, "b1", rack.power_facts(0)).await;
    world.pass_time_until("b1", "its power came back", |device| device["state"] == "RebootComplete").await;
    assert_eq!(rack.switched(1), [(0, false), (0, true)]);
    assert_replayed(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_boot_tree_suspends_setting_links_until_it_is_back() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    world.image("linux").await;
    world.register("b1", rack.power_facts(0)).await;
    // As if its file server were not mounted.
    let (root, elsewhere) = (world.server.boot_root.clone(), world.folder.path().join("elsewhere"));
    fs_err::rename(&root, &elsewhere).unwrap();
    fs_err::create_dir(&root).unwrap();
    assert_eq!(world.request("b1", "rq-reimage", json!({ "image": "linux" })).await.0, 200);
    let device = world.until("b1", "it is suspended", is_suspended).await;
    assert_eq!((&device["state"], &device["counters"]), (&json!("ReimageRebooting"), &json!({})));
    assert_eq!(rack.switched(1), []);
    // Reported by the task that maintains the tree, which creates nothing in an empty mount point.
    wait_until("it is reported", async || world.call(Method::GET, "/readyz", None).await.0 == 503).await;
    fs_err::remove_dir(&root).unwrap();
    fs_err::rename(&elsewhere, &root).unwrap();
    world.pass_time_until("b1", "its power came back", |device| device["state"] == "ReimageBooting").await;
    assert_eq!(rack.switched(1), [(0, false), (0, true)]);
    assert_replayed(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_descriptors_suspends_its_polls_and_power_cycles_no_healthy_board() {
    let database = database().await;
    let folder = tempfile::tempdir().unwrap();
    let states = folder.path().join("board.yaml");
    // The shipped board lifecycle, with polls at a pace suitable for a test.
    let board = include_str!("../../states/board.yaml")
        .replace("invoke: [poll]", "invoke: [{ action: poll, with: { interval: 100ms, failures: 2 } }]");
    fs_err::write(&states, board).unwrap();
    let mut options = vec!["--database-url".to_owned(), database.url()];
    for (option, path) in [("--states", states), ("--boot-root", folder.path().join("boot"))] {
        options.extend([option.to_owned(), path.to_str().unwrap().to_owned()]);
    }
    options.extend(["--tftp-listen".to_owned(), "127.0.0.1:0".to_owned()]);
    let server = ServerProcess::start(&options);
    let relay = lifeguard::farm::relay::RelayBoard::start(
        ([127, 0, 0, 1], 0).into(),
        1,
        lifeguard::farm::relay::RelayBehaviour::Normal,
    )
    .unwrap();
    relay.switch(0, true);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut board = tokio::task::JoinSet::new();
    board.spawn(async move {
        loop {
            // A connection that cannot be accepted for lack of a descriptor is retried.
            let _ = listener.accept().await;
        }
    });
    let http = HttpClient::new(server.http());
    let power_url = format!("modbus://{}/0?off=50ms", relay.addr());
    http.register("b1", &json!({ "power_url": power_url, "poll_url": format!("tcp://{addr}") })).await;
    http.force("b1", "New", "Ready").await;
    http.until("it has answered a poll", async || {
        let sql = "SELECT count(*) FROM device WHERE answered_url = poll_url";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&database.pool().await).await.unwrap() == 1
    })
    .await;
    // Open descriptors are kept, and no new ones can be opened.
    let hard = limit(server.pid(), "HARD");
    set_limit(server.pid(), &format!("5:{hard}"));
    let pool = database.pool().await;
    http.until("its poll is suspended", async || {
        let sql = "SELECT count(*) FROM action WHERE trouble = 'descriptors'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.unwrap() == 1
    })
    .await;
    set_limit(server.pid(), &format!("{hard}:{hard}"));
    http.until("its poll runs again", async || {
        let sql = "SELECT count(*) FROM action WHERE status = 'RUNNING' AND trouble IS NULL";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.unwrap() == 1
    })
    .await;
    let device = http.get("/api/v1/devices/b1").await;
    assert_eq!(device["state"], "Ready", "{device:#}");
    assert!(device["deadline"].is_string(), "its time runs again: {device:#}");
    assert_eq!(relay.coil_changes().len(), 1, "it was not switched");
    drop(server);
    board.shutdown().await;
    assert_history_gives_instances(&Store::open(database.connect_options()).await.unwrap()).await;
}

fn limit(pid: u32, which: &str) -> String {
    let output = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), "--nofile", "--raw", "--noheadings", &format!("--output={which}")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn set_limit(pid: u32, limits: &str) {
    let status =
        Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limits}")]).status();
    assert!(status.unwrap().success());
}

/// A client of a server in another process.
struct HttpClient {
    client: reqwest::Client,
    base: String,
}

impl HttpClient {
    fn new(addr: SocketAddr) -> Self {
        Self { client: reqwest::Client::new(), base: format!("http://{addr}") }
    }

    async fn post(&self, path: &str, body: &Value) {
        let answer = self.client.post(format!("{}{path}", self.base)).json(body).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn register(&self, name: &str, more: &Value) {
        let mut body = json!({ "name": name, "mac": "02:00:00:00:00:01", "hardware": "panda" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/api/v1/devices", &body).await;
    }

    async fn force(&self, name: &str, from: &str, to: &str) {
        let body = json!({ "from": from, "to": to, "reason": "the test wants it there" });
        self.post(&format!("/api/v1/devices/{name}/force"), &body).await;
    }

    /// Waits in real time, because it is another process.
    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let give_up_at = SystemClock.now() + chrono::TimeDelta::seconds(60);
        while !condition().await {
            assert!(SystemClock.now() < give_up_at, "it never was so: {what}");
            yield_briefly().await;
        }
    }
}
