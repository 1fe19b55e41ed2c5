//! What came of a simulation, summed up. Times are in seconds, shares from 0 to 1.

use serde::Serialize;

use super::simulation::{DAY_MS, Gap, Simulation, Stage};
use super::spans::Spans;
use super::tally::{Reason, Tally};
use machine::Kind;
use machine::{EventName, StateName};

/// What came of a simulation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The machine.
    pub machine: String,
    /// How many boards there were.
    pub boards: u64,
    /// How many relay boards they hang on.
    pub relay_boards: u64,
    /// How many circuits those hang on.
    pub circuits: u64,
    /// How many days passed.
    pub days: u32,
    /// Where chance began.
    pub seed: u64,
    /// How often the kernel decided.
    pub decisions: u64,
    /// How much of the time boards were available.
    pub availability: Availability,
    /// Each state that was ever entered, in the order of the definition's names.
    pub states: Vec<StateShare>,
    /// From what began it to an available state: all together first.
    pub ready: Vec<Way>,
    /// What relay boards did.
    pub power: Power,
    /// How boards waited for relay boards.
    pub queues: Queues,
    /// The failed states that were entered.
    pub failed: Vec<Failures>,
    /// What broke and what went dark.
    pub troubles: Troubles,
    /// What boards and operators sent and what changed nothing.
    pub ignored: Vec<Ignored>,
    /// How many boards were in each state over time.
    pub series: Series,
}

/// How much of the time boards were available.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Availability {
    /// The states that count.
    pub states: Vec<StateName>,
    /// The share of all boards' time that they were in one of them.
    pub share: f64,
}

/// How much a state was in use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateShare {
    /// The state.
    pub state: StateName,
    /// What being in it means.
    pub kind: Kind,
    /// Whether boards in it count as available.
    pub is_available: bool,
    /// The share of all boards' time that they were in it.
    pub share: f64,
    /// How often it was entered; not counted are those entries that keep the actions and change nothing.
    pub entries: u64,
    /// How many boards were in it in the end.
    pub at_end: u32,
}

/// How long it took to an available state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Way {
    /// What began it: an operator's event, or what led out of an available state; nothing for all together.
    pub after: Option<String>,
    /// How often.
    pub times: u64,
    /// Half took no longer.
    pub p50_s: f64,
    /// Of 100, 95 took no longer.
    pub p95_s: f64,
    /// Of 100, 99 took no longer.
    pub p99_s: f64,
}

/// What relay boards did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Power {
    /// How many operations in all.
    pub operations: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many in a day.
    pub a_day: f64,
    /// How many a relay board did in a day, in the mean.
    pub a_relay_board_and_day: f64,
    /// How many the busiest relay board did in a day.
    pub busiest_a_day: f64,
    /// The share of the time that relay boards' places were held, in the mean.
    pub held: f64,
    /// That of the relay board that was held longest.
    pub longest_held: f64,
}

/// How boards waited for relay boards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Queues {
    /// The most boards that waited at one relay board.
    pub longest: u64,
    /// Which relay board that was, from 1.
    pub relay_board: u64,
    /// When that was.
    pub at_s: f64,
    /// How often a board waited for its turn, for no time mostly.
    pub turns: u64,
    /// Half waited no longer.
    pub p50_s: f64,
    /// Of 100, 99 waited no longer.
    pub p99_s: f64,
    /// The longest wait.
    pub most_s: f64,
}

/// A failed state that was entered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failures {
    /// The state.
    pub state: StateName,
    /// How often.
    pub entries: u64,
    /// How many boards were in it in the end.
    pub at_end: u32,
    /// After how long, from what began it: half of them had failed by then.
    pub p50_s: f64,
    /// The longest.
    pub most_s: f64,
}

/// What broke and what went dark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Troubles {
    /// How many sound boards got broken.
    pub broken: u64,
    /// How many broken boards were repaired.
    pub mended: u64,
    /// How many outages there were anywhere.
    pub outages: u64,
}

/// An event that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// The event.
    pub event: EventName,
    /// How often.
    pub times: u64,
}

/// How many boards were in each state over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Series {
    /// The time between samples, of which the first is at the beginning.
    pub every_s: u64,
    /// The states that any sample found boards in.
    pub states: Vec<StateName>,
    /// For each sample, how many boards there were in each of these states.
    pub boards: Vec<Vec<u32>>,
}

impl Report {
    pub(super) fn new(simulation: &Simulation<'_>, tally: &Tally) -> Self {
        let layout = simulation.profile.layout;
        let relay_boards = simulation.boards().div_ceil(layout.boards_per_relay_board) as u64;
        let end_ms = simulation.end_ms();
        let before_end = |gap: &&Gap| gap.begins_ms <= end_ms;
        Self {
            machine: simulation.definition.machine.to_string(),
            boards: u64::from(simulation.size.boards),
            relay_boards,
            circuits: simulation.circuits() as u64,
            days: simulation.size.days,
            seed: simulation.size.seed,
            decisions: tally.decisions,
            availability: availability(simulation, tally),
            states: states(simulation, tally),
            ready: ways(simulation, tally),
            power: power(tally, relay_boards, end_ms),
            queues: queues(tally),
            failed: failures(simulation, tally),
            troubles: Troubles {
                broken: tally.broken,
                mended: tally.mended,
                outages: simulation.outages.iter().filter(before_end).count() as u64,
            },
            ignored: ignored(simulation, tally),
            series: series(simulation, tally),
        }
    }
}

