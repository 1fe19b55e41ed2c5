//! Runs programs on the server's machine: without a shell, with a text as input, with a time limit, and with the beginning of
//! their output.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::clock::Clock;
use crate::formatting;

/// The length to which the output and the error output of a program are kept; the rest is read and dropped.
const MAX_OUTPUT_BYTES: usize = 1024;

/// The environment variables that are passed to a program; the others can be secret.
const PASSED_VARIABLES: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// The result of a program that ended.
#[derive(Debug)]
pub struct ProgramOutput {
    /// Its exit status.
    pub status: ExitStatus,
    /// The beginning of its output.
    pub output: String,
    /// The beginning of its error output.
    pub error_output: String,
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The program could not be started or waited for.
    #[error("cannot run `{0}`: {1}")]
    Io(String, #[source] io::Error),
    /// The program exceeded its time limit, and was killed with all of its children.
    #[error("`{program}` timed out after {}", formatting::duration(*.limit))]
    TimedOut {
        /// Its name.
        program: String,
        /// The time limit.
        limit: Duration,
    },
    /// The command is empty.
    #[error("no program is named")]
    NoCommand,
}

/// Runs `command`, a program and its arguments, with `input` on its standard input.
///
/// It is killed with all of its children when it exceeds `limit` or when this future is dropped.
///
/// # Errors
///
/// [`ProgramError`] when it gave no result.
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
            // A program that does not read its input may have ended already.
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

/// A program with its children; they are killed on drop unless the program ended.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may have ended already.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

/// Reads all of `from` and returns its beginning.
async fn read_beginning(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut beginning, mut buffer) = (Vec::new(), vec![0; 4096]);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let left = MAX_OUTPUT_BYTES.saturating_sub(beginning.len());
        beginning.extend(buffer.iter().take(read.min(left)));
    }
    String::from_utf8_lossy(&beginning).trim().to_owned()
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
    async fn a_program_gets_its_input_and_arguments_unchanged_and_its_results_differ() {
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
    async fn a_program_that_times_out_is_killed_with_its_children() {
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
