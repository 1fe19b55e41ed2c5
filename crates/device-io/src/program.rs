//! Runs programs on this machine: without a shell, with a text as input, within a time limit, and with the beginning of
//! their output.
//!
//! A program runs in a process group of its own. The group ends with the program: whatever the program leaves running
//! there is killed, so that nothing acts after the result is known. The group begins with a guard, a shell that waits for
//! the end of a pipe from this process and then kills the group: so no program outlives a process that is killed.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clock::{Clock, sleep_real_time};
use futures_util::FutureExt;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::credential::Secret;
use crate::trouble::LocalTrouble;

/// The length to which the output and the error output of a program are kept; the rest is read and dropped.
const MAX_OUTPUT_BYTES: usize = 16 * 1024;
/// How long a program may take to end after SIGTERM; then its group gets SIGKILL.
const TERMINATION_TIME: Duration = Duration::from_millis(500);
/// How long the system may take to end a process after SIGKILL; after that it is reaped whenever it ends.
const REAP_TIME: Duration = Duration::from_secs(1);
/// How long output is read after the program ended: a process that left the group can keep the pipe open.
const OUTPUT_TIME: Duration = Duration::from_millis(250);

/// The script of the guard. It starts no process of its own, and SIGTERM is for the program.
const GUARD: &str = "trap '' TERM; read -r line; kill -s KILL 0";

/// The environment variables that are passed to a program; the others can be secret.
const PASSED_VARIABLES: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// A program with its arguments, and what it gets.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProgramCall<'a> {
    /// The program, by its name in `PATH` or its absolute path, and its arguments.
    pub command: &'a [String],
    /// Further environment variables; the program gets no others than these and `PATH`, `HOME`, `LANG`, `TZ` and `TMPDIR`.
    pub environment: &'a [(&'static str, Secret)],
    /// Its standard input.
    pub input: &'a [u8],
}

/// What a program wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramText {
    /// The beginning of its output.
    pub output: String,
    /// The beginning of its error output.
    pub error_output: String,
    /// Whether its output was longer than what is kept of it.
    pub is_cut: bool,
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The program could not be started or waited for.
    #[error("cannot run `{0}`: {1}")]
    Io(String, #[source] io::Error),
    /// The program exceeded its time limit, and was killed with all of its group.
    #[error("`{program}` timed out after {}", formatting::duration(*.limit))]
    TimedOut {
        /// Its name.
        program: String,
        /// The time limit.
        limit: Duration,
        /// What it wrote until then.
        text: ProgramText,
    },
    /// The command is empty.
    #[error("no program is named")]
    NoCommand,
}

impl ProgramError {
    /// Returns the shortage of this machine that kept the program from starting.
    #[must_use]
    pub fn local_trouble(&self) -> Option<LocalTrouble> {
        match self {
            Self::Io(_, error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => {
                Some(LocalTrouble::Processes)
            }
            Self::Io(_, error) => LocalTrouble::of_shortage(error),
            Self::TimedOut { .. } | Self::NoCommand => None,
        }
    }
}

/// How long a program with this time limit runs at most, until it has ended after SIGTERM.
#[must_use]
pub fn longest_run(limit: Duration) -> Duration {
    limit + TERMINATION_TIME
}

/// Runs a program until it ends and returns its exit status and what it wrote.
///
/// When it exceeds `limit`, its group gets SIGTERM and half a second later SIGKILL. When this future is dropped, the group
/// gets SIGKILL at once; so it does when this process is killed.
///
/// # Errors
///
/// [`ProgramError`] when it gave no result.
pub async fn run(
    clock: &dyn Clock,
    call: ProgramCall<'_>,
    limit: Duration,
) -> Result<(ExitStatus, ProgramText), ProgramError> {
    let (program, arguments) = call.command.split_first().ok_or(ProgramError::NoCommand)?;
    let failed = |error| ProgramError::Io(program.clone(), error);
    let passed = PASSED_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    // Before the start: the end of a program is never missed.
    let mut child_signals = signal(SignalKind::child()).map_err(failed)?;
    let mut guard = GroupGuard::start().map_err(|error| ProgramError::Io("sh".to_owned(), error))?;
    let group = ProcessGroup::of(&guard.0);
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(passed)
        .envs(call.environment.iter().map(|(name, secret)| (name, secret.expose())))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(group.number())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let number = process_number(&child);
    let (mut output, mut errors) = (OutputStart::default(), OutputStart::default());
    let ended = {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input may have ended already.
                stdin.write_all(call.input).await.ok();
            }
        };
        let pipes = async { _ = tokio::join!(write, output.read(stdout), errors.read(stderr)) };
        let mut pipes = Box::pin(pipes.fuse());
        let mut until_ended = async || {
            while !has_ended(number) && child_signals.recv().await.is_some() {}
        };
        let in_time = clock.timeout(limit, meanwhile(pipes.as_mut(), until_ended())).await;
        if in_time.is_none() {
            group.send(Signal::SIGTERM);
            within_real_time(TERMINATION_TIME, meanwhile(pipes.as_mut(), until_ended())).await;
        }
        // The number of the group cannot be that of another one before the guard is reaped.
        group.send(Signal::SIGKILL);
        let status = within_real_time(REAP_TIME, meanwhile(pipes.as_mut(), child.wait())).await;
        within_real_time(REAP_TIME, guard.0.wait()).await;
        within_real_time(OUTPUT_TIME, pipes).await;
        in_time.and(status)
    };
    group.disarm();
    let is_cut = output.is_cut || errors.is_cut;
    let text = ProgramText { output: output.text(), error_output: errors.text(), is_cut };
    match ended {
        Some(status) => Ok((status.map_err(failed)?, text)),
        None => Err(ProgramError::TimedOut { program: program.clone(), limit, text }),
    }
}

