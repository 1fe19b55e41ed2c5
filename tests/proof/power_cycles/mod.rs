//! Servers killed at every step of power cycles, at three kinds of outlet: every board gets its power back within its
//! bound, and no device that times cycles is told to cycle twice.
//!
//! ```text
//! all boards: rq-reboot ┬────────────────────── until acknowledged ──────────────────────┬─► judged ─► rq-cancel ─► the next run
//!                       └ 0 to 3.5 s ─► kill ─► (start ─► kill, in every second run) ─► start ┘
//! ```

mod outlets;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm::Random;
use serde_json::{Value, json};

use self::outlets::{OutletKind, TestOutlet};
use crate::cluster::{ReplicatedCluster, pause};
use crate::number;
use crate::server::{ChildProgram, HTTP_PORT, serve};
use crate::site::TestSite;

/// Runs at a time, each with its own server and database.
const LANES: u64 = 3;
/// Runs by default, of all lanes.
const RUNS: u64 = 21;
/// Off times of the boards of each kind, so that one kill meets them at several steps.
const OFF_TIMES: [&str; 3] = ["1s", "1500ms", "2500ms"];
const LONGEST_OFF: Duration = Duration::from_millis(2500);
/// The latest time of a kill after the requests.
const KILL_WITHIN: Duration = Duration::from_millis(3500);
/// How long after the start of a server the power may be away: the lease of the killed one (1.6 s), the off time, which
/// begins again where nobody knows when it began, and as much again for a busy machine.
const RESTORED_WITHIN: Duration = Duration::from_secs(10);
/// Timeout of every other wait.
const TIMEOUT: Duration = Duration::from_mins(1);

/// What a kill meets at a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CycleStep {
    BeforePowerOff,
    PowerOff,
    PowerRestored,
}

/// What was seen at boards of one kind.
#[derive(Debug, Default)]
struct KindTotals {
    kills: BTreeMap<CycleStep, usize>,
    /// Cycles that were begun.
    cycles: usize,
    /// Runs in which the power was taken once more.
    repeated: usize,
    /// Runs that ended without a cycle, said so.
    failed: usize,
    /// The longest time without power.
    longest_dark: TimeDelta,
}

/// One server, its database and nine boards.
struct CycleScene {
    site: TestSite,
    _cluster: ReplicatedCluster,
    options: Vec<String>,
    server: Mutex<ChildProgram>,
    outlets: Vec<TestOutlet>,
    http: reqwest::Client,
}

