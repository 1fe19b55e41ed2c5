//! Tests of `kill -9`: server processes, boards and relay boards on real sockets, in real time.
//!
//! The boards are fast, so that a lifecycle takes a second; the requirements on the servers are those of the contract.

mod definition_change;
mod forwarder;
mod history;
mod power;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm::relay::RelayBehaviour;
use lifeguard::farm::{self, BoardTimings, FarmOptions, SimulatedFarm};
use lifeguard::tftp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::database::{TestDatabase, database};
use crate::guarded_dir::GuardedDir;
use crate::server_process::{self, Pause, ServerProcess};
use crate::world::{wait_until, yield_briefly};
use forwarder::Forwarder;

/// How long a farm may take to come to rest, in real time: a power cycle that failed on a busy machine is retried after
/// a minute, possibly twice.
const READY_TIMEOUT: Duration = Duration::from_mins(3);

/// A farm with a forwarder to one or more servers, and an operator.
struct SurvivalScene {
    farm: SimulatedFarm,
    road: Forwarder,
    http: reqwest::Client,
    tasks: JoinSet<()>,
}

impl SurvivalScene {
    /// Starts a farm of `boards` that boot from `boot_root`, and registers them through the forwarder.
    async fn new(boards: u16, boot_root: &Path, server: &ServerProcess) -> Self {
        let road = Forwarder::to(server.http()).await;
        let mut tasks = JoinSet::new();
        let listen = ([127, 0, 0, 1], 0).into();
        let tftp =
            tftp::TftpServer::bind(listen, boot_root.to_owned(), Arc::new(SilentObserver)).await.unwrap();
        let tftp_at = tftp.local_addr();
        tasks.spawn(tftp.run(CancellationToken::new()));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let quick = Duration::from_millis(200);
        let times = BoardTimings {
            firmware: quick,
            boot: Duration::from_secs(1),
            live: quick,
            install: quick,
            retry_after: quick,
            ..BoardTimings::default()
        };
        let options = FarmOptions {
            boards,
            timings: times,
            ..FarmOptions::new(clock, format!("http://{}", road.address()), tftp_at)
        };
        let scene =
            Self { farm: SimulatedFarm::start(&options).unwrap(), road, http: reqwest::Client::new(), tasks };
        scene.register().await;
        scene
    }

    async fn register(&self) {
        for image in farm::IMAGES {
            let configs =
                farm::HARDWARE_TYPES.map(|hardware| (hardware, farm::boot_config_name(image, hardware)));
            let body = json!({ "boot_configs": BTreeMap::from(configs) });
            let url = self.url(&format!("images/{image}"));
            assert!(self.http.put(url).json(&body).send().await.unwrap().status().is_success());
        }
        for board in self.farm.boards().map(farm::SimulatedBoard::registration) {
            let body = json!({
                "name": board.name, "fqdn": board.fqdn, "mac": board.mac, "hardware": board.hardware,
                "power_url": board.power_url.replace("off=2s", "off=50ms"), "poll_url": board.poll_url,
            });
            let answer = self.http.post(self.url("devices")).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.road.address())
    }

