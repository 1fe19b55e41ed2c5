//! What came of the instances of one machine.

use serde::Serialize;

use super::numbers::{ratio, seconds};
use crate::simulated_machine::{SimulatedMachine, SimulatedState};
use crate::simulation::Simulation;
use crate::span_histogram::SpanHistogram;
use crate::tally::{MachineTally, UnavailabilityCause};
use machine::StateKind;
use machine::{EventName, StateName};

/// What came of the instances of one machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MachineReport {
    /// The machine.
    pub machine: String,
    /// How many instances there were.
    pub instances: u64,
    /// How much of the time they were available.
    pub availability: Availability,
    /// Each state that was ever entered, in the order of the definition's names.
    pub states: Vec<StateShare>,
    /// From what began it to an available state: all together first.
    pub ready: Vec<TimeToAvailable>,
    /// The failed states that were entered.
    pub failed: Vec<FailedStateReport>,
    /// What they and operators sent and what changed nothing.
    pub ignored: Vec<IgnoredEventReport>,
    /// How many instances were in each state over time.
    pub series: StateSeries,
}

/// How much of the time instances were available.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Availability {
    /// The states that count.
    pub states: Vec<StateName>,
    /// The share of all instances' time that they were in one of them.
    pub share: f64,
}

/// How much a state was in use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateShare {
    /// The state.
    pub state: StateName,
    /// What being in it means.
    pub kind: StateKind,
    /// Whether instances in it count as available.
    pub is_available: bool,
    /// The share of all instances' time that they were in it.
    pub share: f64,
    /// How often it was entered; not counted are those entries that keep the actions and change nothing.
    pub entries: u64,
    /// How many instances were in it in the end.
    pub at_end: u32,
}

/// How long it took to an available state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeToAvailable {
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

/// A failed state that was entered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailedStateReport {
    /// The state.
    pub state: StateName,
    /// How often.
    pub entries: u64,
    /// How many instances were in it in the end.
    pub at_end: u32,
    /// After how long, from what began it: half of them had failed by then.
    pub p50_s: f64,
    /// The longest.
    pub most_s: f64,
}

/// An event that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IgnoredEventReport {
    /// The event.
    pub event: EventName,
    /// How often.
    pub times: u64,
}

/// How many instances were in each state over time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StateSeries {
    /// The time between samples, of which the first is at the beginning.
    pub every_s: u64,
    /// The states that any sample found instances in.
    pub states: Vec<StateName>,
    /// For each sample, how many instances there were in each of these states.
    pub instances: Vec<Vec<u32>>,
}

impl MachineReport {
    pub(super) fn new(
        simulation: &Simulation<'_>,
        machine: &SimulatedMachine<'_>,
        tally: &MachineTally,
    ) -> Self {
        let total_ms = machine.instances as u64 * simulation.end_ms();
        Self {
            machine: machine.definition.machine.to_string(),
            instances: machine.instances as u64,
            availability: availability(machine, tally, total_ms),
            states: states(machine, tally, total_ms),
            ready: times_to_available(machine, tally),
            failed: failures(machine, tally),
            ignored: ignored(machine, tally),
            series: series(simulation, machine, tally),
        }
    }
}

fn availability(machine: &SimulatedMachine<'_>, tally: &MachineTally, total_ms: u64) -> Availability {
    let available = || machine.states.iter().enumerate().filter(|(_, stage)| stage.is_available);
    let time_ms: u64 = available().filter_map(|(index, _)| tally.time_in_ms.get(index)).sum();
    Availability {
        states: available().map(|(_, stage)| stage.name.clone()).collect(),
        share: ratio(time_ms, total_ms),
    }
}

fn at_end(tally: &MachineTally, state: usize) -> u32 {
    tally.series.last().and_then(|last| last.get(state)).copied().unwrap_or(0)
}

fn states(machine: &SimulatedMachine<'_>, tally: &MachineTally, total_ms: u64) -> Vec<StateShare> {
    let share = |(index, stage): (usize, &SimulatedState<'_>)| StateShare {
        state: stage.name.clone(),
        kind: stage.kind,
        is_available: stage.is_available,
        share: ratio(tally.time_in_ms[index], total_ms),
        entries: tally.entries[index],
        at_end: at_end(tally, index),
    };
    let shares = machine.states.iter().enumerate().map(share);
    shares.filter(|state| state.entries > 0).collect()
}

fn times_to_available(machine: &SimulatedMachine<'_>, tally: &MachineTally) -> Vec<TimeToAvailable> {
    let way = |after: Option<String>, spans: &SpanHistogram| TimeToAvailable {
        after,
        times: spans.count(),
        p50_s: seconds(spans.percentile(50)),
        p95_s: seconds(spans.percentile(95)),
        p99_s: seconds(spans.percentile(99)),
    };
    let mut all = SpanHistogram::default();
    tally.ready.values().for_each(|spans| all.merge(spans));
    let each = tally.ready.iter().map(|(reason, spans)| way(Some(describe(machine, *reason)), spans));
    std::iter::once(way(None, &all)).chain(each).collect()
}

/// A reason in words.
fn describe(machine: &SimulatedMachine<'_>, reason: UnavailabilityCause) -> String {
    match reason {
        UnavailabilityCause::Event(event) => {
            machine.definition.events.keys().nth(event).map(ToString::to_string).unwrap_or_default()
        }
        UnavailabilityCause::Deadline => "a deadline".to_owned(),
        UnavailabilityCause::Created => "the beginning".to_owned(),
    }
}

fn failures(machine: &SimulatedMachine<'_>, tally: &MachineTally) -> Vec<FailedStateReport> {
    let failures = |(index, stage): (usize, &SimulatedState<'_>)| {
        let spans = &tally.failed[index];
        (stage.kind == StateKind::Failed && tally.entries[index] > 0).then(|| FailedStateReport {
            state: stage.name.clone(),
            entries: tally.entries[index],
            at_end: at_end(tally, index),
            p50_s: seconds(spans.percentile(50)),
            most_s: seconds(spans.longest()),
        })
    };
    machine.states.iter().enumerate().filter_map(failures).collect()
}

fn ignored(machine: &SimulatedMachine<'_>, tally: &MachineTally) -> Vec<IgnoredEventReport> {
    let events: Vec<&EventName> = machine.definition.events.keys().collect();
    let ignored = tally.ignored.iter().filter_map(|(event, times)| {
        events.get(*event).map(|event| IgnoredEventReport { event: (*event).clone(), times: *times })
    });
    ignored.collect()
}

fn series(simulation: &Simulation<'_>, machine: &SimulatedMachine<'_>, tally: &MachineTally) -> StateSeries {
    let is_seen = |state: &usize| {
        tally.series.iter().any(|row| row.get(*state).is_some_and(|instances| *instances > 0))
    };
    let seen: Vec<usize> = (0..machine.states.len()).filter(is_seen).collect();
    StateSeries {
        every_s: simulation.sample_interval_ms / 1000,
        states: seen.iter().map(|state| machine.states[*state].name.clone()).collect(),
        instances: tally.series.iter().map(|row| seen.iter().map(|state| row[*state]).collect()).collect(),
    }
}
