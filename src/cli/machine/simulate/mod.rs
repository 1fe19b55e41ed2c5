//! `lifeguard machine simulate`: instances in virtual time, without a database and without hardware.

mod csv;
mod svg;
mod text;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use super::super::serve::number_between;
use super::super::{faces, output};
use super::file;
use crate::machine::{Definition, SourceFaults, parse_span};
use crate::simulate::{Profile, Simulation, SimulationCounts, SimulationSize};

/// The assumptions, in the help.
const ASSUMPTIONS_HELP: &str = "\
Reports, ends of actions, requests of operators and faults are random, in virtual time; what follows from them is decided by \
the same rules as for real instances, and resources are granted by the same rules. The same options give the same results on \
any number of threads. A month of a thousand boards takes seconds.

With several definitions, linked machines are simulated together: the first definition is the one simulated, the others are \
those that its links lead to, directly or through one another. An event raised at a linked instance is decided at the same \
moment. Each instance of the first machine has one instance of each other machine, unless the profile says how many share \
one; links are set from the start, and back links too unless the definition sets them later. Events raised at machines whose \
definition is not given are not simulated, with a warning.

Without a profile, and where it says nothing, the following is assumed. In a working state an instance sends the event that \
leads to an available state, usually within a third of the time limit, and sends nothing one time in fifty. An action fails \
one time in two hundred. Power actions use relay boards with eight instances each. One instance in five hundred is dead. \
Resources held by states have no limit. Operators put new instances to use within an hour, send a request to available ones \
once a day, and repair failed ones after a day. Available states are the resting states other than the initial one that not \
only operators lead to, and of these the ones that invoke an action, if any does; a profile may name them.

No model is asked: a condition with `predict` does not hold.

fixtures/profiles/board.yaml is a profile for states/board.yaml; its comments describe what a profile may contain.";

/// Options of `lifeguard machine simulate`.
#[derive(Debug, Args)]
#[command(after_help = ASSUMPTIONS_HELP)]
pub(super) struct SimulateOptions {
    /// The machine definition, and the definitions of linked machines
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// The profile, which describes how the instances behave
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,

    /// The number of instances of the first machine
    #[arg(long, visible_alias = "boards", value_name = "N", default_value_t = 1000)]
    instances: u32,

    /// The number of days
    #[arg(long, value_name = "D", default_value_t = 30)]
    days: u32,

    /// Seed of the random numbers
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// The interval at which the instances in each state are counted, in whole seconds, such as `1h` [default: about two
    /// hundred samples]
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    every: Option<Duration>,

    /// The number of threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = |text: &str| number_between(text, 1_u16, 1024))]
    threads: Option<u16>,

    /// Print a JSON object instead of tables
    #[arg(long)]
    json: bool,

    /// Write the number of instances in each state over time as CSV to a file; `-` is standard output, instead of tables
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Draw the number of instances in each state over time as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Simulates instances and prints the results.
///
/// # Errors
///
/// Why the command failed, for people.
pub(super) fn run(options: &SimulateOptions) -> Result<ExitCode, Box<dyn Error>> {
    let csv_on_stdout = options.csv.as_deref().is_some_and(|path| path == Path::new("-"));
    if options.json && csv_on_stdout {
        return Err("--json and --csv - both print on standard output: write the CSV to a file".into());
    }
    let written = SimulationInput::read(options)?;
    let definitions = written.definitions()?;
    let definitions: Vec<&Definition> = definitions.iter().collect();
    let profile = written.profile(&definitions)?;
    let every_s = options.every.map(whole_seconds).transpose()?;
    let size = SimulationSize {
        instances: options.instances,
        days: options.days,
        seed: options.seed,
        sample_interval_s: every_s,
    };
    let simulation = Simulation::new(&definitions, &profile, size)?;
    let began = Instant::now();
    let report = simulation.report(&simulate_on_threads(&written, size, options.threads)?);
    tracing::info!(
        decisions = report.decisions,
        seconds = (began.elapsed().as_secs_f64() * 100.0).round() / 100.0,
        "simulated"
    );
    for raises in &report.unsimulated {
        output::complain(&format!("warning: {}", text::unsimulated(raises)));
    }
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
        return Err("--every must be a whole number of seconds, such as `1h` or `90s`".to_owned());
    }
    Ok(span.as_secs())
}

