//! Farms small enough to calculate by hand, and generated definitions.

mod generated;
mod linked;
mod resources;

use serde_json::{Map, Value};

use super::{Profile, Simulation, SimulationCounts, SimulationError, SimulationReport, SimulationSize};
use machine::testing::load_unproved;
use machine::testing::vocabulary;
use machine::{ActionCatalogue, ActionName, Definition, SettingFault, SimulatedAction};

const BOARD: &str = include_str!("../../../../states/board.yaml");
const FARM: &str = include_str!("../../../../fixtures/profiles/board.yaml");
pub(super) const ACTIONS: &[&str] = &["clear-pxe", "poll", "power-cycle", "set-pxe"];

/// The catalogue of these actions.
#[derive(Debug)]
pub(super) struct Actions;

impl ActionCatalogue for Actions {
    fn names(&self) -> Vec<&str> {
        ACTIONS.to_vec()
    }

    fn check_settings(&self, _: &ActionName, _: &Map<String, Value>) -> Vec<SettingFault> {
        Vec::new()
    }

    fn simulate(&self, action: &ActionName) -> SimulatedAction {
        match action.as_str() {
            "power-cycle" => SimulatedAction::of_resource(),
            "poll" => SimulatedAction::of_watch(86400.0),
            _ => SimulatedAction::of_server(),
        }
    }
}

/// A farm without randomness: one request for each new board, 10 s per power cycle, 40 s per boot.
const EXACT: &str = "
available: [Ready]
farm: { boards_per_relay_board: 20, relay_boards_per_circuit: 2 }
actions:
  clear-pxe: { takes: 0s, fails: 0% }
  power-cycle: { takes: 10s, fails: 0%, dark_after: 10s }
  poll: { takes: 24h, fails: 0%, dark_after: 90s }
states:
  RebootComplete: { event: image-running, after: 40s }
operators: [{ in: [New], event: rq-reboot, after: 5s }]
classes: {}
";

fn size(instances: u32, days: u32) -> SimulationSize {
    SimulationSize { instances, days, seed: 7, sample_interval_s: Some(60) }
}

fn definition(text: &str) -> Definition {
    load_unproved(text, &vocabulary(ACTIONS)).unwrap()
}

fn simulate(text: &str, profile: &str, size: SimulationSize) -> Result<SimulationReport, SimulationError> {
    let definition = definition(text);
    let profile = Profile::read(profile, &[&definition], &Actions).unwrap();
    let simulation = Simulation::new(&[&definition], &profile, size)?;
    let mut all = simulation.run(0)?;
    for circuit in 1..simulation.shards() {
        all.merge(&simulation.run(circuit)?);
    }
    Ok(simulation.report(&all))
}

fn board(profile: &str, size: SimulationSize) -> SimulationReport {
    simulate(BOARD, profile, size).unwrap()
}

fn entries(report: &SimulationReport, state: &str) -> u64 {
    report.first.states.iter().find(|share| share.state.as_str() == state).map_or(0, |share| share.entries)
}

/// Number of boards in `state` at `at_s`.
fn present(report: &SimulationReport, state: &str, at_s: usize) -> u32 {
    let column = report.first.series.states.iter().position(|name| name.as_str() == state);
    column.map_or(0, |column| report.first.series.instances[at_s / 60][column])
}

#[track_caller]
fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
}

#[test]
fn one_board_takes_as_long_as_its_parts() {
    let report = board(EXACT, size(1, 1));
    // Requested after 5 s; a power cycle of 10 s and a boot of 40 s.
    let all = &report.first.times_to_available[0];
    assert_eq!((all.times, all.p50_s, all.p99_s), (1, 50.0, 50.0));
    assert_eq!(report.first.times_to_available[1].after.as_deref(), Some("rq-reboot"));
    assert_near(report.first.availability.share, 1.0 - 55.0 / 86_400.0);
    assert_eq!(
        (
            report.power.as_ref().unwrap().operations,
            report.power.as_ref().unwrap().failed,
            report.queues.as_ref().unwrap().longest
        ),
        (1, 0, 0)
    );
    assert_near(report.power.as_ref().unwrap().held_share, 10.0 / 86_400.0);
    assert_eq!(report.first.failed, []);
    // Created, requested, clear-pxe and power-cycle begun and ended, reported, poll begun; then Ready every 300 s.
    let reentries = (86_400 - 55) / 300;
    assert_eq!(report.decisions, 1 + 1 + 3 + 1 + 1 + reentries);
}

