//! `lifeguard demo`: a complete farm on one machine, with simulated boards and relay boards on real sockets.
//!
//! It runs a server with a private Postgres, a farm that reaches the server only as hardware does (TFTP, HTTP, Modbus), and an
//! operator that uses only the HTTP interface.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api_client::{ApiClient, ApiClientError};
use super::output;
use super::serve::{LifeguardServer, ServeOptions, asked_to_stop, number_between};
use crate::clock::{Clock, ScaledClock, sleep_real_time, time_after};
use crate::directories;
use crate::farm::{self, BoardRegistration, FarmOptions, FaultRates, SimulatedBoard, SimulatedFarm};
use crate::formatting::count;
use crate::formatting::with_causes;
use crate::machine::is_failed_state_name;

/// The options of `demo`, which takes those of `serve` too, as flags only.
#[derive(Debug, Args)]
pub(super) struct DemoOptions {
    /// The number of boards
    #[arg(long, default_value_t = 24, value_parser = |text: &str| number_between(text, 1_u16, 2000))]
    boards: u16,

    /// The rate of simulated faults, from 0 (none) to 1
    #[arg(long, default_value_t = 0.0, value_parser = parse_rate)]
    faults: f64,

    /// How many times faster than real time the farm's clock runs
    #[arg(long, default_value_t = 10.0, value_parser = parse_speed)]
    speed: f64,

    /// Seed of the random numbers: the same seed gives the same faults
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Exit after one rolling reboot and one reimage, when every board is at rest
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    serve: ServeOptions,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.0..=1.0).contains(rate))
        .ok_or_else(|| "a number from 0 to 1 is needed".to_owned())
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let fits = |speed: &f64| (0.1..=1000.0).contains(speed);
    text.parse().ok().filter(fits).ok_or_else(|| "a number from 0.1 to 1000 is needed".to_owned())
}

/// How long a step of the demo waits for boards that are still being retried, in farm time.
const STEP_TIMEOUT: Duration = Duration::from_mins(10);
/// The number of groups of the rolling reboot.
const REBOOT_GROUPS: usize = 6;
/// How often the demo reads the states of the boards, in real time.
const STATE_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The maximum number of tries to remove the temporary directory, and the time between them.
const MAX_REMOVAL_TRIES: usize = 50;
const REMOVAL_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum number of retries while the database is unavailable, one a second.
const MAX_UNAVAILABLE_RETRIES: usize = 30;

pub(super) async fn run(options: DemoOptions) -> Result<(), Box<dyn Error>> {
    let mut signal = pin!(asked_to_stop()?);
    let mut serve = options.serve.clone().with_secrets()?;
    let mut scratch = DemoDirectory::create_unless_given(&mut serve)?;
    serve.tftp_listen.get_or_insert(([127, 0, 0, 1], 0).into());
    let clock: Arc<dyn Clock> = Arc::new(ScaledClock::new(options.speed));

    // A start waits for a given database as long as necessary.
    let server = tokio::select! {
        server = LifeguardServer::start(serve, Arc::clone(&clock)) => server?,
        () = &mut signal => {
            scratch.remove_when_unused().await;
            output::print("Stopped during the start.")?;
            return Ok(());
        }
    };
    let result = run_demo(&options, &server, clock, signal).await;
    server.stop().await?;
    drop(scratch);
    output::print("Stopped; nothing is left running.")?;
    result
}

async fn run_demo(
    options: &DemoOptions,
    server: &LifeguardServer,
    clock: Arc<dyn Clock>,
    signal: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let Some(tftp) = server.tftp else {
        return Err("the demo needs a TFTP server: its boards boot by TFTP".into());
    };
    farm::write_boot_tree(&server.boot_root)?;
    let farm = SimulatedFarm::start(&FarmOptions {
        boards: options.boards,
        seed: options.seed,
        faults: FaultRates::with_rate(options.faults),
        ..FarmOptions::new(Arc::clone(&clock), format!("http://{}", server.http), tftp)
    })?;
    output::print(&format!(
        "{} on Modbus TCP relay boards; time runs {} times as fast.\nDashboard: http://{}/ — Ctrl-C ends the demo.\n",
        count(options.boards, "board"),
        options.speed,
        server.http
    ))?;
    let client = ApiClient::of(format!("http://{}", server.http).parse()?)?;
    let mut script = DemoScript { client, began_at: clock.now(), clock, last_line: String::new() };
    let registrations: Vec<&BoardRegistration> = farm.boards().map(SimulatedBoard::registration).collect();
    let result = tokio::select! {
        result = script.run_steps(&registrations, options.once) => result,
        () = signal => Ok(()),
    };
    farm.stop().await;
    result
}

