//! The log on standard error, which never fails or delays the program.
//!
//! Lines go through a bounded queue to a thread that writes them. Where nobody reads standard error, or its disk is full,
//! lines are dropped and counted; the count is logged as soon as a line can be written again.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;

/// How many lines wait to be written at most; more are dropped. At 200 bytes a line that is under a megabyte.
const MAX_QUEUED_LINES: usize = 4096;
/// How long the end of the program waits for its last lines, in real time.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Our crates that log. To whoever sets `lifeguard=debug` they are Lifeguard.
const OUR_CRATES: [&str; 4] = ["device_io", "farm", "private_postgres", "tftp"];

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// What every command can be told of the log.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines are written on standard error: for people, or a JSON object each
    #[arg(
        long,
        global = true,
        env = "LIFEGUARD_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t = LogFormat::Text,
        help_heading = "Log"
    )]
    log_format: LogFormat,

    /// Which log lines are written: a level, or a filter such as `lifeguard=debug,sqlx=error`
    #[arg(long, global = true, env = "LIFEGUARD_LOG", value_name = "FILTER", help_heading = "Log")]
    log: Option<String>,
}

/// What the writing thread is sent.
enum LogMessage {
    Line {
        text: Vec<u8>,
        /// Of how many dropped lines it tells.
        tells_dropped: u64,
    },
    /// All lines before it were written or dropped: answer.
    Flush(SyncSender<()>),
}

/// The log of this process.
#[derive(Debug, Clone)]
pub struct ProcessLog {
    queue: SyncSender<LogMessage>,
    dropped: Arc<AtomicU64>,
    /// [`FLUSH_TIMEOUT`], except in tests.
    flush_timeout: Duration,
}

