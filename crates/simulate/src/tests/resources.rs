//! Held resources: claimed with the first action, released by a state that does not hold them.

use super::{EXACT, SimulationReport, assert_near, board, present, simulate, size};

/// An image is installed in two steps of a minute each, with a limit on concurrent installations.
const INSTALL: &str = "{ machine: m, initial: New, resources: { imaging: {} }, events: { rq-install: { from: operator } }, states: {
    New: { resting: true, about: new, on: { rq-install: Copying } },
    Copying: { about: copying, hold: { imaging: 1 }, invoke: set-pxe,
      timeout: { after: 90s, target: FailedCopying }, on: { set-pxe-ok: Checking, set-pxe-failed: FailedCopying } },
    Checking: { about: checking, hold: { imaging: 1 }, timeout: { after: 60s, target: Done } },
    Done: { resting: true, about: done }, FailedCopying: { about: look at it } } }";
const MINUTE: &str = "actions: { set-pxe: { takes: 60s, fails: 0% } }
operators: [{ in: [New], event: rq-install, after: 0s }]
available: [Done]
classes: {}
";

fn install(resources: &str) -> SimulationReport {
    simulate(INSTALL, &format!("{MINUTE}resources: {resources}"), size(20, 1)).unwrap()
}

/// Time at which the last instance was done.
fn last_done_s(report: &SimulationReport) -> u64 {
    let done = report.first.series.states.iter().position(|state| state.as_str() == "Done").unwrap();
    let rows = &report.first.series.instances;
    60 * rows.iter().position(|row| row[done] == 20).unwrap() as u64
}

#[test]
fn no_more_units_are_held_than_there_are_and_others_wait() {
    let report = install("{ imaging: { capacity: 8 } }");
    // Two minutes each, in three rounds of 8, 8 and 4.
    assert_eq!(last_done_s(&report), 3 * 120);
    let [used] = &report.resources[..] else { panic!("{:?}", report.resources) };
    assert_eq!((used.capacity, used.max_in_use, used.waits, used.longest_queue), (Some(8), 8, 20, 12));
    assert!((used.max_s - 240.0).abs() < 1e-9 && (used.mean_in_use - 20.0 * 120.0 / 86_400.0).abs() < 1e-9);
    // The time limit does not run during the wait.
    assert_eq!(report.first.failed, []);
}

#[test]
fn limits_are_those_of_the_definition_unless_the_profile_sets_them() {
    let declared = INSTALL.replace("imaging: {} }", "imaging: { capacity: 4, gap: 1s } }");
    let report = |resources: &str| {
        simulate(&declared, &format!("{MINUTE}resources: {resources}"), size(20, 1)).unwrap()
    };
    let used =
        |report: SimulationReport| (report.resources[0].capacity, report.resources[0].max_s.to_string());
    // In rounds of two minutes, with a second between two of a round.
    assert_eq!(used(report("{}")), (Some(4), "483".to_owned()));
    assert_eq!(used(report("{ imaging: { capacity: 10 } }")), (Some(10), "129".to_owned()));
    assert_eq!(used(report("{ imaging: { gap: 0s } }")), (Some(4), "480".to_owned()));
}

#[test]
fn unlimited_resources_are_counted() {
    let report = install("{}");
    assert_eq!(last_done_s(&report), 120);
    let used = &report.resources[0];
    assert_eq!((used.capacity, used.max_in_use, used.waits), (None, 20, 0));
}

#[test]
fn a_resource_has_a_gap_and_a_settle_time() {
    let gap = install("{ imaging: { gap: 10s } }");
    assert!((gap.resources[0].max_s - 190.0).abs() < 1e-9 && gap.resources[0].capacity.is_none());
    let settle = install("{ imaging: { capacity: 1, settle: 30s } }");
    assert!((settle.resources[0].max_s - 19.0 * 150.0).abs() < 1e-9);
}

#[test]
fn an_instance_that_needs_both_gets_both_at_once() {
    // Power cycles of a minute at one relay board, while one image is installed at a time.
    let both = INSTALL
        .replace("invoke: set-pxe", "invoke: [set-pxe, power-cycle]")
        .replace("set-pxe-ok: Checking", "power-cycle-ok: Checking, power-cycle-failed: FailedCopying")
        .replace("90s", "130s");
    let profile = format!(
        "{}farm: {{ boards_per_relay_board: 20 }}\nresources: {{ imaging: {{ capacity: 4 }} }}",
        MINUTE.replace("fails: 0% } }", "fails: 0% }, power-cycle: { takes: 60s, fails: 0% } }")
    );
    let report = simulate(&both, &profile, size(20, 1)).unwrap();
    // One at the relay board at a time, two minutes each; the last minute of each is without it.
    assert_eq!(last_done_s(&report), 20 * 120 + 60);
    assert_eq!(report.resources[0].max_in_use, 2);
    assert_eq!(report.queues.unwrap().longest, 19);
}

/// Boards with a relay board each, ten on a circuit, 1.5 A each.
fn limited_farm(limits: &str) -> String {
    let farm = format!(
        "farm: {{ boards_per_relay_board: 1, relay_boards_per_circuit: 10, board_load: 1500mA, {limits} }}"
    );
    EXACT.replace("farm: { boards_per_relay_board: 20, relay_boards_per_circuit: 2 }", &farm)
}

#[test]
fn boards_are_switched_on_within_the_windows_and_budgets_of_circuits_and_the_site() {
    let longest_wait = |limits: &str| board(&limited_farm(limits), size(20, 1)).queues.unwrap().max_s;
    // A power cycle takes 10 s.
    assert_near(longest_wait("circuit: { capacity: 2 }"), 4.0 * 10.0);
    assert_near(longest_wait("circuit: { capacity: 2, window: 20s }"), 4.0 * 30.0);
    assert_near(longest_wait("circuit: { budget: 4A, window: 20s }"), 4.0 * 30.0);
    assert_near(longest_wait("circuit: { budget: 1A, window: 20s }"), 9.0 * 30.0);
    assert_near(longest_wait("site: { capacity: 2, window: 20s }"), 9.0 * 30.0);
    let both = "circuit: { capacity: 1, window: 20s }, site: { budget: 3A, window: 50s }";
    assert_near(longest_wait(both), 9.0 * 60.0);
}

#[test]
fn boards_return_in_a_ramp_after_a_power_cut() {
    let cut = format!(
        "{}outages: [{{ at: 1h, lasts: 10m }}]",
        limited_farm("circuit: { capacity: 2, window: 20s }")
    );
    let report = board(&cut, size(10, 1));
    let ready = |after: usize| present(&report, "Ready", 3600 + 600 + after);
    assert_eq!((present(&report, "Ready", 3600), ready(0)), (10, 0));
    // Two every 30 s, of which each boots for 40 s.
    assert!(ready(120) > 0 && ready(120) <= 2 * 4, "{}", ready(120));
    assert_eq!(ready(300), 10);
    assert_eq!(report.first.failed, []);
}
