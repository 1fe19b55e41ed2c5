//! A whole server with a manual clock and its own database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeguard::actions::PowerSettings;
use lifeguard::cli::serve::{HttpArgs, LifeguardServer, ModelArgs, ServeOptions, TftpArgs};
use lifeguard::clock::{Clock, ManualClock, time_after};
use lifeguard::engine::{Engine, Retention};
use lifeguard::store::ConnectionBudget;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::database::{TestDatabase, database};

/// How long a test waits for a condition, in real time.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_mins(1);

/// A server, its clock and its database.
pub(crate) struct World {
    pub(crate) server: LifeguardServer,
    pub(crate) clock: ManualClock,
    pub(crate) database: Arc<TestDatabase>,
    pub(crate) folder: Arc<TempDir>,
    http: reqwest::Client,
}

impl World {
    /// Starts a server whose clock shows noon.
    pub(crate) async fn new() -> Self {
        Self::start_with_files(None, None, ModelArgs::default()).await.unwrap()
    }

    /// Starts a server with another board definition.
    pub(crate) async fn with_definition(definition: &str) -> Self {
        Self::start_with_files(Some(definition), None, ModelArgs::default()).await.unwrap()
    }

    /// Starts a server with another board definition, which queries models.
    pub(crate) async fn with_models(definition: &str, models: ModelArgs) -> Self {
        Self::start_with_files(Some(definition), None, models).await.unwrap()
    }

    /// Starts a server that shares a machine at `/state`; returns the error if it does not start.
    pub(crate) async fn with_state_service(machine: &str) -> Result<Self, String> {
        Self::start_with_files(None, Some(machine), ModelArgs::default()).await
    }

    /// Starts a server on another database; returns the error if it does not start.
    pub(crate) async fn at_url(url: &str) -> Result<Self, String> {
        let (clock, database) = (ManualClock::new(Self::noon()), Arc::new(database().await));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let options =
            ServeOptions { database_url: Some(url.parse().unwrap()), ..options(&database, &folder) };
        let server = LifeguardServer::start(options, Arc::new(clock.clone())).await;
        let server = server.map_err(|error| error.to_string())?;
        Ok(Self { server, clock, database, folder, http: reqwest::Client::new() })
    }

    async fn start_with_files(
        definition: Option<&str>,
        machine: Option<&str>,
        models: ModelArgs,
    ) -> Result<Self, String> {
        let clock = ManualClock::new(Self::noon());
        let database = Arc::new(database().await);
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let file = |name: &str, text: Option<&str>| {
            let file = folder.path().join(name);
            text.map(|text| fs_err::write(&file, text).unwrap()).map(|()| file)
        };
        let states = file("board.yaml", definition);
        file("states.yaml", machine);
        Self::start(clock, database, folder, (states, models)).await
    }

    /// Starts a server with these host names.
    pub(crate) async fn with_server_names(names: &[String]) -> Self {
        let http = HttpArgs { server_names: names.to_vec(), ..HttpArgs::default() };
        Self::with_serve_options(|options| ServeOptions { http, ..options }).await
    }

    /// Starts a server with changed options.
    pub(crate) async fn with_serve_options(change: impl FnOnce(ServeOptions) -> ServeOptions) -> Self {
        let (clock, database) = (ManualClock::new(Self::noon()), Arc::new(database().await));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let options = change(options(&database, &folder));
        let server = LifeguardServer::start(options, Arc::new(clock.clone())).await.unwrap();
        Self { server, clock, database, folder, http: reqwest::Client::new() }
    }

    /// Starts another server on the same database, with the same clock, boot tree and machine.
    pub(crate) async fn second_server(&self) -> Self {
        let Self { clock, database, folder, .. } = self;
        Self::start(clock.clone(), Arc::clone(database), Arc::clone(folder), Default::default())
            .await
            .unwrap()
    }

    /// Stops the server, advances the clock by `span`, and starts another one with the same boot tree and machine.
    pub(crate) async fn restart_after(self, span: Duration) -> Result<Self, String> {
        self.restart_when(async |clock, _| clock.advance(span)).await
    }

    /// Stops the server, runs `something`, and starts another one with the same boot tree and machine.
    pub(crate) async fn restart_when(
        self,
        something: impl AsyncFnOnce(&ManualClock, &TestDatabase),
    ) -> Result<Self, String> {
        let Self { server, clock, database, folder, http: _ } = self;
        server.stop().await.unwrap();
        something(&clock, &database).await;
        Self::start(clock, database, folder, Default::default()).await
    }

