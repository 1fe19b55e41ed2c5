//! The log on standard error. It never fails or delays the program.
//!
//! Lines go through a bounded queue to a thread that writes them. If standard error is not read, or its disk is full, lines
//! are dropped and counted; the count is logged as soon as a line can be written again.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;

/// The maximum number of queued lines; further lines are dropped. At 200 bytes a line the queue takes less than a megabyte.
const MAX_QUEUED_LINES: usize = 4096;
/// How long the program waits at its end for the last lines to be written, in real time.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The crates of this workspace that log. A directive for `lifeguard` applies to them too.
const OUR_CRATES: [&str; 5] = ["device_io", "farm", "power", "private_postgres", "tftp"];

/// The filter of servers.
pub(super) const SERVER_FILTER: &str = "info,sqlx=error";
/// The filter of the demo.
pub(super) const DEMO_FILTER: &str = "warn,sqlx=error";

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// The options of the log.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// The format of log lines on standard error: text, or one JSON object a line
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

    /// The level of log lines, or a filter such as `lifeguard=debug,sqlx=error` [default: info,sqlx=error for servers]
    #[arg(long, global = true, env = "LIFEGUARD_LOG", value_name = "FILTER", value_parser = parse_filter, help_heading = "Log")]
    log: Option<String>,
}