#[test]
fn a_wait_for_a_relay_board_uses_neither_the_time_limit_nor_a_counter() {
    let report = board(EXACT, size(20, 1));
    let queues = report.queues.as_ref().unwrap();
    assert_eq!((queues.longest, queues.relay_board, queues.at_s), (19, 1, 5.0));
    assert_eq!((queues.waits, queues.max_s), (20, 190.0));
    // No board tried twice, though the last one waited three times the time limit.
    assert_eq!((entries(&report, "RebootRebooting"), report.power.as_ref().unwrap().operations), (20, 20));
    assert_eq!(
        (report.first.times_to_available[0].times, report.first.times_to_available[0].p99_s),
        (20, 190.0 + 10.0 + 40.0)
    );

    let rests =
        EXACT.replace("relay_boards_per_circuit: 2", "relay_boards_per_circuit: 2, relay_board_rests: 1s");
    assert_near(board(&rests, size(20, 1)).queues.unwrap().max_s, 19.0 * 11.0);
    // Two relay boards of one circuit alternate when their boards may only be switched on every 7 s.
    let gap = EXACT.replace("relay_boards_per_circuit: 2", "relay_boards_per_circuit: 2, power_on_gap: 7s");
    assert_near(board(&gap, size(40, 1)).queues.unwrap().max_s, 39.0 * 7.0);
    assert_near(board(EXACT, size(40, 1)).queues.unwrap().max_s, 190.0);
}

#[test]
fn a_dead_board_fails_after_one_try_more_than_its_limit() {
    let dead = EXACT.replace("{ event: image-running, after: 40s }", "[]");
    let report = board(&dead, size(1, 1));
    let failed = &report.first.failed[0];
    assert_eq!((failed.state.as_str(), failed.entries, failed.at_end), ("FailedRebootComplete", 1, 1));
    assert_near(failed.p50_s, 11.0 * (10.0 + 600.0));
    assert_eq!((entries(&report, "RebootComplete"), report.power.as_ref().unwrap().operations), (11, 11));
    assert_eq!((report.first.times_to_available[0].times, report.first.availability.share), (0, 0.0));
}

#[test]
fn a_power_cycle_that_takes_too_long_is_completed_before_the_next() {
    let slow = EXACT.replace("takes: 0s", "takes: 1s").replace("takes: 10s", "takes: 90s");
    let report = board(&slow, size(1, 1));
    // The time limit of 60 s passes in the middle of each; the next try waits for the 91st second.
    let failed = &report.first.failed[0];
    assert_eq!(
        (failed.state.as_str(), report.power.as_ref().unwrap().operations),
        ("FailedRebootRebooting", 201)
    );
    assert_near(failed.p50_s, 200.0 * 91.0 + 60.0);
}

#[test]
fn a_cancelled_action_releases_its_device() {
    // Clearing the first board's link takes longer than the state lasts: its grant ends with the state.
    let slow = EXACT.replace("clear-pxe: { takes: 0s", "clear-pxe: { takes: 100s");
    let report = board(&slow, size(2, 1));
    assert_near(report.queues.as_ref().unwrap().max_s, 60.0);
    assert_eq!(report.power.as_ref().unwrap().operations, 0);
}

#[test]
fn a_poll_continues_when_its_state_is_re_entered() {
    let crash = EXACT.replace("takes: 24h, fails: 0%", "fails: 100%, fails_after: 1000s");
    let report = board(&crash, size(1, 1));
    let crashed = report
        .first
        .times_to_available
        .iter()
        .find(|time| time.after.as_deref() == Some("poll-failed"))
        .unwrap();
    // Ready at 55 s, silent 1000 s later, Ready again after 50 s.
    assert_eq!((crashed.times, crashed.p50_s), ((86_400 - 55) / 1050, 50.0));

    // A successful poll begins again with the state: at 55 s, and then at every second re-entry, at full seconds.
    let ends = EXACT.replace("takes: 24h", "takes: 400s");
    let report = board(&ends, size(1, 1));
    let reentries = (86_400 - 55) / 300;
    let polls = reentries / 2 + 1;
    assert_eq!(report.decisions, 7 + reentries + 2 * polls - 1);
}

#[test]
fn boards_fail_in_an_outage_and_recover() {
    let dark = format!("{EXACT}outages: [{{ at: 1h, lasts: 10m }}]");
    let report = board(&dark, size(45, 1));
    assert_eq!(report.breakdowns.outages, 1);
    assert_eq!(present(&report, "Ready", 3600), 45);
    assert_eq!(present(&report, "Ready", 3600 + 120), 0);
    assert_eq!(present(&report, "Ready", 86_400), 45);
    // All polls notice after 90 s; power cycles fail until power is back at 10 min.
    let again = report
        .first
        .times_to_available
        .iter()
        .find(|time| time.after.as_deref() == Some("poll-failed"))
        .unwrap();
    assert_eq!(again.times, 45);
    assert!(again.p50_s >= 600.0 - 90.0 && report.power.as_ref().unwrap().failed >= 45, "{again:?}");

    let half = format!("{EXACT}outages: [{{ at: 1h, lasts: 10m, share: 50% }}]");
    let up = present(&board(&half, size(4000, 1)), "Ready", 3600 + 120);
    assert!(up > 1200 && up < 2800 && up.is_multiple_of(40), "whole circuits: {up}");
}

