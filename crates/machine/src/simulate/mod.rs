//! A farm under virtual time: the kernel decides as it does for real boards, everything around it is played.
//!
//! ```text
//! profile ─► Simulation ─► circuit 0, circuit 1, … ─► Tally ─► Report
//!                            │ boards: report, get broken
//!                            │ relay boards: one operation at a time
//!                            │ operators: ask, repair
//!                            └ power: goes and comes back
//! ```
//!
//! Boards share nothing but their relay board, and relay boards nothing but their circuit, so a farm is simulated a
//! circuit at a time, on as many threads as the caller likes. Chance comes from one seed, a stream for each board: the
//! same seed gives the same farm, to the last event, however many threads there are.
//!
//! Actions are carried out by the engine's rules: those of a visit one after the other; the first waits for the place
//! that a later one needs; a state's time runs from the first one's beginning; leaving the state cancels what is left,
//! but a power operation that has begun is brought to its end.
//!
//! Models are not asked, so that a condition with a `predict` never holds.

mod action;
mod board;
mod circuit;
mod distribution;
mod profile;
mod queue;
mod relay;
mod report;
mod spans;
mod tally;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::definition::{Definition, Kind};
use super::names::{EventName, StateName};
use circuit::Circuit;
use profile::{Names, When};
use random::Random;
use tally::Tally;

pub use action::{SimulatedAction, Site};
pub use distribution::Distribution;
pub use profile::Profile;
pub use report::{Availability, Failures, Ignored, Power, Queues, Report, Series, StateShare, Troubles, Way};

/// When virtual time begins, in seconds since 1970: 2026-01-01 00:00 UTC. Only an absolute time limit can tell.
const BEGINNING: i64 = 1_767_225_600;
/// No more board-days than this: ten thousand boards for three years, or a million for ten days.
const MAX_BOARD_DAYS: u64 = 12_000_000;
/// No more samples than this.
const MAX_SAMPLES: u64 = 100_000;
/// No more outages than this.
const MAX_OUTAGES: usize = 100_000;
/// Streams of chance from here on are not those of boards.
const OUTAGES: u64 = 1 << 40;

pub(super) const DAY_MS: u64 = 86_400_000;

/// How large a farm is simulated, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// How many boards, from 1.
    pub boards: u32,
    /// For how many days, from 1.
    pub days: u32,
    /// Where chance begins.
    pub seed: u64,
    /// How often the boards in each state are counted for the time series; by default about two hundred times.
    pub every_s: Option<u64>,
}

/// Says why a farm cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// There is nothing to simulate.
    #[error("a simulation has at least one board and one day")]
    Nothing,
    /// It would take more memory and time than anybody has.
    #[error("{boards} boards for {days} days are {} board-days; at most {MAX_BOARD_DAYS} are simulated", u64::from(*boards) * u64::from(*days))]
    TooLarge {
        /// How many boards.
        boards: u32,
        /// For how many days.
        days: u32,
    },
    /// The samples would be too many, or none.
    #[error(
        "a sample every {every_s} s makes no time series of {days} days: one has 1 to {MAX_SAMPLES} samples"
    )]
    Samples {
        /// The time between samples.
        every_s: u64,
        /// For how many days.
        days: u32,
    },
    /// A board does not come to rest: time hardly passes between what happens to it.
    #[error(
        "board {board} does not come to rest: in state {state}, {hours} h after the beginning, it had more than \
         {} events within an hour; look at the spans in this state's time limit, `on` and profile",
        circuit::MAX_DECISIONS_AN_HOUR
    )]
    Storm {
        /// The board's number, from 1.
        board: u64,
        /// The state that it is in.
        state: StateName,
        /// When that was.
        hours: u64,
    },
}

