//! Three servers, run like by a process supervisor: one that exits is restarted at the same address.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fs_err as fs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::record::ServerUsage;
use crate::cluster::pause;
use crate::site::TestSite;

/// Number of servers.
pub(super) const SERVERS: usize = 3;
const HTTP_PORT: u16 = 8001;
const TFTP_PORT: u16 = 8069;
/// File descriptor limit of the last server; the others have the test's limit.
const FEW_DESCRIPTORS: u32 = 768;
/// The library that changes the time of programs.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// More errors than this in a log are a flood: each outage is logged once.
const FLOOD: usize = 300;

/// Target of a server's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogTarget {
    File,
    /// A full disk.
    Full,
    /// A pipe to an exited program.
    Broken,
    /// A closed descriptor.
    Closed,
}

/// One server's slot.
struct ServerSlot {
    child: Option<Child>,
    log: LogTarget,
    /// Whether it has been ready since it was started.
    has_served: bool,
    /// Whether it was told to stop, or killed.
    is_stopping: bool,
}

/// The servers.
pub(super) struct Servers {
    site: Arc<TestSite>,
    options: Vec<String>,
    slots: [Mutex<ServerSlot>; SERVERS],
    accidents: Mutex<Vec<String>>,
    /// Whether exited servers are no longer restarted.
    is_over: AtomicBool,
}

impl Servers {
    /// Starts them.
    pub(super) fn start(site: Arc<TestSite>, options: Vec<String>) -> Arc<Self> {
        let slot = || {
            Mutex::new(ServerSlot {
                child: None,
                log: LogTarget::File,
                has_served: false,
                is_stopping: false,
            })
        };
        let servers = Self {
            site,
            options,
            slots: [slot(), slot(), slot()],
            accidents: Mutex::default(),
            is_over: AtomicBool::new(false),
        };
        for server in 0..SERVERS {
            fs::write(servers.clock_file(server), "+0").unwrap();
            servers.spawn(server);
        }
        Arc::new(servers)
    }

    pub(super) fn http(&self, server: usize) -> SocketAddr {
        self.site.addr(HTTP_PORT + u16::try_from(server).unwrap())
    }

    pub(super) fn tftp(&self, server: usize) -> SocketAddr {
        self.site.addr(TFTP_PORT + u16::try_from(server).unwrap())
    }

    fn clock_file(&self, server: usize) -> PathBuf {
        self.site.path().join(format!("clock-{server}"))
    }

    fn log_file(&self, server: usize) -> PathBuf {
        self.site.path().join(format!("server-{server}.log"))
    }

