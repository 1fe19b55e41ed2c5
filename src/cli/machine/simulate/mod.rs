//! `lifeguard machine simulate`: a farm under virtual time, without a database or a board.

mod csv;
mod svg;
mod text;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::BoolishValueParser;

use super::super::output;
use super::file;
use crate::machine::simulate::{Counted, Profile, SimulateError, Simulation, Size};

/// Options of `lifeguard machine simulate`.
///
/// Boards report, actions end and operators ask as a profile says, in virtual time; what follows is decided as for
/// real boards. Without a profile, or where it is silent, this is assumed: a board sends what leads to an available
/// state within about a third of each time limit, one visit in fifty it is silent; actions fail once in two hundred
/// times; new boards are put to use within an hour, available ones are asked for something once a day, failed ones
/// repaired after a day; one board in five hundred is dead. fixtures/profiles/board.yaml says it all for board.yaml.
///
/// The same options give the same results, however many threads there are.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SimulateOptions {
    /// The machine definition
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// How the farm behaves: a profile written for this definition
    #[arg(long, env = "LIFEGUARD_SIMULATE_PROFILE", value_name = "FILE")]
    profile: Option<PathBuf>,

    /// How many boards
    #[arg(long, env = "LIFEGUARD_SIMULATE_BOARDS", value_name = "N", default_value_t = 1000)]
    boards: u32,

    /// For how many days
    #[arg(long, env = "LIFEGUARD_SIMULATE_DAYS", value_name = "D", default_value_t = 30)]
    days: u32,

    /// Where chance begins
    #[arg(long, env = "LIFEGUARD_SIMULATE_SEED", value_name = "S", default_value_t = 1)]
    seed: u64,

    /// How often the boards in each state are counted over time, such as `1h`, in whole seconds [default: about two
    /// hundred times in all]
    #[arg(long, env = "LIFEGUARD_SIMULATE_EVERY", value_name = "SPAN", value_parser = humantime::parse_duration)]
    every: Option<Duration>,

    /// On how many threads [default: one for each processor]
    #[arg(long, env = "LIFEGUARD_SIMULATE_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Print a JSON object instead of tables
    #[arg(long, env = "LIFEGUARD_SIMULATE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    /// Write how many boards are in each state over time as CSV: to a file, or to `-`, standard output, instead of tables
    #[arg(long, env = "LIFEGUARD_SIMULATE_CSV", value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Draw how many boards are in each state over time, as SVG
    #[arg(long, env = "LIFEGUARD_SIMULATE_SVG", value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Simulates a farm and prints what came of it: exit code 0, or 2 where the profile or the definition is not right.
///
/// # Errors
///
/// What kept it from being done, for people.
pub(super) fn run(options: &SimulateOptions) -> Result<ExitCode, Box<dyn Error>> {
    let csv_on_stdout = options.csv.as_deref().is_some_and(|path| path == Path::new("-"));
    if options.json && csv_on_stdout {
        return Err("--json and --csv - both print on standard output: write the CSV to a file".into());
    }
    let definition = file::check(&options.file.display().to_string(), &file::read(&options.file)?)?;
    let profile = match &options.profile {
        None => Profile::read("", &definition).map_err(|faults| faults.display("profile").to_string())?,
        Some(path) => {
            let faults =
                |faults: crate::machine::Faults| faults.display(&path.display().to_string()).to_string();
            Profile::read(&file::read(path)?, &definition).map_err(faults)?
        }
    };
    let every_s = options.every.map(whole_seconds).transpose()?;
    let size = Size { boards: options.boards, days: options.days, seed: options.seed, every_s };
    let simulation = Simulation::new(&definition, &profile, size)?;
    let began = Instant::now();
    let report = simulation.report(&on_threads(&simulation, options.threads)?);
    tracing::info!(
        decisions = report.decisions,
        seconds = (began.elapsed().as_secs_f64() * 100.0).round() / 100.0,
        "simulated"
    );
    if let Some(path) = &options.svg {
        fs_err::write(path, svg::draw(&report))?;
    }
    match &options.csv {
        Some(_) if csv_on_stdout => {
            output::print(csv::write(&report).trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(path) => fs_err::write(path, csv::write(&report))?,
        None => {}
    }
    if options.json {
        output::print(&serde_json::to_string_pretty(&report)?)?;
    } else {
        output::print(&text::write(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn whole_seconds(span: Duration) -> Result<u64, String> {
    if span.subsec_nanos() != 0 || span.is_zero() {
        return Err("--every is a number of whole seconds, such as `1h` or `90s`".to_owned());
    }
    Ok(span.as_secs())
}

/// Simulates all circuits, each on whatever thread is free.
fn on_threads(simulation: &Simulation<'_>, threads: Option<u16>) -> Result<Counted, Box<dyn Error>> {
    let threads = match threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut all: Option<Counted> = None;
        while !is_over.load(Ordering::Relaxed) {
            let circuit = next.fetch_add(1, Ordering::Relaxed);
            if circuit >= simulation.circuits() {
                break;
            }
            match simulation.run(circuit) {
                Ok(counted) => match &mut all {
                    Some(all) => all.merge(&counted),
                    None => all = Some(counted),
                },
                Err(error) => {
                    is_over.store(true, Ordering::Relaxed);
                    return Err((circuit, error));
                }
            }
        }
        Ok(all)
    };
    let ended: Vec<Result<Option<Counted>, (usize, SimulateError)>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.min(simulation.circuits())).map(|_| scope.spawn(work)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    if ended.len() < threads.min(simulation.circuits()) {
        return Err("a part of the simulation broke down: this is a bug".into());
    }
    let mut all: Option<Counted> = None;
    // Circuits are begun in their order, so the first that failed is the same whoever got there first.
    let mut first_fault: Option<(usize, SimulateError)> = None;
    for part in ended {
        match (part, &mut all) {
            (Ok(None), _) => {}
            (Ok(Some(part)), Some(all)) => all.merge(&part),
            (Ok(part), None) => all = part,
            (Err(fault), _) => {
                let is_first = first_fault.as_ref().is_none_or(|(circuit, _)| fault.0 < *circuit);
                if is_first {
                    first_fault = Some(fault);
                }
            }
        }
    }
    match (first_fault, all) {
        (Some((_, error)), _) => Err(error.into()),
        (None, Some(all)) => Ok(all),
        (None, None) => Err("nothing was simulated: this is a bug".into()),
    }
}
