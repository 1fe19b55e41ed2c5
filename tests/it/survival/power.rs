//! Tests of a power cycle during which servers are killed, or paused for longer than their lease.

use std::path::Path;

use chrono::TimeDelta;
use lifeguard::farm::relay::RelayBoard;
use reqwest::Method;

use super::*;
use crate::database::TestDatabase;

/// One powered board at coil 0 of a relay board that serves many clients.
struct PowerBench {
    database: TestDatabase,
    dir: GuardedDir,
    relay: RelayBoard,
    http: reqwest::Client,
}

impl PowerBench {
    async fn new() -> Self {
        let relay = RelayBoard::start(([127, 0, 0, 1], 0).into(), 8, RelayBehaviour::Normal).unwrap();
        relay.switch(0, true);
        let (database, dir) = (database().await, GuardedDir::new());
        // Without its boot tree a server is not ready, and its boards wait.
        fs_err::create_dir(dir.path().join("boot")).unwrap();
        Self { database, dir, relay, http: reqwest::Client::new() }
    }

    fn serve(&self) -> ServerProcess {
        let boot_root: &Path = &self.dir.path().join("boot");
        let url = format!("--database-url={}", self.database.url());
        ServerProcess::start(&[url, format!("--boot-root={}", boot_root.display())])
    }

    async fn call(&self, server: &ServerProcess, method: Method, path: &str, body: Value) -> Value {
        let url = format!("http://{}/api/v1/{path}", server.http());
        let answer = self.http.request(method, url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    /// Registers the board with this off time, and requests its reboot.
    async fn reboot(&self, server: &ServerProcess, off: &str) {
        let power_url = format!("modbus://{}/0?off={off}", self.relay.addr());
        let board = json!({
            "name": "b1", "mac": "02:00:00:00:00:01", "hardware": "panda", "power_url": power_url,
        });
        self.call(server, Method::POST, "devices", board).await;
        self.call(server, Method::POST, "devices/b1/requests/rq-reboot", json!({})).await;
    }

    async fn until_power(&self, on: bool) {
        wait_until("the power is switched", async || *self.relay.coil(0).borrow() == on).await;
    }

    /// How often the board was switched off, whether it was on or not.
    fn power_off_count(&self) -> usize {
        self.relay.writes().iter().filter(|write| !write.is_on).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeatedly_killed_power_cycle_switches_off_once_and_restores_the_power() {
    let bench = PowerBench::new().await;
    let mut server = bench.serve();
    let pool = bench.database.pool().await;
    bench.reboot(&server, "30s").await;
    bench.until_power(false).await;
    // Each run after the first finds the board off, and would wait for longer than the test does.
    for _ in 0..3 {
        server.kill();
        server = bench.serve();
        wait_until("the next run started, or the power is restored", async || {
            let running = "SELECT count(*) FROM action JOIN worker w USING (worker_id)
                            WHERE status = 'RUNNING' AND w.name = 'pid ' || $1";
            let running = sqlx::query_scalar::<_, i64>(running).bind(i64::from(server.pid()));
            running.fetch_one(&pool).await.unwrap() > 0 || *bench.relay.coil(0).borrow()
        })
        .await;
    }
    // The third run that finds it off restores the power at once.
    bench.until_power(true).await;
    assert_eq!(bench.power_off_count(), 1);
    // A lease that expires on a busy machine interrupts a run too, and is counted.
    let is_end = |entry: &Value| {
        let reason = entry["reason"].as_str().unwrap_or_default();
        reason.starts_with("power cycle interrupted ") && reason.ends_with("power restored, not cycled again")
    };
    wait_until("the end is recorded", async || {
        let history = bench.call(&server, Method::GET, "devices/b1/history", json!({})).await;
        history["history"].as_array().unwrap().iter().any(is_end)
    })
    .await;
    server.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_paused_during_a_cycle_writes_nothing_after_it_resumes() {
    let bench = PowerBench::new().await;
    let [mut stopped, mut other] = [bench.serve(), bench.serve()];
    let pool = bench.database.pool().await;
    // Long enough for a busy machine to find and pause its server meanwhile.
    bench.reboot(&stopped, "6s").await;
    bench.until_power(false).await;
    // Pauses the server that runs the action, whichever it is.
    let holder = "SELECT w.name FROM action JOIN worker w USING (worker_id) WHERE status = 'RUNNING'";
    let holder: String = sqlx::query_scalar(holder).fetch_one(&pool).await.unwrap();
    if holder != format!("pid {}", stopped.pid()) {
        std::mem::swap(&mut stopped, &mut other);
    }
    stopped.pause(Pause::Begins);
    bench.until_power(true).await;
    let path = "devices/b1";
    wait_until("the cycle has ended", async || {
        bench.call(&other, Method::GET, path, json!({})).await["state"] == "RebootComplete"
    })
    .await;
    let written = bench.relay.writes().len();
    assert_eq!((bench.power_off_count(), written), (1, 2));
    let operations = bench.relay.coil_changes();
    let dark = operations[2].at - operations[1].at;
    assert!(dark >= TimeDelta::seconds(6), "{dark}");

    stopped.pause(Pause::Ends);
    wait_until("its connection is closed", async || bench.relay.clients() == 0).await;
    wait_until("it is a worker again", async || {
        let name = format!("pid {}", stopped.pid());
        let alive = "SELECT count(*) FROM worker WHERE name = $1 AND lease_until > clock_timestamp()";
        sqlx::query_scalar::<_, i64>(alive).bind(name).fetch_one(&pool).await.unwrap() == 1
    })
    .await;
    assert_eq!(bench.relay.writes().len(), written, "nothing was written after the lease");
    stopped.terminate();
    other.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manual_power_cycle_whose_server_is_killed_ends_with_the_power_on() {
    let bench = PowerBench::new().await;
    let mut server = bench.serve();
    let url = format!("modbus://{}/0?off=4s", bench.relay.addr());
    let cycle = json!({ "operation": "cycle", "url": url, "timeout_s": 1 });
    let answer = bench.call(&server, Method::POST, "power", cycle).await;
    assert_eq!(answer["outcome"], "pending", "{answer}");
    bench.until_power(false).await;
    server.kill();
    let server = bench.serve();
    bench.until_power(true).await;
    assert_eq!(bench.power_off_count(), 1);
    let path = format!("machines/outlet/{}", answer["instance"].as_str().unwrap());
    wait_until("the cycle has ended", async || {
        bench.call(&server, Method::GET, &path, json!({})).await["state"] == "Idle"
    })
    .await;
    let history = bench.call(&server, Method::GET, &format!("{path}/history"), json!({})).await;
    let ended = |entry: &&Value| entry["event"] == "power-cycle-ok";
    let end = history["history"].as_array().unwrap().iter().find(ended).unwrap();
    // A lease that expires on a busy machine interrupts a run too.
    assert_eq!(end["evidence"]["observed"], "on");
    assert!(end["evidence"]["interrupted"].as_u64().unwrap() >= 1, "{end}");
}
