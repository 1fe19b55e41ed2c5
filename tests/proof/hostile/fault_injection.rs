//! Fault injection by seed: several lanes at once, each with a sequence of faults. Each fault ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm::Random;
use lifeguard::farm::relay::RelayBehaviour;

use super::attacks;
use super::record::{FaultTarget, InjectedFault, Moment, RelayHealth, TimeSpan};
use super::servers::{LogTarget, SERVERS};
use super::stage::{BOARDS, BOOT_INODES, TestStage, WITNESSES, relay_health, witness};
use crate::cluster::pause;
use crate::database_proxy::ProxyMode;
use crate::site::DiskFiller;

/// How much a promoted standby has missed.
const LOST: Duration = Duration::from_secs(1);
/// The lag of asynchronous replication while it is not cut.
const LAG: chrono::TimeDelta = chrono::TimeDelta::milliseconds(500);

/// The target of a lane.
#[derive(Debug, Clone, Copy)]
enum InjectionLane {
    Database,
    Servers,
    Clocks,
    Relays,
    MoreRelays,
    Boards,
    Attackers,
    BootTree,
}

const LANES: [InjectionLane; 8] = [
    InjectionLane::Database,
    InjectionLane::Servers,
    InjectionLane::Clocks,
    InjectionLane::Relays,
    InjectionLane::MoreRelays,
    InjectionLane::Boards,
    InjectionLane::Attackers,
    InjectionLane::BootTree,
];

/// Injects faults for `span`; on return every fault has ended.
pub(super) async fn strike(stage: &Arc<TestStage>, span: Duration) {
    let until = Instant::now() + span;
    let lanes = LANES.into_iter().enumerate().map(|(number, lane)| {
        let stage = Arc::clone(stage);
        async move {
            let mut random = Random::stream(stage.seed, 3000 + number as u64);
            // Each lane runs all its faults in its own order, repeatedly, so that none is left out for long.
            let mut turn = random.next_below(64);
            while Instant::now() < until {
                pause(seconds(&mut random, 1, 5)).await;
                stage.strike_once(lane, turn, &mut random).await;
                turn += 1;
            }
        }
    });
    futures_util::future::join_all(lanes).await;
}

fn seconds(random: &mut Random, least: u64, most: u64) -> Duration {
    Duration::from_secs(least).mul_f64(1.0)
        + Duration::from_secs(most - least).mul_f64(random.next_fraction())
}

impl TestStage {
    async fn strike_once(&self, lane: InjectionLane, turn: usize, random: &mut Random) {
        match lane {
            InjectionLane::Database => self.strike_database(turn, random).await,
            InjectionLane::Servers => self.strike_server(turn, random).await,
            InjectionLane::Clocks => self.step_clock(turn, random).await,
            InjectionLane::Relays | InjectionLane::MoreRelays => self.strike_relay(turn, random).await,
            InjectionLane::Boards => self.strike_board(random).await,
            InjectionLane::Attackers => self.attack(turn, random).await,
            InjectionLane::BootTree => self.fill_boot_tree(random).await,
        }
    }

    fn note(&self, struck: FaultTarget, what: impl Into<String>, from: Moment) {
        let (span, what) = (TimeSpan { from, to: SystemClock.now() }, what.into());
        #[expect(clippy::print_stdout, reason = "the harness shows it where the test fails")]
        {
            println!("        {} – {}  {struck:?}: {what}", from.format("%T%.3f"), span.to.format("%T%.3f"));
        }
        self.strikes.lock().unwrap().push(InjectedFault { struck, span });
    }

    async fn strike_database(&self, turn: usize, random: &mut Random) {
        let from = SystemClock.now();
        let span = seconds(random, 2, 7);
        let what = match turn % 7 {
            0 => {
                self.fail_over(turn, random).await;
                return;
            }
            1 => {
                self.cluster.lock().await.kill_primary();
                pause(seconds(random, 0, 3)).await;
                self.cluster.lock().await.restart_primary(&self.site).await;
                "killed"
            }
            2 => self.behave(ProxyMode::Silent, span).await,
            3 => self.behave(ProxyMode::Closing, span).await,
            4 => self.behave(ProxyMode::Refusing, span).await,
            5 => {
                self.database.cut();
                "all connections cut"
            }
            _ => {
                if !self.site.has_disks() {
                    return;
                }
                let mut cluster = self.cluster.lock().await;
                let filler = cluster.fill_disk(&self.site);
                pause(span).await;
                drop(filler);
                cluster.restart_primary(&self.site).await;
                "disk full"
            }
        };
        self.note(FaultTarget::Database, what, from);
    }

