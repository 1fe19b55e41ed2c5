//! Invariants that hold after every event.

use super::super::instance::ActionProgress;
use super::super::{Profile, Simulation, SimulationSize};
use super::*;
use crate::tests::Actions;
use machine::ActionSite;
use machine::load;
use machine::testing::vocabulary;

const BOARD: &str = include_str!("../../../../states/board.yaml");
const FARM: &str = include_str!("../../../../fixtures/profiles/board.yaml");

/// The holder of each device; checks that instances with an operation at a device hold it.
fn holders(shard: &Shard<'_>) -> Vec<Option<usize>> {
    let simulation = shard.simulation;
    let mut holders = vec![None; simulation.devices()];
    for (id, simulated) in shard.instances.iter().enumerate() {
        let operates = match simulated.progress {
            ActionProgress::Runs { step, .. } => {
                let action = shard.state_of(id).steps[step].action;
                simulation.profile.machines[0].classes[simulated.class].actions[action].at
                    == ActionSite::Resource
            }
            ActionProgress::Done | ActionProgress::Blocked | ActionProgress::Waits { .. } => false,
        };
        let is_abandoned = simulated.abandoned.is_some();
        assert!(
            !(operates || is_abandoned) || simulated.holds_device,
            "instance {id} does not hold its device"
        );
        assert!(!(operates && is_abandoned), "instance {id} operates twice");
        if simulated.holds_device {
            assert_eq!(holders[simulated.device].replace(id), None, "two instances at one device");
        }
    }
    holders
}

#[test]
fn a_device_has_one_operation_at_a_time_and_settles_and_a_circuit_keeps_its_gap() {
    let definition = load(BOARD, &vocabulary(crate::tests::ACTIONS)).unwrap();
    // Busy relay boards, time limits that pass during power cycles, and outages.
    let text = FARM
        .replace("boards_per_relay_board: 14", "boards_per_relay_board: 8")
        .replace("median: 3s, p95: 5s", "median: 20s, p95: 100s")
        .replace("power_on_gap: 0s", "power_on_gap: 2s")
        .replace("per_day: 0.5", "per_day: 40")
        .replace("mean: 20d", "mean: 3h");
    let profile = Profile::read(&text, &[&definition], &Actions).unwrap();
    let size = SimulationSize { instances: 32, days: 2, seed: 5, sample_interval_s: None };
    let simulation = Simulation::new(&[&definition], &profile, size).unwrap();
    let mut shard = Shard::new(&simulation, 0);
    shard.begin().unwrap();
    let mut before = holders(&shard);
    let (mut ended_ms, mut begun_ms) = ([None::<u64>; 4], None::<u64>);
    let (mut grants, mut abandoned) = (0, 0);
    while let Some(entry) = shard.queue.next() {
        shard.advance_to(entry.at_ms);
        shard.handle_event(entry).unwrap();
        let now = holders(&shard);
        for (device, (was, is)) in before.iter().zip(&now).enumerate().filter(|(_, (was, is))| was != is) {
            if was.is_some() {
                ended_ms[device] = Some(entry.at_ms);
            }
            if is.is_some() {
                grants += 1;
                let settled = ended_ms[device].is_none_or(|ended_ms| entry.at_ms >= ended_ms + 500);
                let kept_gap = begun_ms.is_none_or(|begun_ms| entry.at_ms >= begun_ms + 2000);
                assert!(settled && kept_gap, "grant {grants}, at device {device}: {settled} {kept_gap}");
                begun_ms = Some(entry.at_ms);
            }
        }
        abandoned += shard.instances.iter().filter(|simulated| simulated.abandoned.is_some()).count();
        before = now;
    }
    assert!(grants > 1000 && abandoned > 100, "{grants} {abandoned}");
    assert!(shard.tally.devices.longest_queue.instances > 2, "{:?}", shard.tally.devices.longest_queue);
}
