//! Runs a program of the server's machine: without a shell, with a text on its input, within a time, and with as much of its
//! output as is of use.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::clock::Clock;
use crate::formatting;

/// How much is kept of what a program writes, to its output and its error output each; the rest is read and dropped.
const MAX_OUTPUT_BYTES: usize = 1024;

/// The only variables of the server's environment that a program sees: the others may hold secrets.
const PASSED_VARIABLES: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// How a program ended.
#[derive(Debug)]
pub struct ProgramOutput {
    /// Its exit status.
    pub status: ExitStatus,
    /// The beginning of its output.
    pub output: String,
    /// The beginning of its error output.
    pub error_output: String,
}

/// Why a program did not end by itself.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started, or not be waited for.
    #[error("cannot run `{0}`: {1}")]
    Io(String, #[source] io::Error),
    /// It took too long, and was killed with all that it had started.
    #[error("`{program}` did not end within {}", formatting::duration(*.limit))]
    TimedOut {
        /// Its name.
        program: String,
        /// How long it could have taken.
        limit: Duration,
    },
    /// No program was named.
    #[error("no program is named")]
    NoCommand,
}

/// Runs `command`, a program and its arguments, with `input` on its standard input.
///
/// It is killed, with all that it started, when it takes longer than `limit` or when this future is dropped.
///
/// # Errors
///
/// [`ProgramError`] when it did not end by itself.
pub async fn run(
    clock: &dyn Clock,
    command: &[String],
    input: &[u8],
    limit: Duration,
) -> Result<ProgramOutput, ProgramError> {
    let (program, arguments) = command.split_first().ok_or(ProgramError::NoCommand)?;
    let failed = |error| ProgramError::Io(program.clone(), error);
    let environment = PASSED_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut group = ProcessGroup::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read it may have ended already.
            stdin.write_all(input).await.ok();
        }
    };
    let all = async { tokio::join!(write, read_beginning(stdout), read_beginning(stderr), child.wait()) };
    match clock.timeout(limit, all).await {
        Some(((), output, errors, status)) => {
            group.0 = None;
            Ok(ProgramOutput { status: status.map_err(failed)?, output, error_output: errors })
        }
        None => Err(ProgramError::TimedOut { program: program.clone(), limit }),
    }
}

/// A program and what it started: all of it is killed, unless it ended by itself.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nothing may be left of it.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

/// Reads all of `from` and keeps its beginning.
async fn read_beginning(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 4096]);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend(buffer.iter().take(read.min(room)));
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const LIMIT: Duration = Duration::from_secs(20);

    async fn sh(script: &str, limit: Duration) -> Result<ProgramOutput, ProgramError> {
        let command = ["sh", "-c", script, "sh", "$(id)"].map(str::to_owned);
        run(&SystemClock, &command, b"{\"a\":1}", limit).await
    }

    #[tokio::test]
    async fn a_program_gets_its_input_and_arguments_as_they_are_and_its_ends_are_told_apart() {
        let ended = sh("cat; printf %s \"$1\"; echo wrong >&2; exit 3", LIMIT).await.unwrap();
        assert_eq!((ended.status.code(), ended.output.as_str()), (Some(3), "{\"a\":1}$(id)"));
        assert_eq!(ended.error_output, "wrong");
        let nothing = run(&SystemClock, &["/nowhere/at-all".to_owned()], b"", LIMIT).await.unwrap_err();
        assert!(nothing.to_string().contains("cannot run `/nowhere/at-all`"), "{nothing}");
    }

    #[tokio::test]
    async fn much_output_is_read_and_little_of_it_is_kept() {
        let ended = sh("head -c 10000000 /dev/zero | tr '\\0' x; exit 0", LIMIT).await.unwrap();
        assert!(ended.status.success());
        assert_eq!(ended.output.len(), MAX_OUTPUT_BYTES);
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_goes_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let late = sh(&script, Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(late, ProgramError::TimedOut { .. }), "{late}");
        let pid = fs_err::read_to_string(&file).unwrap();
        let status = format!("/proc/{}/stat", pid.trim());
        let is_gone = || fs_err::read_to_string(&status).map_or(true, |stat| stat.contains(") Z "));
        let ended = async {
            while !is_gone() {
                crate::clock::sleep_real_time(Duration::from_millis(10)).await;
            }
        };
        let clock: &dyn Clock = &SystemClock;
        assert!(clock.timeout(LIMIT, ended).await.is_some(), "it still runs");
    }

    #[tokio::test]
    async fn a_program_sees_no_secrets_of_the_server() {
        let ended = sh("env | cut -d= -f1 | sort | tr '\\n' ' '", LIMIT).await.unwrap();
        for name in ended.output.split_whitespace() {
            let is_known =
                PASSED_VARIABLES.contains(&name) || matches!(name, "PWD" | "SHLVL" | "OLDPWD" | "_");
            assert!(is_known, "{name}");
        }
    }
}