/// A message to the writing thread.
enum LogMessage {
    Line {
        text: Vec<u8>,
        /// The number of dropped lines that this line reports; 0 for an ordinary line.
        reported_dropped: u64,
    },
    /// Answered when all lines before it are written or dropped.
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
    /// Starts to log on standard error, with the filter of `args` or else `default_filter`. Panics are logged too.
    ///
    /// # Errors
    ///
    /// When the filter is invalid, or no thread can be started.
    pub fn start(args: &LogArgs, default_filter: &str) -> Result<Self, LogStartError> {
        let filter = EnvFilter::try_new(with_our_crates(args.log.as_deref().unwrap_or(default_filter)))?;
        let log = Self::writing_to(io::stderr(), |_, lines| {
            tracing::warn!(lines, "log lines dropped: cannot write standard error");
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

    /// Starts the thread that writes to `out`; `report_dropped` logs how many lines were dropped.
    fn writing_to(out: impl Write + Send + 'static, report_dropped: fn(&Self, u64)) -> io::Result<Self> {
        let (queue, lines) = sync_channel(MAX_QUEUED_LINES);
        let log = Self { queue, dropped: Arc::default(), flush_timeout: FLUSH_TIMEOUT };
        let own = log.clone();
        // The thread ends with the program; `flush` waits for queued lines.
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || own.write(out, &lines, report_dropped))?;
        Ok(log)
    }

    /// Writes queued lines for as long as the program runs.
    fn write(&self, mut out: impl Write, messages: &Receiver<LogMessage>, report_dropped: fn(&Self, u64)) {
        // Whether a line that reports dropped ones is in the queue.
        let mut is_report_queued = false;
        for message in messages {
            match message {
                LogMessage::Line { text, reported_dropped } => {
                    let is_written = out.write_all(&text).and_then(|()| out.flush()).is_ok();
                    is_report_queued &= reported_dropped == 0;
                    match (is_written, reported_dropped) {
                        // Dropped lines count until the line that reports them is written.
                        (true, reported) => self.dropped.fetch_sub(reported, Ordering::Relaxed),
                        (false, 0) => self.dropped.fetch_add(1, Ordering::Relaxed),
                        (false, _) => 0,
                    };
                    let lines = self.dropped.load(Ordering::Relaxed);
                    if is_written && lines > 0 && !is_report_queued {
                        REPORTED_DROPPED.set(lines);
                        report_dropped(self, lines);
                        is_report_queued = REPORTED_DROPPED.take() > 0;
                    }
                }
                // The receiver may have timed out.
                LogMessage::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    /// Waits until the lines so far are written, for at most a second.
    pub fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        // If the queue is full, standard error is not read, and waiting is useless.
        if self.queue.try_send(LogMessage::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(self.flush_timeout);
        }
    }
}

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogStartError {
    /// The filter is invalid.
    #[error("--log: {0}")]
    Filter(#[from] ParseError),
    /// The system cannot start a thread.
    #[error("cannot start the log thread: {0}")]
    Thread(#[from] io::Error),
}

const NEEDED_FILTER: &str = "a level such as `info`, or a filter such as `lifeguard=debug,sqlx=error` is needed; \
                             levels are `off`, `error`, `warn`, `info`, `debug` and `trace`";

/// Parses a log filter.
fn parse_filter(text: &str) -> Result<String, &'static str> {
    // The filter takes a word alone for a module, all of whose lines it would let through, and no others.
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    if text.split(',').map(str::trim).any(|part| !part.contains(['=', '[']) && !is_level(part)) {
        return Err(NEEDED_FILTER);
    }
    let filter = EnvFilter::try_new(with_our_crates(text)).map(|_| text.to_owned());
    filter.map_err(|_| NEEDED_FILTER)
}

/// Applies the directives of `filter` for `lifeguard` to our other crates too. The copies come first, so that a directive for
/// one of the crates takes precedence. Spaces are removed, because the filter takes them as part of a level.
fn with_our_crates(filter: &str) -> String {
    let directives: Vec<&str> = filter.split(',').map(str::trim).collect();
    let ours = directives.iter().filter_map(|directive| directive.strip_prefix("lifeguard="));
    let copies = ours.flat_map(|level| OUR_CRATES.map(|name| format!("{name}={level},")));
    copies.collect::<String>() + &directives.join(",")
}

/// Whether log lines are coloured: on a terminal, unless `NO_COLOR` is set (Source: <https://no-color.org>).
fn is_coloured() -> bool {
    let is_disabled = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_disabled
}

thread_local! {
    /// The number of dropped lines that the next line of this thread reports; 0 if that line could not be queued.
    static REPORTED_DROPPED: Cell<u64> = const { Cell::new(0) };
}

/// One line, which is queued as a whole.
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
        let reported_dropped = REPORTED_DROPPED.get();
        let line = LogMessage::Line { text: std::mem::take(&mut self.text), reported_dropped };
        match self.log.queue.try_send(line) {
            Ok(()) => {}
            // The dropped lines are reported later.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) if reported_dropped > 0 => {
                REPORTED_DROPPED.set(0);
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

    /// A file that is full, or whose writes block.
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

    fn report(log: &ProcessLog, lines: u64) {
        log.make_writer().write_all(format!("dropped {lines}\n").as_bytes()).unwrap();
    }

    #[test]
    fn directives_for_lifeguard_apply_to_its_crates_unless_they_have_their_own() {
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
    fn every_crate_that_logs_is_listed() {
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
        let log = ProcessLog::writing_to(out.clone(), report).unwrap();
        out.set(|state| state.is_full = true);
        line(&log);
        line(&log);
        log.flush();
        assert_eq!((out.lines(), log.dropped.load(Ordering::Relaxed)), (0, 2));
        out.set(|state| state.is_full = false);
        line(&log);
        // The first flush waits for the line, the second for the report that it causes.
        log.flush();
        log.flush();
        assert_eq!(out.text(), "one\ndropped 2\n");
        assert_eq!(log.dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn dropped_lines_are_reported_although_the_queue_is_full_at_first() {
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
            report(log, lines);
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
            "one line that was not written, and one that did not fit into the queue"
        );
    }

    #[test]
    fn an_unread_log_does_not_block() {
        let out = TestOutput::default();
        let log = ProcessLog::writing_to(out.clone(), report).unwrap();
        out.set(|state| state.is_stuck = true);
        for _ in 0..2 * 4096 {
            line(&log);
        }
        let dropped = usize::try_from(log.dropped.load(Ordering::Relaxed)).unwrap();
        // The line that is being written may have left the queue.
        assert!((4095..=4096).contains(&dropped), "{dropped}");
        log.flush();
        out.set(|state| state.is_stuck = false);
        while out.lines() < 2 * 4096 - dropped {
            log.flush();
        }
    }

    #[test]
    fn a_flush_waits_at_most_a_second() {
        let out = TestOutput::default();
        let (default, short) =
            (ProcessLog::writing_to(out.clone(), report).unwrap(), Duration::from_millis(100));
        assert_eq!(default.flush_timeout, Duration::from_secs(1));
        let log = ProcessLog { flush_timeout: short, ..default };
        out.set(|state| state.is_stuck = true);
        line(&log);
        let (sender, receiver) = sync_channel(1);
        std::thread::spawn(move || {
            let begun = Instant::now();
            log.flush();
            sender.send(begun.elapsed()).unwrap();
        });
        let took = receiver.recv_timeout(Duration::from_secs(9)).expect("the flush times out");
        assert!(took >= short, "{took:?}");
        out.set(|state| state.is_stuck = false);
    }
}
