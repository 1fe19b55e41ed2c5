//! Tests of a database restored to an earlier state: cached data is not trusted any more.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use lifeguard::clock::Clock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::cluster::{TestCluster, as_postgres, bin_dir, run};
use super::proxy::{Proxy, ProxyMode};
use crate::guarded_dir::GuardedDir;
use crate::world::{World, wait_until};

/// The cursor for continuing with changes.
async fn cursor(world: &World) -> String {
    world.get("/api/v1/devices").await["cursor"].as_str().unwrap().to_owned()
}

/// Whether the answer says that the cursor is invalid.
async fn is_gone(world: &World, cursor: &str) -> bool {
    let (status, _) = world.call(Method::GET, &format!("/api/v1/devices?since={cursor}"), None).await;
    status == StatusCode::GONE
}

/// Waits until the server is ready again.
async fn until_ready(world: &World) {
    wait_until("the server is ready", async || {
        world.call(Method::GET, "/readyz", None).await.0 == StatusCode::OK
    })
    .await;
}

/// Moves a board by force. A connection from before a restart of the database may be used once more and end with 503,
/// after which the move may have been made.
async fn force(world: &World, name: &str, to: &str) {
    let path = format!("/api/v1/devices/{name}");
    let before = OnceCell::new();
    wait_until("the board is moved", async || {
        let (status, board) = world.call(Method::GET, &path, None).await;
        if status != StatusCode::OK {
            return false;
        }
        if board["visit"] != *before.get_or_init(|| board["visit"].clone()) {
            return true;
        }
        let body = json!({ "from": board["state"], "to": to, "reason": "the test wants it there" });
        let (status, answer) = world.call(Method::POST, &format!("{path}/force"), Some(body)).await;
        assert!(status == StatusCode::OK || status == StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        status == StatusCode::OK
    })
    .await;
}

/// Advances a board by this many visits.
async fn change_states(world: &World, name: &str, visits: usize) {
    for to in ["LockedOut", "Maintenance"].into_iter().cycle().take(visits) {
        force(world, name, to).await;
    }
}

/// Checks that the server works on the current state: new events are accepted, decided and reported.
async fn assert_lives_on(world: &World, name: &str) {
    // After its deadline its power is to be cycled, which fails soon: it has no power URL.
    world.until(name, "it is at rest", |board| board["state"] != "ReimageRebooting").await;
    let since = cursor(world).await;
    // A state with a time limit; its deadline is loaded again, and fires.
    force(world, name, "ReimageBooting").await;
    let before = world.get(&format!("/api/v1/devices/{name}")).await;
    world.pass_deadline(name).await;
    let changed = world.get(&format!("/api/v1/devices?since={since}")).await;
    assert_eq!(changed["devices"][0]["name"], name, "{changed}");
    let after = world.get(&format!("/api/v1/devices/{name}")).await;
    assert!(after["visit"].as_i64() > before["visit"].as_i64(), "{after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_changes_are_not_cached_after_a_standby_was_promoted() {
    let dir = GuardedDir::new();
    let one = TestCluster::start(&dir.path().join("one"), "").await;
    let proxy = Proxy::start(ProxyMode::Carry(one.socket())).await;
    let world = World::at_url(&proxy.url("lifeguard")).await.unwrap();
    world.register("b1", json!({})).await;
    world.register("b2", json!({})).await;
    // Both have deadlines when the copy is made; the copy does not change from then on.
    world.force("b1", "ReimageBooting").await;
    let two = one.standby(&dir.path().join("two"));
    two.stop();

    change_states(&world, "b1", 6).await;
    change_states(&world, "b2", 3).await;
    world.register("b3", json!({})).await;
    let lost = world.get("/api/v1/devices/b1").await;
    let (status, _) = world.call(Method::GET, "/api/v1/devices/b3", None).await;
    assert_eq!(status, StatusCode::OK);
    let cursor_of_the_lost = cursor(&world).await;

    one.crash();
    proxy.set(ProxyMode::Close);
    two.launch();
    two.promote();
    proxy.set(ProxyMode::Carry(two.socket()));
    until_ready(&world).await;

    assert_eq!(world.state("b1").await, "ReimageBooting", "{lost}");
    let (status, _) = world.call(Method::GET, "/api/v1/devices/b3", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(is_gone(&world, &cursor_of_the_lost).await);
    // Its deadline has a lower visit than the cached one.
    world.pass_deadline("b1").await;
    // As many transactions as were lost, so that their IDs are reused.
    change_states(&world, "b2", 12).await;
    assert!(is_gone(&world, &cursor_of_the_lost).await, "numbers that come back are other changes");
    assert_lives_on(&world, "b1").await;
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_changes_are_not_cached_after_a_dump_was_restored() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    world.register("b2", json!({})).await;
    world.force("b1", "ReimageBooting").await;
    let dump = dump(&world);
    change_states(&world, "b1", 5).await;
    let later = world.get("/api/v1/devices/b1").await;
    let cursor_of_later = cursor(&world).await;
    world.register("b3", json!({})).await;

    restore(&world, &dump);
    wait_until("the server has noticed", async || {
        let (status, device) = world.call(Method::GET, "/api/v1/devices/b1", None).await;
        status == StatusCode::OK
            && device["state"] == "ReimageBooting"
            && is_gone(&world, &cursor_of_later).await
    })
    .await;
    until_ready(&world).await;
    assert_ne!(later["visit"], world.get("/api/v1/devices/b1").await["visit"]);
    world.pass_deadline("b1").await;
    change_states(&world, "b2", 12).await;
    assert!(is_gone(&world, &cursor_of_later).await);
    assert_lives_on(&world, "b1").await;
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_tag_of_a_lost_change_is_not_accepted() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let tag = async || {
        let url = format!("http://{}/api/v1/machines/board/b1", world.server.http);
        let answer = reqwest::get(url).await.unwrap();
        answer.headers()["etag"].to_str().unwrap().to_owned()
    };
    let before = tag().await;
    assert_eq!(before, tag().await);
    // Only the database's life differs: the row, its version and its visit are the same.
    let pool = world.database.pool().await;
    sqlx::query("UPDATE database_life SET life = life").execute(&pool).await.unwrap();
    wait_until("the server has noticed", async || tag().await != before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_registration_was_lost_registers_again() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    let workers = async || {
        let ids = sqlx::query_scalar::<_, i64>("SELECT worker_id FROM worker ORDER BY 1");
        ids.fetch_all(&pool).await.unwrap()
    };
    wait_until("there is one", async || workers().await.len() == 1).await;
    let before = workers().await;
    sqlx::query("UPDATE database_life SET life = life").execute(&pool).await.unwrap();
    wait_until("it is another one", async || workers().await.iter().any(|id| !before.contains(id))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_each_of_two_servers_reloads_every_deadline() {
    let one = World::new().await;
    let other = one.second_server().await;
    one.register("b1", json!({})).await;
    one.register("b2", json!({})).await;
    one.force("b1", "ReimageBooting").await;
    let dump = dump(&one);
    change_states(&one, "b1", 3).await;
    let cursor_of_later = cursor(&one).await;
    restore(&one, &dump);
    // The first server that notices writes, and the other may be notified before it notices itself.
    for world in [&one, &other] {
        wait_until("the server has noticed", async || {
            let (status, device) = world.call(Method::GET, "/api/v1/devices/b1", None).await;
            status == StatusCode::OK
                && device["state"] == "ReimageBooting"
                && is_gone(world, &cursor_of_later).await
        })
        .await;
        until_ready(world).await;
        change_states(world, "b2", 2).await;
    }
    one.server.stop().await.unwrap();
    other.pass_deadline("b1").await;
    other.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_a_life_may_wait_for_a_lock_longer_than_the_connection_timeout() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let pool = world.database.pool().await;
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE change IN ROW EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    sqlx::query("UPDATE database_life SET life = life").execute(&pool).await.unwrap();
    let waits_long = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'
                         AND query LIKE 'LOCK TABLE database_life%' AND clock_timestamp() - query_start > interval '4 s'";
    wait_until("it waits for longer", async || {
        sqlx::query_scalar::<_, i64>(waits_long).fetch_one(&pool).await.unwrap() > 0
    })
    .await;
    // No other request waits for it: by our limits 3.5 s in total, the rest is for a busy machine.
    let started = Instant::now();
    wait_until("the others are notified", async || {
        let (status, answer) = world.call(Method::GET, "/api/v1/devices/b1", None).await;
        status == StatusCode::SERVICE_UNAVAILABLE && answer["cause"] == "silent"
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    lock.rollback().await.unwrap();
    until_ready(&world).await;
    world.force("b1", "LockedOut").await;
}

/// Dumps the world's database into a file in its directory.
fn dump(world: &World) -> std::path::PathBuf {
    let file = world.folder.path().join("dump");
    let options = world.database.connect_options();
    let mut command = std::process::Command::new(bin_dir().join("pg_dump"));
    command.args(["-Fc", "-f"]).arg(&file).args(connection_args(&options));
    run(&mut command);
    file
}

/// Restores it over the current database.
fn restore(world: &World, dump: &std::path::Path) {
    let options = world.database.connect_options();
    let mut command = std::process::Command::new(bin_dir().join("pg_restore"));
    command
        .args(["--clean", "--if-exists", "--single-transaction"])
        .args(connection_args(&options))
        .arg(dump);
    // It locks tables in another order than the server does, and may be aborted.
    loop {
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return;
        }
        assert!(stderr.contains("deadlock detected"), "{stderr}");
    }
}

fn connection_args(options: &sqlx::postgres::PgConnectOptions) -> Vec<String> {
    let host =
        options.get_socket().map_or(options.get_host().to_owned(), |socket| socket.display().to_string());
    let database = options.get_database().unwrap().to_owned();
    let port = options.get_port().to_string();
    vec![
        "-h".into(),
        host,
        "-p".into(),
        port,
        "-U".into(),
        options.get_username().into(),
        "-d".into(),
        database,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_older_files_is_another_life() {
    let dir = GuardedDir::new();
    let one = TestCluster::start(&dir.path().join("one"), "").await;
    let world = World::at_url(&one.url()).await.unwrap();
    world.register("b1", json!({})).await;
    let data = dir.path().join("one/postgres");
    // A copy of the files while nothing is written; its log ends earlier.
    one.stop();
    let copy = dir.path().join("copy");
    super::cluster::own_dir(&copy);
    run(as_postgres("cp".as_ref()).arg("-a").arg(&data).arg(&copy));
    one.launch();
    until_ready(&world).await;
    change_states(&world, "b1", 6).await;
    let cursor_of_later = cursor(&world).await;
    // The pulse has read the position of the log.
    world.clock.sleep(Duration::ZERO).await;
    until_ready(&world).await;
    let life = world.server.engine.store().life();
    one.stop();
    fs_err::remove_dir_all(&data).unwrap();
    fs_err::rename(copy.join("postgres"), &data).unwrap();
    one.launch();
    until_ready(&world).await;
    assert!(world.server.engine.store().life() > life, "it is known to be another life");
    assert_eq!(world.get("/api/v1/devices/b1").await["visit"], Value::from(1));
    assert!(is_gone(&world, &cursor_of_later).await);
    assert_lives_on(&world, "b1").await;
    world.server.stop().await.unwrap();
}