impl CycleScene {
    async fn new() -> Self {
        let site = TestSite::new();
        let cluster = ReplicatedCluster::alone(&site).await;
        fs_err::create_dir(site.path().join("boot")).unwrap();
        let url = format!("postgres://lifeguard@{}/lifeguard", cluster.primary());
        let options = vec!["--database-url".to_owned(), url];
        let server = Mutex::new(serve(&site, &options));
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        let mut outlets = Vec::new();
        for kind in OutletKind::ALL {
            for off in OFF_TIMES {
                outlets.push(TestOutlet::start(kind, off).await);
            }
        }
        let scene = Self { site, _cluster: cluster, options, server, outlets, http };
        scene.until_ready().await;
        for (index, outlet) in scene.outlets.iter().enumerate() {
            let body = json!({
                "name": board(index), "mac": format!("02:00:00:00:00:{index:02x}"), "hardware": "panda",
                "power_url": outlet.url(),
            });
            let answer = scene.http.post(scene.url("devices")).json(&body).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 201, "{body}: {}", answer.text().await.unwrap());
        }
        scene
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.site.addr(HTTP_PORT))
    }

    async fn until_ready(&self) {
        let url = format!("http://{}/readyz", self.site.addr(HTTP_PORT));
        let is_ready =
            async || self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
        self.until("the server is ready", is_ready).await;
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let give_up_at = Instant::now() + TIMEOUT;
        while !condition().await {
            let log = || fs_err::read_to_string(self.site.path().join("server.log")).unwrap_or_default();
            assert!(Instant::now() < give_up_at, "it never was so: {what}\n{}", log());
            pause(Duration::from_millis(20)).await;
        }
    }

    /// Sends a request for every board, until each is acknowledged.
    async fn request_all(&self, request: &str) {
        let requests = (0..self.outlets.len()).map(|index| async move {
            let url = self.url(&format!("devices/{}/requests/{request}", board(index)));
            let is_acknowledged = async || {
                let answer = self.http.post(&url).json(&json!({})).send().await;
                answer.is_ok_and(|answer| matches!(answer.status().as_u16(), 200 | 409))
            };
            self.until(request, is_acknowledged).await;
        });
        futures_util::future::join_all(requests).await;
    }

    async fn device(&self, index: usize) -> Option<Value> {
        let answer = self.http.get(self.url(&format!("devices/{}", board(index)))).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// Waits until `board`'s cycle has ended; returns whether it succeeded.
    async fn until_ended(&self, index: usize) -> bool {
        let ended = Mutex::new(None);
        self.until("the cycle has ended", async || {
            let Some(device) = self.device(index).await else { return false };
            let end = match device["state"].as_str() {
                Some("RebootComplete") => Some(true),
                Some("RebootRebooting") if !device["failure"].is_null() => {
                    let failure = device["failure"].to_string();
                    assert!(failure.contains("interrupted"), "{}: {failure}", board(index));
                    Some(false)
                }
                _ => None,
            };
            *ended.lock().unwrap() = end;
            end.is_some()
        })
        .await;
        ended.into_inner().unwrap().unwrap()
    }

    fn kill(&self, totals: &mut BTreeMap<OutletKind, KindTotals>) {
        self.server.lock().unwrap().kill();
        for outlet in &self.outlets {
            let step = match (outlet.power_offs(), outlet.is_on()) {
                (0, _) => CycleStep::BeforePowerOff,
                (_, false) => CycleStep::PowerOff,
                (_, true) => CycleStep::PowerRestored,
            };
            *totals.entry(outlet.kind()).or_default().kills.entry(step).or_default() += 1;
        }
    }

    async fn start(&self) {
        *self.server.lock().unwrap() = serve(&self.site, &self.options);
        self.until_ready().await;
    }

    /// Kills the server once or twice, and starts it; returns the number of kills.
    async fn strike(&self, random: &mut Random, totals: &mut BTreeMap<OutletKind, KindTotals>) -> usize {
        let kills = 1 + random.next_below(2);
        for _ in 0..kills {
            // Soon rather than late: the steps before the power is taken are short.
            pause(KILL_WITHIN.mul_f64(random.next_fraction().powi(3))).await;
            self.kill(totals);
            self.start().await;
        }
        kills
    }

    /// One run: requests, kills, and what came of it.
    async fn run(&self, random: &mut Random, totals: &mut BTreeMap<OutletKind, KindTotals>) {
        for outlet in &self.outlets {
            outlet.forget();
        }
        let (kills, ()) =
            futures_util::future::join(self.strike(random, totals), self.request_all("rq-reboot")).await;
        let restored_by = SystemClock.now() + RESTORED_WITHIN;
        for index in 0..self.outlets.len() {
            let has_succeeded = self.until_ended(index).await;
            let outlet = &self.outlets[index];
            let (name, url) = (board(index), outlet.url());
            self.until(&format!("{name} ({url}) has power"), async || outlet.is_on()).await;
            assert!(outlet.last_change() <= restored_by, "{name} ({url}): dark until {:?}", outlet.changes());
            let offs = outlet.power_offs();
            match outlet.kind() {
                OutletKind::Waveshare => assert!(offs <= 1, "{name} ({url}): {:?}", outlet.changes()),
                OutletKind::Modbus | OutletKind::Tasmota => {
                    assert!(offs <= 1 + kills, "{name} ({url}): {:?}", outlet.changes());
                    assert!(has_succeeded && offs > 0, "{name} ({url}): {:?}", outlet.changes());
                }
            }
            let dark = outlet.dark_spans();
            for span in &dark {
                let least = outlet.off_time() - TimeDelta::milliseconds(5);
                assert!(*span >= least, "{name} ({url}): off for {span}: {:?}", outlet.changes());
            }
            let total = totals.entry(outlet.kind()).or_default();
            total.cycles += offs;
            total.repeated += usize::from(offs > 1);
            total.failed += usize::from(!has_succeeded);
            total.longest_dark = dark.into_iter().fold(total.longest_dark, TimeDelta::max);
        }
        self.request_all("rq-cancel").await;
        for index in 0..self.outlets.len() {
            let is_new = async || self.device(index).await.is_some_and(|device| device["state"] == "New");
            self.until("it is New", is_new).await;
        }
    }
}

fn board(index: usize) -> String {
    format!("b{index}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn killed_servers_leave_no_board_without_power_and_no_cycle_done_twice_by_a_device() {
    let seed = number("LIFEGUARD_PROOF_SEED").unwrap_or(1);
    let runs = number("LIFEGUARD_PROOF_RUNS").unwrap_or(RUNS);
    let lanes = (0..LANES).map(|lane| async move {
        let mut random = Random::stream(seed, lane);
        let mut totals = BTreeMap::new();
        let scene = CycleScene::new().await;
        for _ in 0..runs / LANES + u64::from(lane < runs % LANES) {
            scene.run(&mut random, &mut totals).await;
        }
        totals
    });
    let mut all: BTreeMap<OutletKind, KindTotals> = BTreeMap::new();
    for lane in futures_util::future::join_all(lanes).await {
        for (kind, totals) in lane {
            let sum = all.entry(kind).or_default();
            for (step, kills) in totals.kills {
                *sum.kills.entry(step).or_default() += kills;
            }
            sum.cycles += totals.cycles;
            sum.repeated += totals.repeated;
            sum.failed += totals.failed;
            sum.longest_dark = sum.longest_dark.max(totals.longest_dark);
        }
    }
    for (kind, totals) in &all {
        #[expect(clippy::print_stdout, reason = "the harness shows it where the test fails")]
        {
            println!("seed {seed}, {runs} runs: {kind:?}: {totals:?}");
        }
        assert!(totals.longest_dark.to_std().unwrap() <= RESTORED_WITHIN + KILL_WITHIN + LONGEST_OFF);
        let steps = [CycleStep::BeforePowerOff, CycleStep::PowerOff, CycleStep::PowerRestored];
        let are_met = steps.iter().all(|step| totals.kills.contains_key(step));
        assert!(are_met || runs < RUNS, "{kind:?}: {:?}", totals.kills);
    }
}
