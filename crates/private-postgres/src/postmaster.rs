//! One running Postgres of ours, from its start to its end; and the one that a killed predecessor left behind.
//!
//! `postmaster.pid` in the cluster tells who runs there: its process id in the first line, how far it is in the eighth.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

use super::error::PrivatePostgresError;

/// How long a start may take: after a crash Postgres first replays its log, of 2 GB at most by our settings.
const START_TIMEOUT: Duration = Duration::from_mins(5);
/// How long a fast shutdown may take: it ends with a checkpoint.
const FAST_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an immediate shutdown may take. Postgres kills its own children after 5 s.
const IMMEDIATE_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a dead postmaster may wait for its parent to take notice.
const ZOMBIE_TIMEOUT: Duration = Duration::from_secs(3);

/// A Postgres that is our child. Dropped while it runs, it is told to stop, but not waited for.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        // Nothing more can be done about a failure here, and the next start stops whoever is left.
        let _ = self.signal(Signal::SIGINT);
    }
}

impl Postmaster {
    /// Takes over a server that was just started.
    pub(super) fn new(child: Child) -> Self {
        Self { child }
    }

    /// Waits until the server in `cluster` accepts connections.
    ///
    /// # Errors
    ///
    /// [`StartFailure::Died`] when it ended instead, [`StartFailure::Slow`] when it took too long, [`StartFailure::SourceFile`].
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

    /// Waits for the server's end.
    ///
    /// # Errors
    ///
    /// The system's own.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Stops the server: at once but in order, and by force when that takes too long.
    ///
    /// # Errors
    ///
    /// [`PrivatePostgresError::StopTimeout`] when force was needed; [`PrivatePostgresError::SourceFile`] when the system does not let us wait.
    pub(super) async fn stop(mut self) -> Result<(), PrivatePostgresError> {
        self.signal(Signal::SIGINT)?;
        if self.ends_within(FAST_SHUTDOWN_TIMEOUT).await? {
            return Ok(());
        }
        self.signal(Signal::SIGQUIT)?;
        if !self.ends_within(IMMEDIATE_SHUTDOWN_TIMEOUT).await? {
            self.child.kill().await?;
        }
        Err(PrivatePostgresError::StopTimeout { limit_s: FAST_SHUTDOWN_TIMEOUT.as_secs() })
    }

    /// Waits for the end for at most `limit`.
    async fn ends_within(&mut self, limit: Duration) -> io::Result<bool> {
        #[expect(clippy::disallowed_methods, reason = "Postgres runs on the machine's time")]
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        ended.map_or(Ok(false), |status| status.map(|_| true))
    }

    /// Sends `signal`, unless the server has ended and its number may be another's.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            Some(pid) => Ok(kill(Pid::from_raw(pid), signal)?),
            None => Ok(()),
        }
    }
}

/// Why a server that was started is not ready.
#[derive(Debug)]
pub(super) enum StartFailure {
    /// It ended.
    Exited(ExitStatus),
    /// It took longer than this.
    Timeout(Duration),
    /// Its state could not be read.
    File(io::Error),
}

/// What `postmaster.pid` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PidFile {
    /// `None` when the file was cut off.
    pid: Option<i32>,
    is_ready: bool,
}

impl PidFile {
    /// Where the file is.
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

    /// Reads the file's text.
    fn parse(text: &str) -> Self {
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).filter(|pid| *pid > 1);
        Self { pid, is_ready: text.lines().nth(7).is_some_and(|line| line.trim() == "ready") }
    }
}

/// What a process id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PidOwner {
    /// Nobody.
    Gone,
    /// A dead process that its parent has not noticed.
    Zombie,
    /// A Postgres at work in the cluster.
    Postmaster,
    /// Somebody who has nothing to do with it.
    Other,
}

impl PidOwner {
    /// Looks at the process `pid`.
    fn of(pid: i32, cluster: &Path) -> io::Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let stat = match fs::read_to_string(process.join("stat")) {
            Ok(stat) => stat,
            Err(error) if is_gone(&error) => return Ok(Self::without_proc(pid)),
            Err(error) => return Err(error),
        };
        // The name in parentheses may itself hold anything, so the last one counts.
        let Some((head, tail)) = stat.rsplit_once(") ") else { return Ok(Self::Gone) };
        if tail.starts_with(['Z', 'X']) {
            return Ok(Self::Zombie);
        }
        let is_postgres = head.split_once('(').is_some_and(|(_, name)| name.starts_with("post"));
        match fs::read_link(process.join("cwd")) {
            Ok(cwd) if is_postgres && cwd == cluster => Ok(Self::Postmaster),
            Err(error) if is_gone(&error) => Ok(Self::Gone),
            // Whose directory we may not see, that process is not of the cluster's user.
            Ok(_) | Err(_) => Ok(Self::Other),
        }
    }

    /// Judges a process that `/proc` does not show: where there is no `/proc`, we trust the file as Postgres does.
    fn without_proc(pid: i32) -> Self {
        if Path::new("/proc/self").exists() || kill(Pid::from_raw(pid), None).is_err() {
            Self::Gone
        } else {
            Self::Postmaster
        }
    }
}

/// Whether `error` says that a process has ended: its file is not there, or ended while it was read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// Stops the Postgres that a predecessor left in `cluster`, if there is one, so that a child of ours can take its
/// place. A file that names a process which is no such Postgres is removed, as Postgres would heed it.
///
/// # Errors
///
/// [`PrivatePostgresError::OrphanNotStopping`] when it does not stop even by force; [`PrivatePostgresError::SourceFile`].
pub(super) async fn stop_orphaned_server(cluster: &Path) -> Result<(), PrivatePostgresError> {
    let Some(file) = PidFile::read(cluster)? else { return Ok(()) };
    let Some(pid) = file.pid else { return Ok(fs::remove_file(PidFile::path(cluster))?) };
    let started_at = Instant::now();
    let mut signals =
        [(Signal::SIGINT, Duration::ZERO), (Signal::SIGQUIT, FAST_SHUTDOWN_TIMEOUT)].into_iter().peekable();
    loop {
        // One that stops in order takes its file away, and may then wait as a zombie for as long as it likes.
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
                    tracing::warn!(pid, %signal, "stopping the Postgres that a previous run left behind");
                    // It may have ended since we looked; the next look tells.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
        }
        pause(Duration::from_millis(10)).await;
    }
}

/// Removes a `postmaster.pid` that nobody stands behind, unless its owner did so in the end.
fn remove_stale_pid_file(cluster: &Path) -> Result<(), PrivatePostgresError> {
    match fs::remove_file(PidFile::path(cluster)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Waits a little before asking again.
pub(super) async fn pause(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "Postgres runs on the machine's time")]
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
        assert_eq!(PidFile::parse("-1\n"), PidFile { pid: None, is_ready: false }, "would signal everybody");
    }

    #[test]
    fn a_process_that_is_no_postgres_is_told_apart() {
        let own = i32::try_from(std::process::id()).unwrap();
        let cwd = std::env::current_dir().unwrap();

        assert_eq!(PidOwner::of(own, &cwd).unwrap(), PidOwner::Other, "in the directory, but no Postgres");
        assert_eq!(PidOwner::of(i32::MAX, &cwd).unwrap(), PidOwner::Gone);
    }
}
