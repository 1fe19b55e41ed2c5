//! A farm that is prepared to be simulated.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use random::Random;

use super::error::{MAX_BOARD_DAYS, MAX_SAMPLES, SimulateError};
use super::profile::{Names, OperatorRequest, Profile, When};
use super::size::Size;
use machine::Cause;
use machine::Links;
use machine::Site;
use machine::reads_facts;
use machine::{ActionName, EventName, StateName};
use machine::{Definition, Invoke, Kind};

/// When virtual time begins, in seconds since 1970: 2026-01-01 00:00 UTC. Only an absolute time limit can tell.
const BEGINNING: i64 = 1_767_225_600;
/// No more outages than this.
const MAX_OUTAGES: usize = 100_000;
/// Streams of chance from here on are not those of boards.
const OUTAGES: u64 = 1 << 40;

pub(super) const DAY_MS: u64 = 86_400_000;

/// A farm to simulate.
#[derive(Debug)]
pub struct Simulation<'a> {
    pub(super) definition: &'a Definition,
    pub(super) profile: &'a Profile,
    pub(super) size: Size,
    pub(super) states: Vec<Stage<'a>>,
    pub(super) actions: Vec<Outcomes>,
    /// The number of each event, by which it is counted.
    pub(super) events: BTreeMap<&'a EventName, usize>,
    pub(super) outages: Vec<Gap>,
    pub(super) every_ms: u64,
    pub(super) beginning: DateTime<Utc>,
    /// Whether any state that is entered may look at facts.
    pub(super) reads_facts: bool,
}

/// A state, and what is to be known of it at every step.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) name: &'a StateName,
    pub(super) kind: Kind,
    pub(super) is_available: bool,
    pub(super) steps: Vec<Step>,
    /// What operators may ask for in it, by number.
    pub(super) requests: Vec<usize>,
}

/// An action of a state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Its number.
    pub(super) action: usize,
    pub(super) limit_ms: Option<u64>,
    /// Whether it holds the relay board: it needs it, or a later action of the state does.
    pub(super) holds_place: bool,
}

/// What an action ends in.
#[derive(Debug)]
pub(super) struct Outcomes {
    pub(super) ok: Option<EventName>,
    pub(super) failed: Option<EventName>,
}

/// One outage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) begins_ms: u64,
    pub(super) ends_ms: u64,
    pub(super) share: f64,
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
        let outcomes = |action: &ActionName| Outcomes {
            ok: outcome(action.as_str(), "ok"),
            failed: outcome(action.as_str(), "failed"),
        };
        let beginning = DateTime::from_timestamp(BEGINNING, 0).unwrap_or(DateTime::UNIX_EPOCH);
        let born = Cause::Created { links: Links::new() };
        Ok(Self {
            states: (0..names.states.len()).map(|index| stage(&names, profile, index)).collect(),
            actions: profile.actions.iter().map(outcomes).collect(),
            events: definition.events.keys().enumerate().map(|(index, name)| (name, index)).collect(),
            outages: gaps(profile, seed, u64::from(days) * DAY_MS),
            every_ms: every_s.saturating_mul(1000),
            reads_facts: reads_facts(definition, &definition.initial, &born),
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

    pub(super) fn boards(&self) -> usize {
        usize::try_from(self.size.boards).unwrap_or(usize::MAX)
    }

    pub(super) fn boards_per_circuit(&self) -> usize {
        let layout = self.profile.layout;
        layout.boards_per_relay_board * layout.relay_boards_per_circuit
    }

    pub(super) fn end_ms(&self) -> u64 {
        u64::from(self.size.days) * DAY_MS
    }

    pub(super) fn samples(&self) -> usize {
        usize::try_from(self.end_ms() / self.every_ms + 1).unwrap_or(usize::MAX)
    }

    /// A time of the virtual world.
    pub(super) fn at(&self, at_ms: u64) -> DateTime<Utc> {
        let since = i64::try_from(at_ms).ok().and_then(TimeDelta::try_milliseconds);
        since.and_then(|since| self.beginning.checked_add_signed(since)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The first millisecond that is not before `at`.
    pub(super) fn since_beginning(&self, at: DateTime<Utc>) -> u64 {
        let whole = at.timestamp_millis();
        let rest = i64::from(!at.timestamp_subsec_nanos().is_multiple_of(1_000_000));
        u64::try_from(whole + rest - self.beginning.timestamp_millis()).unwrap_or(0)
    }

    pub(super) fn state(&self, name: &StateName) -> usize {
        self.states.binary_search_by(|stage| stage.name.cmp(name)).unwrap_or(0)
    }
}

fn stage<'a>(names: &Names<'a>, profile: &Profile, index: usize) -> Stage<'a> {
    let name = names.states[index];
    let state = names.definition.states.get(name);
    let invoke = state.map_or(&[][..], |state| &state.invoke);
    let sound = profile.classes.first();
    let mut is_needed = false;
    let step = |invoke: &Invoke| {
        let action = profile.actions.binary_search(&invoke.action).unwrap_or(0);
        let simulated = sound.and_then(|class| class.actions.get(action));
        is_needed |= simulated.is_some_and(|action| action.at == Site::RelayBoard);
        let limit_ms = invoke.limit.and_then(|limit| u64::try_from(limit.as_millis()).ok());
        Step { action, limit_ms, holds_place: is_needed }
    };
    let mut steps: Vec<Step> = invoke.iter().rev().map(step).collect();
    steps.reverse();
    let is_here = |request: &(usize, &OperatorRequest)| request.1.states.contains(&index);
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