/// The texts of the definitions and the profile, with the names of their files.
struct SimulationInput {
    definitions: Vec<(String, String)>,
    profile: (String, String),
}

impl SimulationInput {
    fn read(options: &SimulateOptions) -> Result<Self, Box<dyn Error>> {
        let read = |path: &Path| file::read(path).map(|text| (file::name(path), text));
        let none = || Ok(("profile".to_owned(), String::new()));
        Ok(Self {
            definitions: options.files.iter().map(|path| read(path)).collect::<Result<_, _>>()?,
            profile: options.profile.as_deref().map_or_else(none, read)?,
        })
    }

    fn definitions(&self) -> Result<Vec<Definition>, Box<dyn Error>> {
        self.definitions.iter().map(|(file, text)| file::check(file, text)).collect()
    }

    fn profile(&self, definitions: &[&Definition]) -> Result<Profile, Box<dyn Error>> {
        let faults = |faults: SourceFaults| faults.display(&self.profile.0).to_string();
        Ok(Profile::read(&self.profile.1, definitions, faces::vocabulary().actions()).map_err(faults)?)
    }
}

/// The shards that remain to be simulated.
#[derive(Default)]
struct ShardQueue {
    next: AtomicUsize,
    /// Whether a shard failed, so that the others are not needed.
    is_over: AtomicBool,
}

impl ShardQueue {
    fn next(&self, count: usize) -> Option<usize> {
        let shard =
            (!self.is_over.load(Ordering::Relaxed)).then(|| self.next.fetch_add(1, Ordering::Relaxed));
        shard.filter(|shard| *shard < count)
    }
}

/// Simulates all shards on the given number of threads.
fn simulate_on_threads(
    written: &SimulationInput,
    size: SimulationSize,
    threads: Option<u16>,
) -> Result<SimulationCounts, Box<dyn Error>> {
    let threads = match threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let shards = ShardQueue::default();
    let parts: Vec<ThreadResult> = std::thread::scope(|scope| {
        let start = |_| scope.spawn(|| simulate_on_thread(written, size, &shards));
        let running: Vec<_> = (0..threads).map(start).collect();
        let panicked = |_| Err((0, "a simulation thread panicked".to_owned()));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let mut all: Option<SimulationCounts> = None;
    let mut faults = Vec::new();
    for part in parts {
        match (part, &mut all) {
            (Ok(None), _) => {}
            (Ok(Some(part)), Some(all)) => all.merge(&part),
            (Ok(part), None) => all = part,
            (Err(fault), _) => faults.push(fault),
        }
    }
    // Shards are started in order, so the first failed one does not depend on the timing of threads.
    match faults.into_iter().min() {
        Some((_, fault)) => Err(fault.into()),
        None => all.ok_or_else(|| "nothing was simulated".into()),
    }
}

/// The counts of one thread, if it had a shard; or the shard that failed, and why.
type ThreadResult = Result<Option<SimulationCounts>, (usize, String)>;

/// Simulates shards until none is left.
fn simulate_on_thread(written: &SimulationInput, size: SimulationSize, shards: &ShardQueue) -> ThreadResult {
    // Each thread has its own definitions: names are reference-counted, and shared counters would slow the threads down.
    let failed = |error: Box<dyn Error>| (0, error.to_string());
    let definitions = written.definitions().map_err(failed)?;
    let definitions: Vec<&Definition> = definitions.iter().collect();
    let profile = written.profile(&definitions).map_err(failed)?;
    let simulation = Simulation::new(&definitions, &profile, size).map_err(|error| (0, error.to_string()))?;
    let mut all: Option<SimulationCounts> = None;
    while let Some(shard) = shards.next(simulation.shards()) {
        let counted = simulation.run(shard).map_err(|error| {
            shards.is_over.store(true, Ordering::Relaxed);
            (shard, error.to_string())
        })?;
        match &mut all {
            Some(all) => all.merge(&counted),
            None => all = Some(counted),
        }
    }
    Ok(all)
}
