//! `lifeguard machine simulate`: instances under virtual time, without a database or anything real.

mod csv;
mod svg;
mod text;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use super::super::{faces, output};
use super::file;
use crate::machine::{Definition, SourceFaults, parse_span};
use crate::simulate::{Profile, Simulation, SimulationCounts, SimulationSize};

/// What is assumed, in the help.
const ASSUMED: &str = "\
Instances report, actions end, operators ask and things break by chance, in virtual time; what follows is decided as for \
real instances, and what actions and states claim is granted by the same rules. The same options give the same results on \
any number of threads. Nothing is waited for: a month of a thousand boards takes seconds.

Several definitions are those of linked machines: the first is simulated, with the others that its links lead to, directly \
or by way of one another. What is raised at a linked instance is decided there at the same moment. Each instance of the \
first machine has one instance of each of the others, unless the profile says how many share one; links lead there from the \
beginning, and back unless the definition sets them itself later. What would be raised at a machine whose definition is not \
given is left out, with a warning.

Without a profile, or where it is silent, this is assumed: in a state of work an instance sends the event that leads to an \
available state, usually within a third of the time limit, and is silent one time in fifty; an action fails one time in \
two hundred; power actions are done at a relay board, eight instances on each; one instance in five hundred is dead; what \
states hold has no limit. Operators put new instances to use within an hour, ask for something of available ones once a \
day, and repair failed ones after a day. Available are the resting states other than the initial one into which not only \
operators lead, and of these the ones that invoke an action, if any does; a profile may name them.

No model is asked: a condition that says `predict` does not hold.

fixtures/profiles/board.yaml is a profile for states/board.yaml, and says in comments what a profile may say.";

/// Options of `lifeguard machine simulate`.
#[derive(Debug, Args)]
#[command(after_help = ASSUMED)]
pub(super) struct SimulateOptions {
    /// The machine definition, and those of the machines that its links lead to
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// How the instances behave: a profile written for these definitions
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,

    /// How many instances of the first machine
    #[arg(long, visible_alias = "boards", value_name = "N", default_value_t = 1000)]
    instances: u32,

    /// For how many days
    #[arg(long, value_name = "D", default_value_t = 30)]
    days: u32,

    /// Where chance begins
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// How often the instances in each state are counted over time, such as `1h`, in whole seconds [default: about two
    /// hundred times in all]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    every: Option<Duration>,

    /// On how many threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Print a JSON object instead of tables
    #[arg(long)]
    json: bool,

    /// Write how many instances are in each state over time as CSV: to a file, or to `-`, standard output, instead of tables
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Draw how many instances are in each state over time, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Simulates instances and prints what came of it.
///
/// # Errors
///
/// What kept it from being done, for people.
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
    for one in &report.unsimulated {
        output::complain(&format!("warning: {}", text::unsimulated(one)));
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
        return Err("--every is a number of whole seconds, such as `1h` or `90s`".to_owned());
    }
    Ok(span.as_secs())
}

/// What is simulated, as it was written, and where.
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

/// Which shards are still to be simulated.
#[derive(Default)]
struct ShardQueue {
    next: AtomicUsize,
    /// Whether one came to no end, so that the others are not wanted.
    is_over: AtomicBool,
}

impl ShardQueue {
    fn next(&self, all: usize) -> Option<usize> {
        let shard =
            (!self.is_over.load(Ordering::Relaxed)).then(|| self.next.fetch_add(1, Ordering::Relaxed));
        shard.filter(|shard| *shard < all)
    }
}

/// Simulates all shards, each on whatever thread is free.
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
        let broke_down = |_| Err((0, "a thread broke down".to_owned()));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(broke_down)).collect()
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
    // Shards are begun in their order, so the first of those that failed is the same whoever got there first.
    match faults.into_iter().min() {
        Some((_, fault)) => Err(fault.into()),
        None => all.ok_or_else(|| "nothing was simulated".into()),
    }
}

/// What one thread counted, if it had anything to do; or which shard came to no end, and why.
type ThreadResult = Result<Option<SimulationCounts>, (usize, String)>;

/// Simulates shards until there is none left.
fn simulate_on_thread(written: &SimulationInput, size: SimulationSize, shards: &ShardQueue) -> ThreadResult {
    // Definitions of its own: names are counted references, and threads that count the same slow each other down.
    let told = |error: Box<dyn Error>| (0, error.to_string());
    let definitions = written.definitions().map_err(told)?;
    let definitions: Vec<&Definition> = definitions.iter().collect();
    let profile = written.profile(&definitions).map_err(told)?;
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
