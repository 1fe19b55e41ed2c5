//! The participants of a run: two database nodes, three servers, boards on relay boards, and clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fs_err as fs;
use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm::relay::RelayBehaviour;
use lifeguard::farm::{self, BoardActivity, BoardTimings, FarmOptions, FaultRates, SimulatedFarm};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Row as _};
use tokio::task::JoinSet;

use super::clients::TestClients;
use super::definition;
use super::forwarder::Forwarder;
use super::record::{BoardRecord, FinalState, InjectedFault, Moment, RelayHealth, StoredEntry, TimeSpan};
use super::servers::{SERVERS, Servers};
use crate::cluster::{ReplicatedCluster, pause};
use crate::database_proxy::DatabaseProxy;
use crate::site::TestSite;

/// Number of boards, eight at each relay board.
pub(super) const BOARDS: u16 = 200;
/// Number of boards without hardware that are moved only in seconds that are lost.
pub(super) const WITNESSES: usize = 4;
/// The database as the servers know it: a port of the site's address.
const DATABASE_PORT: u16 = 5440;
/// The disk of the boot tree.
const BOOT_DISK_MB: u32 = 16;
pub(super) const BOOT_INODES: u32 = 2000;
/// Fault rate of boards during fault injection.
const BOARD_FAULTS: f64 = 0.1;
/// How long the servers may take to start.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// The stage of a run.
pub(super) struct TestStage {
    pub(super) site: Arc<TestSite>,
    pub(super) cluster: tokio::sync::Mutex<ReplicatedCluster>,
    pub(super) database: DatabaseProxy,
    pub(super) servers: Arc<Servers>,
    pub(super) farm: SimulatedFarm,
    pub(super) people: Arc<TestClients>,
    pub(super) boot_disk: std::path::PathBuf,
    pub(super) strikes: Mutex<Vec<InjectedFault>>,
    pub(super) lost: Mutex<Vec<TimeSpan>>,
    pub(super) seed: u64,
    road: Forwarder,
    /// When each board started and stopped answering polls, and how often it hung.
    lives: Vec<Arc<Mutex<PollAnswers>>>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct PollAnswers {
    answers: Vec<(Moment, bool)>,
    silences: usize,
}

/// Behaviour and health of the relay board at `index`, and what its boards' power URLs contain.
pub(super) fn relay_health(index: usize) -> (RelayBehaviour, RelayHealth, &'static str) {
    match index {
        21 => (RelayBehaviour::ReadsBanks { coils: 8 }, RelayHealth::Broken(&["readback=all8"]), ""),
        22 => (RelayBehaviour::Stuck, RelayHealth::Broken(&["still reads"]), ""),
        23 => (RelayBehaviour::Rtu, RelayHealth::Broken(&["Modbus TCP"]), ""),
        24 => (RelayBehaviour::Hanging, RelayHealth::Broken(&["no answer"]), ""),
        _ => {
            let (behaviour, more) = match index % 6 {
                0 => (RelayBehaviour::OneClientAtATime, ""),
                1 => (RelayBehaviour::CloseAfterAnswer, ""),
                2 => (RelayBehaviour::ReadsBanks { coils: 8 }, "&readback=all8"),
                3 => (RelayBehaviour::Slow { delay: Duration::from_millis(300) }, ""),
                4 => (RelayBehaviour::IdleClose { after: Duration::from_secs(1) }, ""),
                _ => (RelayBehaviour::Normal, "&readback=none"),
            };
            (behaviour, RelayHealth::Works, more)
        }
    }
}

impl TestStage {
    /// Starts everything and registers the boards.
    pub(super) async fn new(seed: u64) -> Arc<Self> {
        let site = Arc::new(TestSite::new());
        let cluster = ReplicatedCluster::start(&site).await;
        let database = DatabaseProxy::new(site.addr(DATABASE_PORT), cluster.primary()).await;
        let boot_disk = site.make_disk("boot", BOOT_DISK_MB, BOOT_INODES);
        farm::write_boot_tree(&site.view(&boot_disk)).unwrap();
        let states = site.path().join("board.yaml");
        fs::write(&states, definition::short_limit_definition()).unwrap();
        let url = format!("postgres://lifeguard@{}/lifeguard", database.addr());
        let options = ["--database-url", &url, "--boot-root", boot_disk.to_str().unwrap(), "--states"];
        let options = options.into_iter().map(str::to_owned).chain([states.to_str().unwrap().to_owned()]);
        let servers = Servers::start(Arc::clone(&site), options.collect());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        servers.until_ready(&http, START_TIMEOUT).await;

        let road = Forwarder::new((0..SERVERS).map(|server| servers.http(server)).collect()).await;
        let short = Duration::from_millis(300);
        let farm = SimulatedFarm::start(&FarmOptions {
            boards: BOARDS,
            seed,
            timings: BoardTimings {
                firmware: short,
                boot: Duration::from_secs(1),
                live: short,
                install: Duration::from_secs(1),
                self_test: Duration::from_secs(1),
                retry_after: Duration::from_millis(500),
                late_by: Duration::from_secs(35),
                crash_after: Duration::from_secs(20),
            },
            ..FarmOptions::new(Arc::new(SystemClock), format!("http://{}", road.addr()), servers.tftp(0))
        });
        let farm = farm.unwrap();
        let names = farm.boards().enumerate().filter(|(index, _)| is_used(*index));
        let names = names.map(|(_, board)| board.registration().name.clone()).collect();
        let people = TestClients::new(seed, Arc::clone(&servers), names, http);
        let lives = farm.boards().map(|_| Arc::default()).collect();
        let (strikes, lost, tasks) = (Mutex::default(), Mutex::default(), Mutex::default());
        let cluster = tokio::sync::Mutex::new(cluster);
        let stage = Arc::new(Self {
            site,
            cluster,
            database,
            servers,
            farm,
            people,
            boot_disk,
            strikes,
            lost,
            seed,
            road,
            lives,
            tasks,
        });
        stage.restore_relays();
        stage.register().await;
        for (board, life) in stage.farm.boards().zip(&stage.lives) {
            let (mut watch, life) = (board.watch(), Arc::clone(life));
            stage.spawn(async move {
                let mut before = BoardActivity::Off;
                while watch.changed().await.is_ok() {
                    let now = watch.borrow_and_update().activity;
                    let answers = |activity| activity == BoardActivity::Running;
                    let mut life = life.lock().unwrap();
                    if answers(now) != answers(before) {
                        life.answers.push((SystemClock.now(), answers(now)));
                    }
                    life.silences +=
                        usize::from(now == BoardActivity::Silent && before != BoardActivity::Silent);
                    before = now;
                }
            });
        }
        stage
    }

