//! A running server, from its start to its exit, and the left-over server of a killed process.
//!
//! `postmaster.pid` in the cluster names the server: its process ID in the first line, its state in the eighth.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

use super::error::PrivatePostgresError;

/// Timeout of a start: after a crash PostgreSQL first replays its log, at most 2 GB with these settings.
const START_TIMEOUT: Duration = Duration::from_mins(5);
/// Timeout of a fast shutdown, which ends with a checkpoint.
const FAST_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of an immediate shutdown. PostgreSQL kills its own children after 5 s.
const IMMEDIATE_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an exited server may stay a zombie.
const ZOMBIE_TIMEOUT: Duration = Duration::from_secs(3);

/// A server that is a child of this process. Dropping it tells a running server to stop without waiting for it.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        // A failure cannot be handled here; the next start stops a left-over server.
        let _ = self.signal(Signal::SIGINT);
    }
}

impl Postmaster {
    /// Wraps a server that was just started.
    pub(super) fn new(child: Child) -> Self {
        Self { child }
    }

    /// Waits until the server in `cluster` accepts connections.
    ///
    /// # Errors
    ///
    /// [`StartFailure::Exited`], [`StartFailure::Timeout`], [`StartFailure::File`].
    pub(super) async fn wait_ready(&mut self, cluster: &Path) -> Result<(), StartFailure> {
        let started_at = Instant::now();
        while started_at.elapsed() < START_TIMEOUT {
            if let Some(status) = self.child.try_wait().map_err(StartFailure::File)? {
                return Err(StartFailure::Exited(status));
            }
            let found = PidFile::read(cluster).map_err(StartFailure::File)?;
            let own = self.child.id().and_then(|pid| i32::try_from(pid).ok());
            if found.is_some_and(|file| file.is_ready && file.pid.is_some() && file.pid == own) {
                return Ok(());
            }
            pause(Duration::from_millis(10)).await;
        }
        Err(StartFailure::Timeout(START_TIMEOUT))
    }

    /// Waits for the server's exit.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Stops the server: with a fast shutdown, then an immediate one, then by SIGKILL.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::StopTimeout`] when the fast shutdown timed out; [`PrivatePostgresError::File`] when
    /// waiting failed.
    pub(super) async fn stop(mut self) -> Result<(), PrivatePostgresError> {
        self.signal(Signal::SIGINT)?;
        if self.exits_within(FAST_SHUTDOWN_TIMEOUT).await? {
            return Ok(());
        }
        self.signal(Signal::SIGQUIT)?;
        if !self.exits_within(IMMEDIATE_SHUTDOWN_TIMEOUT).await? {
            self.child.kill().await?;
        }
        Err(PrivatePostgresError::StopTimeout { limit_s: FAST_SHUTDOWN_TIMEOUT.as_secs() })
    }

    /// Waits for the exit for at most `limit`.
    async fn exits_within(&mut self, limit: Duration) -> io::Result<bool> {
        #[expect(clippy::disallowed_methods, reason = "PostgreSQL runs on real time")]
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        ended.map_or(Ok(false), |status| status.map(|_| true))
    }

    /// Sends `signal`, unless the server has exited and its process ID may be reused.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            Some(pid) => Ok(kill(Pid::from_raw(pid), signal)?),
            None => Ok(()),
        }
    }
}

/// Why a started server is not ready.
#[derive(Debug)]
pub(super) enum StartFailure {
    /// It exited.
    Exited(ExitStatus),
    /// It took longer than this.
    Timeout(Duration),
    /// Its state could not be read.
    File(io::Error),
}

/// Content of `postmaster.pid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PidFile {
    /// `None` if the file is truncated.
    pid: Option<i32>,
    is_ready: bool,
}

impl PidFile {
    /// Returns the file's path.
    fn path(cluster: &Path) -> PathBuf {
        cluster.join("postmaster.pid")
    }

    /// Reads the file; `None` when there is none.
    fn read(cluster: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(Self::path(cluster)) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Parses the file's text.
    fn parse(text: &str) -> Self {
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).filter(|pid| *pid > 1);
        Self { pid, is_ready: text.lines().nth(7).is_some_and(|line| line.trim() == "ready") }
    }
}

/// The process behind a process ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PidOwner {
    /// No process.
    Gone,
    /// An exited process that its parent has not waited for.
    Zombie,
    /// The server of the cluster.
    Postmaster,
    /// An unrelated process.
    Other,
}

