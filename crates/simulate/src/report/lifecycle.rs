//! The results of one machine.

use serde::Serialize;

use super::numbers::{ratio, seconds};
use crate::simulated_machine::{SimulatedMachine, SimulatedState};
use crate::simulation::Simulation;
use crate::span_histogram::SpanHistogram;
use crate::tally::{MachineTally, UnavailabilityCause};
use machine::StateKind;
use machine::{EventName, StateName};

/// The results of one machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MachineReport {
    /// Name of the machine.
    pub machine: String,
    /// Number of instances.
    pub instances: u64,
    /// Availability of the instances.
    pub availability: Availability,
    /// States that were entered, in the order of the definition.
    pub states: Vec<StateShare>,
    /// Times until instances were available again: of all causes together, then of each.
    pub times_to_available: Vec<TimeToAvailable>,
    /// Failed states that were entered.
    pub failed: Vec<FailedStateReport>,
    /// Events that changed nothing.
    pub ignored: Vec<IgnoredEventReport>,
    /// Number of instances in each state over time.
    pub series: StateSeries,
}

/// How much of the time instances were available.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Availability {
    /// States that count as available.
    pub states: Vec<StateName>,
    /// Share of all instances' time spent in these states.
    pub share: f64,
}

/// Use of a state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateShare {
    /// The state.
    pub state: StateName,
    /// Kind of the state.
    pub kind: StateKind,
    /// Whether instances in it count as available.
    pub is_available: bool,
    /// Share of all instances' time spent in it.
    pub share: f64,
    /// Number of entries, without re-entries that keep the actions and change nothing.
    pub entries: u64,
    /// Number of instances in it at the end.
    pub at_end: u32,
}

/// Times until instances were available again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeToAvailable {
    /// Cause of the unavailability: an operator's event, or what led out of an available state; `None` for all causes.
    pub after: Option<String>,
    /// Number of times.
    pub times: u64,
    /// Median time.
    pub p50_s: f64,
    /// 95th percentile.
    pub p95_s: f64,
    /// 99th percentile.
    pub p99_s: f64,
}

/// A failed state that was entered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailedStateReport {
    /// The state.
    pub state: StateName,
    /// Number of entries.
    pub entries: u64,
    /// Number of instances in it at the end.
    pub at_end: u32,
    /// Median time from the cause of the unavailability to the failure.
    pub p50_s: f64,
    /// Longest time to the failure.
    pub max_s: f64,
}

/// An event that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IgnoredEventReport {
    /// The event.
    pub event: EventName,
    /// Number of times.
    pub times: u64,
}

/// Number of instances in each state over time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StateSeries {
    /// Time between samples; the first is taken at the start.
    pub sample_interval_s: u64,
    /// States that had instances in any sample.
    pub states: Vec<StateName>,
    /// Number of instances in each of these states, sample by sample.
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
            times_to_available: times_to_available(machine, tally),
            failed: failures(machine, tally),
            ignored: ignored(machine, tally),
            series: series(simulation, machine, tally),
        }
    }
}

fn availability(machine: &SimulatedMachine<'_>, tally: &MachineTally, total_ms: u64) -> Availability {
    let available = || machine.states.iter().enumerate().filter(|(_, state)| state.is_available);
    let time_ms: u64 = available().filter_map(|(index, _)| tally.time_in_ms.get(index)).sum();
    Availability {
        states: available().map(|(_, state)| state.name.clone()).collect(),
        share: ratio(time_ms, total_ms),
    }
}

fn at_end(tally: &MachineTally, state: usize) -> u32 {
    tally.series.last().and_then(|last| last.get(state)).copied().unwrap_or(0)
}

fn states(machine: &SimulatedMachine<'_>, tally: &MachineTally, total_ms: u64) -> Vec<StateShare> {
    let share = |(index, state): (usize, &SimulatedState<'_>)| StateShare {
        state: state.name.clone(),
        kind: state.kind,
        is_available: state.is_available,
        share: ratio(tally.time_in_ms[index], total_ms),
        entries: tally.entries[index],
        at_end: at_end(tally, index),
    };
    let shares = machine.states.iter().enumerate().map(share);
    shares.filter(|state| state.entries > 0).collect()
}

fn times_to_available(machine: &SimulatedMachine<'_>, tally: &MachineTally) -> Vec<TimeToAvailable> {
    let time_to_available = |after: Option<String>, spans: &SpanHistogram| TimeToAvailable {
        after,
        times: spans.count(),
        p50_s: seconds(spans.percentile(50)),
        p95_s: seconds(spans.percentile(95)),
        p99_s: seconds(spans.percentile(99)),
    };
    let mut all = SpanHistogram::default();
    tally.times_to_available.values().for_each(|spans| all.merge(spans));
    let each = tally
        .times_to_available
        .iter()
        .map(|(reason, spans)| time_to_available(Some(describe(machine, *reason)), spans));
    std::iter::once(time_to_available(None, &all)).chain(each).collect()
}

/// The text of a cause.
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
    let failures = |(index, state): (usize, &SimulatedState<'_>)| {
        let spans = &tally.failed[index];
        (state.kind == StateKind::Failed && tally.entries[index] > 0).then(|| FailedStateReport {
            state: state.name.clone(),
            entries: tally.entries[index],
            at_end: at_end(tally, index),
            p50_s: seconds(spans.percentile(50)),
            max_s: seconds(spans.longest()),
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
        sample_interval_s: simulation.sample_interval_ms / 1000,
        states: seen.iter().map(|state| machine.states[*state].name.clone()).collect(),
        instances: tally.series.iter().map(|row| seen.iter().map(|state| row[*state]).collect()).collect(),
    }
}
