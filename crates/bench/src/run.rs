//! Runs the bench and prints its report.

use std::error::Error;
use std::time::Instant;

use clock::{Clock, SystemClock};
use lifeguard::cli::output;
use lifeguard::cli::serve::asked_to_stop;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::options::BenchOptions;
use crate::report::BenchReport;
use crate::{figures, server};

/// Runs the bench.
pub(crate) async fn run(options: BenchOptions) -> Result<(), Box<dyn Error>> {
    let signal = asked_to_stop()?;
    let (began, began_at) = (Instant::now(), SystemClock.now());
    if cfg!(debug_assertions) && !options.tiny {
        output::complain("debug build: these figures do not apply to a release build");
    }
    if let Some(file) = options.json.as_ref().filter(|file| file.as_os_str() != "-") {
        // Checks before the run that the file can be written.
        fs_err::OpenOptions::new().append(true).create(true).open(file)?;
    }
    tokio::pin!(signal);
    let bench = tokio::select! {
        started = Bench::start(&options) => started?,
        () = &mut signal => return Err("interrupted; nothing is left running".into()),
    };
    let mut about = about(&bench);
    let mut report = BenchReport::default();
    let figures = options.figures();
    let outcome = tokio::select! {
        failed = figures::run(&bench, &figures, &mut report) => Some(failed),
        () = signal => None,
    };
    // Stops Postgres and removes the directory in every case.
    let Bench { postgres, scratch, .. } = bench;
    let stopped = postgres.stop().await;
    drop(scratch);
    if let Some(about) = about.as_object_mut() {
        about.insert("began_at".to_owned(), json!(began_at));
        about.insert("seconds".to_owned(), json!(began.elapsed().as_secs()));
    }
    let document = serde_json::to_string_pretty(&report.json(&about))?;
    match &options.json {
        Some(path) if path.as_os_str() == "-" => output::print(&document)?,
        Some(path) => {
            fs_err::write(path, document + "\n")?;
            output::print(&report.table())?;
        }
        None => output::print(&report.table())?,
    }
    stopped?;
    match outcome {
        Some(failed) if failed.is_empty() => Ok(()),
        Some(failed) => Err(format!("failed: {}", failed.join(", ")).into()),
        None => Err("interrupted; the rest was not measured, and nothing is left running".into()),
    }
}

/// The environment of the run.
fn about(bench: &Bench) -> Value {
    let read = |path| fs_err::read_to_string(path).unwrap_or_default();
    let find = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let settings: serde_json::Map<String, Value> =
        bench.postgres.durability.settings.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "is_debug_build": cfg!(debug_assertions),
        "command": std::env::args().skip(1).collect::<Vec<_>>(),
        "sizes": bench.sizes,
        "server_log": server::SERVER_LOG_FILTER,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": find(&read("/proc/cpuinfo"), "model name"),
        "memory": find(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "postgres": { "version": bench.postgres.durability.version, "settings": settings },
    })
}
