//! `lifeguard demo`: the whole of it on one machine, with simulated boards and relay boards on real sockets.
//!
//! A server with its private Postgres, a farm that knows the server only as hardware does, and an operator who knows
//! it only by HTTP.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api_client::{ApiClient, ApiClientError};
use super::output;
use super::serve::{LifeguardServer, ServeOptions, asked_to_stop};
use crate::clock::{Clock, ScaledClock, sleep_real_time, time_after};
use crate::directories;
use crate::farm::{self, BoardRegistration, FarmOptions, FaultRates, SimulatedBoard, SimulatedFarm};
use crate::formatting::count;
use crate::machine::is_failed_state_name;

/// What `demo` can be told, besides what `serve` can.
#[derive(Debug, Args)]
pub(super) struct DemoOptions {
    /// How many boards
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=2000))]
    boards: u16,

    /// How often things go wrong, from 0 (never) to 1
    #[arg(long, default_value_t = 0.0, value_parser = parse_rate)]
    faults: f64,

    /// How many times as fast as real time the farm's clock runs
    #[arg(long, default_value_t = 10.0, value_parser = parse_speed)]
    speed: f64,

    /// Where chance begins: the same seed gives the same faults
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// End when the rolling reboot and the reimaging are done and every board rests
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    serve: ServeOptions,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.0..=1.0).contains(rate))
        .ok_or_else(|| "a number from 0 to 1".to_owned())
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let fits = |speed: &f64| (0.1..=1000.0).contains(speed);
    text.parse().ok().filter(fits).ok_or_else(|| "a number from 0.1 to 1000".to_owned())
}

/// How long a step of the story waits for boards that are still being tried, in farm time.
const STEP_TIMEOUT: Duration = Duration::from_mins(10);
/// In how many groups the rolling reboot goes through the farm.
const REBOOT_GROUPS: usize = 6;
/// How often the story looks at the farm, in real time.
const STATE_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How often the server is asked again while its database is away, once a second.
const MAX_UNAVAILABLE_RETRIES: usize = 30;

pub(super) async fn run(options: DemoOptions) -> Result<(), Box<dyn Error>> {
    let signal = asked_to_stop()?;
    let mut serve = options.serve.clone().with_secrets()?;
    let scratch = DemoDirectory::make_unless_given(&mut serve)?;
    serve.tftp_listen.get_or_insert(([127, 0, 0, 1], 0).into());
    let clock: Arc<dyn Clock> = Arc::new(ScaledClock::new(options.speed));

    let server = LifeguardServer::start(serve, Arc::clone(&clock)).await?;
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
    let Some(tftp) = server.tftp else { return Err("the demo's boards boot by TFTP".into()) };
    farm::write_boot_tree(&server.boot_root)?;
    let farm = SimulatedFarm::start(&FarmOptions {
        boards: options.boards,
        seed: options.seed,
        faults: FaultRates::with_rate(options.faults),
        ..FarmOptions::new(Arc::clone(&clock), format!("http://{}", server.http), tftp)
    })?;
    output::print(&format!(
        "{} on relay boards by Modbus TCP; time runs {} times as fast.\nLook at http://{}/ — Ctrl-C ends it.\n",
        count(options.boards, "board"),
        options.speed,
        server.http
    ))?;
    let client = ApiClient::of(format!("http://{}", server.http).parse()?)?;
    let mut story = DemoScript { client, began_at: clock.now(), clock, last_line: String::new() };
    let registrations: Vec<&BoardRegistration> = farm.boards().map(SimulatedBoard::registration).collect();
    let result = tokio::select! {
        told = story.run_steps(&registrations, options.once) => told,
        () = signal => Ok(()),
    };
    farm.stop().await;
    result
}

/// An operator's day.
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
        self.ask("Every board is rebooted", &names, "rq-reboot", json!({})).await?;
        self.wait_until_resting(Some(STEP_TIMEOUT)).await?;
        for image in ["base-2", "base-1"].into_iter().cycle() {
            for group in 0..REBOOT_GROUPS {
                // Across the relay boards, of which each does one thing at a time.
                let names: Vec<&str> = names.iter().copied().skip(group).step_by(REBOOT_GROUPS).collect();
                self.ask(&format!("Rolling reboot, group {}", group + 1), &names, "rq-reboot", json!({}))
                    .await?;
                self.wait_until_resting(Some(STEP_TIMEOUT)).await?;
            }
            let some = &names[..names.len().div_ceil(3)];
            self.ask(&format!("{image} is installed"), some, "rq-reimage", json!({ "image": image })).await?;
            self.wait_until_resting(if is_once { None } else { Some(STEP_TIMEOUT) }).await?;
            self.sum_up().await?;
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
            // In a data directory of an earlier demo the boards are there, and only their sockets are new.
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

    /// Asks for something, and says so; a board whose state does not take it is left alone.
    async fn ask(
        &self,
        what: &str,
        names: &[&str],
        request: &str,
        body: Value,
    ) -> Result<(), Box<dyn Error>> {
        let mut asked = 0;
        for name in names {
            match self.post(&["devices", name, "requests", request], &body).await {
                Ok(_) => asked += 1,
                Err(ApiClientError::Refused { status: StatusCode::CONFLICT, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let busy = names.len() - asked;
        let busy = if busy == 0 { String::new() } else { format!("; {busy} still busy") };
        self.say(&format!("{what}: {}{busy}", count(asked, "board")))
    }

    /// Shows the states as they change, until every board rests or `timeout` has passed.
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
            let rests = |state: &&str| matches!(*state, "Ready" | "New") || is_failed_state_name(state);
            if counts.keys().all(rests) {
                return Ok(());
            }
            if give_up_at.is_some_and(|at| self.clock.now() >= at) {
                return self.say("  The others are tried on while the story goes on");
            }
            sleep_real_time(STATE_POLL_INTERVAL).await;
        }
    }

    /// Says of each board that needs hands what is known.
    async fn sum_up(&self) -> Result<(), Box<dyn Error>> {
        let failed = self.get(&["devices"], &[("state", "Failed*".to_owned())]).await?;
        let mut rows = vec![["NEEDS HANDS", "STATE", "WHY", "LAST BOOT"].map(str::to_owned).to_vec()];
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

    /// Calls the server; where it asks for time because its database is away, it gets some.
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

/// A directory for a demo that was given none; it goes with the demo.
struct DemoDirectory(Option<PathBuf>);

impl DemoDirectory {
    fn make_unless_given(serve: &mut ServeOptions) -> Result<Self, Box<dyn Error>> {
        if serve.data_dir.is_some() || (serve.database_url.is_some() && serve.boot_root.is_some()) {
            return Ok(Self(None));
        }
        let path = std::env::temp_dir().join(format!("lifeguard-demo-{}", std::process::id()));
        // Root's Postgres runs as another user, who must come to its own directory in there.
        directories::create_with_mode(&path, 0o711)?;
        if serve.database_url.is_none() {
            serve.data_dir = Some(path.clone());
        }
        let boot_root = serve.boot_root.get_or_insert_with(|| path.join("boot"));
        directories::create_all_with_mode(boot_root, 0o755)?;
        Ok(Self(Some(path)))
    }
}

impl Drop for DemoDirectory {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = fs_err::remove_dir_all(path)
        {
            tracing::warn!(error = &error as &dyn Error, "the demo's directory is left");
        }
    }
}