/// Waits for `event` while `work` goes on.
async fn meanwhile<T>(work: Pin<&mut impl Future<Output = ()>>, event: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        ended = event => ended,
        ended = async { work.await; pending().await } => ended,
    }
}

/// Waits for `event` for at most `span` of real time.
async fn within_real_time<T>(span: Duration, event: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        ended = event => Some(ended),
        () = sleep_real_time(span) => None,
    }
}

/// The guard of a process group, which is its first process: so no program runs without it.
struct GroupGuard(Child);

impl GroupGuard {
    fn start() -> io::Result<Self> {
        let passed = PASSED_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let child = Command::new("sh")
            .args(["-c", GUARD])
            .env_clear()
            .envs(passed)
            .current_dir("/")
            // Only this process has the other end, which is closed when the process ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self(child))
    }
}

fn process_number(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
}

/// Whether a child has ended; it is not reaped.
fn has_ended(child: Option<Pid>) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    child.is_none_or(|child| waitid(Id::Pid(child), flags) != Ok(WaitStatus::StillAlive))
}

/// The process group of a guard that was not reaped yet; it is killed on drop.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(guard: &Child) -> Self {
        Self(process_number(guard))
    }

    /// Its number for a process that joins it.
    fn number(&self) -> i32 {
        self.0.map_or(0, Pid::as_raw)
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // The group may have ended already.
            killpg(group, signal).ok();
        }
    }

    /// Forgets the group, whose number may be used again.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.send(Signal::SIGKILL);
    }
}

