//! The main operation and a crash on each supported PostgreSQL version, and through poolers and proxies.
//!
//! `LIFEGUARD_TEST_PG_BINS` names the program directories of other major versions, separated by colons; without it only
//! the installed one is tried.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use lifeguard::clock::SystemClock;
use lifeguard::farm::{self, BoardTimings, FarmOptions, SimulatedFarm};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cluster::{ReplicatedCluster, pause, pg_bin};
use crate::server::{ChildProgram, HTTP_PORT, TFTP_PORT, serve};
use crate::site::TestSite;

const BOARDS: u16 = 16;
/// Timeout of every wait.
const READY_TIMEOUT: Duration = Duration::from_mins(3);
const BOUNCER_PORT: u16 = 6432;
const PROXY_PORT: u16 = 6433;

/// A farm and its server.
struct DatabaseScene<'a> {
    site: &'a TestSite,
    options: Vec<String>,
    server: ChildProgram,
    farm: SimulatedFarm,
    http: reqwest::Client,
}

impl<'a> DatabaseScene<'a> {
    /// Starts a server, and registers boards.
    async fn new(site: &'a TestSite, options: Vec<String>) -> Self {
        let boot_root = site.path().join("boot");
        farm::write_boot_tree(&boot_root).unwrap();
        let server = serve(site, &options);
        let quick = Duration::from_millis(200);
        let times = BoardTimings {
            firmware: quick,
            boot: Duration::from_secs(1),
            live: quick,
            install: quick,
            retry_after: quick,
            ..BoardTimings::default()
        };
        let base = format!("http://{}", site.addr(HTTP_PORT));
        let farm = FarmOptions {
            boards: BOARDS,
            timings: times,
            ..FarmOptions::new(std::sync::Arc::new(SystemClock), base, site.addr(TFTP_PORT))
        };
        let farm = SimulatedFarm::start(&farm).unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let scene = Self { site, options, server, farm, http };
        scene.until("it is ready", async || scene.is_ready().await).await;
        scene.register().await;
        scene
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.site.addr(HTTP_PORT))
    }

    async fn is_ready(&self) -> bool {
        self.http.get(self.url("readyz")).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let give_up_at = Instant::now() + READY_TIMEOUT;
        while !condition().await {
            let log = || fs::read_to_string(self.site.path().join("server.log")).unwrap_or_default();
            assert!(Instant::now() < give_up_at, "it never was so: {what}\n{}", log());
            pause(Duration::from_millis(50)).await;
        }
    }

    async fn register(&self) {
        for image in farm::IMAGES {
            let configs =
                farm::HARDWARE_TYPES.map(|hardware| (hardware, farm::boot_config_name(image, hardware)));
            let body = json!({ "boot_configs": BTreeMap::from(configs) });
            let put = self.http.put(self.url(&format!("api/v1/images/{image}"))).json(&body);
            assert!(put.send().await.unwrap().status().is_success());
        }
        for board in self.farm.boards().map(farm::SimulatedBoard::registration) {
            let body = json!({
                "name": board.name, "fqdn": board.fqdn, "mac": board.mac, "hardware": board.hardware,
                "power_url": board.power_url.replace("off=2s", "off=50ms"), "poll_url": board.poll_url,
            });
            let answer = self.http.post(self.url("api/v1/devices")).json(&body).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 201, "{}", answer.text().await.unwrap());
        }
    }

    /// Sends a request for every board, each until it is acknowledged. A server that cannot serve answers with an
    /// error.
    async fn request(&self, request: &str, body: &Value) {
        for board in self.farm.boards() {
            let url = self.url(&format!("api/v1/devices/{}/requests/{request}", board.registration().name));
            self.until(request, async || match self.http.post(&url).json(body).send().await {
                // An unanswered request may have been done.
                Ok(answer) if matches!(answer.status().as_u16(), 200 | 409) => true,
                Ok(answer) => {
                    assert_eq!(answer.status().as_u16(), 503, "{}", answer.text().await.unwrap());
                    false
                }
                Err(_) => false,
            })
            .await;
        }
    }

    async fn count(&self, state: &str) -> Option<usize> {
        let answer = self.http.get(self.url("api/v1/devices")).send().await.ok()?;
        let list: Value = answer.error_for_status().ok()?.json().await.ok()?;
        let devices = list["devices"].as_array()?.iter();
        Some(
            devices.filter(|device| device["state"].as_str().is_some_and(|is| is.starts_with(state))).count(),
        )
    }

    async fn until_all_ready(&self) {
        let all = usize::from(BOARDS);
        self.until("all boards are Ready", async || self.count("Ready").await == Some(all)).await;
    }

    /// Reboots and reimages all boards; meanwhile, the database crashes, and then the server.
    async fn work(&mut self, crash: impl AsyncFnOnce()) {
        self.request("rq-reboot", &json!({})).await;
        self.until_all_ready().await;
        self.request("rq-reimage", &json!({ "image": "base-2" })).await;
        self.until("some are Ready", async || self.count("Ready").await.is_some_and(|ready| ready > 0)).await;
        crash().await;
        self.until_all_ready().await;
        self.request("rq-reboot", &json!({})).await;
        self.server.kill();
        self.server = serve(self.site, &self.options);
        self.until_all_ready().await;
        for board in self.farm.boards() {
            assert_eq!(board.status().card_image.as_deref(), Some("base-2"));
        }
        let replayed = self.http.post(self.url("api/v1/machines/board/replay")).send().await.unwrap();
        let replayed: Value = replayed.json().await.unwrap();
        assert_eq!(replayed["instances"], json!(BOARDS), "{replayed}");
        assert_eq!(replayed["difference"], Value::Null);
        let pid = Pid::from_raw(self.server.0.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        assert!(self.server.0.wait().unwrap().success(), "the server stops in order");
    }
}