/// A farm to simulate.
#[derive(Debug)]
pub struct Simulation<'a> {
    definition: &'a Definition,
    profile: &'a Profile,
    size: Size,
    states: Vec<Stage<'a>>,
    actions: Vec<Outcomes>,
    /// The number of each event, by which it is counted.
    events: BTreeMap<&'a EventName, usize>,
    outages: Vec<Gap>,
    every_ms: u64,
    beginning: DateTime<Utc>,
    /// Whether any state that is entered may look at facts.
    reads_facts: bool,
}

/// A state, and what is to be known of it at every step.
#[derive(Debug)]
struct Stage<'a> {
    name: &'a StateName,
    kind: Kind,
    is_available: bool,
    steps: Vec<Step>,
    /// What operators may ask for in it, by number.
    requests: Vec<usize>,
}

/// An action of a state.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Its number.
    action: usize,
    limit_ms: Option<u64>,
    /// Whether it holds the relay board: it needs it, or a later action of the state does.
    holds_place: bool,
}

/// What an action ends in.
#[derive(Debug)]
struct Outcomes {
    ok: Option<EventName>,
    failed: Option<EventName>,
}

/// One outage.
#[derive(Debug, Clone, Copy)]
struct Gap {
    begins_ms: u64,
    ends_ms: u64,
    share: f64,
}

/// What was counted in a part of a farm, or in all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted(Tally);

impl Counted {
    /// Adds what was counted in another part. In which order does not matter.
    pub fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }
}

impl<'a> Simulation<'a> {
    /// Prepares a farm of instances of `definition` that behave as `profile`, which was read for it, says.
    ///
    /// # Errors
    ///
    /// [`SimulateError`], except [`SimulateError::Storm`], when the size is none that can be simulated.
    pub fn new(definition: &'a Definition, profile: &'a Profile, size: Size) -> Result<Self, SimulateError> {
        let Size { boards, days, seed, every_s } = size;
        if boards == 0 || days == 0 {
            return Err(SimulateError::Nothing);
        }
        if u64::from(boards) * u64::from(days) > MAX_BOARD_DAYS {
            return Err(SimulateError::TooLarge { boards, days });
        }
        let end_s = u64::from(days) * DAY_MS / 1000;
        let every_s = every_s.unwrap_or_else(|| usual_step_s(end_s));
        if every_s == 0 || every_s > end_s || end_s / every_s > MAX_SAMPLES {
            return Err(SimulateError::Samples { every_s, days });
        }
        let names = Names::new(definition);
        let outcome = |action: &str, suffix: &str| EventName::new(&format!("{action}-{suffix}")).ok();
        let outcomes = |action: &super::names::ActionName| Outcomes {
            ok: outcome(action.as_str(), "ok"),
            failed: outcome(action.as_str(), "failed"),
        };
        let beginning = DateTime::from_timestamp(BEGINNING, 0).unwrap_or(DateTime::UNIX_EPOCH);
        let born = super::stimulus::Cause::Created { links: crate::link::Links::new() };
        Ok(Self {
            states: (0..names.states.len()).map(|index| stage(&names, profile, index)).collect(),
            actions: profile.actions.iter().map(outcomes).collect(),
            events: definition.events.keys().enumerate().map(|(index, name)| (name, index)).collect(),
            outages: gaps(profile, seed, u64::from(days) * DAY_MS),
            every_ms: every_s.saturating_mul(1000),
            reads_facts: super::decide::reads_facts(definition, &definition.initial, &born),
            definition,
            profile,
            size,
            beginning,
        })
    }

    /// How many circuits there are, each of which is simulated on its own.
    #[must_use]
    pub fn circuits(&self) -> usize {
        self.boards().div_ceil(self.boards_per_circuit())
    }

    /// Simulates one of the circuits, from beginning to end.
    ///
    /// # Errors
    ///
    /// [`SimulateError::Storm`] when a board does not come to rest.
    pub fn run(&self, circuit: usize) -> Result<Counted, SimulateError> {
        Circuit::new(self, circuit).run().map(Counted)
    }

