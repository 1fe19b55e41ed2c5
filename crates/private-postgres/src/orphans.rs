//! Left-over processes of an unfinished cluster after a kill: `initdb` and its children.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::PrivatePostgresError;
use super::postmaster::pause;

/// How long the processes may take to exit.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Identifies a process: process IDs are reused, but not together with the start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OrphanProcess {
    pid: i32,
    /// Its start, in kernel ticks since boot.
    started_at_ticks: u64,
}

/// Kills all processes whose working directories begin with `prefix`. The caller holds the data directory's lock, so no
/// running server has started them.
///
/// # Errors
///
/// [`PrivatePostgresError::OrphanNotStopping`] when one does not exit; [`PrivatePostgresError::File`].
pub(super) async fn kill_all(prefix: &Path) -> Result<(), PrivatePostgresError> {
    let started_at = Instant::now();
    // Repeated until there is none: each may have started another meanwhile.
    loop {
        let found = find(prefix)?;
        let Some(first) = found.first() else { return Ok(()) };
        if started_at.elapsed() > KILL_TIMEOUT {
            return Err(PrivatePostgresError::OrphanNotStopping {
                cluster: prefix.to_owned(),
                pid: first.pid,
            });
        }
        for process in found {
            // It may have exited meanwhile, and its process ID may be reused.
            if OrphanProcess::find_in(process.pid, prefix) == Some(process) {
                tracing::warn!(pid = process.pid, "killing left-over initdb processes");
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
        }
        pause(Duration::from_millis(20)).await;
    }
}

/// Finds the processes with such working directories. Without `/proc`, none is found.
fn find(prefix: &Path) -> io::Result<Vec<OrphanProcess>> {
    let entries = match fs::read_dir("/proc") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(|pid| OrphanProcess::find_in(pid, prefix)).collect())
}

impl OrphanProcess {
    /// Returns the process `pid` if it works there. Processes with an unreadable directory belong to others, and
    /// zombies have none.
    fn find_in(pid: i32, prefix: &Path) -> Option<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let directory = fs::read_link(process.join("cwd")).ok()?;
        let rest = directory.as_os_str().as_bytes().strip_prefix(prefix.as_os_str().as_bytes())?;
        // The kernel appends this to a removed directory (proc(5), `/proc/pid/cwd`).
        if !(rest.is_empty() || rest.starts_with(b"/") || rest == b" (deleted)") {
            return None;
        }
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        // Source: proc(5): the name in parentheses may contain anything; the start is the 20th field after it.
        let started = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
        Some(Self { pid, started_at_ticks: started })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn only_processes_with_that_working_directory_are_killed() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let start = |name: &str| {
            fs::create_dir(root.join(name)).unwrap();
            // It exits with its input, and so with this process.
            Command::new("cat").current_dir(root.join(name)).stdin(Stdio::piped()).spawn().unwrap()
        };
        let mut orphan = start("postgres.new.7");
        let others = ["postgres", "postgres.new.77", "postgres.new.7-old"].map(&start);

        kill_all(&root.join("postgres.new.7")).await.unwrap();

        assert!(orphan.wait().unwrap().code().is_none(), "killed by a signal");
        for mut other in others {
            assert!(other.try_wait().unwrap().is_none());
            drop(other.stdin.take());
            other.wait().unwrap();
        }
    }
}
