//! Tests of unresponsive databases: every wait is bounded and reports its cause.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::cluster::TestCluster;
use super::proxy::{Proxy, ProxyMode};
use crate::guarded_dir::GuardedDir;
use crate::rack::Rack;
use crate::world::{WAIT_TIMEOUT, World, await_within_timeout, until_lock_waiters, wait_until};

/// Requests that wait for the database in all possible ways.
fn questions() -> Vec<(Method, &'static str, Option<Value>)> {
    let new = json!({ "name": "b9", "mac": "02:00:00:00:00:09", "hardware": "panda" });
    vec![
        (Method::GET, "/api/v1/devices", None),
        (Method::GET, "/api/v1/devices/b1", None),
        (Method::GET, "/api/v1/devices/b1/history", None),
        (Method::GET, "/api/v1/devices/b1/why", None),
        (Method::GET, "/api/v1/states", None),
        (Method::GET, "/api/v1/images", None),
        (Method::GET, "/api/v1/machines/board/b1?wait=1m", None),
        (Method::GET, "/", None),
        (Method::GET, "/readyz", None),
        (Method::POST, "/api/v1/devices", Some(new)),
        (Method::PATCH, "/api/v1/devices/b1", Some(json!({ "comments": "c" }))),
        (Method::POST, "/api/v1/devices/b1/events/image-running", None),
        (Method::POST, "/api/v1/devices/b1/requests/rq-reboot", None),
    ]
}