    /// Sums up what was counted in all circuits.
    #[must_use]
    pub fn report(&self, counted: &Counted) -> Report {
        Report::new(self, &counted.0)
    }

    fn boards(&self) -> usize {
        usize::try_from(self.size.boards).unwrap_or(usize::MAX)
    }

    fn boards_per_circuit(&self) -> usize {
        let layout = self.profile.layout;
        layout.boards_per_relay_board * layout.relay_boards_per_circuit
    }

    fn end_ms(&self) -> u64 {
        u64::from(self.size.days) * DAY_MS
    }

    fn samples(&self) -> usize {
        usize::try_from(self.end_ms() / self.every_ms + 1).unwrap_or(usize::MAX)
    }

    /// A time of the virtual world.
    fn at(&self, at_ms: u64) -> DateTime<Utc> {
        let since = i64::try_from(at_ms).ok().and_then(TimeDelta::try_milliseconds);
        since.and_then(|since| self.beginning.checked_add_signed(since)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The first millisecond that is not before `at`.
    fn since_beginning(&self, at: DateTime<Utc>) -> u64 {
        let whole = at.timestamp_millis();
        let rest = i64::from(!at.timestamp_subsec_nanos().is_multiple_of(1_000_000));
        u64::try_from(whole + rest - self.beginning.timestamp_millis()).unwrap_or(0)
    }

    fn state(&self, name: &StateName) -> usize {
        self.states.binary_search_by(|stage| stage.name.cmp(name)).unwrap_or(0)
    }
}

fn stage<'a>(names: &Names<'a>, profile: &Profile, index: usize) -> Stage<'a> {
    let name = names.states[index];
    let state = names.definition.states.get(name);
    let invoke = state.map_or(&[][..], |state| &state.invoke);
    let sound = profile.classes.first();
    let mut is_needed = false;
    let step = |invoke: &super::definition::Invoke| {
        let action = profile.actions.binary_search(&invoke.action).unwrap_or(0);
        let simulated = sound.and_then(|class| class.actions.get(action));
        is_needed |= simulated.is_some_and(|action| action.at == Site::RelayBoard);
        let limit_ms = invoke.limit.and_then(|limit| u64::try_from(limit.as_millis()).ok());
        Step { action, limit_ms, holds_place: is_needed }
    };
    let mut steps: Vec<Step> = invoke.iter().rev().map(step).collect();
    steps.reverse();
    let is_here = |request: &(usize, &profile::OperatorRequest)| request.1.states.contains(&index);
    Stage {
        name,
        kind: state.map(|state| state.kind).unwrap_or_default(),
        is_available: profile.available.get(index).copied().unwrap_or(false),
        steps,
        requests: profile.requests.iter().enumerate().filter(is_here).map(|(request, _)| request).collect(),
    }
}

/// The outages of a farm, in no order.
fn gaps(profile: &Profile, seed: u64, end_ms: u64) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for (index, outage) in profile.outages.iter().enumerate() {
        let mut random = Random::stream(seed, OUTAGES + index as u64);
        let mut add = |begins_ms: u64, random: &mut Random| {
            let ends_ms = begins_ms.saturating_add(outage.lasts.draw(random).max(1));
            gaps.push(Gap { begins_ms, ends_ms, share: outage.share });
        };
        match outage.when {
            When::At(at_ms) => add(at_ms, &mut random),
            When::Every(every) => {
                let mut at_ms = every.draw(&mut random).max(1);
                for _ in 0..MAX_OUTAGES {
                    if at_ms > end_ms {
                        break;
                    }
                    add(at_ms, &mut random);
                    at_ms = at_ms.saturating_add(every.draw(&mut random).max(1));
                }
            }
        }
    }
    gaps
}

/// A round step that makes about two hundred of `end_s`.
fn usual_step_s(end_s: u64) -> u64 {
    let rounds = [60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000];
    rounds.into_iter().find(|step| end_s / step <= 250).unwrap_or(864_000)
}

#[cfg(test)]
mod tests;
