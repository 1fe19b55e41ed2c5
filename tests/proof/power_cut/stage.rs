//! The stage: a private PostgreSQL, three servers, simulated boards at relay boards, and the operator who limits them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;
use futures_util::{StreamExt, stream};
use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm::relay::{RelayBehaviour, RelayBoard};
use lifeguard::farm::{
    self, BoardActivity, BoardTimings, FarmOptions, Random, SimulatedBoard, SimulatedFarm,
};
use private_postgres::{PrivatePostgres, PrivatePostgresOptions};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};

use super::limits::{LimitedFarm, load_ma};
use super::record::{Moment, ReturnedBoard};
use super::usage::ProcessUsage;
use crate::cluster::{pause, pg_bin};
use crate::server::{ChildProgram, HTTP_PORT, TFTP_PORT, log_file, serve_at};
use crate::site::TestSite;

const SERVERS: u16 = 3;
/// Requests to servers at a time.
const CLIENTS: usize = 16;
/// Boards that are registered and rebooted at a time: of more, some run before their power cycles are recorded as done.
const BROUGHT_UP_TOGETHER: usize = 1000;

/// The stage.
pub(super) struct PowerCutStage {
    pub(super) limits: LimitedFarm,
    site: TestSite,
    postgres: PrivatePostgres,
    servers: Vec<ChildProgram>,
    farm: SimulatedFarm,
    http: reqwest::Client,
}