    fn spawn(&self, server: usize) {
        let mut slot = self.slots[server].lock().unwrap();
        let limit =
            if server == SERVERS - 1 { format!("ulimit -n {FEW_DESCRIPTORS}; ") } else { String::new() };
        let close = if slot.log == LogTarget::Closed { " 2>&-" } else { "" };
        let mut command = self.site.command(Path::new("sh"));
        command.args(["-c", &format!("{limit}exec \"$@\"{close}"), "sh"]);
        command.arg(env!("CARGO_BIN_EXE_lifeguard")).args(["serve", "--log-format", "json"]);
        command.arg("--listen").arg(self.http(server).to_string());
        command.arg("--tftp-listen").arg(self.tftp(server).to_string()).args(&self.options);
        if Path::new(FAKETIME).exists() {
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", self.clock_file(server));
            command.env("FAKETIME_CACHE_DURATION", "1").env("FAKETIME_DISABLE_SHM", "1");
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        command.stderr(self.stderr(server, slot.log)).stdout(Stdio::null());
        slot.child = Some(command.spawn().unwrap());
        (slot.has_served, slot.is_stopping) = (false, false);
    }

    fn stderr(&self, server: usize, log: LogTarget) -> Stdio {
        match log {
            LogTarget::File | LogTarget::Closed => {
                let log = self.log_file(server);
                let file = fs::File::options().append(true).create(true).open(log).unwrap();
                file.into_parts().0.into()
            }
            LogTarget::Full => File::options().write(true).open("/dev/full").unwrap().into(),
            LogTarget::Broken => {
                let (_, write): (OwnedFd, OwnedFd) = nix::unistd::pipe().unwrap();
                write.into()
            }
        }
    }

    /// Supervises the servers endlessly: exited ones are restarted; exiting by itself is allowed only before being
    /// ready.
    pub(super) async fn supervise(&self, http: reqwest::Client) {
        loop {
            for server in 0..SERVERS {
                let serves = self.is_serving(server, &http).await;
                let ended = {
                    let mut slot = self.slots[server].lock().unwrap();
                    slot.has_served |= serves;
                    let ended = slot.child.as_mut().and_then(|child| child.try_wait().unwrap());
                    if let Some(status) = ended
                        && slot.has_served
                        && !slot.is_stopping
                    {
                        let log = slot.log;
                        self.accidents.lock().unwrap().push(format!(
                            "server {server} ended by itself ({status}), its log going to {log:?}"
                        ));
                    }
                    ended
                };
                if ended.is_some() && !self.is_over.load(Ordering::SeqCst) {
                    self.spawn(server);
                }
            }
            pause(Duration::from_millis(200)).await;
        }
    }

    async fn is_serving(&self, server: usize, http: &reqwest::Client) -> bool {
        let url = format!("http://{}/healthz", self.http(server));
        let answer = http.get(url).timeout(Duration::from_millis(500)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Waits until all are ready; a server that is not is reported as an accident.
    pub(super) async fn until_ready(&self, http: &reqwest::Client, timeout: Duration) {
        let give_up_at = std::time::Instant::now() + timeout;
        for server in 0..SERVERS {
            let url = format!("http://{}/readyz", self.http(server));
            loop {
                let answer = http.get(&url).timeout(Duration::from_secs(2)).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                if std::time::Instant::now() > give_up_at {
                    let tail = self.tail(server);
                    self.accidents.lock().unwrap().push(format!("server {server} is not ready:\n{tail}"));
                    break;
                }
                pause(Duration::from_millis(50)).await;
            }
        }
    }

    fn signal(&self, server: usize, signal: Signal) {
        let mut slot = self.slots[server].lock().unwrap();
        slot.is_stopping |= matches!(signal, Signal::SIGKILL | Signal::SIGTERM);
        if let Some(child) = &slot.child {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(child.id().try_into().unwrap()), signal);
        }
    }

    /// Kills a server; its successor logs to `log`.
    pub(super) fn kill(&self, server: usize, log: LogTarget) {
        self.slots[server].lock().unwrap().log = log;
        self.signal(server, Signal::SIGKILL);
    }

    /// Asks a server to stop.
    pub(super) fn terminate(&self, server: usize) {
        self.signal(server, Signal::SIGTERM);
    }

    /// Pauses a server.
    pub(super) fn stop(&self, server: usize) {
        self.signal(server, Signal::SIGSTOP);
    }

    /// Resumes a server.
    pub(super) fn go_on(&self, server: usize) {
        self.signal(server, Signal::SIGCONT);
    }

    /// Steps a server's clock by this many seconds from the correct time.
    pub(super) fn step_clock(&self, server: usize, seconds: i64) {
        fs::write(self.clock_file(server), format!("{seconds:+}")).unwrap();
    }

    /// Resource usage of a server.
    pub(super) fn usage(&self, server: usize) -> ServerUsage {
        let pid = self.slots[server].lock().unwrap().child.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        ServerUsage { resident_kb: resident.unwrap_or(0), descriptors: descriptors as u64 }
    }

    /// Returns the errors in logs and the unexpected events.
    pub(super) fn accidents(&self) -> Vec<String> {
        let mut accidents = self.accidents.lock().unwrap().clone();
        for server in 0..SERVERS {
            let text = fs::read_to_string(self.log_file(server)).unwrap_or_default();
            let events = text.lines().map(serde_json::from_str::<Value>);
            let errors = events.flatten().filter(|event| event["level"] == "ERROR").count();
            if errors > FLOOD {
                accidents.push(format!("server {server} logged {errors} errors"));
            }
            accidents.extend(
                text.lines()
                    .filter(|line| line.contains("panicked"))
                    .map(|line| format!("server {server}: {line}")),
            );
        }
        accidents
    }

    /// The end of a server's log.
    pub(super) fn tail(&self, server: usize) -> String {
        let text = fs::read_to_string(self.log_file(server)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Stops all in order; returns those that did not.
    pub(super) async fn end(&self) -> Vec<String> {
        let mut faults = Vec::new();
        self.is_over.store(true, Ordering::SeqCst);
        for server in 0..SERVERS {
            self.go_on(server);
            self.terminate(server);
        }
        for (server, slot) in self.slots.iter().enumerate() {
            let Some(mut child) = slot.lock().unwrap().child.take() else { continue };
            let give_up_at = std::time::Instant::now() + Duration::from_mins(1);
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break Some(status);
                }
                if std::time::Instant::now() > give_up_at {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break None;
                }
                pause(Duration::from_millis(50)).await;
            };
            if !status.is_some_and(|status| status.success()) {
                faults.push(format!("server {server} did not stop in order: {status:?}"));
            }
        }
        faults
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for slot in &self.slots {
            if let Some(mut child) = slot.lock().unwrap().child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