#[test]
fn the_same_seed_gives_the_same_report_in_any_order_of_shards() {
    // What states hold is shared by all circuits.
    let definition = definition(&BOARD.replace("    hold: { imaging: 1 }\n", ""));
    let profile = Profile::read(FARM, &[&definition], &Actions).unwrap();
    let report_of = |seed: u64, order: &dyn Fn(usize) -> Vec<usize>| {
        let size = SimulationSize { instances: 300, days: 4, seed, sample_interval_s: None };
        let simulation = Simulation::new(&[&definition], &profile, size).unwrap();
        let parts: Vec<SimulationCounts> =
            order(simulation.shards()).into_iter().map(|circuit| simulation.run(circuit).unwrap()).collect();
        let mut all = parts[0].clone();
        parts[1..].iter().for_each(|part| all.merge(part));
        serde_json::to_string(&simulation.report(&all)).unwrap()
    };
    let in_order = report_of(3, &|circuits| (0..circuits).collect());
    assert_eq!(in_order, report_of(3, &|circuits| (0..circuits).rev().collect()));
    assert_eq!(
        in_order,
        report_of(3, &|circuits| (0..circuits).step_by(2).chain((1..circuits).step_by(2)).collect())
    );
    assert_ne!(in_order, report_of(4, &|circuits| (0..circuits).collect()));
    let report: Value = serde_json::from_str(&in_order).unwrap();
    let share = report["availability"]["share"].as_f64().unwrap();
    assert!(share > 0.95 && share < 0.999, "{share}");
}

#[test]
fn boards_and_times_add_up() {
    let report = board(FARM, size(300, 3));
    assert!(report.first.series.instances.iter().all(|row| row.iter().sum::<u32>() == 300));
    assert_eq!(report.first.series.instances.len(), 3 * 24 * 60 + 1);
    assert_near(report.first.states.iter().map(|state| state.share).sum(), 1.0);
    assert_eq!(report.first.states.iter().map(|state| state.at_end).sum::<u32>(), 300);
    let (all, each) = report.first.times_to_available.split_first().unwrap();
    assert_eq!(all.times, each.iter().map(|time| time.times).sum::<u64>());
    assert_eq!((report.relay_boards, report.circuits), (Some(22), Some(6)));
}

#[test]
fn an_impossible_size_is_refused() {
    let refused = |size: SimulationSize| simulate(BOARD, EXACT, size).unwrap_err().to_string();
    assert!(refused(size(0, 1)).contains("at least one instance"));
    assert!(refused(size(1, 0)).contains("at least one instance"));
    assert!(refused(size(4_000_000_000, 4_000_000_000)).contains("16000000000000000000 instance-days"));
    assert!(
        refused(SimulationSize { sample_interval_s: Some(0), ..size(1, 1) }).contains("1 to 100000 samples")
    );
    assert!(
        refused(SimulationSize { sample_interval_s: Some(86_401), ..size(1, 1) })
            .contains("is not possible for")
    );
    assert!(
        refused(SimulationSize { sample_interval_s: Some(1), ..size(1, 2) }).contains("is not possible for")
    );
}

#[test]
fn an_event_storm_is_reported() {
    let past =
        "{ machine: m, initial: A, states: { A: { timeout: { at: 2020-01-01T00:00:00, target: A } } } }";
    let error = simulate(past, "", size(3, 1)).unwrap_err().to_string();
    assert!(error.contains("m/m-1 ") && error.contains("state A") && error.contains("0 h"), "{error}");

    let short = past.replace("at: 2020-01-01T00:00:00", "after: 1ns");
    assert!(matches!(simulate(&short, "", size(1, 1)), Err(SimulationError::EventStorm { .. })));

    let cycle = "{ machine: m, initial: A, events: { go: { from: board } },
                    states: { A: { on: { go: B } }, B: { on: { go: A } } } }";
    let at_once = "states: { '*': { event: go, after: 0s } }";
    assert!(matches!(simulate(cycle, at_once, size(1, 1)), Err(SimulationError::EventStorm { .. })));

    // Many tries in no time are no storm: they end.
    let many = "{ machine: m, initial: A, states: {
                    A: { timeout: { after: 1ns, target: A, limit: 15000, exceeded: FailedA } }, FailedA: {} } }";
    let report = simulate(many, "", size(2, 1)).unwrap();
    assert_eq!((report.first.failed[0].entries, entries(&report, "A")), (2, 2 * 15_001));
}