fn availability(simulation: &Simulation<'_>, tally: &Tally) -> Availability {
    let available = || simulation.states.iter().enumerate().filter(|(_, stage)| stage.is_available);
    let time_ms: u64 = available().filter_map(|(index, _)| tally.time_in_ms.get(index)).sum();
    Availability {
        states: available().map(|(_, stage)| stage.name.clone()).collect(),
        share: ratio(time_ms, total_ms(simulation)),
    }
}

fn total_ms(simulation: &Simulation<'_>) -> u64 {
    u64::from(simulation.size.boards) * simulation.end_ms()
}

fn at_end(tally: &Tally, state: usize) -> u32 {
    tally.series.last().and_then(|last| last.get(state)).copied().unwrap_or(0)
}

fn states(simulation: &Simulation<'_>, tally: &Tally) -> Vec<StateShare> {
    let total_ms = total_ms(simulation);
    let share = |(index, stage): (usize, &Stage<'_>)| StateShare {
        state: stage.name.clone(),
        kind: stage.kind,
        is_available: stage.is_available,
        share: ratio(tally.time_in_ms[index], total_ms),
        entries: tally.entries[index],
        at_end: at_end(tally, index),
    };
    let shares = simulation.states.iter().enumerate().map(share);
    shares.filter(|state| state.entries > 0).collect()
}

fn ways(simulation: &Simulation<'_>, tally: &Tally) -> Vec<Way> {
    let way = |after: Option<String>, spans: &Spans| Way {
        after,
        times: spans.count(),
        p50_s: seconds(spans.percentile(50)),
        p95_s: seconds(spans.percentile(95)),
        p99_s: seconds(spans.percentile(99)),
    };
    let mut all = Spans::default();
    tally.ready.values().for_each(|spans| all.merge(spans));
    let each = tally.ready.iter().map(|(reason, spans)| way(Some(told(simulation, *reason)), spans));
    std::iter::once(way(None, &all)).chain(each).collect()
}

/// A reason in words.
fn told(simulation: &Simulation<'_>, reason: Reason) -> String {
    match reason {
        Reason::Event(event) => {
            simulation.definition.events.keys().nth(event).map(ToString::to_string).unwrap_or_default()
        }
        Reason::Deadline => "a deadline".to_owned(),
        Reason::Created => "the beginning".to_owned(),
    }
}

fn power(tally: &Tally, relay_boards: u64, end_ms: u64) -> Power {
    let days = ratio(end_ms, DAY_MS);
    let a_day = ratio(tally.operations, 1) / days;
    Power {
        operations: tally.operations,
        failed: tally.operations_failed,
        a_day,
        a_relay_board_and_day: a_day / ratio(relay_boards, 1),
        busiest_a_day: ratio(tally.most_operations, 1) / days,
        held: ratio(tally.held_ms, end_ms * relay_boards),
        longest_held: ratio(tally.longest_held_ms, end_ms),
    }
}

fn queues(tally: &Tally) -> Queues {
    Queues {
        longest: tally.longest_queue.boards as u64,
        relay_board: tally.longest_queue.relay_board as u64 + 1,
        at_s: seconds(Some(tally.longest_queue.at_ms)),
        turns: tally.waited.count(),
        p50_s: seconds(tally.waited.percentile(50)),
        p99_s: seconds(tally.waited.percentile(99)),
        most_s: seconds(tally.waited.longest()),
    }
}

fn failures(simulation: &Simulation<'_>, tally: &Tally) -> Vec<Failures> {
    let failures = |(index, stage): (usize, &Stage<'_>)| {
        let spans = &tally.failed[index];
        (stage.kind == Kind::Failed && tally.entries[index] > 0).then(|| Failures {
            state: stage.name.clone(),
            entries: tally.entries[index],
            at_end: at_end(tally, index),
            p50_s: seconds(spans.percentile(50)),
            most_s: seconds(spans.longest()),
        })
    };
    simulation.states.iter().enumerate().filter_map(failures).collect()
}

fn ignored(simulation: &Simulation<'_>, tally: &Tally) -> Vec<Ignored> {
    let events: Vec<&EventName> = simulation.definition.events.keys().collect();
    let ignored = tally.ignored.iter().filter_map(|(event, times)| {
        events.get(*event).map(|event| Ignored { event: (*event).clone(), times: *times })
    });
    ignored.collect()
}

fn series(simulation: &Simulation<'_>, tally: &Tally) -> Series {
    let is_seen =
        |state: &usize| tally.series.iter().any(|row| row.get(*state).is_some_and(|boards| *boards > 0));
    let seen: Vec<usize> = (0..simulation.states.len()).filter(is_seen).collect();
    Series {
        every_s: simulation.every_ms / 1000,
        states: seen.iter().map(|state| simulation.states[*state].name.clone()).collect(),
        boards: tally.series.iter().map(|row| seen.iter().map(|state| row[*state]).collect()).collect(),
    }
}

fn seconds(span_ms: Option<u64>) -> f64 {
    ratio(span_ms.unwrap_or(0), 1000)
}

/// `part` of `whole`; nothing of nothing is nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "shares and figures for people have far fewer digits than 2^52"
    )]
    let (part, whole) = (part as f64, whole as f64);
    if whole > 0.0 { part / whole } else { 0.0 }
}
