//! Tests of servers with stepped wall clocks: `faketime` changes their wall clock and nothing else.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use lifeguard::store::{Store, workers};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::database::{TestDatabase, database};
use crate::foreign_programs;
use crate::server_process::{Pause, ServerProcess};
use crate::world::{wait_until, yield_briefly};

/// A state with a time limit of five seconds, and one without.
const TIMER: &str = "
machine: timer
initial: Resting
events:
  wind: { from: operator, about: run for five seconds }
states:
  Resting: { resting: true, on: { wind: Running } }
  Running:
    timeout: { after: 5s, target: Resting }
    on: { wind: Running }
";
/// The time limit.
const SPAN: Duration = Duration::from_secs(5);
/// Tolerance for the server and the test on a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// A server whose wall clock is set by the test.
struct SteppedServer {
    process: ServerProcess,
    offset: PathBuf,
    _folder: TempDir,
    http: reqwest::Client,
}

impl SteppedServer {
    /// Starts a server whose wall clock is off by `offset`; `None` if the library is missing.
    async fn start(database: &TestDatabase, offset: &str) -> Option<Self> {
        let library = foreign_programs::library("faketime/libfaketime.so.1", "libfaketime")?;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("offset");
        fs_err::write(&file, offset).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
        command.args(["serve", "--database-url", &database.url(), "--boot-root"]).arg(folder.path());
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &file);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let process = tokio::task::spawn_blocking(|| ServerProcess::run(command)).await.unwrap();
        let process = process.unwrap_or_else(|log| panic!("the server did not start:\n{log}"));
        Some(Self { process, offset: file, _folder: folder, http: reqwest::Client::new() })
    }

    /// Sets its wall clock.
    fn set(&self, offset: &str) {
        // Atomically: the library reads the file for each query of the time.
        let new = self.offset.with_extension("new");
        fs_err::write(&new, offset).unwrap();
        fs_err::rename(&new, &self.offset).unwrap();
    }

    async fn call(&self, method: Method, path: &str, body: &'static str) -> Value {
        let url = format!("http://{}/api/v1/machines/timer{path}", self.process.http());
        let answer = self.http.request(method, url).body(body).send().await.unwrap();
        let (status, answer) = (answer.status(), answer.bytes().await.unwrap());
        assert!(status == StatusCode::OK || status == StatusCode::CREATED, "{path}: {status} {answer:?}");
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    /// Winds the timer and returns how long it ran by this process's clock. Meanwhile the server is kept
    /// awake by other events, because it checks for due deadlines whenever it takes events from its queue.
    async fn measure(&self, after_winding: impl FnOnce()) -> Duration {
        self.call(Method::POST, "/egg/events/wind", "").await;
        let wound_at = Instant::now();
        after_winding();
        while self.call(Method::GET, "/egg", "").await["state"] == "Running" {
            assert!(wound_at.elapsed() < 4 * SPAN, "it runs on and on");
            self.call(Method::POST, "/other/events/wind", "").await;
            yield_briefly().await;
        }
        wound_at.elapsed()
    }
}

fn is_right(span: Duration) -> bool {
    (SPAN.mul_f64(0.9)..SPAN + SLACK).contains(&span)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_the_wall_clock_fires_deadlines_neither_early_nor_late() {
    let database = database().await;
    let Some(server) = SteppedServer::start(&database, "+0").await else { return };
    server.call(Method::PUT, "", TIMER).await;
    for name in ["/egg", "/other"] {
        server.call(Method::PUT, name, "").await;
    }
    let forward = server.measure(|| server.set("+1h")).await;
    assert!(is_right(forward), "put forward: {forward:?}");
    let back = server.measure(|| server.set("+0")).await;
    assert!(is_right(back), "put back: {back:?}");

    // Both steps are in the history of what ran meanwhile.
    let history = server.call(Method::GET, "/egg/history", "").await;
    let steps =
        history["history"].as_array().unwrap().iter().filter(|entry| entry["event"] == "clock-stepped");
    let steps: Vec<f64> = steps.map(|entry| entry["evidence"]["step_s"].as_f64().unwrap().round()).collect();
    assert_eq!(steps, [-3600.0, 3600.0], "the newest first: {history:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_different_clock_uses_the_time_of_its_peers() {
    let database = database().await;
    let Some(one) = SteppedServer::start(&database, "+0").await else { return };
    one.call(Method::PUT, "", TIMER).await;
    for name in ["/egg", "/other"] {
        one.call(Method::PUT, name, "").await;
    }
    let fast = SteppedServer::start(&database, "+2h").await.unwrap();
    let slow = SteppedServer::start(&database, "-2h").await.unwrap();
    for server in [&one, &fast, &slow] {
        let span = server.measure(|| ()).await;
        assert!(is_right(span), "{span:?}");
    }
    // Also if the longest-running one is gone.
    drop(one);
    for server in [&fast, &slow] {
        let span = server.measure(|| ()).await;
        assert!(is_right(span), "{span:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_started_while_its_peers_were_unreachable_takes_over_their_time() {
    let database = database().await;
    let Some(one) = SteppedServer::start(&database, "+0").await else { return };
    one.call(Method::PUT, "", TIMER).await;
    for name in ["/egg", "/other"] {
        one.call(Method::PUT, name, "").await;
    }
    // As after a database outage that lost the list of servers.
    one.process.pause(Pause::Begins);
    let pool = database.pool().await;
    sqlx::query("DELETE FROM worker").execute(&pool).await.unwrap();
    let fast = SteppedServer::start(&database, "+2h").await.unwrap();
    let offsets = || async {
        let sql = "SELECT clock_offset_s FROM worker WHERE clock_offset_s IS NOT NULL";
        sqlx::query_scalar::<_, f64>(sql).fetch_all(&pool).await.unwrap()
    };
    wait_until("the fast one tells its time", async || offsets().await.iter().any(|offset| *offset > 7000.0))
        .await;
    one.process.pause(Pause::Ends);
    wait_until("both have the same time", async || {
        let offsets = offsets().await;
        offsets.len() == 2 && offsets.iter().all(|offset| offset.abs() < 60.0)
    })
    .await;
    for server in [&one, &fast] {
        let span = server.measure(|| ()).await;
        assert!(is_right(span), "{span:?}");
    }
}

#[tokio::test]
async fn a_starting_server_uses_the_time_of_the_longest_running_peer() {
    let database = database().await;
    let store = Store::open(database.connect_options()).await.unwrap();
    // The longest-running server lost the database and registered again.
    let sql = "INSERT INTO worker (name, lease_until, clock_offset_s, uptime_s)
               SELECT 'one', clock_timestamp() + interval '1 s', offset_s, uptime_s
                 FROM (VALUES (7200, 5), (0, NULL), (-3600, 600), (1800, 60)) AS server (offset_s, uptime_s)";
    let pool = database.pool().await;
    sqlx::query(sql).execute(&pool).await.unwrap();
    let time = workers::find_farm_time(&mut store.reader().await.unwrap()).await.unwrap().unwrap();
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await.unwrap();
    let ahead = time - now;
    assert!((ahead + TimeDelta::hours(1)).abs() < TimeDelta::minutes(10), "{ahead}");
}