/// The beginning of an output.
#[derive(Default)]
struct OutputStart {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl OutputStart {
    /// Reads all of `from`.
    async fn read(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut buffer = vec![0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let left = MAX_OUTPUT_BYTES.saturating_sub(self.bytes.len());
            self.is_cut |= read > left;
            self.bytes.extend(buffer.iter().take(read.min(left)));
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use clock::SystemClock;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    async fn sh(script: &str, limit: Duration) -> Result<(ExitStatus, ProgramText), ProgramError> {
        let command = ["sh", "-c", script, "sh", "$(id)"].map(str::to_owned);
        let environment = [("TICKET", Secret::new("t1"))];
        let call = ProgramCall { command: &command, environment: &environment, input: b"{\"a\":1}" };
        run(&SystemClock, call, limit).await
    }

    async fn until_gone(file: &std::path::Path) {
        let pid = fs_err::read_to_string(file).unwrap();
        let status = format!("/proc/{}/stat", pid.trim());
        let is_gone = || fs_err::read_to_string(&status).map_or(true, |stat| stat.contains(") Z "));
        let ended = async {
            while !is_gone() {
                sleep_real_time(Duration::from_millis(10)).await;
            }
        };
        assert!(within_real_time(LIMIT, ended).await.is_some(), "it still runs");
    }

    #[tokio::test]
    async fn a_program_gets_its_input_and_arguments_unchanged_and_its_results_differ() {
        let (status, text) = sh("cat; printf %s \"$1\"; echo wrong >&2; exit 3", LIMIT).await.unwrap();
        assert_eq!((status.code(), text.output.as_str()), (Some(3), "{\"a\":1}$(id)"));
        assert_eq!(text.error_output, "wrong");
        let command = ["/nowhere/at-all".to_owned()];
        let call = ProgramCall { command: &command, ..ProgramCall::default() };
        let nothing = run(&SystemClock, call, LIMIT).await.unwrap_err();
        assert!(nothing.to_string().contains("cannot run `/nowhere/at-all`"), "{nothing}");
        assert_eq!(nothing.local_trouble(), None);
        let nothing = run(&SystemClock, ProgramCall::default(), LIMIT).await.unwrap_err();
        assert!(matches!(nothing, ProgramError::NoCommand), "{nothing}");
    }

    #[tokio::test]
    async fn much_output_is_read_and_little_of_it_is_kept() {
        let (status, text) = sh("head -c 10000000 /dev/zero | tr '\\0' x; exit 0", LIMIT).await.unwrap();
        assert!(status.success());
        assert_eq!((text.output.len(), text.is_cut), (MAX_OUTPUT_BYTES, true));
    }

    #[tokio::test]
    async fn a_program_that_times_out_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script =
            format!("trap '' TERM; echo begun; sleep 1000 & echo $! > {}; wait; wait", file.display());
        let late = sh(&script, Duration::from_millis(500)).await.unwrap_err();
        let ProgramError::TimedOut { text, .. } = &late else { panic!("{late}") };
        assert_eq!(text.output, "begun");
        until_gone(&file).await;
        let ends_when_asked = "trap 'echo asked; exit 1' TERM; sleep 1000 & wait";
        let late = sh(ends_when_asked, Duration::from_millis(500)).await.unwrap_err();
        let ProgramError::TimedOut { text, .. } = &late else { panic!("{late}") };
        assert_eq!(text.output, "asked");
    }

    #[tokio::test]
    async fn what_a_program_leaves_running_is_killed_and_does_not_delay_the_result() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; echo done", file.display());
        let (status, text) = sh(&script, LIMIT).await.unwrap();
        assert_eq!((status.code(), text.output.as_str()), (Some(0), "done"));
        until_gone(&file).await;
    }

    #[tokio::test]
    async fn a_program_whose_run_is_dropped_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; echo >> {0}; wait", file.display());
        let mut running = Box::pin(sh(&script, LIMIT));
        let has_begun = async {
            while fs_err::read_to_string(&file).map_or(true, |text| text.lines().count() < 2) {
                sleep_real_time(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            () = has_begun => {}
        }
        drop(running);
        until_gone(&file).await;
    }

    /// Runs a program in a process that the next test kills.
    #[tokio::test]
    #[ignore = "it is run by the next test"]
    async fn a_server_with_a_program() {
        sh("cd \"$HOME/killed-server\" || exit; echo $$ > pid; sleep 1000; wait", Duration::from_mins(1))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_program_whose_server_is_killed_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("killed-server");
        fs_err::create_dir(&directory).unwrap();
        let file = directory.join("pid");
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "program::tests::a_server_with_a_program"])
            .env("HOME", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let has_begun = async {
            while fs_err::read_to_string(&file).map_or(true, |text| text.is_empty()) {
                sleep_real_time(Duration::from_millis(10)).await;
            }
        };
        assert!(within_real_time(LIMIT, has_begun).await.is_some(), "the program has not begun");
        server.kill().await.unwrap();
        until_gone(&file).await;
    }

    #[tokio::test]
    async fn a_program_sees_no_secrets_of_the_server() {
        let (_, text) = sh("env | sort | cut -d= -f1 | tr '\\n' ' '; echo $TICKET", LIMIT).await.unwrap();
        for name in text.output.split_whitespace() {
            let is_known = PASSED_VARIABLES.contains(&name)
                || matches!(name, "PWD" | "SHLVL" | "OLDPWD" | "_" | "TICKET" | "t1");
            assert!(is_known, "{name}");
        }
        assert!(text.output.ends_with("t1"), "{text:?}");
    }
}
