//! Checks of history against hardware.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use lifeguard::farm::SimulatedFarm;
use lifeguard::machine::{Cause, EventSource};
use lifeguard::store::Store;
use lifeguard::store::history::{self, HistoryContent, HistoryEntry};

use crate::replay::boards;

/// Observations of a board and its relay.
pub(super) struct Hardware {
    name: String,
    /// Number of acknowledged reports.
    reports: u64,
    /// When its power was switched on.
    cycles: Vec<DateTime<Utc>>,
}

impl Hardware {
    pub(super) fn of(farm: &SimulatedFarm) -> Vec<Self> {
        let boards = farm.boards().enumerate();
        let read = |(index, board): (usize, &lifeguard::farm::SimulatedBoard)| {
            let registration = board.registration();
            let is_inverted = registration.power_url.contains("invert=true");
            let coil = u16::try_from(index % 8).unwrap();
            let operations = farm.relay(index / 8).unwrap().coil_changes().into_iter();
            let cycles =
                operations.filter(|done| done.coil == coil && done.is_on != is_inverted).map(|done| done.at);
            Self {
                name: registration.name.clone(),
                reports: board.status().accepted_reports,
                cycles: cycles.collect(),
            }
        };
        boards.map(read).collect()
    }
}

/// All boards' histories, the oldest first.
pub(super) async fn read(store: &Store) -> BTreeMap<String, Vec<HistoryEntry>> {
    let boards = boards(store).await;
    let mut db = store.reader().await.unwrap();
    let mut histories = BTreeMap::new();
    for board in boards {
        let entries = history::list_all(&mut db, board.id).await.unwrap();
        histories.insert(board.instance.name, entries);
    }
    histories
}

fn is_from_board(entry: &HistoryEntry) -> bool {
    matches!(&entry.content, HistoryContent::Stimulus(stimulus)
        if matches!(&stimulus.cause, Cause::Event { source: EventSource::Face(_), .. }))
}

/// Checks that each report answered with 2xx is in history.
pub(super) fn assert_all_acknowledged_is_there(
    boards: &BTreeMap<String, Vec<HistoryEntry>>,
    hardware: &[Hardware],
) {
    for board in hardware {
        let written = boards[&board.name].iter().filter(|entry| is_from_board(entry)).count() as u64;
        assert!(board.reports > 0, "{} never reported", board.name);
        assert!(
            written >= board.reports,
            "{}: {} reports acknowledged, {written} written",
            board.name,
            board.reports
        );
    }
}

/// The largest difference between the clocks of two processes: hardware uses the test's clock, history those of
/// servers, which know each other's to a quarter of a second.
const SKEW: TimeDelta = TimeDelta::milliseconds(300);

/// A visit in which power is cycled.
#[derive(Debug)]
struct PowerVisit {
    began: DateTime<Utc>,
    ended: DateTime<Utc>,
    /// Whether its deadline fired: on a busy machine a cycle may fail, and the next visit retries.
    is_repeated: bool,
}

impl PowerVisit {
    fn covers(&self, at: DateTime<Utc>) -> bool {
        self.began <= at && at <= self.ended
    }

    /// The same within the difference of clocks.
    fn may_cover(&self, at: DateTime<Utc>) -> bool {
        self.began - at <= SKEW && at - self.ended <= SKEW
    }
}

fn power_visits(entries: &[HistoryEntry]) -> Vec<PowerVisit> {
    let moves: Vec<&HistoryEntry> = entries.iter().filter(|entry| entry.outcome == "moved").collect();
    let nexts = moves.iter().skip(1).map(Some).chain([None]);
    moves
        .iter()
        .zip(nexts)
        .filter(|(entry, _)| entry.to.as_str().ends_with("Rebooting"))
        .map(|(entry, next)| PowerVisit {
            began: entry.at,
            ended: next.map_or(DateTime::<Utc>::MAX_UTC, |next| next.at),
            is_repeated: next.is_some_and(|next| next.to == entry.to),
        })
        .collect()
}

/// Checks that no power was cycled outside the visit that requested it.
pub(super) fn assert_power_was_cycled_only_for_the_visit_that_asked(
    boards: &BTreeMap<String, Vec<HistoryEntry>>,
    hardware: &[Hardware],
) {
    for board in hardware {
        let visits = power_visits(&boards[&board.name]);
        assert!(!board.cycles.is_empty(), "{}'s power was never cycled", board.name);
        for cycle in &board.cycles {
            let is_asked_for = visits.iter().any(|visit| visit.may_cover(*cycle));
            assert!(
                is_asked_for,
                "{}: power was cycled at {cycle}, but the visits were {visits:?}",
                board.name
            );
        }
    }
}

/// Checks that power was cycled once for each visit that moved on, except during a killed server's visit.
pub(super) fn assert_power_was_cycled_once_a_visit(
    boards: &BTreeMap<String, Vec<HistoryEntry>>,
    hardware: &[Hardware],
    killed_at: DateTime<Utc>,
) {
    for board in hardware {
        for visit in power_visits(&boards[&board.name]) {
            let cycles = board.cycles.iter().filter(|cycle| visit.covers(**cycle)).count();
            let is_at_its_edge = || board.cycles.iter().any(|cycle| visit.may_cover(*cycle));
            assert!(
                cycles == 1
                    || (cycles == 0 && (visit.is_repeated || is_at_its_edge()))
                    || (cycles == 2 && visit.covers(killed_at)),
                "{}: {cycles} power cycles in one visit: {visit:?}",
                board.name
            );
        }
    }
}

/// Checks that no visit is entered twice or after a later one.
pub(super) fn assert_no_visit_is_twice(boards: &BTreeMap<String, Vec<HistoryEntry>>) {
    for (name, entries) in boards {
        let visits: Vec<i64> =
            entries.iter().filter(|entry| entry.outcome == "moved").map(|entry| entry.visit.0).collect();
        assert!(visits.is_sorted_by(|earlier, later| earlier < later), "{name}: {visits:?}");
    }
}