impl PowerCutStage {
    /// Starts everything; `states` replaces the built-in lifecycle of boards.
    pub(super) async fn start(limits: LimitedFarm, seed: u64, states: Option<String>) -> Self {
        let site = TestSite::new();
        let boot_root = site.path().join("boot");
        farm::write_boot_tree(&boot_root).unwrap();
        let options = PrivatePostgresOptions {
            bin_dir: Some(pg_bin()),
            ..PrivatePostgresOptions::new(site.path().join("data"))
        };
        let postgres = PrivatePostgres::start(options).await.unwrap();
        let connect = postgres.connect_options();
        let socket = connect.get_socket().unwrap().display();
        let url =
            format!("postgresql:///lifeguard?host={socket}&user={}&sslmode=disable", connect.get_username());
        let mut options = vec!["--database-url".to_owned(), url];
        if let Some(states) = states {
            let file = site.path().join("board.yaml");
            fs::write(&file, states).unwrap();
            options.extend(["--states".to_owned(), file.to_str().unwrap().to_owned()]);
        }
        let servers = (0..SERVERS).map(|number| serve_at(&site, number, &options)).collect();
        let farm = SimulatedFarm::start(&FarmOptions {
            boards: limits.boards,
            boards_per_relay: limits.boards_per_relay,
            seed,
            timings: BoardTimings {
                firmware: Duration::from_millis(500),
                boot: Duration::from_secs(2),
                ..BoardTimings::default()
            },
            ..FarmOptions::new(
                std::sync::Arc::new(SystemClock),
                format!("http://{}", site.addr(HTTP_PORT)),
                site.addr(TFTP_PORT),
            )
        });
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        let stage = Self { limits, site, postgres, servers, farm: farm.unwrap(), http };
        stage.until("the servers are ready", Duration::from_mins(1), async || stage.are_ready().await).await;
        stage
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.site.addr(HTTP_PORT))
    }

    async fn are_ready(&self) -> bool {
        for number in 0..SERVERS {
            let url = format!("http://{}/readyz", self.site.addr(HTTP_PORT + number));
            if !self.http.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return false;
            }
        }
        true
    }

    /// Waits until `condition` holds.
    pub(super) async fn until(&self, what: &str, timeout: Duration, condition: impl AsyncFn() -> bool) {
        let give_up_at = Instant::now() + timeout;
        while !condition().await {
            if Instant::now() > give_up_at {
                let log = fs::read_to_string(log_file(&self.site, 0)).unwrap_or_default();
                let states = self.states().await;
                panic!("it never was so: {what}: {states:?}\n{}", &log[log.len().saturating_sub(5000)..]);
            }
            pause(Duration::from_millis(500)).await;
        }
    }

    /// Registers the boards, and reboots them until all are Ready and polled.
    pub(super) async fn bring_up(&self, timeout: Duration) {
        for image in farm::IMAGES {
            let configs =
                farm::HARDWARE_TYPES.map(|hardware| (hardware, farm::boot_config_name(image, hardware)));
            let body = json!({ "boot_configs": BTreeMap::from(configs) });
            let put = self.http.put(self.url(&format!("api/v1/images/{image}"))).json(&body);
            assert!(put.send().await.unwrap().status().is_success());
        }
        let boards: Vec<&SimulatedBoard> = self.farm.boards().collect();
        let mut up = 0;
        for portion in boards.chunks(BROUGHT_UP_TOGETHER) {
            self.post_all(portion, |board| {
                let board = board.registration();
                let body = json!({
                    "name": board.name, "fqdn": board.fqdn, "mac": board.mac, "hardware": board.hardware,
                    "power_url": board.power_url.replace("off=2s", "off=100ms"), "poll_url": board.poll_url,
                });
                ("api/v1/devices".to_owned(), body)
            })
            .await;
            self.post_all(portion, |board| {
                (format!("api/v1/devices/{}/requests/rq-reboot", board.registration().name), json!({}))
            })
            .await;
            up += portion.len();
            self.until("the boards run", timeout, async || self.running() == up).await;
        }
        self.until("all boards are Ready", timeout, async || self.answered().await == up).await;
    }

    async fn post_all(
        &self,
        boards: &[&SimulatedBoard],
        request: impl Fn(&SimulatedBoard) -> (String, Value),
    ) {
        let posts = boards.iter().map(|board| {
            let (path, body) = request(board);
            async move {
                let answer = self.http.post(self.url(&path)).json(&body).send().await.unwrap();
                assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
            }
        });
        stream::iter(posts).buffer_unordered(CLIENTS).collect::<()>().await;
    }

    /// Imports the limits, by the command that an operator would use.
    pub(super) fn import_limits(&self) {
        let relays: Vec<String> = self.relays().map(|relay| format!("modbus://{}", relay.addr())).collect();
        let file = self.site.path().join("farm.yaml");
        fs::write(&file, self.limits.resource_file(&relays)).unwrap();
        let mut command = self.site.command(Path::new(env!("CARGO_BIN_EXE_lifeguard")));
        command.args(["resource", "import", file.to_str().unwrap(), "--server", &self.url("")]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn relays(&self) -> impl Iterator<Item = &RelayBoard> {
        (0..).map_while(|index| self.farm.relay(index))
    }

    /// Takes the power of the whole farm: boards and relay boards are off, and so are the coils. Half of the relay boards
    /// refuse connections, the others do not answer.
    pub(super) fn cut_power(&self, random: &mut Random) {
        for relay in self.relays() {
            let is_refusing = random.next_below(2) == 0;
            relay.set_behaviour(if is_refusing { RelayBehaviour::Refusing } else { RelayBehaviour::Hanging });
        }
        for (index, board) in self.farm.boards().enumerate() {
            let (relay, coil) = self.outlet(index);
            self.farm.relay(relay).unwrap().switch(coil, is_inverted(board));
        }
    }

    /// Gives the power back: relay boards answer, and all outlets are off. Returns the time.
    pub(super) fn return_power(&self) -> Moment {
        let now = SystemClock.now();
        self.relays().for_each(|relay| relay.set_behaviour(RelayBehaviour::OneClientAtATime));
        now
    }

    fn outlet(&self, index: usize) -> (usize, u16) {
        let per_relay = usize::from(self.limits.boards_per_relay);
        (index / per_relay, u16::try_from(index % per_relay).unwrap())
    }

    /// The number of boards whose image runs.
    pub(super) fn running(&self) -> usize {
        self.farm.boards().filter(|board| board.status().activity == BoardActivity::Running).count()
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.postgres.connect_options()).await.unwrap()
    }

    /// The number of boards that are Ready and have answered a poll.
    async fn answered(&self) -> usize {
        let ready = "SELECT count(*) FROM instance JOIN device USING (instance_id)
                      WHERE machine = 'board' AND state = 'Ready' AND answered_url IS NOT NULL";
        let count: i64 = sqlx::query_scalar(ready).fetch_one(&mut self.connect().await).await.unwrap();
        usize::try_from(count).unwrap()
    }

    /// The number of boards in each state.
    pub(super) async fn states(&self) -> BTreeMap<String, i64> {
        let states = "SELECT state, count(*) AS boards FROM instance WHERE machine = 'board' GROUP BY state";
        let rows = sqlx::query(states).fetch_all(&mut self.connect().await).await.unwrap();
        rows.into_iter().map(|row| (row.get("state"), row.get("boards"))).collect()
    }

    /// The boards whose power cycle has begun.
    pub(super) async fn cycling(&self) -> Vec<String> {
        let cycling = "SELECT name FROM instance WHERE machine = 'board' AND state = 'RebootRebooting'";
        sqlx::query_scalar(cycling).fetch_all(&mut self.connect().await).await.unwrap()
    }

    /// The resources of the incidents since `from`, by the number of times that one opened there.
    pub(super) async fn incidents(&self, from: Moment) -> BTreeMap<String, i64> {
        let opened = "SELECT name, count(*) AS times FROM history JOIN instance USING (instance_id)
                       WHERE machine = 'incident' AND event = 'open' AND from_state = 'Closed' AND at >= $1 GROUP BY name";
        let rows = sqlx::query(opened).bind(from).fetch_all(&mut self.connect().await).await.unwrap();
        rows.into_iter().map(|row| (row.get("name"), row.get("times"))).collect()
    }

    /// When the last board was found silent.
    pub(super) async fn found_at(&self, from: Moment) -> Moment {
        let found = "SELECT max(at) FROM history JOIN instance USING (instance_id)
                      WHERE machine = 'board' AND event = 'poll-failed' AND from_state = 'Ready' AND at >= $1";
        let found: Option<Moment> =
            sqlx::query_scalar(found).bind(from).fetch_one(&mut self.connect().await).await.unwrap();
        found.unwrap()
    }

    /// What was seen of each board since the power was cut and returned; `power_ons` is how often each had power before.
    pub(super) async fn boards(
        &self,
        cut_at: Moment,
        returned_at: Moment,
        power_ons: &[u64],
        cycling: &[String],
    ) -> Vec<ReturnedBoard> {
        let mut database = self.connect().await;
        let entered = "SELECT name, coalesce(to_state, from_state) AS entered FROM history JOIN instance USING (instance_id)
                        WHERE machine = 'board' AND at >= $1 AND outcome IS NULL AND kind IN ('event', 'deadline', 'force')
                          AND (from_state, coalesce(to_state, from_state)) <> ('Ready', 'Ready')
                        ORDER BY history_id";
        let mut paths: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in sqlx::query(entered).bind(cut_at).fetch_all(&mut database).await.unwrap() {
            paths.entry(row.get("name")).or_default().push(row.get("entered"));
        }
        let ends = "SELECT name, state, counters FROM instance WHERE machine = 'board'";
        let ends = sqlx::query(ends).fetch_all(&mut database).await.unwrap().into_iter();
        let mut ends: BTreeMap<String, _> =
            ends.map(|row| (row.get("name"), (row.get("state"), row.get("counters")))).collect();
        let relays: Vec<_> = self.relays().map(|relay| (relay.writes(), relay.coil_changes())).collect();
        let read = |(index, board): (usize, &SimulatedBoard)| {
            let (relay, coil) = self.outlet(index);
            let (writes, changes) = &relays[relay];
            let own = |all: &[farm::relay::CoilChange]| {
                let own = all.iter().filter(|change| change.coil == coil && change.at >= returned_at);
                own.map(|change| (change.at, change.is_on != is_inverted(board))).collect()
            };
            let (registration, status) = (board.registration(), board.status());
            ReturnedBoard {
                name: registration.name.clone(),
                relay,
                load_ma: load_ma(&registration.hardware),
                was_cycling: cycling.contains(&registration.name),
                writes: own(writes),
                changes: own(changes),
                power_ons: status.power_ons - power_ons[index],
                is_running: status.activity == BoardActivity::Running,
                entered: paths.remove(&registration.name).unwrap_or_default(),
                end: ends.remove(&registration.name).unwrap(),
            }
        };
        self.farm.boards().enumerate().map(read).collect()
    }

    /// The history of a board since `from`, a line for each entry.
    pub(super) async fn history(&self, board: &str, from: Moment) -> Vec<String> {
        let entries = "SELECT concat_ws(' ', at::text, kind, coalesce(from_state, ''), event,
                                        '-> ' || to_state, outcome, reason, evidence::text) AS line
                         FROM history JOIN instance USING (instance_id)
                        WHERE machine = 'board' AND name = $1 AND at >= $2 ORDER BY history_id";
        let entries = sqlx::query_scalar(entries).bind(board).bind(from);
        entries.fetch_all(&mut self.connect().await).await.unwrap()
    }

    /// How often each board came to have power so far.
    pub(super) fn power_ons(&self) -> Vec<u64> {
        self.farm.boards().map(|board| board.status().power_ons).collect()
    }

    /// What each server uses, and PostgreSQL.
    pub(super) fn usage(&self) -> Vec<ProcessUsage> {
        let pid_file = self.site.path().join("data/postgres/postmaster.pid");
        let postmaster = fs::read_to_string(pid_file).unwrap().lines().next().unwrap().parse().unwrap();
        let servers = self.servers.iter().map(|server| server.0.id());
        servers.chain([postmaster]).map(ProcessUsage::of).collect()
    }

    /// Stops everything.
    pub(super) async fn stop(self) {
        self.farm.stop().await;
        drop(self.servers);
        self.postgres.stop().await.unwrap();
    }
}

/// Whether a board has power while its coil is off.
fn is_inverted(board: &SimulatedBoard) -> bool {
    board.registration().power_url.contains("invert=true")
}
