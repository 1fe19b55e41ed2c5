//! A server as a process of its own.

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

/// How long a server may take to serve: with a million deadlines on a busy machine, too.
const SERVER_START_TIMEOUT: Duration = Duration::from_mins(2);
/// How many lines of a log an error message shows.
const TAIL: usize = 10;
/// What the server logs. Its usual line for every transition would make the log a part of what is measured.
pub(crate) const SERVER_LOG_FILTER: &str = "warn,lifeguard::cli::serve=info";

/// A running server; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    /// Its number.
    pub(crate) pid: u32,
    /// Where it serves.
    pub(crate) http: SocketAddr,
    /// When it was started.
    pub(crate) spawned_at: DateTime<Utc>,
    // The rest of its log is read on, lest it waits for somebody to read it.
    _log: JoinSet<()>,
}

impl ServerProcess {
    /// Starts what `command` says, up to the options that every server of the bench has, and waits until it serves.
    pub(crate) async fn start(mut command: Command) -> Result<Self, Box<dyn Error>> {
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--log", SERVER_LOG_FILTER]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let spawned_at = SystemClock.now();
        // In a group of its own: Ctrl-C at our terminal is ours to pass on.
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
                if tail.len() > TAIL {
                    tail.pop_front();
                }
            }
            Ok(None)
        };
        let Some(http) = within(SERVER_START_TIMEOUT, serving).await.transpose()?.flatten() else {
            let tail = Vec::from(tail).join("\n");
            return Err(format!("the server does not serve; the last lines of its log are:\n{tail}").into());
        };
        let mut log = JoinSet::new();
        log.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::debug!(pid, line, "the server's log");
            }
        });
        Ok(Self { child, pid, http, spawned_at, _log: log })
    }

    /// Asks it to stop in order, and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        self.signal(Signal::SIGTERM)?;
        match within(SERVER_START_TIMEOUT, self.child.wait()).await {
            Some(ended) => match ended? {
                status if status.success() => Ok(()),
                status => Err(format!("the server did not stop in order: {status}").into()),
            },
            None => Err("the server does not stop".into()),
        }
    }

    /// Kills it as a machine that falls over does; says when.
    pub(crate) async fn kill(mut self) -> Result<DateTime<Utc>, Box<dyn Error>> {
        let killed_at = SystemClock.now();
        self.signal(Signal::SIGKILL)?;
        self.child.wait().await?;
        Ok(killed_at)
    }

    fn signal(&self, signal: Signal) -> Result<(), Box<dyn Error>> {
        // Only while it has not been waited for is the number surely its own.
        match self.child.id() {
            Some(pid) => Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?),
            None => Err("the server has ended by itself".into()),
        }
    }

    /// The processor time that it has taken.
    pub(crate) fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        Ok(process::cpu(i32::try_from(self.pid)?)?)
    }

    /// The memory that it has in RAM, in bytes.
    pub(crate) fn resident(&self) -> Result<u64, Box<dyn Error>> {
        Ok(process::resident(self.pid)?)
    }
}