    async fn start(
        clock: ManualClock,
        database: Arc<TestDatabase>,
        folder: Arc<TempDir>,
        (states, models): (Option<PathBuf>, ModelArgs),
    ) -> Result<Self, String> {
        let machine = Some(folder.path().join("states.yaml")).filter(|file| file.exists());
        let options = ServeOptions { states, machine, models, ..options(&database, &folder) };
        let server = LifeguardServer::start(options, Arc::new(clock.clone()))
            .await
            .map_err(|error| error.to_string())?;
        Ok(Self { server, clock, database, folder, http: reqwest::Client::new() })
    }

    /// The initial time of the clock.
    pub(crate) fn noon() -> chrono::DateTime<chrono::Utc> {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    /// Waits until `GET path`, such as `/state?state=a`, answers 200.
    pub(crate) async fn until_current(&self, path: &str) {
        wait_until(path, async || self.call(Method::GET, path, None).await.0 == StatusCode::OK).await;
    }

    /// Calls the server; returns the status and the JSON of its answer.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("http://{}{path}", self.server.http));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Returns the JSON of a path that must exist.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// Registers a board with the minimum attributes and `more`.
    pub(crate) async fn register(&self, name: &str, more: Value) {
        let number = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let [a, b, c, d] = number.to_be_bytes();
        let mac = format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        let mut body = json!({ "name": name, "mac": mac, "hardware": "panda" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = self.call(Method::POST, "/api/v1/devices", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    /// Sends a request as an operator.
    pub(crate) async fn request(&self, name: &str, request: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, &format!("/api/v1/devices/{name}/requests/{request}"), Some(body)).await
    }

    /// Reports as a board.
    pub(crate) async fn report(&self, name: &str, event: &str) -> (StatusCode, Value) {
        self.call(Method::POST, &format!("/api/v1/devices/{name}/events/{event}"), None).await
    }

    /// Reports as a board with more details: `event?visit=N`, arguments.
    pub(crate) async fn report_with(&self, name: &str, event: &str, args: Value) -> Value {
        let path = format!("/api/v1/devices/{name}/events/{event}");
        let (status, answer) = self.call(Method::POST, &path, Some(args)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// Registers an image for the boards' hardware, whose boot config is the file of its name.
    pub(crate) async fn image(&self, name: &str) {
        fs_err::write(self.server.boot_root.join("configs").join(name), name).unwrap();
        let body = json!({ "boot_configs": { "panda": name } });
        let (status, answer) = self.call(Method::PUT, &format!("/api/v1/images/{name}"), Some(body)).await;
        assert!(status.is_success(), "{answer}");
    }

    /// The path of a board's boot link.
    pub(crate) async fn link(&self, name: &str) -> PathBuf {
        let device = self.get(&format!("/api/v1/devices/{name}")).await;
        let mac = device["mac"].as_str().unwrap().replace(':', "-");
        self.server.boot_root.join("pxelinux.cfg").join(format!("01-{mac}"))
    }

    /// Moves a board by force from its current state.
    pub(crate) async fn force(&self, name: &str, to: &str) {
        let from = self.state(name).await;
        let body = json!({ "from": from, "to": to, "reason": "the test wants it there" });
        let (status, answer) =
            self.call(Method::POST, &format!("/api/v1/devices/{name}/force"), Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// A board's state.
    pub(crate) async fn state(&self, name: &str) -> String {
        self.get(&format!("/api/v1/devices/{name}")).await["state"].as_str().unwrap().to_owned()
    }

    /// A board's history, the oldest first.
    pub(crate) async fn history(&self, name: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/devices/{name}/history?limit=1000")).await;
        answer["history"].as_array().unwrap().iter().rev().cloned().collect()
    }

    /// Waits until the board, as shown by `GET /api/v1/devices/NAME`, satisfies `wanted`.
    pub(crate) async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/api/v1/devices/{name}");
        let give_up_at = Instant::now() + WAIT_TIMEOUT;
        loop {
            let device = self.get(&path).await;
            if wanted(&device) {
                return device;
            }
            assert!(Instant::now() < give_up_at, "{name} never was so: {what}\n{device:#}");
            yield_briefly().await;
        }
    }

    /// Waits until the board is in `state`.
    pub(crate) async fn until_state(&self, name: &str, state: &str) -> Value {
        self.until(name, state, |device| device["state"] == state).await
    }

    /// Advances the clock in small steps until the board satisfies `wanted`: power cycles need their off time.
    pub(crate) async fn pass_time_until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let path = format!("/api/v1/devices/{name}");
        let give_up_at = Instant::now() + WAIT_TIMEOUT;
        loop {
            let device = self.get(&path).await;
            if wanted(&device) {
                return device;
            }
            assert!(Instant::now() < give_up_at, "{name} never was so: {what}\n{device:#}");
            pass_a_little_time(&self.clock).await;
        }
    }

    /// Waits until the board's deadline is armed, and advances the clock to it.
    pub(crate) async fn pass_deadline(&self, name: &str) {
        let device = self.until(name, "a deadline is armed", |device| device["deadline"].is_string()).await;
        let deadline: chrono::DateTime<chrono::Utc> = device["deadline"].as_str().unwrap().parse().unwrap();
        let left = (deadline - self.clock.now()).to_std().unwrap_or_default();
        assert_eq!(time_after(self.clock.now(), left), deadline.max(self.clock.now()));
        self.clock.advance(left);
        let visit = device["visit"].clone();
        self.until(name, "the deadline has passed", |device| device["visit"] != visit).await;
    }
}

/// Options for a server on `database` with its boot tree in `folder`.
pub(crate) fn options(database: &TestDatabase, folder: &TempDir) -> ServeOptions {
    fs_err::create_dir_all(folder.path().join("boot")).unwrap();
    ServeOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        insecure: false,
        tftp_listen: Some(([127, 0, 0, 1], 0).into()),
        tftp: TftpArgs::default(),
        boot_root: Some(folder.path().join("boot")),
        database_url: Some(database.url().parse().unwrap()),
        database_url_file: None,
        database_connections: ConnectionBudget::DEFAULT_TOTAL,
        event_timeout: Engine::EVENT_TIMEOUT,
        data_dir: None,
        pg_bin: None,
        states: None,
        machine: None,
        allow_commands: false,
        operators_url: None,
        history_retention: Retention::For(Duration::from_hours(90 * 24)),
        http: HttpArgs::default(),
        models: ModelArgs::default(),
        power: PowerSettings::default(),
    }
}

/// Power facts at a relay board that refuses connections: the board accepts requests, but is never switched. Each coil is at a
/// relay board of its own, so that no incident opens.
pub(crate) fn unreachable_power(coil: u16) -> Value {
    json!({ "power_url": format!("modbus://127.0.0.{}:1/{coil}", 1 + coil % 250) })
}

/// Lets other tasks run before the next check.
pub(crate) async fn yield_briefly() {
    #[expect(clippy::disallowed_methods, reason = "the test waits for the machine, not for the farm")]
    tokio::time::sleep(Duration::from_millis(5)).await;
}

pub(crate) async fn pass_a_little_time(clock: &ManualClock) {
    clock.advance(Duration::from_millis(50));
    yield_briefly().await;
}

/// Waits for `coming` while advancing the clock: power cycles need their off time.
pub(crate) async fn pass_time_during<T>(
    what: &str,
    clock: &ManualClock,
    coming: impl Future<Output = T>,
) -> T {
    let time = async {
        loop {
            pass_a_little_time(clock).await;
        }
    };
    tokio::select! {
        come = await_within_timeout(what, coming) => come,
        () = time => unreachable!("time goes by for ever"),
    }
}

/// Waits for `coming`, with a time limit.
pub(crate) async fn await_within_timeout<T>(what: &str, coming: impl Future<Output = T>) -> T {
    #[expect(clippy::disallowed_methods, reason = "bounds a test that would hang")]
    let come = tokio::time::timeout(WAIT_TIMEOUT, coming).await;
    come.unwrap_or_else(|_| panic!("it never came: {what}"))
}

/// Waits for `condition`, with a time limit.
pub(crate) async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let give_up_at = Instant::now() + WAIT_TIMEOUT;
    while !condition().await {
        assert!(Instant::now() < give_up_at, "it never was so: {what}");
        yield_briefly().await;
    }
}

/// Waits until a process waits for another transaction's lock.
pub(crate) async fn until_lock_waiter(pool: &sqlx::PgPool) {
    until_lock_waiters(pool, 1).await;
}

/// Waits until this many processes wait for locks.
pub(crate) async fn until_lock_waiters(pool: &sqlx::PgPool, wanted: i64) {
    wait_until("enough wait for a lock", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await.unwrap() >= wanted
    })
    .await;
}
