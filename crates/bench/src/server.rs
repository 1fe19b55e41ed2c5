//! A server as a separate process.

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::{Clock, SystemClock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::process;
use crate::timeouts::within;

/// Maximum time for a server to start or stop, with a million deadlines on a busy machine.
const SERVER_START_TIMEOUT: Duration = Duration::from_mins(2);
/// Number of log lines in an error message.
const LOG_TAIL_LINES: usize = 10;
/// The log filter of the server. A log line for every transition would affect the measurement.
pub(crate) const SERVER_LOG_FILTER: &str = "warn,lifeguard::cli::serve=info";

/// A running server; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    /// The process ID.
    pub(crate) pid: u32,
    /// The address of its HTTP listener.
    pub(crate) http: SocketAddr,
    /// Start time of the process.
    pub(crate) spawned_at: DateTime<Utc>,
    // Reads the rest of the log, so that the server never blocks on it.
    _log: JoinSet<()>,
}

impl ServerProcess {
    /// Starts `command` with the options common to all servers of the bench, and waits until it serves.
    pub(crate) async fn start(mut command: Command) -> Result<Self, Box<dyn Error>> {
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--log", SERVER_LOG_FILTER]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned_at = SystemClock.now();
        // In its own process group: the bench itself handles Ctrl-C.
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let pid = child.id().ok_or("the server ended at once")?;
        let log = child.stderr.take().ok_or("the server has no log")?;
        let mut lines = BufReader::new(log).lines();
        let mut tail = VecDeque::new();
        let serving = async {
            while let Some(line) = lines.next_line().await? {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event.pointer("/fields/message").is_some_and(|message| message == "serving") {
                    let http = event.pointer("/fields/http").and_then(Value::as_str).unwrap_or_default();
                    return Ok::<_, Box<dyn Error>>(Some(http.parse()?));
                }
                tail.push_back(line);
                if tail.len() > LOG_TAIL_LINES {
                    tail.pop_front();
                }
            }
            Ok(None)
        };
        let Some(http) = within(SERVER_START_TIMEOUT, serving).await.transpose()?.flatten() else {
            let tail = Vec::from(tail).join("\n");
            return Err(format!("the server did not start; the last lines of its log:\n{tail}").into());
        };
        let mut log = JoinSet::new();
        log.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::debug!(pid, line, "server log");
            }
        });
        Ok(Self { child, pid, http, spawned_at, _log: log })
    }

    /// Stops the server in order and waits for its end.
    pub(crate) async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        self.signal(Signal::SIGTERM)?;
        match within(SERVER_START_TIMEOUT, self.child.wait()).await {
            Some(result) => match result? {
                status if status.success() => Ok(()),
                status => Err(format!("the server stopped with an error: {status}").into()),
            },
            None => Err("the server did not stop".into()),
        }
    }

    /// Kills the server, as a failing machine would; returns the time.
    pub(crate) async fn kill(mut self) -> Result<DateTime<Utc>, Box<dyn Error>> {
        let killed_at = SystemClock.now();
        self.signal(Signal::SIGKILL)?;
        self.child.wait().await?;
        Ok(killed_at)
    }

    fn signal(&self, signal: Signal) -> Result<(), Box<dyn Error>> {
        // The process ID is valid only while the process has not been waited for.
        match self.child.id() {
            Some(pid) => Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?),
            None => Err("the server has ended".into()),
        }
    }

    /// The processor time of the server.
    pub(crate) fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        Ok(process::cpu(i32::try_from(self.pid)?)?)
    }

    /// The resident memory of the server, in bytes.
    pub(crate) fn resident(&self) -> Result<u64, Box<dyn Error>> {
        Ok(process::resident(self.pid)?)
    }
}
