//! Tests of several processes on one database, and of processes and connections that are killed.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lifeguard::cli::serve::{LifeguardServer, ServeOptions};
use lifeguard::machine;
use lifeguard::store::Store;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::database::database;
use crate::rack::Rack;
use crate::replay::assert_history_gives_instances;
use crate::world::{World, await_within_timeout, options, pass_time_during, wait_until, yield_briefly};

/// Workers with valid leases.
const AT_WORK: &str = "SELECT count(*) FROM worker WHERE lease_until > clock_timestamp()";

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await.unwrap()
}

/// Waits until at most `max` workers have leases.
async fn until_workers(pool: &PgPool, max: i64) {
    wait_until("all are workers", async || count(pool, AT_WORK).await == max).await;
}

/// Kills a server like `kill -9`: its actions stay unfinished, and its lease remains.
async fn kill(world: World, pool: &PgPool) {
    // The running one renews its own lease in time.
    drop(world.server);
    let sql = "UPDATE worker SET lease_until = clock_timestamp() - interval '1 s'
                WHERE worker_id = (SELECT min(worker_id) FROM worker)";
    sqlx::query(sql).execute(pool).await.unwrap();
}

/// Starts another server on the same database, with another definition.
async fn start_with(world: &World, states: &Path) -> Result<LifeguardServer, Box<dyn Error>> {
    let options = ServeOptions { states: Some(states.to_owned()), ..options(&world.database, &world.folder) };
    LifeguardServer::start(options, Arc::new(world.clock.clone())).await
}

