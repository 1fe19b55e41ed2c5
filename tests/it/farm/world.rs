//! The environment of a farm, and the observations of the tests.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use lifeguard::clock::{Clock, ScaledClock};
use lifeguard::farm::{
    BoardActivity, BoardStatus, FarmOptions, SimulatedBoard, SimulatedFarm, write_boot_tree,
};
use lifeguard::tftp::{TftpFetch, TftpObserver, TftpServer, TransferEnd};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_modbus::client::{Client as _, Reader as _, Writer as _, tcp};
use tokio_util::sync::CancellationToken;

/// How long a test waits for a condition.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// The visit in the recorder's boot arguments.
pub(super) const ARGUMENTS_VISIT: u64 = 1000;

/// One report, accepted or refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReceivedReport {
    pub device: String,
    pub event: String,
    pub visit: Option<u64>,
    pub arguments: Value,
    pub from: IpAddr,
    /// The visit in the answer; `None` for a refused report.
    pub answered: Option<u64>,
}

/// What the servers received, and how they answer.
#[derive(Default)]
struct FarmRecorder {
    root: PathBuf,
    reports: watch::Sender<Vec<ReceivedReport>>,
    asked: watch::Sender<Vec<TftpFetch>>,
    ended: watch::Sender<Vec<(TftpFetch, TransferEnd)>>,
    refusals: watch::Sender<usize>,
    next_image: watch::Sender<Option<String>>,
}

/// A farm and its servers.
pub(super) struct FarmWorld {
    pub farm: SimulatedFarm,
    pub clock: Arc<dyn Clock>,
    recorder: Arc<FarmRecorder>,
    root: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

impl FarmWorld {
    /// Creates a farm of four boards, the last one wired inverted, with a clock 300 times as fast.
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with changed options.
    pub(super) async fn with(change: impl FnOnce(&mut FarmOptions)) -> Self {
        let root = tempfile::tempdir().unwrap();
        write_boot_tree(root.path()).unwrap();
        let recorder = Arc::new(FarmRecorder { root: root.path().to_owned(), ..FarmRecorder::default() });
        let mut tasks = JoinSet::new();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));

        let observer: Arc<dyn TftpObserver> = Arc::<FarmRecorder>::clone(&recorder);
        let server = TftpServer::bind(any, root.path().to_owned(), observer).await.unwrap();
        let tftp = server.local_addr();
        tasks.spawn(server.run(CancellationToken::new()));

        let listener = TcpListener::bind(any).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/api/v1/devices/{name}/events/{event}", post(report))
            .route("/api/v1/devices/{name}/boot-config", get(boot_arguments))
            .with_state(Arc::clone(&recorder))
            .into_make_service_with_connect_info::<SocketAddr>();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });

        let clock: Arc<dyn Clock> = Arc::new(ScaledClock::new(300.0));
        let mut options = FarmOptions::new(Arc::clone(&clock), url, tftp);
        options.boards = 4;
        change(&mut options);
        let clock = Arc::clone(&options.clock);
        Self { farm: SimulatedFarm::start(&options).unwrap(), clock, recorder, root, _tasks: tasks }
    }

    pub(super) fn board(&self, index: usize) -> &SimulatedBoard {
        self.farm.board(index).unwrap()
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.root.path().join(file)
    }

    /// Answers the next `count` reports with 503.
    pub(super) fn refuse(&self, count: usize) {
        self.recorder.refusals.send_replace(count);
    }

    /// Sets the image in the boot arguments.
    pub(super) fn set_next_image(&self, image: &str) {
        self.recorder.next_image.send_replace(Some(image.to_owned()));
    }

    /// Links a board to the boot config of `image`.
    pub(super) fn link(&self, board: usize, image: &str) {
        let RegisteredBoard { link, config, .. } = self.registered(board, image);
        std::os::unix::fs::symlink(format!("../configs/{config}"), self.path(&link)).unwrap();
    }

    fn registered(&self, board: usize, image: &str) -> RegisteredBoard {
        let registration = self.board(board).registration();
        let config = lifeguard::farm::boot_config_name(image, &registration.hardware);
        RegisteredBoard { link: link_of(&registration.mac), config, power: registration.power_url.clone() }
    }

    /// The file that a board requests first.
    pub(super) fn link_name(&self, board: usize) -> String {
        link_of(&self.board(board).registration().mac)
    }

    /// Switches a board on by Modbus.
    pub(super) async fn power_on(&self, board: usize) {
        self.switch(board, SwitchTo::On).await;
    }

    /// Switches a board off by Modbus, and waits until it is off.
    pub(super) async fn power_off(&self, board: usize) {
        self.switch(board, SwitchTo::Off).await;
        self.until(board, "is off", |status| status.activity == BoardActivity::Off).await;
    }

    async fn switch(&self, board: usize, power: SwitchTo) {
        let url: url::Url = self.registered(board, "").power.parse().unwrap();
        let is_inverted = url.query_pairs().any(|(name, value)| name == "invert" && value == "true");
        let coil: u16 = url.path().trim_start_matches('/').parse().unwrap();
        let relay = url.socket_addrs(|| None).unwrap()[0];
        let is_on = (power == SwitchTo::On) != is_inverted;
        // One client at a time: the previous one may still be connected.
        for _ in 0..1000 {
            if switch_coil(relay, coil, is_on).await.is_some() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the relay board at {relay} does not switch coil {coil}");
    }

    /// Waits for a board's status.
    pub(super) async fn until(
        &self,
        board: usize,
        what: &str,
        condition: impl FnMut(&BoardStatus) -> bool + Send,
    ) -> BoardStatus {
        wait(self.board(board).watch(), what, condition).await
    }

    /// Waits until `count` reports were accepted; returns all reports.
    pub(super) async fn reports(&self, count: usize) -> Vec<ReceivedReport> {
        let taken =
            |reports: &Vec<ReceivedReport>| reports.iter().filter(|r| r.answered.is_some()).count() >= count;
        wait(self.recorder.reports.subscribe(), &format!("{count} reports"), taken).await
    }

    /// The events reported so far.
    pub(super) fn events(&self) -> Vec<String> {
        self.recorder.reports.borrow().iter().map(|report| report.event.clone()).collect()
    }

    /// The files requested so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.recorder.asked.borrow().iter().map(|fetch| fetch.file.clone()).collect()
    }

    /// Waits until `file` has been requested `count` times.
    pub(super) async fn until_asked(&self, file: &str, count: usize) -> Vec<TftpFetch> {
        let condition =
            |asked: &Vec<TftpFetch>| asked.iter().filter(|fetch| fetch.file == file).count() >= count;
        wait(self.recorder.asked.subscribe(), &format!("{file} asked for {count} times"), condition).await
    }

    /// Waits until `count` fetches of `file` have ended; returns how they ended.
    pub(super) async fn ends(&self, file: &str, count: usize) -> Vec<TransferEnd> {
        let of_file = |(fetch, _): &&(TftpFetch, TransferEnd)| fetch.file == file;
        let condition = |ended: &Vec<(TftpFetch, TransferEnd)>| ended.iter().filter(of_file).count() >= count;
        let ended =
            wait(self.recorder.ended.subscribe(), &format!("{file} ended {count} times"), condition).await;
        ended.iter().filter(of_file).map(|(_, end)| end.clone()).collect()
    }

    /// Whether a board answers a poll.
    pub(super) async fn answers_poll(&self, board: usize) -> bool {
        let url = self.board(board).registration().poll_url.clone();
        TcpStream::connect(url.strip_prefix("tcp://").unwrap()).await.is_ok()
    }
}