    /// Repeats a request until it is acknowledged; returns the number of 503 answers.
    async fn request(&self, board: &str, request: &str, body: &Value) -> usize {
        let url = self.url(&format!("devices/{board}/requests/{request}"));
        let mut put_off = 0;
        let give_up_at = Instant::now() + READY_TIMEOUT;
        loop {
            assert!(Instant::now() < give_up_at, "{board}: {request} is put off again and again");
            match self.http.post(&url).json(body).send().await {
                Ok(answer) if answer.status() == StatusCode::OK => return put_off,
                // It may have become durable without an answer.
                Ok(answer) if answer.status() == StatusCode::CONFLICT && put_off > 0 => return put_off,
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    assert_eq!(answer.headers()["retry-after"], "1");
                    put_off += 1;
                }
                Ok(answer) => panic!("{board}: {request}: {}", answer.text().await.unwrap()),
                Err(_) => put_off += 1,
            }
            yield_briefly().await;
        }
    }

    async fn request_all(&self, request: &str, body: &Value) {
        for board in self.farm.boards() {
            self.request(&board.registration().name, request, body).await;
        }
    }

    /// Sets the behaviour of some relay boards, each with eight boards.
    fn set_relays(&self, relays: Range<usize>, behaviour: RelayBehaviour) {
        for index in relays {
            self.farm.relay(index).unwrap().set_behaviour(behaviour);
        }
    }

    /// The number of boards in each state; `None` while no server answers.
    async fn states(&self) -> Option<BTreeMap<String, usize>> {
        let answer: Value = self.http.get(self.url("devices")).send().await.ok()?.json().await.ok()?;
        let mut states = BTreeMap::new();
        for device in answer["devices"].as_array()? {
            *states.entry(device["state"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        Some(states)
    }

    /// Waits until this many boards are Ready.
    async fn until_ready(&self, wanted: impl Fn(usize) -> bool) {
        let give_up_at = Instant::now() + READY_TIMEOUT;
        loop {
            let states = self.states().await;
            if states.as_ref().is_some_and(|states| wanted(states.get("Ready").copied().unwrap_or(0))) {
                return;
            }
            assert!(Instant::now() < give_up_at, "the farm does not come to rest: {states:?}");
            yield_briefly().await;
        }
    }

    /// Stops the farm, so that no more reports are sent.
    async fn end(mut self) -> Vec<history::Hardware> {
        let hardware = history::Hardware::of(&self.farm);
        self.farm.stop().await;
        self.tasks.shutdown().await;
        hardware
    }
}

struct SilentObserver;

impl tftp::TftpObserver for SilentObserver {
    fn on_request(&self, _: &tftp::TftpFetch) {}
    fn on_end(&self, _: &tftp::TftpFetch, _: tftp::TransferEnd) {}
    fn on_drop(&self, _: &tftp::TftpFetch) {}
}

/// Options of a server with its own private PostgreSQL below `dir`.
fn private_postgres_options(dir: &GuardedDir) -> Vec<String> {
    vec!["--data-dir".to_owned(), dir.path().join("data").display().to_string()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_during_a_hundred_reboots_continues_after_a_restart() {
    let dir = GuardedDir::new();
    let boot_root = dir.path().join("data/boot");
    let mut server = ServerProcess::start(&private_postgres_options(&dir));
    farm::write_boot_tree(&boot_root).unwrap();
    let scene = SurvivalScene::new(100, &boot_root, &server).await;
    // Two relay boards hang until the second server is ready: the first is killed while their boards reboot.
    scene.set_relays(0..2, RelayBehaviour::Hanging);
    scene.request_all("rq-reboot", &json!({})).await;
    scene.until_ready(|ready| ready >= 10).await;
    let states = scene.states().await.unwrap();
    assert!(states["RebootRebooting"] >= 16, "{states:?}");

    server.kill();
    let mut server = ServerProcess::start(&private_postgres_options(&dir));
    scene.road.lead_to(&[server.http()]);
    scene.set_relays(0..2, RelayBehaviour::OneClientAtATime);

    scene.until_ready(|ready| ready == 100).await;
    let hardware = scene.end().await;
    let store = server.store_of(dir.path().join("data").as_path()).await;
    let boards = history::read(&store).await;
    history::assert_all_acknowledged_is_there(&boards, &hardware);
    history::assert_power_was_cycled_only_for_the_visit_that_asked(&boards, &hardware);
    history::assert_no_visit_is_twice(&boards);
    crate::replay::assert_history_gives_instances(&store).await;
    store.close().await;
    server.terminate();
}

/// Sends requests of several kinds continuously; counts answers with 503 in `put_off`.
async fn send_requests(scene: &SurvivalScene, put_off: &AtomicUsize) {
    let sides = (1..=8).map(|number| async move {
        let url = scene.url(&format!("devices/board-{number:03}/events/self-test-ok"));
        loop {
            let answer = scene.http.post(&url).send().await.unwrap();
            match answer.status() {
                StatusCode::SERVICE_UNAVAILABLE => {
                    assert_eq!(answer.headers()["retry-after"], "1");
                    put_off.fetch_add(1, Ordering::Relaxed);
                }
                status => assert_eq!(status, StatusCode::OK),
            }
        }
    });
    futures_util::future::join_all(sides).await;
}

/// Kills each new postmaster until a request was answered with 503 because of it.
async fn kill_postgres_until_noticed(data: &Path, put_off: &AtomicUsize) {
    let give_up_at = Instant::now() + READY_TIMEOUT;
    let mut killed = None;
    while put_off.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < give_up_at, "no request was answered with the outage");
        let pid = server_process::postmaster(data);
        if pid.is_some() && pid != killed {
            pid.into_iter().for_each(server_process::kill_9);
            killed = pid;
        }
        yield_briefly().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_killed_under_load_is_restarted_and_nothing_acknowledged_is_lost() {
    let dir = GuardedDir::new();
    let data = dir.path().join("data");
    let mut server = ServerProcess::start(&private_postgres_options(&dir));
    farm::write_boot_tree(&data.join("boot")).unwrap();
    let scene = SurvivalScene::new(40, &data.join("boot"), &server).await;
    scene.request_all("rq-reboot", &json!({})).await;
    scene.until_ready(|ready| ready >= 5).await;

    let put_off = AtomicUsize::new(0);
    let disaster = async {
        scene.until_ready(|ready| ready >= 10).await;
        kill_postgres_until_noticed(&data, &put_off).await;
        let ready = format!("http://{}/readyz", server.http());
        let give_up_at = Instant::now() + READY_TIMEOUT;
        while scene.http.get(&ready).send().await.unwrap().status() != StatusCode::OK {
            assert!(Instant::now() < give_up_at, "the server does not recover by itself");
            yield_briefly().await;
        }
    };
    tokio::select! {
        () = send_requests(&scene, &put_off) => unreachable!("it speaks for ever"),
        () = disaster => {}
    }

    scene.until_ready(|ready| ready == 40).await;
    // Operators and boards are served again.
    scene.request_all("rq-reimage", &json!({ "image": "base-2" })).await;
    scene.until_ready(|ready| ready == 40).await;
    let hardware = scene.end().await;
    let store = server.store_of(&data).await;
    let boards = history::read(&store).await;
    history::assert_all_acknowledged_is_there(&boards, &hardware);
    history::assert_power_was_cycled_only_for_the_visit_that_asked(&boards, &hardware);
    history::assert_no_visit_is_twice(&boards);
    crate::replay::assert_history_gives_instances(&store).await;
    store.close().await;
    server.terminate();
}

fn two_servers(database: &TestDatabase, boot_root: &Path) -> [ServerProcess; 2] {
    fs_err::create_dir(boot_root).unwrap();
    let options = [
        "--database-url".to_owned(),
        database.url(),
        "--boot-root".to_owned(),
        boot_root.display().to_string(),
    ];
    [ServerProcess::start(&options), ServerProcess::start(&options)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_one_of_two_servers_is_killed_nothing_is_done_twice() {
    let database = database().await;
    let dir = GuardedDir::new();
    let boot_root = dir.path().join("boot");
    let [mut doomed, mut other] = two_servers(&database, &boot_root);
    farm::write_boot_tree(&boot_root).unwrap();
    let scene = SurvivalScene::new(200, &boot_root, &other).await;
    scene.road.lead_to(&[doomed.http(), other.http()]);
    scene.request_all("rq-reboot", &json!({})).await;
    scene.until_ready(|ready| ready >= 20).await;

    doomed.kill();
    let store = lifeguard::store::Store::open(database.connect_options()).await.unwrap();
    scene.road.lead_to(&[other.http()]);

    scene.until_ready(|ready| ready == 200).await;
    let hardware = scene.end().await;
    let boards = history::read(&store).await;
    history::assert_all_acknowledged_is_there(&boards, &hardware);
    history::assert_power_was_cycled_only_for_the_visit_that_asked(&boards, &hardware);
    history::assert_no_visit_is_twice(&boards);
    history::assert_power_was_cycled_once_a_visit(&boards, &hardware, doomed.killed_at());
    crate::replay::assert_history_gives_instances(&store).await;
    store.close().await;
    other.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hung_longer_than_its_lease_does_not_repeat_another_s_work() {
    let database = database().await;
    let dir = GuardedDir::new();
    let boot_root = dir.path().join("boot");
    let [mut hanging, mut other] = two_servers(&database, &boot_root);
    farm::write_boot_tree(&boot_root).unwrap();
    // Boards use the other server, so that none waits for the hanging one; the operator does not.
    let scene = SurvivalScene::new(100, &boot_root, &other).await;
    // Its own power cycles are running and do not progress when it hangs.
    scene.set_relays(0..13, RelayBehaviour::Hanging);
    for board in scene.farm.boards() {
        let name = &board.registration().name;
        let url = format!("http://{}/api/v1/devices/{name}/requests/rq-reboot", hanging.http());
        assert_eq!(scene.http.post(url).send().await.unwrap().status(), StatusCode::OK);
    }
    let pool = database.pool().await;
    wait_until("it runs power cycles", async || {
        let busy = "SELECT count(*) FROM action JOIN worker w USING (worker_id)
                     WHERE action = 'power-cycle' AND status = 'RUNNING' AND w.name = 'pid ' || $1";
        let busy = sqlx::query_scalar::<_, i64>(busy).bind(i64::from(hanging.pid()));
        busy.fetch_one(&pool).await.unwrap() > 0
    })
    .await;
    let hung_at = SystemClock.now();
    hanging.pause(Pause::Begins);
    scene.set_relays(0..13, RelayBehaviour::Normal);
    scene.until_ready(|ready| ready == 100).await;
    hanging.pause(Pause::Ends);
    // It resumes during its power cycles of boards that are Ready by now; then it serves again.
    scene.road.lead_to(&[hanging.http()]);
    scene.request_all("rq-reboot", &json!({})).await;
    scene.until_ready(|ready| ready == 100).await;
    let states = scene.states().await.unwrap();
    assert_eq!(states, BTreeMap::from([("Ready".to_owned(), 100)]));

    let hardware = scene.end().await;
    let store = lifeguard::store::Store::open(database.connect_options()).await.unwrap();
    let boards = history::read(&store).await;
    history::assert_all_acknowledged_is_there(&boards, &hardware);
    history::assert_power_was_cycled_only_for_the_visit_that_asked(&boards, &hardware);
    history::assert_no_visit_is_twice(&boards);
    history::assert_power_was_cycled_once_a_visit(&boards, &hardware, hung_at);
    crate::replay::assert_history_gives_instances(&store).await;
    store.close().await;
    hanging.terminate();
    other.terminate();
}