async fn stop(world: World) {
    await_within_timeout("the end of the server", world.server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_fire_a_deadline_once_and_start_an_action_once() {
    let one = World::new().await;
    let other = one.second_server().await;
    let pool = one.database.pool().await;
    until_workers(&pool, 2).await;
    let rack = Rack::new(&one, 6);
    let names: Vec<String> = (0..6).map(|number| format!("b{number}")).collect();
    for (coil, name) in (0..).zip(&names) {
        one.register(name, rack.power_facts(coil)).await;
        one.force(name, "RebootComplete").await;
    }
    for round in 1..=2 {
        // Both use the same clock: both timers wake for all deadlines at the same moment.
        one.clock.advance(Duration::from_mins(10));
        for name in &names {
            let is_back =
                |device: &Value| device["state"] == "RebootComplete" && device["visit"] == 2 + 2 * round;
            let device = other.pass_time_until(name, "power is back", is_back).await;
            assert_eq!(device["counters"], json!({ "RebootComplete": round }));
        }
        assert_eq!(rack.switched(6).len(), usize::try_from(round * 12).unwrap(), "each was cycled once");
    }
    stop(one).await;
    let database = Arc::clone(&other.database);
    stop(other).await;
    assert_history_gives_instances(&Store::open(database.connect_options()).await.unwrap()).await;
    assert_eq!(count(&pool, AT_WORK).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_reaches_both_processes_at_once_moves_a_board_once() {
    let one = World::new().await;
    let other = one.second_server().await;
    one.register("b1", json!({})).await;
    for _ in 0..10 {
        one.force("b1", "ReimageBooting").await;
        let reports = [&one, &other, &one, &other].map(|world| world.report("b1", "live-running"));
        let answers = futures_util::future::join_all(reports).await;
        let moved = answers.iter().filter(|(status, answer)| *status == 200 && answer["outcome"] == "moved");
        assert_eq!(moved.count(), 1, "{answers:?}");
    }
    for _ in 0..10 {
        one.force("b1", "New").await;
        let force = json!({ "from": "New", "to": "LockedOut", "reason": "a race" });
        let path = "/api/v1/devices/b1/force";
        let forced = [&one, &other].map(|world| world.call(reqwest::Method::POST, path, Some(force.clone())));
        let mut statuses: Vec<u16> =
            futures_util::future::join_all(forced).await.iter().map(|(status, _)| status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_of_a_killed_process_are_taken_over_and_finished() {
    let one = World::new().await;
    let pool = one.database.pool().await;
    let rack = Rack::new(&one, 2);
    one.register("b1", rack.power_facts(0)).await;
    one.register("b2", rack.power_facts(1)).await;
    let (status, _) = one.request("b1", "rq-reboot", json!({})).await;
    assert_eq!(status, 200);
    rack.until(0, false).await;
    assert_eq!(one.request("b2", "rq-reboot", json!({})).await.0, 200);
    let other = one.second_server().await;
    until_workers(&pool, 2).await;
    let before = other.get("/api/v1/devices/b1").await;
    assert_eq!(before["actions"][0]["status"], "RUNNING");
    kill(one, &pool).await;

    let is_back = |device: &Value| device["state"] == "RebootComplete";
    for name in ["b1", "b2"] {
        let device = other.pass_time_until(name, "power is back", is_back).await;
        assert_eq!((&device["visit"], &device["counters"]), (&json!(3), &json!({})));
    }
    assert_eq!(rack.switched(2), [(0, false), (0, true), (1, false), (1, true)]);
    let began = other.history("b1").await.iter().filter(|entry| entry["kind"] == "began").count();
    assert_eq!(began, 1, "taken over in the time that ran already");
    let database = Arc::clone(&other.database);
    stop(other).await;
    assert_history_gives_instances(&Store::open(database.connect_options()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_expires_by_elapsed_time_even_if_the_database_s_clock_is_set_back() {
    let one = World::new().await;
    let pool = one.database.pool().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let polled = json!({ "poll_url": format!("tcp://{}", listener.local_addr().unwrap()) });
    one.register("b1", polled).await;
    one.force("b1", "Ready").await;
    await_within_timeout("a poll", listener.accept()).await.unwrap();
    let other = one.second_server().await;
    until_workers(&pool, 2).await;
    drop(one);
    // As if it had been renewed before the clock was set back by an hour.
    let sql = "UPDATE worker SET lease_until = clock_timestamp() + interval '1 h'
                WHERE worker_id = (SELECT min(worker_id) FROM worker)";
    sqlx::query(sql).execute(&pool).await.unwrap();
    await_within_timeout("a poll by the other", listener.accept()).await.unwrap();
    until_workers(&pool, 1).await;
    assert_eq!(other.get("/api/v1/devices/b1").await["state"], "Ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stops_in_order_hands_its_polls_over_at_once() {
    let one = World::new().await;
    let pool = one.database.pool().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let polled = json!({ "poll_url": format!("tcp://{}", listener.local_addr().unwrap()) });
    one.register("b1", polled).await;
    one.force("b1", "Ready").await;
    await_within_timeout("a poll", listener.accept()).await.unwrap();
    let other = one.second_server().await;
    until_workers(&pool, 2).await;
    stop(one).await;
    // No lease has to expire: the poll is requested again as soon as the first process is gone.
    await_within_timeout("a poll", listener.accept()).await.unwrap();
    let device = other.get("/api/v1/devices/b1").await;
    assert_eq!((&device["state"], &device["visit"]), (&json!("Ready"), &json!(2)));
    assert_eq!(count(&pool, AT_WORK).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_while_actions_begin_does_not_wait_for_polls() {
    for _ in 0..5 {
        let world = World::new().await;
        for number in 0..8 {
            world.register(&format!("b{number}"), json!({ "fqdn": "127.0.0.1" })).await;
        }
        let names: Vec<String> = (0..8).map(|number| format!("b{number}")).collect();
        futures_util::future::join_all(names.iter().map(|name| world.force(name, "Ready"))).await;
        let database = Arc::clone(&world.database);
        stop(world).await;
        let pool = database.pool().await;
        assert_eq!(count(&pool, "SELECT count(*) FROM action WHERE status = 'RUNNING'").await, 0);
        assert_eq!(count(&pool, AT_WORK).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stops_ends_a_power_cycle_but_not_the_poll_that_follows_it() {
    let text = include_str!("../../states/board.yaml");
    let both = "invoke: [power-cycle, poll]\n    left_to_deadline: [power-cycle-failed]";
    let world = World::with_definition(&text.replace("invoke: [poll]", both)).await;
    let rack = Rack::new(&world, 1);
    world.register("b1", rack.power_facts(0)).await;
    world.force("b1", "Ready").await;
    rack.until(0, false).await;
    let (clock, database) = (world.clock.clone(), Arc::clone(&world.database));
    pass_time_during("the end of the server", &clock, stop(world)).await;
    assert!(rack.is_on(0));
    let pool = database.pool().await;
    let left =
        sqlx::query_as::<_, (String, String)>("SELECT action, status FROM action").fetch_all(&pool).await;
    assert_eq!(left.unwrap(), [("poll".to_owned(), "WAITING".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_an_expired_lease_releases_its_actions_and_registers_as_a_new_worker() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let polled = json!({ "poll_url": format!("tcp://{}", listener.local_addr().unwrap()) });
    world.register("b1", polled).await;
    world.force("b1", "Ready").await;
    await_within_timeout("a poll", listener.accept()).await.unwrap();
    let first = count(&pool, "SELECT max(worker_id) FROM worker").await;
    sqlx::query("UPDATE worker SET lease_until = clock_timestamp() - interval '1 s'")
        .execute(&pool)
        .await
        .unwrap();
    await_within_timeout("a poll", listener.accept()).await.unwrap();
    wait_until("one new worker", async || {
        let workers =
            sqlx::query_scalar::<_, i64>("SELECT worker_id FROM worker").fetch_all(&pool).await.unwrap();
        workers.len() == 1 && workers[0] > first
    })
    .await;
    assert_eq!(world.get("/api/v1/devices/b1").await["visit"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_broken_under_load_leave_no_partial_changes() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    let racks: Vec<Rack> = (0..4).map(|_| Rack::new(&world, 4)).collect();
    let names: Vec<String> = (0..16).map(|number| format!("b{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        world.register(name, racks[number / 4].power_facts(u16::try_from(number % 4).unwrap())).await;
    }
    let requests = names.iter().map(|name| world.request(name, "rq-reboot", json!({})));
    for (status, answer) in futures_util::future::join_all(requests).await {
        assert_eq!(status, 200, "{answer}");
    }
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'lifeguard'";
    for _ in 0..40 {
        count(&pool, cut).await;
        world.clock.advance(Duration::from_millis(50));
        yield_briefly().await;
    }
    wait_until("every board has been rebooted", async || {
        world.clock.advance(Duration::from_millis(50));
        let rest = "SELECT count(*) FROM instance WHERE state <> 'RebootComplete'";
        count(&pool, rest).await == 0
    })
    .await;
    wait_until("nothing is left to do", async || count(&pool, "SELECT count(*) FROM action").await == 0)
        .await;
    // Each visit has exactly one entry in history.
    let unequal = "SELECT count(*) FROM instance i
                    WHERE visit <> (SELECT count(*) FROM history h
                                     WHERE h.instance_id = i.instance_id AND outcome IS NULL)";
    assert_eq!(count(&pool, unequal).await, 0);
    let database = Arc::clone(&world.database);
    stop(world).await;
    assert_history_gives_instances(&Store::open(database.connect_options()).await.unwrap()).await;
    assert!(racks.iter().all(|rack| (0..4).all(|coil| rack.is_on(coil))), "every board has power");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_open_an_empty_database_concurrently_all_get_the_schema() {
    let database = database().await;
    let pool = database.pool().await;
    sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").execute(&pool).await.unwrap();
    let opened = (0..4).map(|_| Store::open(database.connect_options()));
    for store in futures_util::future::join_all(opened).await {
        store.unwrap().close().await;
    }
    let applied = count(&pool, "SELECT count(*) FROM _sqlx_migrations WHERE success").await;
    assert_eq!(usize::try_from(applied).unwrap(), lifeguard::store::MIGRATOR.iter().count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_without_an_occupied_state_is_refused_with_the_boards_names() {
    let world = World::new().await;
    for (name, state) in [("b1", "FailedBadBoard"), ("b2", "New"), ("b3", "FailedBadBoard")] {
        world.register(name, json!({})).await;
        world.force(name, state).await;
    }
    let text = include_str!("../../states/board.yaml").replace("FailedBadBoard", "FailedBoard");
    assert!(machine::load(&text, lifeguard::boards::vocabulary()).is_ok());
    let states = world.folder.path().join("other.yaml");
    fs_err::write(&states, text).unwrap();
    let refused = start_with(&world, &states).await.err().expect("refused").to_string();
    assert!(refused.contains("b1 in FailedBadBoard, b3 in FailedBadBoard"), "{refused}");
    let pool = world.database.pool().await;
    assert_eq!(
        count(&pool, "SELECT count(*) FROM definition WHERE machine = 'board'").await,
        1,
        "what was refused is not remembered"
    );

    for name in ["b1", "b3"] {
        world.force(name, "New").await;
    }
    start_with(&world, &states).await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_is_removed_when_its_state_loses_its_time_limit() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    world.force("b1", "ReimageBooted").await;
    let limit =
        "    timeout: { after: 60s, target: ReimageRebooting, limit: 10, exceeded: FailedReimageBooted }\n";
    let text = include_str!("../../states/board.yaml").replace(limit, "    resting: true\n");
    let states = world.folder.path().join("other.yaml");
    fs_err::write(&states, text).unwrap();
    let changed = start_with(&world, &states).await.unwrap();
    let pool = world.database.pool().await;
    let (clock, _database) = (world.clock.clone(), Arc::clone(&world.database));
    let _folder = Arc::clone(&world.folder);
    stop(world).await;
    clock.advance(Duration::from_mins(1));
    wait_until("no deadline is armed", async || {
        count(&pool, "SELECT count(*) FROM instance WHERE deadline_at IS NOT NULL").await == 0
    })
    .await;
    assert_eq!(
        count(&pool, "SELECT count(*) FROM instance WHERE state = 'ReimageBooted' AND visit = 2").await,
        1
    );
    changed.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_by_a_killed_process_is_restored_although_the_board_moved_on() {
    let one = World::new().await;
    let pool = one.database.pool().await;
    let rack = Rack::new(&one, 1);
    one.register("b1", rack.power_facts(0)).await;
    assert_eq!(one.request("b1", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;
    let other = one.second_server().await;
    until_workers(&pool, 2).await;
    // Killed between off and on, and moved to a state that switches nothing any more.
    drop(one.server);
    other.force("b1", "LockedOut").await;
    let sql = "UPDATE worker SET lease_until = clock_timestamp() - interval '1 s'
                WHERE worker_id = (SELECT min(worker_id) FROM worker)";
    sqlx::query(sql).execute(&pool).await.unwrap();

    rack.until(0, true).await;
    let is_done = |device: &Value| device["actions"] == json!([]);
    let device = other.until("b1", "nothing is left to do", is_done).await;
    assert_eq!(device["state"], "LockedOut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_moved_to_another_relay_while_queued_waits_there() {
    let world = World::new().await;
    let (busy, free) = (Rack::new(&world, 2), Rack::new(&world, 1));
    world.register("b1", busy.power_facts(0)).await;
    world.register("b2", busy.power_facts(1)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    busy.until(0, false).await;
    assert_eq!(world.request("b2", "rq-reboot", json!({})).await.0, 200);
    world.until("b2", "it waits", |device| device["actions"][0]["status"] == "WAITING").await;

    let rewired = json!({ "power_url": free.power_facts(0)["power_url"] });
    let (status, _) = world.call(reqwest::Method::PATCH, "/api/v1/devices/b2", Some(rewired)).await;
    assert_eq!(status, 200);
    free.until(0, false).await;
    assert!(!busy.is_on(0), "the first board is still in its gap");
}

/// An unreachable address: connecting to a broadcast address is always refused locally.
const NO_WAY: &str = "modbus://255.255.255.255/0?off=50ms";

async fn rewire(world: &World, name: &str, wired: Value) {
    let path = format!("/api/v1/devices/{name}");
    let (status, answer) = world.call(reqwest::Method::PATCH, &path, Some(wired)).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_and_queued_power_cycle_restores_the_power_although_its_state_is_left() {
    let one = World::new().await;
    let pool = one.database.pool().await;
    let rack = Rack::new(&one, 1);
    one.register("b1", rack.power_facts(0)).await;
    assert_eq!(one.request("b1", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;
    let other = one.second_server().await;
    until_workers(&pool, 2).await;
    // Killed between off and on; the process that takes over cannot reach the relay board.
    rewire(&other, "b1", json!({ "power_url": NO_WAY })).await;
    kill(one, &pool).await;
    let is_suspended = |device: &Value| device["actions"][0]["suspended_at"].is_string();
    let device = other.pass_time_until("b1", "its power cycle is suspended", is_suspended).await;
    let action = &device["actions"][0];
    assert_eq!((&action["action"], &action["attempts"]), (&json!("power-cycle"), &json!(1)), "{action}");

    other.force("b1", "LockedOut").await;
    let device = other.get("/api/v1/devices/b1").await;
    assert_eq!(device["actions"][0]["action"], "power-on", "{device:#}");
    let path = "/api/v1/devices/b1";
    let (status, answer) = other.call(reqwest::Method::DELETE, path, None).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &json!("power_owed")), "{answer}");
    // Its power URL is now reachable, and is tried at once.
    rewire(&other, "b1", rack.power_facts(0)).await;
    rack.until(0, true).await;
    let is_done = |device: &Value| device["actions"] == json!([]);
    let device = other.until("b1", "nothing is left to do", is_done).await;
    assert_eq!(device["state"], "LockedOut");
    assert_eq!(rack.switched(1), [(0, false), (0, true)]);
    assert_eq!(other.call(reqwest::Method::DELETE, path, None).await.0, 204);
}
