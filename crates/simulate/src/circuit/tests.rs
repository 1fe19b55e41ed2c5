//! What must hold after every single thing that happens.

use super::super::board::Work;
use super::super::{Profile, Simulation, Size};
use super::*;
use crate::tests::Actions;
use machine::Site;
use machine::load;
use machine::testing::vocabulary;

const BOARD: &str = include_str!("../../../../states/board.yaml");
const FARM: &str = include_str!("../../../../fixtures/profiles/board.yaml");

/// Which board holds each relay board's place, if any does; a board with a power operation, wanted or abandoned, must.
fn holders(circuit: &Circuit<'_>) -> Vec<Option<usize>> {
    let simulation = circuit.simulation;
    let mut holders = vec![None; circuit.relays.len()];
    for (number, board) in circuit.boards.iter().enumerate() {
        let operates = match board.work {
            Work::Runs { step, .. } => {
                let action = simulation.states[board.state].steps[step].action;
                simulation.profile.classes[board.class].actions[action].at == Site::RelayBoard
            }
            Work::Done | Work::Blocked | Work::Waits { .. } => false,
        };
        let is_abandoned = board.abandoned.is_some();
        assert!(!(operates || is_abandoned) || board.holds_place, "board {number} has no place");
        assert!(!(operates && is_abandoned), "board {number} is switched twice");
        if board.holds_place {
            let relay = number / simulation.profile.layout.boards_per_relay_board;
            assert_eq!(holders[relay].replace(number), None, "two boards at one relay board");
        }
    }
    holders
}

#[test]
fn a_relay_board_has_one_operation_at_a_time_and_rests_and_a_circuit_keeps_its_gap() {
    let definition = load(BOARD, &vocabulary(crate::tests::ACTIONS)).unwrap();
    // Busy relay boards, time limits that pass amid power cycles, and outages.
    let text = FARM
        .replace("boards_per_relay_board: 14", "boards_per_relay_board: 8")
        .replace("median: 3s, p95: 5s", "median: 20s, p95: 100s")
        .replace("power_on_gap: 0s", "power_on_gap: 2s")
        .replace("per_day: 0.5", "per_day: 40")
        .replace("mean: 20d", "mean: 3h");
    let profile = Profile::read(&text, &definition, &Actions).unwrap();
    let size = Size { boards: 32, days: 2, seed: 5, every_s: None };
    let simulation = Simulation::new(&definition, &profile, size).unwrap();
    let mut circuit = Circuit::new(&simulation, 0);
    circuit.plan_outages();
    (0..circuit.boards.len()).for_each(|board| circuit.bear(board).unwrap());
    let mut before = holders(&circuit);
    let (mut ended_ms, mut begun_ms) = ([None::<u64>; 4], None::<u64>);
    let (mut turns, mut abandoned) = (0, 0);
    while let Some(entry) = circuit.queue.next() {
        circuit.now_ms = entry.at_ms;
        circuit.now = simulation.at(entry.at_ms);
        circuit.happen(entry).unwrap();
        let now = holders(&circuit);
        for (relay, (was, is)) in before.iter().zip(&now).enumerate().filter(|(_, (was, is))| was != is) {
            if was.is_some() {
                ended_ms[relay] = Some(entry.at_ms);
            }
            if is.is_some() {
                turns += 1;
                let rested = ended_ms[relay].is_none_or(|ended_ms| entry.at_ms >= ended_ms + 500);
                let kept_gap = begun_ms.is_none_or(|begun_ms| entry.at_ms >= begun_ms + 2000);
                assert!(rested && kept_gap, "turn {turns}, at relay board {relay}: {rested} {kept_gap}");
                begun_ms = Some(entry.at_ms);
            }
        }
        abandoned += circuit.boards.iter().filter(|board| board.abandoned.is_some()).count();
        before = now;
    }
    assert!(turns > 1000 && abandoned > 100, "{turns} {abandoned}");
    assert!(circuit.tally.longest_queue.boards > 2, "{:?}", circuit.tally.longest_queue);
}