/// What the demo's operator does, step by step.
struct DemoScript {
    client: ApiClient,
    clock: Arc<dyn Clock>,
    began_at: DateTime<Utc>,
    last_line: String,
}

impl DemoScript {
    async fn run_steps(
        &mut self,
        boards: &[&BoardRegistration],
        is_once: bool,
    ) -> Result<(), Box<dyn Error>> {
        self.register(boards).await?;
        let names: Vec<&str> = boards.iter().map(|board| board.name.as_str()).collect();
        self.request("Every board is rebooted", &names, "rq-reboot", json!({})).await?;
        self.wait_until_resting(Some(STEP_TIMEOUT)).await?;
        for image in ["base-2", "base-1"].into_iter().cycle() {
            for group in 0..REBOOT_GROUPS {
                // Spread over the relay boards, each of which handles one request at a time.
                let names: Vec<&str> = names.iter().copied().skip(group).step_by(REBOOT_GROUPS).collect();
                self.request(&format!("Rolling reboot, group {}", group + 1), &names, "rq-reboot", json!({}))
                    .await?;
                self.wait_until_resting(Some(STEP_TIMEOUT)).await?;
            }
            let reimaged = &names[..names.len().div_ceil(3)];
            self.request(&format!("{image} is installed"), reimaged, "rq-reimage", json!({ "image": image }))
                .await?;
            self.wait_until_resting(if is_once { None } else { Some(STEP_TIMEOUT) }).await?;
            self.print_failed().await?;
            if is_once {
                break;
            }
        }
        Ok(())
    }

    async fn register(&self, boards: &[&BoardRegistration]) -> Result<(), Box<dyn Error>> {
        for image in farm::IMAGES {
            let configs =
                farm::HARDWARE_TYPES.map(|hardware| (hardware, farm::boot_config_name(image, hardware)));
            let body = json!({ "boot_configs": HashMap::from(configs) });
            self.call(Method::PUT, &["images", image], &[], Some(&body)).await?;
        }
        for board in boards {
            let mut body = json!({
                "fqdn": board.fqdn, "mac": board.mac, "power_url": board.power_url, "poll_url": board.poll_url,
                "hardware": board.hardware, "environment": board.environment,
            });
            let change = self.call(Method::PATCH, &["devices", &board.name], &[], Some(&body)).await;
            // In the data directory of an earlier demo the boards exist, and only their sockets change.
            if matches!(&change, Err(ApiClientError::Refused { status, .. }) if *status == StatusCode::NOT_FOUND)
            {
                body["name"] = json!(board.name);
                self.post(&["devices"], &body).await?;
            } else {
                change?;
            }
        }
        self.say(&format!("{} registered", count(boards.len(), "board")))
    }