async fn cluster(dir: &GuardedDir) -> (TestCluster, Proxy, World) {
    let cluster = TestCluster::start(&dir.path().join("one"), "").await;
    let proxy = Proxy::start(ProxyMode::Carry(cluster.socket())).await;
    let world = World::at_url(&proxy.url("lifeguard")).await.unwrap();
    world.register("b1", json!({})).await;
    (cluster, proxy, world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_an_unresponsive_database_end_with_a_cause() {
    let dir = GuardedDir::new();
    let (cluster, proxy, world) = cluster(&dir).await;
    proxy.set(ProxyMode::Silent);
    let started = Instant::now();
    let asked = questions().into_iter().map(|(method, path, body)| {
        let world = &world;
        async move { (path, world.call(method, path, body).await, started.elapsed()) }
    });
    for (path, (status, answer), took) in
        await_within_timeout("all answers", futures_util::future::join_all(asked)).await
    {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer}");
        // 3.5 s by our limits; the rest is for a machine busy with other tests.
        assert!(took < Duration::from_secs(10), "{path} took {took:?}");
        if path != "/" {
            // On a slow machine a request may have waited for a connection for longer than usual.
            assert!(answer["cause"] == "silent" || answer["cause"] == "busy", "{path}: {answer}");
        }
    }
    // Once the outage is known, requests do not wait at all.
    let started = Instant::now();
    let (status, _) = world.call(Method::GET, "/api/v1/devices/b1", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());

    proxy.set(ProxyMode::Carry(cluster.socket()));
    wait_until("the server is ready", async || {
        world.call(Method::GET, "/readyz", None).await.0 == StatusCode::OK
    })
    .await;
    world.force("b1", "LockedOut").await;
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_request_ends_when_the_database_becomes_unresponsive() {
    let dir = GuardedDir::new();
    let (cluster, proxy, world) = cluster(&dir).await;
    let pool = cluster.pool("lifeguard").await;
    let mut held = pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE instance, device IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let paths = [
        "/api/v1/devices/b1",
        "/api/v1/devices/b1/history",
        "/api/v1/devices/b1/why",
        "/api/v1/machines/board/b1",
    ];
    let is_silent = Cell::new(false);
    let asked = paths.map(async |path| {
        loop {
            let started = Instant::now();
            let (status, answer) = world.call(Method::GET, path, None).await;
            let took = started.elapsed();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer}");
            assert!(took < Duration::from_secs(10), "{path} took {took:?}");
            // The lock timeout of 2 s may pass before all four wait; such a request is sent again. The answer to a lock
            // timeout has no cause.
            if is_silent.get() && !answer["cause"].is_null() {
                break;
            }
        }
    });
    tokio::join!(await_within_timeout("all answers", futures_util::future::join_all(asked)), async {
        // Their statements are running, and the database's answers do not arrive any more.
        until_lock_waiters(&pool, 4).await;
        proxy.set(ProxyMode::Silent);
        is_silent.set(true);
    });
    held.rollback().await.unwrap();
    proxy.set(ProxyMode::Carry(cluster.socket()));
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_a_backend_is_an_outage_not_an_internal_error() {
    let dir = GuardedDir::new();
    let (cluster, proxy, world) = cluster(&dir).await;
    for mode in [ProxyMode::Close, ProxyMode::Foreign] {
        proxy.set(mode);
        for (method, path, body) in questions() {
            let (status, answer) = await_within_timeout(path, world.call(method, path, body)).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer}");
            if path != "/" {
                assert_eq!(answer["cause"], "disconnected", "{path}: {answer}");
            }
        }
        proxy.set(ProxyMode::Carry(cluster.socket()));
        wait_until("the server is ready", async || {
            world.call(Method::GET, "/readyz", None).await.0 == StatusCode::OK
        })
        .await;
    }
    world.force("b1", "LockedOut").await;
    world.server.stop().await.unwrap();
}

/// A starting server, killed on drop.
struct StartingServer {
    child: Child,
    /// Its log lines.
    log: Receiver<String>,
}

impl Drop for StartingServer {
    fn drop(&mut self) {
        // It may have exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl StartingServer {
    /// Starts a server process.
    fn at(url: &str, folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--database-url", url]);
        command.arg("--boot-root").arg(folder).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log }
    }

    /// Reads its log until `message`.
    fn until_says(&self, message: &str) -> Value {
        let mut read = String::new();
        loop {
            let Ok(line) = self.log.recv_timeout(WAIT_TIMEOUT) else {
                panic!("it did not say {message:?}:\n{read}");
            };
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["fields"]["message"] == message {
                return event;
            }
            read.push_str(&line);
            read.push('\n');
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_reports_an_unresponsive_database_and_can_be_stopped() {
    let proxy = Proxy::start(ProxyMode::Silent).await;
    let folder = tempfile::tempdir().unwrap();
    let (url, path) = (proxy.url("lifeguard"), folder.path().to_owned());
    let ended = tokio::task::spawn_blocking(move || {
        let mut server = StartingServer::at(&url, &path);
        let event = server.until_says("waiting for the database");
        kill(Pid::from_raw(i32::try_from(server.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let asked = Instant::now();
        server.until_says("stopped during start");
        (event, server.child.wait().unwrap(), asked.elapsed())
    });
    let (event, status, took) = await_within_timeout("the end of the server", ended).await.unwrap();
    assert_eq!(event["fields"]["cause"], "silent", "{event}");
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_waited_serves_once_the_database_answers() {
    let dir = GuardedDir::new();
    let cluster = TestCluster::start(&dir.path().join("one"), "").await;
    let proxy = Proxy::start(ProxyMode::Close).await;
    let folder = tempfile::tempdir().unwrap();
    let (url, path) = (proxy.url("lifeguard"), folder.path().to_owned());
    let (sender, received) = tokio::sync::oneshot::channel();
    let served = tokio::task::spawn_blocking(move || {
        let server = StartingServer::at(&url, &path);
        server.until_says("waiting for the database");
        sender.send(()).unwrap();
        server.until_says("serving");
    });
    await_within_timeout("it says that it waits", received).await.unwrap();
    proxy.set(ProxyMode::Carry(cluster.socket()));
    await_within_timeout("it serves", served).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_start_and_a_stop_ends_although_open_connections_hang() {
    let dir = GuardedDir::new();
    let (cluster, proxy, world) = cluster(&dir).await;
    let rack = Rack::new(&world, 1);
    world.register("b2", rack.slow_power_facts(0)).await;
    let pool = cluster.pool("lifeguard").await;
    // The tasks that look for actions to start and for lost ones are waiting for an answer then.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE action IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    until_lock_waiters(&pool, 2).await;
    proxy.set(ProxyMode::Forget(cluster.socket()));
    lock.rollback().await.unwrap();
    wait_until("a request is taken", async || {
        world.request("b2", "rq-reboot", json!({})).await.0 == StatusCode::OK
    })
    .await;
    rack.until(0, false).await;
    await_within_timeout("the end of the server", async {
        let stopped = world.server.stop();
        crate::world::pass_time_during("the end of the server", &world.clock, stopped).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answering_host_of_several_unresponsive_ones_is_used() {
    let dir = GuardedDir::new();
    let cluster = TestCluster::start(&dir.path().join("one"), "").await;
    let (mute, dead) = (Proxy::start(ProxyMode::Silent).await, Proxy::start(ProxyMode::Silent).await);
    let carries = Proxy::start(ProxyMode::Carry(cluster.socket())).await;
    let hosts = [&mute, &dead, &carries].map(Proxy::address).map(|address| address.to_string()).join(",");
    let url = format!("postgresql://lifeguard@{hosts}/lifeguard?sslmode=disable&connect_timeout=1");
    let world = await_within_timeout("a start", Box::pin(World::at_url(&url))).await.unwrap();
    world.register("b1", json!({})).await;
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_while_the_database_has_too_few_connections() {
    let dir = GuardedDir::new();
    let cluster = TestCluster::start(&dir.path().join("one"), "").await;
    let pool = cluster.pool("lifeguard").await;
    // Enough to create the schema, but not for the connections that events need.
    let few = "CREATE ROLE few LOGIN CONNECTION LIMIT 2; ALTER DATABASE lifeguard OWNER TO few";
    sqlx::raw_sql(few).execute(&pool).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (url, path) = (cluster.url().replace("lifeguard@", "few@"), folder.path().to_owned());
    let (sender, received) = tokio::sync::oneshot::channel();
    let served = tokio::task::spawn_blocking(move || {
        let server = StartingServer::at(&url, &path);
        let event = server.until_says("waiting for the database");
        sender.send(event).unwrap();
        server.until_says("serving");
    });
    let event = await_within_timeout("it says that it waits", received).await.unwrap();
    assert_eq!(event["fields"]["cause"], "too_many_connections", "{event}");
    sqlx::raw_sql("ALTER ROLE few CONNECTION LIMIT -1").execute(&pool).await.unwrap();
    await_within_timeout("it serves", served).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unresolvable_host_name_is_reported_as_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let sender = tokio::task::spawn_blocking(move || {
        StartingServer::at("postgresql://lifeguard@nowhere.invalid/lifeguard", &path)
            .until_says("waiting for the database")
    });
    let event = await_within_timeout("it says that it waits", sender).await.unwrap();
    assert_eq!(event["fields"]["cause"], "host_unknown", "{event}");
}