struct RegisteredBoard {
    link: String,
    config: String,
    power: String,
}

#[derive(PartialEq)]
enum SwitchTo {
    On,
    Off,
}

fn link_of(mac: &str) -> String {
    format!("pxelinux.cfg/01-{}", mac.replace(':', "-"))
}

/// Switches a coil and reads it back; `None` if the relay board does not do it.
pub(super) async fn switch_coil(relay: SocketAddr, coil: u16, is_on: bool) -> Option<()> {
    let mut client = tcp::connect(relay).await.ok()?;
    let switched = async {
        client.write_single_coil(coil, is_on).await.ok()?.ok()?;
        let read = client.read_coils(coil, 1).await.ok()?.ok()?;
        (read == [is_on]).then_some(())
    };
    #[expect(clippy::disallowed_methods, reason = "a test's time limit is in real time")]
    let switched = tokio::time::timeout(Duration::from_millis(500), switched).await.ok().flatten();
    client.disconnect().await.ok();
    switched
}

async fn wait<T: Clone + std::fmt::Debug>(
    mut watched: watch::Receiver<T>,
    what: &str,
    condition: impl FnMut(&T) -> bool,
) -> T {
    #[expect(clippy::disallowed_methods, reason = "a test's time limit is in real time")]
    let waited = tokio::time::timeout(WAIT_TIMEOUT, watched.wait_for(condition))
        .await
        .map(|seen| seen.unwrap().clone());
    waited.unwrap_or_else(|_| panic!("waited in vain: {what}; there is {:?}", *watched.borrow()))
}

#[derive(Deserialize)]
struct VisitQuery {
    visit: Option<u64>,
}

async fn report(
    State(recorder): State<Arc<FarmRecorder>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path((device, event)): Path<(String, String)>,
    Query(VisitQuery { visit }): Query<VisitQuery>,
    body: Bytes,
) -> Result<Json<Value>, StatusCode> {
    let is_refused = recorder.refusals.send_if_modified(|left| {
        let is_refused = *left > 0;
        *left = left.saturating_sub(1);
        is_refused
    });
    if event == "image-installed" {
        remove_links(&recorder.root);
    }
    let arguments = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let mut answered = None;
    recorder.reports.send_modify(|reports| {
        answered = (!is_refused).then(|| reports.len() as u64 + 1);
        reports.push(ReceivedReport { device, event, visit, arguments, from: from.ip(), answered });
    });
    answered
        .map(|visit| Json(json!({ "outcome": "moved", "visit": visit })))
        .ok_or(StatusCode::SERVICE_UNAVAILABLE)
}

fn remove_links(root: &std::path::Path) {
    for link in fs_err::read_dir(root.join("pxelinux.cfg")).unwrap() {
        fs_err::remove_file(link.unwrap().path()).unwrap();
    }
}

async fn boot_arguments(State(recorder): State<Arc<FarmRecorder>>) -> Json<Value> {
    Json(json!({ "visit": ARGUMENTS_VISIT, "next_image": *recorder.next_image.borrow() }))
}

impl TftpObserver for FarmRecorder {
    fn on_request(&self, fetch: &TftpFetch) {
        self.asked.send_modify(|asked| asked.push(fetch.clone()));
    }

    fn on_end(&self, fetch: &TftpFetch, end: TransferEnd) {
        self.ended.send_modify(|ended| ended.push((fetch.clone(), end)));
    }

    fn on_drop(&self, _fetch: &TftpFetch) {}
}
