//! A server process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chrono::{DateTime, Utc};
use lifeguard::clock::{Clock, SystemClock};
use lifeguard::store::Store;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;

/// A running `lifeguard serve`, killed on drop.
pub(crate) struct ServerProcess {
    child: Child,
    http: SocketAddr,
    tftp: Option<SocketAddr>,
    killed_at: Option<DateTime<Utc>>,
}

/// Start and end of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    Begins,
    Ends,
}

impl ServerProcess {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(options: &[String]) -> Self {
        Self::try_start(options).unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Starts a server and waits until it is ready; returns its log if it exits instead.
    pub(crate) fn try_start(options: &[String]) -> Result<Self, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
        command.arg("serve").args(options);
        Self::run(command)
    }

    /// Runs `command`, which must end in `lifeguard serve` and its options, as a server.
    pub(crate) fn run(mut command: Command) -> Result<Self, String> {
        if command.get_args().all(|arg| arg != "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(["--log-format", "json"]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        let mut tftp = None;
        let http = loop {
            let Some(Ok(line)) = lines.next() else {
                child.wait().unwrap();
                return Err(log.join("\n"));
            };
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["fields"]["message"] == "serving" {
                break event["fields"]["http"].as_str().unwrap().parse().unwrap();
            }
            if let Some(addr) = event["fields"]["tftp"].as_str() {
                tftp = Some(addr.parse().unwrap());
            }
            log.push(line);
        };
        // The rest is read too, so that the server is not blocked by a full pipe.
        #[expect(clippy::print_stdout, reason = "the harness shows it where the test fails")]
        let print = |line| println!("server: {line}");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(print));
        Ok(Self { child, http, tftp, killed_at: None })
    }

    /// Its HTTP address.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Its TFTP address, if any.
    pub(crate) fn tftp(&self) -> Option<SocketAddr> {
        self.tftp
    }

    /// Its process ID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it like a machine crash.
    pub(crate) fn kill(&mut self) {
        self.killed_at = Some(SystemClock.now());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it is running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Pauses it, like a hanging machine, or resumes it.
    pub(crate) fn pause(&self, pause: Pause) {
        let signal = match pause {
            Pause::Begins => Signal::SIGSTOP,
            Pause::Ends => Signal::SIGCONT,
        };
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// When it was killed.
    pub(crate) fn killed_at(&self) -> DateTime<Utc> {
        self.killed_at.unwrap()
    }

    /// Stops it in order and waits for its exit.
    pub(crate) fn terminate(&mut self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "SIGTERM ends a server with 0");
    }

    /// The store of its private PostgreSQL in the data directory `data`.
    pub(crate) async fn store_of(&self, data: &Path) -> Store {
        let options = PgConnectOptions::new_without_pgpass().socket(data.join("run"));
        Store::open(options.username("lifeguard").database("lifeguard")).await.unwrap()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process ID of the private PostgreSQL in `data`. During its start, its file may be missing or incomplete.
pub(crate) fn postmaster(data: &Path) -> Option<i32> {
    let text = fs_err::read_to_string(data.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok().filter(|pid| *pid > 1)
}

/// Kills the process `pid`, unless it has exited already.
pub(crate) fn kill_9(pid: i32) {
    let killed = kill(Pid::from_raw(pid), Signal::SIGKILL);
    assert!(matches!(killed, Ok(()) | Err(Errno::ESRCH)), "{pid}: {killed:?}");
}
