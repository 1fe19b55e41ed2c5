//! The checker: looks for exceeded limits and for boards left behind, in what was seen of the return of the power.
//!
//! It knows the limits, and nothing of the scheduler.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::limits::{LimitedFarm, LimitedGroup, MIN_OFF, SETTLE, SwitchOnLimit};
use super::record::{Moment, ReturnRecord, ReturnedBoard};

/// How much longer than the limits demand the ramp may be, in percent.
const MAX_RAMP_PERCENT: i32 = 110;
/// The time from a grant to the switching varies: so much closer than their gap boards may be switched on, however many of
/// them.
const GAP_TOLERANCE: TimeDelta = TimeDelta::seconds(1);
/// What a board has been through, without a step repeated.
const PATH: [&str; 3] = ["RebootRebooting", "RebootComplete", "Ready"];

/// The ramp: from the moment at which the last board was found silent to the last that was switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RampLength {
    /// How long it took.
    pub(super) taken: TimeDelta,
    /// How long it takes at least, by the limits.
    pub(super) least: TimeDelta,
    /// Whose limit that is.
    pub(super) by: String,
    /// Number of boards that were switched on in that time.
    pub(super) boards: usize,
}

/// Lists what does not hold, but for the length of the ramp; `found_within` is how long it may take until each board is found
/// silent.
pub(super) fn check(record: &ReturnRecord, farm: &LimitedFarm, found_within: TimeDelta) -> Vec<String> {
    let mut faults = Vec::new();
    for group in &farm.groups {
        check_group(group, record, &mut faults);
    }
    let mut by_relay: BTreeMap<usize, Vec<&ReturnedBoard>> = BTreeMap::new();
    for board in &record.boards {
        by_relay.entry(board.relay).or_default().push(board);
        check_board(board, &mut faults);
    }
    for (relay, boards) in by_relay {
        check_relay(relay, &boards, &mut faults);
    }
    let found = record.found_at - record.returned_at;
    if found > found_within {
        faults.push(format!("the last board was found silent after {found}, not within {found_within}"));
    }
    faults
}

/// Says what is wrong with the length of the ramp.
pub(super) fn check_ramp(record: &ReturnRecord, farm: &LimitedFarm) -> Option<String> {
    let RampLength { taken, least, by, boards } = ramp(record, farm);
    (taken * 100 > least * MAX_RAMP_PERCENT)
        .then(|| format!("the ramp of {boards} boards took {taken}; {by} allows {least}"))
}

/// The boards of a group with the times at which they were switched on, in order.
fn switch_ons<'a>(group: &LimitedGroup, record: &'a ReturnRecord) -> Vec<(Moment, &'a ReturnedBoard)> {
    let boards = record.boards.iter().filter(|board| group.relays.contains(&board.relay));
    let ons = boards
        .flat_map(|board| board.changes.iter().filter(|(_, is_on)| *is_on).map(move |(at, _)| (*at, board)));
    let mut ons: Vec<_> = ons.collect();
    ons.sort_by_key(|(at, _)| *at);
    ons
}

/// When boards of each group were switched on, in order.
pub(super) fn switch_ons_by_group(record: &ReturnRecord, farm: &LimitedFarm) -> Vec<(String, Vec<Moment>)> {
    let times = |group: &LimitedGroup| switch_ons(group, record).into_iter().map(|(at, _)| at).collect();
    farm.groups.iter().map(|group| (group.name.clone(), times(group))).collect()
}

fn check_group(group: &LimitedGroup, record: &ReturnRecord, faults: &mut Vec<String>) {
    let (name, ons) = (&group.name, switch_ons(group, record));
    match group.limit {
        SwitchOnLimit::Boards { most, window } => {
            for pair in ons.windows(most + 1) {
                let (first, last) = (pair[0].0, pair[most].0);
                if last - first < window {
                    faults.push(format!(
                        "{name}: {} boards on within {}, from {first}",
                        most + 1,
                        last - first
                    ));
                }
            }
        }
        SwitchOnLimit::Budget { ma, window } => {
            for (from, (first, _)) in ons.iter().enumerate() {
                let within = ons[from..].iter().take_while(|(at, _)| *at - *first < window);
                let load: u32 = within.map(|(_, board)| board.load_ma).sum();
                if load > ma {
                    faults.push(format!("{name}: {load} mA within {window}, from {first}"));
                }
            }
        }
        SwitchOnLimit::Gap(gap) => {
            // As if each were switched on a gap earlier than the one before: what is left is the variation.
            let even = (0..).zip(&ons).map(|(number, (at, _))| *at - gap * number);
            let mut latest: Option<Moment> = None;
            for at in even {
                if latest.is_some_and(|latest| latest - at > GAP_TOLERANCE) {
                    faults.push(format!("{name}: boards on closer than {gap}, before {at}"));
                }
                latest = latest.max(Some(at));
            }
        }
    }
}

