use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::engine::grants::plan;
use crate::store::actions::ActionId;
use crate::store::claims::Claim;
use crate::store::instances::InstanceId;
use crate::store::queue::{LimitOverrides, ReleasedUnits, ResourceSettings};

/// Boards at relay boards of circuits of one site, which return after a power cut. Time is in milliseconds.
struct Farm {
    states: BTreeMap<String, ResourceState>,
    /// The waiting boards, and the relay board of each.
    queue: Vec<(i64, String)>,
    /// When each power cycle in progress ends.
    cycles: Vec<(i64, String)>,
}

const CYCLE: i64 = 300;
const WINDOW_MS: u64 = 10_000;
const BOARDS_PER_WINDOW: u32 = 16;
const RELAY_BOARDS: usize = 3;
const BOARDS_PER_CIRCUIT: usize = 24;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap()
}

fn state(name: &str, within: Option<&str>, window_ms: u64, limits: LimitOverrides) -> ResourceState {
    let settings = ResourceSettings {
        overrides: limits,
        within: within.map(str::to_owned),
        window_ms,
        ..ResourceSettings::default()
    };
    ResourceState {
        name: name.to_owned(),
        revision: 1,
        settings,
        declared: None,
        granted_at: None,
        released_at: None,
        in_use: 0,
        load_ma: 0,
        cooling: Vec::new(),
    }
}

fn capacity(capacity: u32) -> LimitOverrides {
    LimitOverrides { capacity: Some(capacity), ..LimitOverrides::default() }
}

impl Farm {
    /// Half of the circuits switch many boards on at once, and half of them one by one.
    fn new(circuits: usize) -> Self {
        let mut all = vec![state("site", None, WINDOW_MS, capacity(BOARDS_PER_WINDOW))];
        for circuit in 0..circuits {
            let gap = LimitOverrides { gap_ms: Some(3500), ..LimitOverrides::default() };
            let (window_ms, limits) = if circuit % 2 == 0 { (WINDOW_MS, capacity(6)) } else { (0, gap) };
            let circuit = format!("circuit {circuit}");
            for relay_board in 0..RELAY_BOARDS {
                all.push(state(&format!("{circuit}, {relay_board}"), Some(&circuit), 0, capacity(1)));
            }
            all.push(state(&circuit, Some("site"), window_ms, limits));
        }
        let states = all.into_iter().map(|state| (state.name.clone(), state)).collect();
        Self { states, queue: Vec::new(), cycles: Vec::new() }
    }

    fn add(&mut self, circuit: usize, boards: usize) {
        for board in 0..boards {
            let relay_board = format!("circuit {circuit}, {}", board % RELAY_BOARDS);
            self.queue.push((i64::try_from(self.queue.len()).unwrap() + 1, relay_board));
        }
    }

    /// The first board of each free relay board.
    fn claimants(&self) -> Vec<Claimant> {
        let mut seen: BTreeSet<&String> = self.cycles.iter().map(|(_, relay_board)| relay_board).collect();
        let circuit = |relay_board: &String| self.states[relay_board].settings.within.clone();
        let claimant = |(id, relay_board): &(i64, String)| {
            let beside =
                self.queue.iter().filter(|(_, other)| circuit(other) == circuit(relay_board)).count();
            Claimant {
                id: ActionId(*id),
                instance: InstanceId(*id),
                claims: vec![Claim { adds_load: true, ..Claim::exclusive(relay_board) }],
                has_holds: false,
                waiting_beside: i64::try_from(beside).unwrap(),
            }
        };
        self.queue.iter().filter(|(_, relay_board)| seen.insert(relay_board)).map(claimant).collect()
    }

    /// Changes a relay board and all that contains it.
    fn change(&mut self, relay_board: &str, change: impl Fn(&mut ResourceState)) {
        let mut name = Some(relay_board.to_owned());
        while let Some(state) = name.and_then(|name| self.states.get_mut(&name)) {
            change(state);
            name = state.settings.within.clone();
        }
    }

    /// Looks at the queue every 50 ms until `end`; returns when boards were granted their power cycles, by ID.
    fn run(&mut self, from: i64, end: i64) -> BTreeMap<i64, i64> {
        let mut granted = BTreeMap::new();
        for now in (from..end).step_by(50) {
            let (ended, cycles): (Vec<_>, Vec<_>) = self.cycles.drain(..).partition(|(end, _)| *end <= now);
            self.cycles = cycles;
            for (end, relay_board) in ended {
                self.change(&relay_board, |state| {
                    state.in_use -= 1;
                    state.released_at = Some(at(end));
                    state.cooling.push(ReleasedUnits { units: 1, load_ma: 0, released_at: at(end) });
                });
            }
            let mut claimants = self.claimants();
            let resources = ClaimedResources::of(self.states.values().cloned().collect());
            sort(&mut claimants, &resources, at(now));
            let grants = plan(&claimants, &resources, at(now)).grants;
            let ids: Vec<i64> = grants.iter().map(|grant| claimants[grant.key].id.0).collect();
            for id in ids {
                let index = self.queue.iter().position(|(waiting, _)| *waiting == id).unwrap();
                let (_, relay_board) = self.queue.remove(index);
                self.change(&relay_board, |state| {
                    state.in_use += 1;
                    state.granted_at = Some(at(now));
                });
                self.cycles.push((now + CYCLE, relay_board));
                granted.insert(id, now);
            }
        }
        granted
    }
}

#[test]
fn circuits_that_switch_boards_on_one_by_one_are_not_the_last() {
    let circuits = 8;
    let mut farm = Farm::new(circuits);
    (0..circuits).for_each(|circuit| farm.add(circuit, BOARDS_PER_CIRCUIT));
    let granted = farm.run(0, 300_000);
    assert_eq!(granted.len(), circuits * BOARDS_PER_CIRCUIT);
    let windows = granted.len().div_ceil(BOARDS_PER_WINDOW as usize) - 1;
    let least = i64::try_from(windows).unwrap() * (i64::try_from(WINDOW_MS).unwrap() + CYCLE);
    let last = *granted.values().max().unwrap();
    assert!(last * 10 <= least * 11, "{last} ms, the site allows {least} ms");
}

#[test]
fn a_single_board_of_another_circuit_does_not_wait_for_all_of_the_others() {
    let mut farm = Farm::new(9);
    (0..8).for_each(|circuit| farm.add(circuit, BOARDS_PER_CIRCUIT));
    let before = farm.run(0, 40_000);
    let single = 1000;
    farm.queue.push((single, "circuit 8, 0".to_owned()));
    let granted = farm.run(40_000, 300_000);
    let waited = granted[&single] - 40_000;
    assert!(waited <= i64::try_from(WINDOW_MS).unwrap(), "{waited} ms");
    assert_eq!(before.len() + granted.len(), 8 * BOARDS_PER_CIRCUIT + 1);
}

#[test]
fn the_time_that_a_resource_needs_is_that_of_its_tightest_limit() {
    let gap = LimitOverrides { gap_ms: Some(3000), ..capacity(4) };
    assert_eq!(time_per_claimant(&state("a", None, 10_000, gap), 0), 3000);
    assert_eq!(time_per_claimant(&state("a", None, 20_000, gap), 0), 5000);
    assert_eq!(time_per_claimant(&state("a", None, 0, capacity(4)), 0), 0);
    let mut budget = state("a", None, 10_000, LimitOverrides::default());
    budget.settings.budget_ma = Some(6000);
    assert_eq!(time_per_claimant(&budget, 1500), 2500);
}