    /// Runs a task until the end.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap().spawn(task);
    }

    /// Restores the normal behaviour of all relay boards.
    pub(super) fn restore_relays(&self) {
        for index in 0..usize::from(BOARDS / 8) {
            self.farm.relay(index).unwrap().set_behaviour(relay_health(index).0);
        }
    }

    /// Enables or disables faults of boards from their next boot on.
    pub(super) fn set_board_faults(&self, have_faults: bool) {
        let faults = if have_faults { FaultRates::with_rate(BOARD_FAULTS) } else { FaultRates::NONE };
        for board in self.farm.boards() {
            board.set_faults(faults);
            board.set_dead(false);
        }
    }

    async fn register(&self) {
        let http = &self.people.http;
        for image in farm::IMAGES {
            let configs =
                farm::HARDWARE_TYPES.map(|hardware| (hardware, farm::boot_config_name(image, hardware)));
            let body = json!({ "boot_configs": BTreeMap::from(configs) });
            let answer = http.put(self.people.url(0, &format!("images/{image}"))).json(&body).send().await;
            assert!(answer.unwrap().status().is_success());
        }
        let boards = self.farm.boards().enumerate().filter(|(index, _)| is_used(*index)).map(|(index, board)| {
            let board = board.registration();
            let more = relay_health(index / 8).2;
            json!({
                "name": board.name, "fqdn": board.fqdn, "mac": board.mac, "hardware": board.hardware,
                "power_url": board.power_url.replace("off=2s", "off=500ms") + more, "poll_url": board.poll_url,
            })
        });
        let witnesses = (0..WITNESSES).map(|number| {
            json!({ "name": witness(number), "mac": format!("02:57:49:00:00:{number:02x}"), "hardware": "panda" })
        });
        for body in boards.chain(witnesses) {
            let answer = http.post(self.people.url(0, "devices")).json(&body).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 201, "{body}: {}", answer.text().await.unwrap());
        }
    }

    /// The states of all boards; `None` while no server answers.
    pub(super) async fn ends(&self) -> Option<BTreeMap<String, FinalState>> {
        let list = self.people.get("devices").await?;
        let devices = list["devices"].as_array()?.iter();
        let end = |device: &Value| {
            let name = device["name"].as_str()?.to_owned();
            let state = device["state"].as_str()?.to_owned();
            Some((name, FinalState { state, visit: device["visit"].as_i64()?, reason: String::new() }))
        };
        Some(devices.filter_map(end).collect())
    }

    /// Whether the relay board of a board works.
    pub(super) fn works(&self, name: &str) -> bool {
        let index = self.farm.boards().position(|board| board.registration().name == name);
        index.is_some_and(|index| relay_health(index / 8).1 == RelayHealth::Works)
    }

    /// Waits until every matching board rests, or the timeout; returns the states then.
    pub(super) async fn until_rest(
        &self,
        timeout: Duration,
        is_meant: impl Fn(&Self, &str) -> bool,
    ) -> BTreeMap<String, FinalState> {
        let give_up_at = std::time::Instant::now() + timeout;
        loop {
            let ends = self.ends().await;
            let rests = |end: &FinalState| end.rests();
            let is_over = std::time::Instant::now() >= give_up_at;
            if let Some(ends) = ends
                && (is_over
                    || self
                        .people
                        .boards
                        .iter()
                        .all(|name| !is_meant(self, name) || ends.get(name).is_some_and(rests)))
            {
                if is_over {
                    let unsettled = ends.iter().filter(|(_, end)| !end.rests());
                    let unsettled: Vec<_> =
                        unsettled.map(|(name, end)| format!("{name} {}", end.state)).collect();
                    #[expect(clippy::print_stdout, reason = "the harness shows it where the test fails")]
                    {
                        println!("        timed out with {unsettled:?}");
                    }
                }
                return ends;
            }
            assert!(!is_over, "no server answers:\n{}", self.servers.tail(0));
            pause(Duration::from_millis(200)).await;
        }
    }

    /// The differences found by replay.
    pub(super) async fn replay(&self) -> Option<String> {
        let answer = self.people.http.post(self.people.url(0, "machines/board/replay")).send().await;
        let answer = async { answer?.text().await }.await;
        let replayed: Value = answer.as_ref().map_or(Value::Null, |text| text.parse().unwrap_or_default());
        let agrees = replayed["instances"].is_u64() && replayed["difference"].is_null();
        (!agrees).then(|| format!("{answer:?}"))
    }

    /// The history and the state of every board, in one snapshot.
    pub(super) async fn read(&self) -> (BTreeMap<String, Vec<StoredEntry>>, BTreeMap<String, FinalState>) {
        let options = self.cluster.lock().await.primary_options();
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let mut connection = connection.begin().await.unwrap();
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").await.unwrap();
        let rows = sqlx::query(
            "SELECT name, at, kind, event, source, args->>'mark' AS mark, coalesce(outcome, 'moved') AS outcome,
                    from_state, coalesce(to_state, from_state) AS to_state, h.visit, reason
               FROM history h JOIN instance USING (instance_id) WHERE machine = 'board' ORDER BY history_id",
        );
        let mut history: BTreeMap<String, Vec<StoredEntry>> = BTreeMap::new();
        for row in rows.fetch_all(&mut *connection).await.unwrap() {
            history.entry(row.get("name")).or_default().push(StoredEntry {
                at: row.get("at"),
                kind: row.get("kind"),
                event: row.get("event"),
                source: row.get("source"),
                mark: row.get("mark"),
                outcome: row.get("outcome"),
                from: row.get("from_state"),
                to: row.get("to_state"),
                visit: row.get("visit"),
                reason: row.get("reason"),
            });
        }
        let rows = sqlx::query("SELECT name, state, visit FROM instance WHERE machine = 'board'");
        let mut ends = BTreeMap::new();
        for row in rows.fetch_all(&mut *connection).await.unwrap() {
            let (state, visit) = (row.get("state"), row.get("visit"));
            ends.insert(row.get("name"), FinalState { state, visit, reason: String::new() });
        }
        (history, ends)
    }

    /// The records of boards and relay boards.
    pub(super) fn boards(&self) -> Vec<BoardRecord> {
        let boards = self.farm.boards().zip(&self.lives).enumerate();
        let read = |(index, (board, life)): (usize, (&farm::SimulatedBoard, &Arc<Mutex<PollAnswers>>))| {
            let is_inverted = board.registration().power_url.contains("invert=true");
            let coil = u16::try_from(index % 8).unwrap();
            let operations = self.farm.relay(index / 8).unwrap().coil_changes().into_iter();
            let own = operations.filter(|operation| operation.coil == coil);
            // That it is off before its first reboot is not a fault.
            let power = own.map(|operation| (operation.at, operation.is_on != is_inverted));
            let power = power.skip_while(|(_, on)| !on).collect();
            let writes = self.farm.relay(index / 8).unwrap().writes().into_iter();
            let writes = writes.filter(|write| write.coil == coil);
            let writes = writes.map(|write| (write.at, write.is_on != is_inverted)).collect();
            let life = life.lock().unwrap();
            BoardRecord {
                writes,
                name: board.registration().name.clone(),
                relay: index / 8,
                habit: relay_health(index / 8).1,
                power,
                answers: life.answers.clone(),
                silences: life.silences,
            }
        };
        boards.filter(|(index, _)| is_used(*index)).map(read).collect()
    }

    /// The messages of boards.
    pub(super) fn road_messages(&self) -> Vec<super::record::SentMessage> {
        self.road.messages()
    }
}

/// Whether the board at `index` takes part. At a broken relay board only one does, because each of its tries delays the
/// others.
fn is_used(index: usize) -> bool {
    relay_health(index / 8).1 == RelayHealth::Works || index.is_multiple_of(8)
}

/// The name of a witness board.
pub(super) fn witness(number: usize) -> String {
    format!("witness-{number}")
}