impl PidOwner {
    /// Classifies the process `pid`.
    fn of(pid: i32, cluster: &Path) -> io::Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let stat = match fs::read_to_string(process.join("stat")) {
            Ok(stat) => stat,
            Err(error) if is_gone(&error) => return Ok(Self::without_proc(pid)),
            Err(error) => return Err(error),
        };
        // The name in parentheses may contain anything, so the last `) ` counts.
        let Some((head, tail)) = stat.rsplit_once(") ") else { return Ok(Self::Gone) };
        if tail.starts_with(['Z', 'X']) {
            return Ok(Self::Zombie);
        }
        let is_postgres = head.split_once('(').is_some_and(|(_, name)| name.starts_with("post"));
        match fs::read_link(process.join("cwd")) {
            Ok(cwd) if is_postgres && cwd == cluster => Ok(Self::Postmaster),
            Err(error) if is_gone(&error) => Ok(Self::Gone),
            // A process with an unreadable directory does not belong to the cluster's user.
            Ok(_) | Err(_) => Ok(Self::Other),
        }
    }

    /// Classifies a process missing in `/proc`: without `/proc`, the file is trusted, as PostgreSQL does.
    fn without_proc(pid: i32) -> Self {
        if Path::new("/proc/self").exists() || kill(Pid::from_raw(pid), None).is_err() {
            Self::Gone
        } else {
            Self::Postmaster
        }
    }
}

/// Whether `error` means that a process has exited: its file is missing, or it exited during the read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// Stops a left-over server in `cluster`, if there is one. A stale `postmaster.pid` is removed, because PostgreSQL
/// would refuse to start.
///
/// # Errors
///
/// [`PrivatePostgresError::OrphanNotStopping`] when it does not stop; [`PrivatePostgresError::File`].
pub(super) async fn stop_orphaned_server(cluster: &Path) -> Result<(), PrivatePostgresError> {
    let Some(file) = PidFile::read(cluster)? else { return Ok(()) };
    let Some(pid) = file.pid else { return Ok(fs::remove_file(PidFile::path(cluster))?) };
    let started_at = Instant::now();
    let mut signals =
        [(Signal::SIGINT, Duration::ZERO), (Signal::SIGQUIT, FAST_SHUTDOWN_TIMEOUT)].into_iter().peekable();
    loop {
        // A server that stops in order removes its file, and may then stay a zombie.
        if PidFile::read(cluster)?.is_none() {
            return Ok(());
        }
        match PidOwner::of(pid, cluster)? {
            PidOwner::Gone => return Ok(()),
            PidOwner::Zombie if started_at.elapsed() < ZOMBIE_TIMEOUT => {}
            PidOwner::Zombie | PidOwner::Other => return remove_stale_pid_file(cluster),
            PidOwner::Postmaster
                if started_at.elapsed() > FAST_SHUTDOWN_TIMEOUT + IMMEDIATE_SHUTDOWN_TIMEOUT =>
            {
                return Err(PrivatePostgresError::OrphanNotStopping { cluster: cluster.to_owned(), pid });
            }
            PidOwner::Postmaster => {
                if let Some((signal, _)) = signals.next_if(|(_, after)| started_at.elapsed() >= *after) {
                    tracing::warn!(pid, %signal, "stopping left-over PostgreSQL of a previous run");
                    // It may have exited meanwhile; the next iteration finds out.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
        }
        pause(Duration::from_millis(10)).await;
    }
}

/// Removes a stale `postmaster.pid`, if it still exists.
fn remove_stale_pid_file(cluster: &Path) -> Result<(), PrivatePostgresError> {
    match fs::remove_file(PidFile::path(cluster)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Waits before the next try.
pub(super) async fn pause(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "PostgreSQL runs on real time")]
    tokio::time::sleep(span).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_at_every_stage() {
        let ready = "4711\n/data\n1700000000\n5432\n/data/run\n\n  1234567    32768\nready   \n";
        let starting = ready.replace("ready   ", "starting");

        assert_eq!(PidFile::parse(ready), PidFile { pid: Some(4711), is_ready: true });
        assert_eq!(PidFile::parse(&starting), PidFile { pid: Some(4711), is_ready: false });
        assert_eq!(PidFile::parse("4711"), PidFile { pid: Some(4711), is_ready: false });
        assert_eq!(PidFile::parse(""), PidFile { pid: None, is_ready: false });
        assert_eq!(
            PidFile::parse("-1\n"),
            PidFile { pid: None, is_ready: false },
            "would signal all processes"
        );
    }

    #[test]
    fn other_processes_are_not_taken_for_the_server() {
        let own = i32::try_from(std::process::id()).unwrap();
        let cwd = std::env::current_dir().unwrap();

        assert_eq!(PidOwner::of(own, &cwd).unwrap(), PidOwner::Other, "in the directory, but not PostgreSQL");
        assert_eq!(PidOwner::of(i32::MAX, &cwd).unwrap(), PidOwner::Gone);
    }
}