    async fn behave(&self, mode: ProxyMode, span: Duration) -> &'static str {
        self.database.set(mode);
        pause(span).await;
        self.database.set(ProxyMode::Pass);
        match mode {
            ProxyMode::Silent => "silent",
            ProxyMode::Closing => "takes connections and closes them",
            ProxyMode::Refusing => "refuses connections",
            ProxyMode::Pass => "",
        }
    }

    /// Promotes a standby that has missed the last second.
    async fn fail_over(&self, turn: usize, random: &mut Random) {
        let mut cluster = self.cluster.lock().await;
        cluster.until_in_step().await;
        let from = cluster.cut_replication();
        // A board moved in the lost second and not touched afterwards: the follower of changes must see it go back.
        let name = witness(turn / 7 % WITNESSES);
        self.people.force(&name, random.next_below(SERVERS), "New", "LockedOut").await;
        pause(LOST).await;
        self.database.set(ProxyMode::Refusing);
        cluster.fail_over().await;
        let to = SystemClock.now();
        self.lost.lock().unwrap().push(TimeSpan { from: from - LAG, to });
        self.database.lead_to(cluster.primary());
        pause(seconds(random, 0, 2)).await;
        self.database.set(ProxyMode::Pass);
        self.note(FaultTarget::Database, "standby promoted that had lost a second", from);
        cluster.rejoin(&self.site).await;
    }

    async fn strike_server(&self, turn: usize, random: &mut Random) {
        let from = SystemClock.now();
        let server = random.next_below(SERVERS);
        let what = match turn % 4 {
            0 | 1 => {
                let log = [LogTarget::File, LogTarget::Full, LogTarget::Broken, LogTarget::Closed]
                    [random.next_below(4)];
                self.servers.kill(server, log);
                pause(seconds(random, 1, 3)).await;
                format!("killed; log then {log:?}")
            }
            2 => {
                self.servers.stop(server);
                pause(seconds(random, 1, 6)).await;
                self.servers.go_on(server);
                "stopped".to_owned()
            }
            _ => {
                self.servers.terminate(server);
                pause(seconds(random, 1, 3)).await;
                "asked to end".to_owned()
            }
        };
        self.note(FaultTarget::Server(server), what, from);
    }

    async fn step_clock(&self, turn: usize, random: &mut Random) {
        let from = SystemClock.now();
        let server = random.next_below(SERVERS);
        let step = [3600, -3600, 400 * 86_400, -86_400, 30, -30][turn % 6];
        self.servers.step_clock(server, step);
        pause(seconds(random, 5, 12)).await;
        self.servers.step_clock(server, 0);
        self.note(FaultTarget::Server(server), format!("clock stepped by {step} s, and back"), from);
    }

    async fn strike_relay(&self, turn: usize, random: &mut Random) {
        let from = SystemClock.now();
        let relay = random.next_below(usize::from(BOARDS / 8));
        let (usual, is, more) = relay_health(relay);
        if is != RelayHealth::Works {
            return;
        }
        let coil = u16::try_from(random.next_below(8)).unwrap();
        // Lies are detected only with readback.
        let lies = if more.contains("readback=none") { usual } else { RelayBehaviour::Lying { coil } };
        let bad = [RelayBehaviour::Refusing, RelayBehaviour::Hanging, RelayBehaviour::Mute, lies][turn % 4];
        self.farm.relay(relay).unwrap().set_behaviour(bad);
        pause(seconds(random, 3, 15)).await;
        self.farm.relay(relay).unwrap().set_behaviour(usual);
        self.note(FaultTarget::Relay(relay), format!("{bad:?}"), from);
    }

    async fn strike_board(&self, random: &mut Random) {
        let from = SystemClock.now();
        let board = self.farm.board(random.next_below(usize::from(BOARDS))).unwrap();
        board.set_dead(true);
        pause(seconds(random, 5, 15)).await;
        board.set_dead(false);
        self.note(FaultTarget::Board(board.registration().name.clone()), "crashed", from);
    }

    async fn attack(&self, turn: usize, random: &mut Random) {
        let from = SystemClock.now();
        let server = random.next_below(SERVERS);
        let span = seconds(random, 3, 10);
        let what = if turn.is_multiple_of(2) {
            attacks::half_sent_http(self.servers.http(server), span, random).await;
            "half-sent requests"
        } else {
            attacks::tftp_flood(self.servers.tftp(server), span, random).await;
            "TFTP flood"
        };
        self.note(FaultTarget::Server(server), what, from);
    }

    async fn fill_boot_tree(&self, random: &mut Random) {
        if !self.site.has_disks() {
            return;
        }
        let from = SystemClock.now();
        let disk = self.site.view(&self.boot_disk);
        let filler = DiskFiller::fill(&disk, BOOT_INODES);
        pause(seconds(random, 3, 8)).await;
        drop(filler);
        self.note(FaultTarget::BootTree, "disk full", from);
        pause(seconds(random, 5, 10)).await;
    }
}
