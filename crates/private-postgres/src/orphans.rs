//! What a process that was killed left at work on a cluster that was never finished: `initdb`, and what that had started.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::PrivatePostgresError;
use super::postmaster::pause;

/// How long they may take to die.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A process: a number is given anew after its end, the two together are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OrphanProcess {
    pid: i32,
    /// When it began, in the kernel's ticks since the machine did.
    started_at_ticks: u64,
}

/// Ends all processes that work in directories whose paths begin with `prefix`. The caller holds the data directory's lock:
/// nobody who lives has started them.
///
/// # Errors
///
/// [`PrivatePostgresError::OrphanNotStopping`] when one does not die; [`PrivatePostgresError::SourceFile`].
pub(super) async fn kill_all(prefix: &Path) -> Result<(), PrivatePostgresError> {
    let begun_at = Instant::now();
    // Again until there is none: each may have started another meanwhile.
    loop {
        let found = find(prefix)?;
        let Some(first) = found.first() else { return Ok(()) };
        if begun_at.elapsed() > KILL_TIMEOUT {
            return Err(PrivatePostgresError::OrphanNotStopping {
                cluster: prefix.to_owned(),
                pid: first.pid,
            });
        }
        for process in found {
            // It may have ended since it was found, and its number may be another's.
            if OrphanProcess::find_in(process.pid, prefix) == Some(process) {
                tracing::warn!(
                    pid = process.pid,
                    "ending what a previous run left at work on an unfinished cluster"
                );
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
        }
        pause(Duration::from_millis(20)).await;
    }
}

/// The processes that work there. Where there is no `/proc`, none is found.
fn find(prefix: &Path) -> io::Result<Vec<OrphanProcess>> {
    let entries = match fs::read_dir("/proc") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(|pid| OrphanProcess::find_in(pid, prefix)).collect())
}

impl OrphanProcess {
    /// The process `pid`, if it works there. Those whose directory we may not see are not ours, and the dead have none.
    fn find_in(pid: i32, prefix: &Path) -> Option<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let directory = fs::read_link(process.join("cwd")).ok()?;
        let rest = directory.as_os_str().as_bytes().strip_prefix(prefix.as_os_str().as_bytes())?;
        // The kernel says so of a directory that was removed (proc(5), `/proc/pid/cwd`).
        if !(rest.is_empty() || rest.starts_with(b"/") || rest == b" (deleted)") {
            return None;
        }
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        // Source: proc(5): the name in parentheses may itself hold anything; the start is the 20th field after it.
        let started = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
        Some(Self { pid, started_at_ticks: started })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn processes_are_ended_by_where_they_work_and_nobody_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let start = |name: &str| {
            fs::create_dir(root.join(name)).unwrap();
            // It ends with its input, thus with this process however that ends.
            Command::new("cat").current_dir(root.join(name)).stdin(Stdio::piped()).spawn().unwrap()
        };
        let mut orphan = start("postgres.new.7");
        let strangers = ["postgres", "postgres.new.77", "postgres.new.7-old"].map(&start);

        kill_all(&root.join("postgres.new.7")).await.unwrap();

        assert!(orphan.wait().unwrap().code().is_none(), "killed by a signal");
        for mut stranger in strangers {
            assert!(stranger.try_wait().unwrap().is_none());
            drop(stranger.stdin.take());
            stranger.wait().unwrap();
        }
    }
}
