//! Chaos: eight clients, three servers on one PostgreSQL, and any of these killed at any moment. An independent checker
//! then reads the database.
//!
//! Random numbers come from a seed: `LIFEGUARD_CHAOS_SEED` is the first, `LIFEGUARD_CHAOS_RUNS` the number of runs. A
//! seed gives the same messages and disasters, but not the same races.

mod checker;
mod clients;
mod disasters;
mod exchange;
mod http;
mod model;
mod rows;
mod servers;
mod severable_proxy;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeguard::farm::Random;
use lifeguard::store::private::{PrivatePostgres, PrivatePostgresOptions};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::guarded_dir::GuardedDir;
use crate::world::yield_briefly;
use checker::{CheckedRule, RuleViolation};
use clients::ClientLoad;
use disasters::Disasters;
use exchange::{ClientAnswer, Exchange};
use rows::StoredBoard;
use servers::Servers;
use severable_proxy::SeverableProxy;

/// The lifecycle of the boards.
const BOARD_YAML: &str = include_str!("board.yaml");
/// The default number of runs.
const RUNS: u64 = 100;
/// Number of answers in a run.
const ANSWERS: usize = 400;
/// Timeout of a run, in real time: a server that cannot start or a board that does not come to rest is a fault.
const RUN_TIMEOUT: Duration = Duration::from_mins(3);
/// The largest number of faults shown.
const MAX_SHOWN_VIOLATIONS: usize = 10;

/// PostgreSQL and the servers, used for all runs.
struct ChaosScene {
    data: PathBuf,
    servers: Arc<Servers>,
    wire: Arc<SeverableProxy>,
    pool: PgPool,
    postgres: PrivatePostgres,
    _dir: GuardedDir,
}

impl ChaosScene {
    async fn start() -> Self {
        let dir = GuardedDir::new();
        let data = dir.path().join("data");
        // The log shows the error code of each fault.
        let settings = vec![("log_line_prefix".to_owned(), "%e ".to_owned())];
        let postgres =
            PrivatePostgres::start(PrivatePostgresOptions { settings, ..PrivatePostgresOptions::new(&data) })
                .await
                .unwrap();
        let states = dir.path().join("board.yaml");
        fs_err::write(&states, BOARD_YAML).unwrap();
        let database = postgres.connect_options();
        let road = dir.path().join("road");
        fs_err::create_dir(&road).unwrap();
        fs_err::create_dir(dir.path().join("boot")).unwrap();
        let name = format!(".s.PGSQL.{}", database.get_port());
        let wire = SeverableProxy::new(&road.join(&name), database.get_socket().unwrap().join(&name));
        let options = [
            ("--database-url", database.clone().socket(&road).to_url_lossy().to_string()),
            ("--boot-root", dir.path().join("boot").display().to_string()),
            ("--states", states.display().to_string()),
            ("--log", "lifeguard::cli=info,warn,sqlx=error".to_owned()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(2));
        let pool = pool.connect_lazy_with(database);
        let (servers, wire) = (Servers::start(options).await, Arc::new(wire));
        Self { data, servers, wire, pool, postgres, _dir: dir }
    }

    /// Executes one run until all boards are at rest; returns the stored rows and the messages.
    async fn run(&self, seed: u64) -> (BTreeMap<String, StoredBoard>, Vec<Exchange>) {
        let mut random = Random::stream(seed, 0);
        let boards: Vec<String> =
            (0..6 + random.next_below(5)).map(|number| format!("c{seed}-{number}")).collect();
        let disasters = Disasters::choose(&mut random, ANSWERS, &self.data, &self.wire);
        let (servers, pool) = (Arc::clone(&self.servers), self.pool.clone());
        let load = Arc::new(ClientLoad::new(seed, servers, boards.clone(), disasters, pool, ANSWERS));
        load.register().await;
        let messages = load.run().await;
        self.servers.until_all_serve().await;
        // Deadlines fire whatever was killed, so that all boards come to rest.
        while !rows::are_at_rest(&self.pool, &boards).await {
            yield_briefly().await;
        }
        (rows::read(&self.pool, &boards).await, messages)
    }

    /// Stops everything in order. PostgreSQL's log must not contain deadlocks; its own counter of deadlocks is reset
    /// when it is killed.
    async fn end(self) {
        self.servers.terminate();
        self.pool.close().await;
        self.postgres.stop().await.unwrap();
        let log = fs_err::read_to_string(self.data.join("postgres.log")).unwrap();
        let lines_with = |code: &'static str| log.lines().filter(move |line| line.starts_with(code));
        assert!(lines_with("00000 LOG").next().is_some(), "each line of the log begins with a code");
        let conflicts: Vec<&str> = lines_with("40P01").chain(lines_with("40001")).collect();
        assert!(conflicts.is_empty(), "deadlocks, or serialization failures:\n{}", conflicts.join("\n"));
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var_os(name).map(|text| text.to_str().unwrap().parse().unwrap())
}

/// Prints the first faults, and all rows of the boards concerned.
fn show(faults: &[RuleViolation], boards: &BTreeMap<String, StoredBoard>) -> String {
    let mut rules: BTreeMap<CheckedRule, usize> = BTreeMap::new();
    for fault in faults {
        *rules.entry(fault.rule).or_default() += 1;
    }
    let mut text = vec![format!("{rules:?}")];
    text.extend(faults.iter().take(MAX_SHOWN_VIOLATIONS).map(ToString::to_string));
    text.extend(
        (faults.len() > MAX_SHOWN_VIOLATIONS)
            .then(|| format!("and {} more", faults.len() - MAX_SHOWN_VIOLATIONS)),
    );
    for (board, written) in
        boards.iter().filter(|(board, _)| faults.iter().any(|fault| fault.board == **board))
    {
        text.push(format!("\n{board}: {:?}", written.instance));
        text.extend(written.history.iter().map(ToString::to_string));
    }
    text.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_kill_each_board_has_one_history_with_everything_acknowledged() {
    let scene = ChaosScene::start().await;
    let first = number("LIFEGUARD_CHAOS_SEED").unwrap_or(1);
    for seed in first..first + number("LIFEGUARD_CHAOS_RUNS").unwrap_or(RUNS) {
        let began = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "bounds a test that would hang")]
        let ended = tokio::time::timeout(RUN_TIMEOUT, scene.run(seed)).await;
        let (boards, messages) =
            ended.unwrap_or_else(|_| panic!("seed {seed}: the run does not come to its end"));
        let faults = checker::check(&boards, &messages);
        assert!(faults.is_empty(), "seed {seed}: {} faults\n{}", faults.len(), show(&faults, &boards));
        print_summary(seed, began.elapsed(), &boards, &messages);
    }
    scene.end().await;
}

/// Prints a summary of a run.
fn print_summary(seed: u64, took: Duration, boards: &BTreeMap<String, StoredBoard>, messages: &[Exchange]) {
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for row in boards.values().flat_map(|written| &written.history) {
        let what = if row.kind == "deadline" { "deadlines" } else { &row.outcome };
        *outcomes.entry(what).or_default() += 1;
    }
    let unknown = messages.iter().filter(|message| message.answer == ClientAnswer::Unknown).count();
    #[expect(clippy::print_stdout, reason = "the harness shows it where the test fails")]
    let print = |text| println!("{text}");
    print(format!(
        "seed {seed}: {took:.1?}, {} boards, {unknown} without answer, {outcomes:?}",
        boards.len()
    ));
}