    /// Sends a request to boards and prints how many accepted it; a board whose state does not accept it is skipped.
    async fn request(
        &self,
        what: &str,
        names: &[&str],
        request: &str,
        body: Value,
    ) -> Result<(), Box<dyn Error>> {
        let mut accepted = 0;
        for name in names {
            match self.post(&["devices", name, "requests", request], &body).await {
                Ok(_) => accepted += 1,
                Err(ApiClientError::Refused { status: StatusCode::CONFLICT, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let busy = names.len() - accepted;
        let busy = if busy == 0 { String::new() } else { format!("; {busy} still busy") };
        self.say(&format!("{what}: {}{busy}", count(accepted, "board")))
    }

    /// Prints the states as they change, until every board is at rest or `timeout` has passed.
    async fn wait_until_resting(&mut self, timeout: Option<Duration>) -> Result<(), Box<dyn Error>> {
        let give_up_at = timeout.map(|timeout| time_after(self.clock.now(), timeout));
        loop {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            let answer = self.get(&["devices"], &[]).await?;
            for device in answer["devices"].as_array().into_iter().flatten() {
                *counts.entry(device["state"].as_str().unwrap_or_default()).or_default() += 1;
            }
            let line =
                counts.iter().map(|(state, count)| format!("{state} {count}")).collect::<Vec<_>>().join("  ");
            if line != self.last_line {
                self.say(&format!("  {line}"))?;
                self.last_line = line;
            }
            let is_resting = |state: &&str| matches!(*state, "Ready" | "New") || is_failed_state_name(state);
            if counts.keys().all(is_resting) {
                return Ok(());
            }
            if give_up_at.is_some_and(|at| self.clock.now() >= at) {
                return self.say("  Continuing; the remaining boards are still being retried");
            }
            sleep_real_time(STATE_POLL_INTERVAL).await;
        }
    }

    /// Prints the boards that need attention, with what is known of each.
    async fn print_failed(&self) -> Result<(), Box<dyn Error>> {
        let failed = self.get(&["devices"], &[("state", "Failed*".to_owned())]).await?;
        let mut rows = vec![["NEEDS ATTENTION", "STATE", "REASON", "LAST BOOT"].map(str::to_owned).to_vec()];
        for device in failed["devices"].as_array().into_iter().flatten() {
            let name = device["name"].as_str().unwrap_or_default();
            let full = self.get(&["devices", name], &[]).await?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let problem = text(&full["problem"]);
            let reason = if problem.is_empty() { text(&full["about"]) } else { problem };
            rows.push(vec![name.to_owned(), text(&full["state"]), reason, text(&full["boot"])]);
        }
        if rows.len() == 1 {
            return self.say("Every board is Ready");
        }
        Ok(output::print(&format!("\n{}\n", output::table(&rows)))?)
    }

    /// Calls the server, and retries while its database is unavailable.
    async fn call(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, ApiClientError> {
        let mut tries = 0;
        loop {
            match self.client.call(method.clone(), segments, query, body).await {
                Err(ApiClientError::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. })
                    if tries < MAX_UNAVAILABLE_RETRIES =>
                {
                    tries += 1;
                    sleep_real_time(Duration::from_secs(1)).await;
                }
                result => return result,
            }
        }
    }

    async fn get(&self, segments: &[&str], query: &[(&str, String)]) -> Result<Value, ApiClientError> {
        self.call(Method::GET, segments, query, None).await
    }

    async fn post(&self, segments: &[&str], body: &Value) -> Result<Value, ApiClientError> {
        self.call(Method::POST, segments, &[], Some(body)).await
    }

    fn say(&self, text: &str) -> Result<(), Box<dyn Error>> {
        let seconds = (self.clock.now() - self.began_at).num_seconds();
        Ok(output::print(&format!("{:3}:{:02}  {text}", seconds / 60, seconds % 60))?)
    }
}

/// The temporary directory of a demo without `--data-dir`; it is removed at the end.
struct DemoDirectory(Option<PathBuf>);

impl DemoDirectory {
    fn create_unless_given(serve: &mut ServeOptions) -> Result<Self, Box<dyn Error>> {
        if serve.data_dir.is_some() || (serve.database_url.is_some() && serve.boot_root.is_some()) {
            return Ok(Self(None));
        }
        let path = std::env::temp_dir().join(format!("lifeguard-demo-{}", std::process::id()));
        // Root's Postgres runs as another user, which must be able to enter its own directory in here.
        directories::create_with_mode(&path, 0o711)?;
        if serve.database_url.is_none() {
            serve.data_dir = Some(path.clone());
        }
        let boot_root = serve.boot_root.get_or_insert_with(|| path.join("boot"));
        directories::create_all_with_mode(boot_root, 0o755)?;
        Ok(Self(Some(path)))
    }

    /// Removes the directory, for which it waits until a private PostgreSQL that was starting writes no more.
    async fn remove_when_unused(&mut self) {
        for _ in 0..MAX_REMOVAL_TRIES {
            if self.0.as_ref().is_none_or(|path| fs_err::remove_dir_all(path).is_ok()) {
                self.0 = None;
                return;
            }
            sleep_real_time(REMOVAL_INTERVAL).await;
        }
    }
}

impl Drop for DemoDirectory {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = fs_err::remove_dir_all(path)
        {
            tracing::warn!(error = %with_causes(&error), "cannot remove temporary directory");
        }
    }
}
