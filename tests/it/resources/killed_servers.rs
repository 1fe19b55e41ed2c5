//! Test of servers killed while they grant resources: usage never exceeds capacity, and all units are released.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use axum::Router;
use axum::routing::post;
use reqwest::Client;
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::watch::{self, Receiver};
use tokio::task::JoinSet;

use crate::database::database;
use crate::server_process::ServerProcess;
use crate::world::{wait_until, yield_briefly};

const JOBS: usize = 12;
const CAPACITY: i64 = 3;

const JOB: &str = "\
machine: job
initial: Idle
resources: { slot: 3 }
events: { go: { from: operator, about: it is to be done } }
states:
  Idle: { about: nothing is to be done, resting: true, on: { go: Working } }
  Working:
    about: somebody is told
    hold: { slot: 1 }
    invoke: { action: notify, with: { url: URL } }
    timeout: { after: 10m, target: FailedWorking }
    on: { notify-ok: Resting, notify-failed: FailedWorking }
  Resting:
    about: it is over, but a slot is kept for a moment
    hold: { slot: 1 }
    timeout: { after: 100ms, target: Idle }
  FailedWorking: { about: nobody could be told, on: { go: Working } }
";

/// The number of concurrent notifications, and its maximum.
#[derive(Default)]
struct OpenRequestCount {
    now: AtomicI64,
    max: AtomicI64,
}

struct OpenRequest(Arc<OpenRequestCount>);

impl OpenRequest {
    fn begin(open_requests: &Arc<OpenRequestCount>) -> Self {
        let now = open_requests.now.fetch_add(1, Ordering::SeqCst) + 1;
        open_requests.max.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(open_requests))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The receiver of notifications while `serving` lasts; it answers when allowed.
async fn listener(
    open_requests: &Arc<OpenRequestCount>,
    may_answer: Receiver<bool>,
    serving: &mut JoinSet<()>,
) -> String {
    let open_requests = Arc::clone(open_requests);
    let answer = move || {
        let open_request = OpenRequest::begin(&open_requests);
        let mut may_answer = may_answer.clone();
        async move {
            may_answer.wait_for(|may| *may).await.unwrap();
            drop(open_request);
            "done"
        }
    };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    serving.spawn(async move { axum::serve(socket, Router::new().route("/", post(answer))).await.unwrap() });
    url
}

/// Observes the usage until `is_over`; returns the maximum.
async fn look_on(pool: PgPool, is_over: Arc<AtomicBool>) -> i64 {
    let mut max = 0;
    while !is_over.load(Ordering::SeqCst) {
        let sql = "SELECT coalesce(sum(units), 0)::bigint FROM resource_use() WHERE name = 'slot'";
        let in_use: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
        assert!(in_use <= CAPACITY, "{in_use} are in use, of which there are {CAPACITY}");
        max = max.max(in_use);
        yield_briefly().await;
    }
    max
}

async fn state(http: &Client, base: &str, job: usize) -> Option<String> {
    let shown: Value = http.get(format!("{base}/job/j{job}")).send().await.ok()?.json().await.ok()?;
    shown["state"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_servers_never_exceed_capacity_and_lose_nothing() {
    let database = database().await;
    let options = || vec!["--database-url".to_owned(), database.url()];
    let (http, open_requests) = (Client::new(), Arc::new(OpenRequestCount::default()));
    let (mut serving, mut watching) = (JoinSet::new(), JoinSet::new());
    let mut servers = [ServerProcess::start(&options()), ServerProcess::start(&options())];
    let base = |server: &ServerProcess| format!("http://{}/api/v1/machines", server.http());
    let (answers, may_answer) = watch::channel(false);
    let job = JOB.replace("URL", &listener(&open_requests, may_answer, &mut serving).await);
    let loaded = http.put(format!("{}/job", base(&servers[0]))).body(job).send().await.unwrap();
    let status = loaded.status();
    assert_eq!(status, 200, "{}", loaded.text().await.unwrap());
    for number in 0..JOBS {
        let made = http.put(format!("{}/job/j{number}", base(&servers[0]))).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
    let other = base(&servers[1]);
    wait_until("the other server knows the machine", async || state(&http, &other, 0).await.is_some()).await;
    let is_over = Arc::new(AtomicBool::new(false));
    watching.spawn(look_on(database.pool().await, Arc::clone(&is_over)));
    for round in 0..4 {
        let (killed, other) = (round % 2, base(&servers[1 - round % 2]));
        for number in 0..JOBS {
            let url = format!("{other}/job/j{number}/events/go");
            assert_eq!(http.post(url).send().await.unwrap().status(), 200);
        }
        // Some notifications are running, others are queued.
        wait_until("all of it is in use", async || open_requests.now.load(Ordering::SeqCst) == CAPACITY)
            .await;
        servers[killed].kill();
        answers.send_replace(true);
        for number in 0..JOBS {
            wait_until("a job is over", async || {
                state(&http, &other, number).await.as_deref() == Some("Idle")
            })
            .await;
        }
        answers.send_replace(false);
        servers[killed] = ServerProcess::start(&options());
    }
    is_over.store(true, Ordering::SeqCst);
    assert_eq!(watching.join_next().await.unwrap().unwrap(), CAPACITY, "all of it was in use at some time");
    assert_eq!(open_requests.max.load(Ordering::SeqCst), CAPACITY);
    let pool = database.pool().await;
    for left in
        ["SELECT count(*) FROM action", "SELECT count(*) FROM hold", "SELECT count(*) FROM resource_use()"]
    {
        let left_over: i64 = sqlx::query_scalar(left).fetch_one(&pool).await.unwrap();
        assert_eq!(left_over, 0, "{left}");
    }
    for mut server in servers {
        server.terminate();
    }
}