fn check_relay(relay: usize, boards: &[&ReturnedBoard], faults: &mut Vec<String>) {
    let mut operations: Vec<_> = boards.iter().filter_map(|board| board.operation()).collect();
    operations.sort_unstable();
    for pair in operations.windows(2) {
        let (ended_at, next_at) = (pair[0].1, pair[1].0);
        if next_at - ended_at < SETTLE {
            faults.push(format!("relay board {relay}: operation at {next_at}, another until {ended_at}"));
        }
    }
    for (off_at, on_at) in operations {
        if on_at - off_at < MIN_OFF {
            faults.push(format!("relay board {relay}: off for {} from {off_at}", on_at - off_at));
        }
    }
}

fn check_board(board: &ReturnedBoard, faults: &mut Vec<String>) {
    let ReturnedBoard { name, power_ons, is_running, entered, end: (state, counters), .. } = board;
    let is_repeated = board.was_cycling && (*power_ons, board.changes.len()) == (2, 3);
    // A cycle that goes on where the outlet is off already has nothing to switch off.
    let is_cycle = board.was_cycling || board.operation().is_some();
    if (*power_ons, board.changes.len()) != (1, 1) && !is_repeated || !is_cycle {
        faults.push(format!("{name}: power came {power_ons} times, changes {:?}", board.changes));
    }
    if !is_running || state != "Ready" {
        faults.push(format!("{name}: left behind: {state}, running: {is_running}"));
    }
    if counters.as_object().is_none_or(|counters| !counters.is_empty()) {
        faults.push(format!("{name}: counters {counters}"));
    }
    if *entered != PATH {
        faults.push(format!("{name}: went through {entered:?}"));
    }
}

/// Compares the ramp with the shortest that the limits allow: units are in use from the grant on, so for the off time of a power
/// cycle and the window after it.
pub(super) fn ramp(record: &ReturnRecord, farm: &LimitedFarm) -> RampLength {
    let from = record.found_at;
    let mut longest = (TimeDelta::zero(), String::new());
    for group in &farm.groups {
        let (before, after): (Vec<_>, Vec<_>) =
            switch_ons(group, record).into_iter().partition(|(at, _)| *at <= from);
        let mut times: Vec<Moment> = before.iter().map(|(at, _)| *at).collect();
        let end = match group.limit {
            SwitchOnLimit::Boards { most, window } => {
                extend(&mut times, from, after.len(), most, MIN_OFF + window)
            }
            SwitchOnLimit::Gap(gap) => extend(&mut times, from, after.len(), 1, gap),
            SwitchOnLimit::Budget { ma, window } => {
                let load: u32 = after.iter().map(|(_, board)| board.load_ma).sum();
                from + (MIN_OFF + window) * i32::try_from(load.div_ceil(ma).saturating_sub(1)).unwrap()
            }
        };
        longest = longest.max((end - from, group.name.clone()));
    }
    let boards =
        record.boards.iter().filter(|board| board.switched_on_at().is_some_and(|at| at > from)).count();
    RampLength { taken: record.ended_at() - from, least: longest.0, by: longest.1, boards }
}

/// The time of the last of `more` that follow `times` from `from` on, `most` within any `window`.
fn extend(times: &mut Vec<Moment>, from: Moment, more: usize, most: usize, window: TimeDelta) -> Moment {
    for _ in 0..more {
        let earlier = times.len().checked_sub(most).map(|index| times[index] + window);
        times.push(earlier.unwrap_or(from).max(from));
    }
    times.last().copied().unwrap_or(from).max(from)
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