impl ProcessLog {
    /// Begins to log on standard error what was asked for, or what `usual` lets pass; panics are logged too.
    ///
    /// # Errors
    ///
    /// When the filter is none, or the system gives no thread.
    pub fn start(args: &LogArgs, usual: &str) -> Result<Self, LogStartError> {
        let filter = EnvFilter::try_new(with_our_crates(args.log.as_deref().unwrap_or(usual)))?;
        let log = Self::writing_to(io::stderr(), |_, lines| {
            tracing::warn!(lines, "log lines were dropped: standard error could not be written");
        })?;
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .log_internal_errors(false)
            .with_writer(log.clone());
        match args.log_format {
            LogFormat::Text => subscriber.with_target(false).with_ansi(is_coloured()).init(),
            LogFormat::Json => subscriber.json().init(),
        }
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string).unwrap_or_default();
            let message = panic.payload_as_str().unwrap_or_default();
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            tracing::error!(message, location, thread, "panicked");
        }));
        Ok(log)
    }

    /// Starts the thread that writes to `out`; `tell_dropped` logs how many lines were dropped.
    fn writing_to(out: impl Write + Send + 'static, tell_dropped: fn(&Self, u64)) -> io::Result<Self> {
        let (queue, lines) = sync_channel(MAX_QUEUED_LINES);
        let log = Self { queue, dropped: Arc::default(), flush_timeout: FLUSH_TIMEOUT };
        let own = log.clone();
        // It ends with the program: whatever waits then is waited for by `flush`.
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || own.write(out, &lines, tell_dropped))?;
        Ok(log)
    }

    /// Writes what comes, for as long as the program runs.
    fn write(&self, mut out: impl Write, messages: &Receiver<LogMessage>, tell_dropped: fn(&Self, u64)) {
        // Whether the line that tells of dropped ones is in the queue.
        let mut is_told = false;
        for message in messages {
            match message {
                LogMessage::Line { text, tells_dropped } => {
                    let is_written = out.write_all(&text).and_then(|()| out.flush()).is_ok();
                    is_told &= tells_dropped == 0;
                    match (is_written, tells_dropped) {
                        // Those are done with only once they have been told of.
                        (true, told) => self.dropped.fetch_sub(told, Ordering::Relaxed),
                        (false, 0) => self.dropped.fetch_add(1, Ordering::Relaxed),
                        (false, _) => 0,
                    };
                    let lines = self.dropped.load(Ordering::Relaxed);
                    if is_written && lines > 0 && !is_told {
                        TELLS_DROPPED.set(lines);
                        tell_dropped(self, lines);
                        is_told = TELLS_DROPPED.take() > 0;
                    }
                }
                // Whoever asked may have given up.
                LogMessage::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    /// Waits until the lines so far were written, for a second at most.
    pub fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        // A queue that is full belongs to a reader who does not read: there is nothing to wait for.
        if self.queue.try_send(LogMessage::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(self.flush_timeout);
        }
    }
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogStartError {
    /// The filter is none.
    #[error("--log: {0}")]
    Filter(#[from] ParseError),
    /// The system gives no thread.
    #[error("the log's thread could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// `filter`, in which what is said of `lifeguard` is said of our crates too. It comes first: what is said of a crate by its
/// name comes after it, and counts. Spaces are left out, for the filter takes them for a part of a level.
fn with_our_crates(filter: &str) -> String {
    let directives: Vec<&str> = filter.split(',').map(str::trim).collect();
    let ours = directives.iter().filter_map(|directive| directive.strip_prefix("lifeguard="));
    let copies = ours.flat_map(|level| OUR_CRATES.map(|name| format!("{name}={level},")));
    copies.collect::<String>() + &directives.join(",")
}

/// Whether log lines are coloured: on a terminal, unless its user wants none (<https://no-color.org>).
fn is_coloured() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_unwanted
}

thread_local! {
    /// Of how many dropped lines the line tells that this thread is about to log; none where it could not be queued.
    static TELLS_DROPPED: Cell<u64> = const { Cell::new(0) };
}

/// One line, which is handed over as a whole.
#[derive(Debug)]
pub struct LogLine<'a> {
    log: &'a ProcessLog,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for ProcessLog {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine { log: self, text: Vec::new() }
    }
}

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        let tells_dropped = TELLS_DROPPED.get();
        let line = LogMessage::Line { text: std::mem::take(&mut self.text), tells_dropped };
        match self.log.queue.try_send(line) {
            Ok(()) => {}
            // It is told later, then.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) if tells_dropped > 0 => {
                TELLS_DROPPED.set(0);
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.log.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::{Condvar, Mutex};
    use std::time::Instant;

    use super::*;

    /// A file that takes nothing, or nothing yet.
    #[derive(Clone, Default)]
    struct TestOutput(Arc<(Mutex<OutputState>, Condvar)>);

    #[derive(Default)]
    struct OutputState {
        is_full: bool,
        is_stuck: bool,
        text: Vec<u8>,
    }

    impl TestOutput {
        fn set(&self, change: impl FnOnce(&mut OutputState)) {
            change(&mut self.0.0.lock().unwrap());
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.0.lock().unwrap().text).into_owned()
        }

        fn lines(&self) -> usize {
            self.text().lines().filter(|line| *line == "one").count()
        }
    }

    impl Write for TestOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.1.wait_while(self.0.0.lock().unwrap(), |state| state.is_stuck).unwrap();
            if state.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.text.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(log: &ProcessLog) {
        log.make_writer().write_all(b"one\n").unwrap();
    }

    fn tell(log: &ProcessLog, lines: u64) {
        log.make_writer().write_all(format!("dropped {lines}\n").as_bytes()).unwrap();
    }

    #[test]
    fn what_is_said_of_lifeguard_is_said_of_its_crates_unless_they_are_named() {
        assert_eq!(with_our_crates("info,lifeguards=warn"), "info,lifeguards=warn");
        let filter = with_our_crates("tftp=trace,sqlx=error, lifeguard=debug");
        let directives = EnvFilter::try_new(&filter).unwrap().to_string();
        for directive in
            ["farm=debug", "private_postgres=debug", "tftp=trace", "lifeguard=debug", "sqlx=error"]
        {
            assert!(directives.split(',').any(|found| found == directive), "{directives}");
        }
        assert!(!directives.contains("tftp=debug"), "{directives}");
    }

    #[test]
    fn every_crate_of_ours_that_can_log_is_known() {
        let mut logging = Vec::new();
        for folder in fs_err::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/crates")).unwrap() {
            let folder = folder.unwrap();
            let manifest = fs_err::read_to_string(folder.path().join("Cargo.toml")).unwrap();
            let is_of_product = !manifest.contains("\nlifeguard.workspace");
            if is_of_product && manifest.contains("\ntracing.workspace") {
                logging.push(folder.file_name().to_str().unwrap().replace('-', "_"));
            }
        }
        logging.sort();
        assert_eq!(logging, OUR_CRATES);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_later_ones_are_written() {
        let out = TestOutput::default();
        let log = ProcessLog::writing_to(out.clone(), tell).unwrap();
        out.set(|state| state.is_full = true);
        line(&log);
        line(&log);
        log.flush();
        assert_eq!((out.lines(), log.dropped.load(Ordering::Relaxed)), (0, 2));
        out.set(|state| state.is_full = false);
        line(&log);
        // The line before this is written, and then what it brings forth.
        log.flush();
        log.flush();
        assert_eq!(out.text(), "one\ndropped 2\n");
        assert_eq!(log.dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn dropped_lines_are_told_of_although_the_queue_is_full_when_they_are_to_be() {
        static IS_FIRST: AtomicBool = AtomicBool::new(true);
        let out = TestOutput::default();
        let log = ProcessLog::writing_to(out.clone(), |log, lines| {
            if IS_FIRST.swap(false, Ordering::Relaxed) {
                // Other threads log as fast as they can.
                let fill = || {
                    while log.dropped.load(Ordering::Relaxed) < 2 {
                        line(log);
                    }
                };
                std::thread::scope(|scope| {
                    scope.spawn(fill);
                });
            }
            tell(log, lines);
        })
        .unwrap();
        out.set(|state| state.is_full = true);
        line(&log);
        log.flush();
        out.set(|state| state.is_full = false);
        line(&log);
        while log.dropped.load(Ordering::Relaxed) > 0 {
            log.flush();
        }
        assert!(
            out.text().contains("\ndropped 2\n"),
            "one that was not written and one too many for the queue"
        );
    }

    #[test]
    fn a_reader_who_does_not_read_delays_nobody() {
        let out = TestOutput::default();
        let log = ProcessLog::writing_to(out.clone(), tell).unwrap();
        out.set(|state| state.is_stuck = true);
        for _ in 0..2 * 4096 {
            line(&log);
        }
        let dropped = usize::try_from(log.dropped.load(Ordering::Relaxed)).unwrap();
        // The one that is stuck may have been taken from the queue.
        assert!((4095..=4096).contains(&dropped), "{dropped}");
        log.flush();
        out.set(|state| state.is_stuck = false);
        while out.lines() < 2 * 4096 - dropped {
            log.flush();
        }
    }

    #[test]
    fn the_end_of_the_program_waits_for_its_last_lines_a_second() {
        let out = TestOutput::default();
        let (usual, short) = (ProcessLog::writing_to(out.clone(), tell).unwrap(), Duration::from_millis(100));
        assert_eq!(usual.flush_timeout, Duration::from_secs(1));
        let log = ProcessLog { flush_timeout: short, ..usual };
        out.set(|state| state.is_stuck = true);
        line(&log);
        let (tell, told) = sync_channel(1);
        std::thread::spawn(move || {
            let begun = Instant::now();
            log.flush();
            tell.send(begun.elapsed()).unwrap();
        });
        let took = told.recv_timeout(Duration::from_secs(9)).expect("it goes on without them");
        assert!(took >= short, "{took:?}");
        out.set(|state| state.is_stuck = false);
    }
}