/// The program directories of the other major versions to try.
fn other_majors() -> Vec<PathBuf> {
    let others = std::env::var_os("LIFEGUARD_TEST_PG_BINS").unwrap_or_default();
    std::env::split_paths(&others).filter(|dir| dir.is_absolute()).collect()
}

/// Copies programs to a path accessible to PostgreSQL's user, with their libraries.
fn copy_programs(site: &TestSite, bin: &Path) -> PathBuf {
    let copy = site.path().join("postgresql");
    let copied = Command::new("cp").arg("-a").arg(bin.parent().unwrap()).arg(&copy).status().unwrap();
    let opened = Command::new("chmod").args(["-R", "a+rX"]).arg(&copy).status().unwrap();
    assert!(copied.success() && opened.success(), "{} is copied", bin.display());
    copy.join("bin")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute for each major version"]
async fn each_major_version_works_and_survives_a_crash() {
    for other in std::iter::once(None).chain(other_majors().into_iter().map(Some)) {
        let site = TestSite::new();
        let bin = other.map_or_else(pg_bin, |other| copy_programs(&site, &other));
        let version = Command::new(bin.join("postgres")).arg("--version").output().unwrap();
        #[expect(clippy::print_stdout, reason = "the harness shows it where the test fails")]
        {
            println!("{}", String::from_utf8_lossy(&version.stdout).trim());
        }
        let data = site.path().join("data");
        let options = ["--data-dir", data.to_str().unwrap(), "--pg-bin", bin.to_str().unwrap()];
        let mut scene = DatabaseScene::new(&site, options.map(str::to_owned).to_vec()).await;
        let postmaster = data.join("postgres/postmaster.pid");
        let crash = async || {
            let text = fs::read_to_string(postmaster).unwrap();
            let pid = text.lines().next().unwrap().parse().unwrap();
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        };
        scene.work(crash).await;
    }
}

/// A pooler or proxy; `None`, with a note, if it is not installed; in CI it must be.
fn tool(path: &str, package: &str) -> Option<PathBuf> {
    use std::io::Write;
    let found = Some(PathBuf::from(path)).filter(|path| path.exists());
    if found.is_none() {
        let is_required = std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_some_and(|value| value == "1");
        assert!(!is_required, "{path} is missing: apt-get install {package}");
        writeln!(std::io::stderr(), "skipped: {path} is missing (apt-get install {package})").ok();
    }
    found
}

/// Runs `PgBouncer` in front of `database`.
fn bouncer(site: &TestSite, program: &Path, database: SocketAddr, mode: &str) -> ChildProgram {
    let (listen, file) = (site.addr(BOUNCER_PORT), site.path().join("pgbouncer.ini"));
    let config = format!(
        "[databases]\nlifeguard = host={} port={} user=lifeguard\n[pgbouncer]\nlisten_addr = {}\nlisten_port = {}\n\
         auth_type = any\nunix_socket_dir =\npool_mode = {mode}\ndefault_pool_size = 60\n\
         ignore_startup_parameters = extra_float_digits\n",
        database.ip(),
        database.port(),
        listen.ip(),
        listen.port()
    );
    fs::write(&file, config).unwrap();
    let log = fs::File::create(site.path().join("pgbouncer.log")).unwrap();
    let mut command = site.postgres_command(program);
    ChildProgram(command.arg(file).stdout(Stdio::null()).stderr(log.into_parts().0).spawn().unwrap())
}

fn through(addr: SocketAddr) -> Vec<String> {
    vec!["--database-url".to_owned(), format!("postgres://lifeguard@{addr}/lifeguard")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn a_pooler_in_session_mode_works_and_survives_a_crash() {
    let Some(program) = tool("/usr/sbin/pgbouncer", "pgbouncer") else { return };
    let site = TestSite::new();
    let mut cluster = ReplicatedCluster::alone(&site).await;
    let _bouncer = bouncer(&site, &program, cluster.primary(), "session");
    let mut scene = DatabaseScene::new(&site, through(site.addr(BOUNCER_PORT))).await;
    let crash = async || {
        cluster.kill_primary();
        cluster.restart_primary(&site).await;
    };
    scene.work(crash).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn a_failover_behind_a_proxy_with_two_nodes_is_survived() {
    let Some(program) = tool("/usr/sbin/haproxy", "haproxy") else { return };
    let site = TestSite::new();
    let mut cluster = ReplicatedCluster::start(&site).await;
    let proxy = site.addr(PROXY_PORT);
    let [primary, standby] = cluster.addrs();
    // The proxy checks whether a node runs, not whether it is writable: after the primary's crash new connections reach
    // a standby that is read-only until it is promoted.
    let config = format!(
        "global\n  maxconn 500\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 1h\n  timeout server 1h\n\
         listen database\n  bind {proxy}\n  default-server inter 300ms fall 2 rise 1 on-marked-down shutdown-sessions\n  \
         server a {primary} check\n  server b {standby} check backup\n"
    );
    let file = site.path().join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command = site.command(&program);
    let log = fs::File::create(site.path().join("haproxy.log")).unwrap();
    command.args(["-db", "-f"]).arg(&file).stdout(Stdio::null()).stderr(log.into_parts().0);
    let _proxy = ChildProgram(command.spawn().unwrap());
    let mut scene = DatabaseScene::new(&site, through(proxy)).await;
    let fail_over = async || {
        cluster.until_in_step().await;
        cluster.kill_primary();
        pause(Duration::from_secs(4)).await;
        cluster.fail_over().await;
    };
    scene.work(fail_over).await;
}
