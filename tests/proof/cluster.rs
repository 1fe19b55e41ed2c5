//! Two PostgreSQL nodes with asynchronous streaming replication, on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use fs_err as fs;
use lifeguard::clock::{Clock, SystemClock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::database_proxy::DatabaseProxy;
use crate::site::{DiskFiller, TestSite};

/// Size of a node's disk. Source: a new cluster has 39 MB, and its first WAL segments 16 MB each.
const DISK_MB: u32 = 400;
/// How long a node may take to accept connections.
const CLUSTER_TIMEOUT: Duration = Duration::from_mins(1);
/// The ports on the site's address: of the nodes, and of the replication proxy.
const NODE_PORTS: [u16; 2] = [5441, 5442];
const REPLICATION_PORT: u16 = 5443;

/// Waits in real time.
pub(crate) async fn pause(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the proofs run in real time")]
    tokio::time::sleep(span).await;
}

/// The directory of PostgreSQL's programs: `LIFEGUARD_TEST_PG_BIN`, or the newest installed one.
pub(crate) fn pg_bin() -> PathBuf {
    if let Some(dir) = std::env::var_os("LIFEGUARD_TEST_PG_BIN") {
        return PathBuf::from(dir);
    }
    let installed = fs::read_dir("/usr/lib/postgresql").unwrap().flatten();
    let majors = installed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    PathBuf::from(format!("/usr/lib/postgresql/{}/bin", majors.max().unwrap()))
}

/// One node.
struct ClusterNode {
    disk: PathBuf,
    addr: SocketAddr,
    postmaster: Option<Child>,
}

impl ClusterNode {
    fn data(&self) -> PathBuf {
        self.disk.join("postgres")
    }
}

/// The nodes: one is the primary, the other its standby, or stopped.
pub(crate) struct ReplicatedCluster {
    bin: PathBuf,
    nodes: [ClusterNode; 2],
    primary: usize,
    replication: DatabaseProxy,
}

impl ReplicatedCluster {
    /// Creates and starts both nodes.
    pub(crate) async fn start(site: &TestSite) -> Self {
        let mut cluster = Self::alone(site).await;
        cluster.rejoin(site).await;
        cluster
    }

    /// Creates and starts only the first node.
    pub(crate) async fn alone(site: &TestSite) -> Self {
        let node = |index: usize| {
            let disk = site.make_disk(["node-a", "node-b"][index], DISK_MB, 0);
            ClusterNode { disk, addr: site.addr(NODE_PORTS[index]), postmaster: None }
        };
        let replication = DatabaseProxy::new(site.addr(REPLICATION_PORT), site.addr(NODE_PORTS[0])).await;
        let mut cluster = Self { bin: pg_bin(), nodes: [node(0), node(1)], primary: 0, replication };
        cluster.make_data(site, 0);
        let data = cluster.nodes[0].data();
        let mut initdb = site.postgres_command(&cluster.bin.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", "lifeguard", "--auth=trust", "-E", "UTF8", "--locale=C"]);
        run(initdb.arg("--no-sync"));
        cluster.start_node(site, 0).await;
        let options = cluster.options(0).database("postgres");
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("CREATE DATABASE lifeguard").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        cluster
    }

    /// The addresses of both nodes.
    pub(crate) fn addrs(&self) -> [SocketAddr; 2] {
        [self.nodes[0].addr, self.nodes[1].addr]
    }

    /// The primary's address.
    pub(crate) fn primary(&self) -> SocketAddr {
        self.nodes[self.primary].addr
    }

    /// How to connect to the primary.
    pub(crate) fn primary_options(&self) -> PgConnectOptions {
        self.options(self.primary).database("lifeguard")
    }

    fn options(&self, node: usize) -> PgConnectOptions {
        let addr = self.nodes[node].addr;
        PgConnectOptions::new_without_pgpass()
            .host(&addr.ip().to_string())
            .port(addr.port())
            .username("lifeguard")
            .disable_statement_logging()
    }

    fn make_data(&self, site: &TestSite, node: usize) {
        let data = self.nodes[node].data();
        fs::create_dir(site.view(&data)).unwrap();
        site.give(&data);
        let mut chmod = site.command(Path::new("chmod"));
        run(chmod.arg("700").arg(&data));
    }

    async fn start_node(&mut self, site: &TestSite, node: usize) {
        let give_up_at = Instant::now() + CLUSTER_TIMEOUT;
        loop {
            let ClusterNode { addr, .. } = self.nodes[node];
            let mut postgres = site.postgres_command(&self.bin.join("postgres"));
            postgres.arg("-D").arg(self.nodes[node].data());
            let settings = [
                format!("listen_addresses={}", addr.ip()),
                format!("port={}", addr.port()),
                "unix_socket_directories=".to_owned(),
                "max_connections=200".to_owned(),
                "wal_keep_size=64MB".to_owned(),
                "max_wal_size=64MB".to_owned(),
                "min_wal_size=32MB".to_owned(),
                "wal_receiver_timeout=5s".to_owned(),
                "wal_retrieve_retry_interval=200ms".to_owned(),
                "log_min_messages=fatal".to_owned(),
            ];
            for setting in &settings {
                postgres.args(["-c", setting]);
            }
            let log = site.path().join(format!("postgres-{node}.log"));
            let log = fs::File::options().append(true).create(true).open(log).unwrap();
            self.nodes[node].postmaster =
                Some(postgres.stderr(log.into_parts().0).stdout(Stdio::null()).spawn().unwrap());
            while !self.has_ended(node) {
                if PgConnection::connect_with(&self.options(node).database("postgres")).await.is_ok() {
                    return;
                }
                assert!(Instant::now() < give_up_at, "node {node} does not accept connections");
                pause(Duration::from_millis(50)).await;
            }
            // Its predecessor's processes may use the shared memory for a moment.
            assert!(Instant::now() < give_up_at, "node {node} does not start");
            pause(Duration::from_millis(100)).await;
        }
    }

    fn has_ended(&mut self, node: usize) -> bool {
        self.nodes[node].postmaster.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Kills the primary like a machine crash; data not sent to the standby is lost, unless it is restarted.
    pub(crate) fn kill_primary(&mut self) {
        let Some(mut postmaster) = self.nodes[self.primary].postmaster.take() else { return };
        kill(Pid::from_raw(postmaster.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
        postmaster.wait().unwrap();
    }

    /// Restarts the primary, unless it is running.
    pub(crate) async fn restart_primary(&mut self, site: &TestSite) {
        if self.has_ended(self.primary) {
            self.start_node(site, self.primary).await;
        }
    }

    /// Fills the primary's disk; it exits when it cannot write its log.
    pub(crate) fn fill_disk(&self, site: &TestSite) -> DiskFiller {
        DiskFiller::fill(&site.view(&self.nodes[self.primary].disk), 0)
    }

    /// Cuts replication, so that the standby misses what follows; returns the time.
    pub(crate) fn cut_replication(&self) -> DateTime<Utc> {
        let cut_at = SystemClock.now();
        self.replication.set(crate::database_proxy::ProxyMode::Refusing);
        cut_at
    }

    /// Kills the primary and promotes the standby.
    pub(crate) async fn fail_over(&mut self) {
        self.kill_primary();
        self.primary = 1 - self.primary;
        let mut connection = PgConnection::connect_with(&self.primary_options()).await.unwrap();
        let promoted = sqlx::query_scalar::<_, bool>("SELECT pg_promote(true, 60)");
        assert!(promoted.fetch_one(&mut connection).await.unwrap(), "the standby is promoted");
        connection.close().await.unwrap();
    }

    /// Creates the other node again, as a standby of the primary.
    pub(crate) async fn rejoin(&mut self, site: &TestSite) {
        let other = 1 - self.primary;
        let data = self.nodes[other].data();
        let _ = fs::remove_dir_all(site.view(&data));
        self.make_data(site, other);
        self.replication.lead_to(self.primary());
        self.replication.set(crate::database_proxy::ProxyMode::Pass);
        // The proxy listens again a moment after its mode was set.
        self.replication.until_open().await;
        let through = self.replication.addr();
        let mut backup = site.postgres_command(&self.bin.join("pg_basebackup"));
        backup.arg("-D").arg(&data).args([
            "-h",
            &through.ip().to_string(),
            "-p",
            &through.port().to_string(),
        ]);
        backup.args(["-U", "lifeguard", "-R", "-X", "stream", "--checkpoint=fast", "--no-sync"]);
        let backup = tokio::task::spawn_blocking(move || run(&mut backup));
        backup.await.unwrap();
        self.start_node(site, other).await;
    }

    /// Waits until the standby has all that the primary has.
    pub(crate) async fn until_in_step(&self) {
        let mut connection = PgConnection::connect_with(&self.primary_options()).await.unwrap();
        let give_up_at = Instant::now() + CLUSTER_TIMEOUT;
        let lag = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn() - 65536::numeric";
        while sqlx::query_scalar::<_, i64>(lag).fetch_one(&mut connection).await.unwrap() == 0 {
            assert!(Instant::now() < give_up_at, "the standby does not follow");
            pause(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for ReplicatedCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut postmaster) = node.postmaster.take() {
                let _ = kill(Pid::from_raw(postmaster.id().try_into().unwrap()), Signal::SIGQUIT);
                let _ = postmaster.wait();
            }
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
