//! Valid and invalid profiles.

use super::*;
use crate::tests::Actions;
use machine::ActionName;
use machine::ActionSite;
use machine::Distribution;
use machine::load;
use machine::testing::vocabulary;

const BOARD: &str = include_str!("../../../../states/board.yaml");
const FARM: &str = include_str!("../../../../fixtures/profiles/board.yaml");

fn board() -> Definition {
    load(BOARD, &vocabulary(crate::tests::ACTIONS)).unwrap()
}

fn index(definition: &Definition, state: &str) -> usize {
    definition.states.keys().position(|name| name.as_str() == state).unwrap()
}

fn faults(text: &str) -> Vec<String> {
    let faults = Profile::read(text, &[&board()], &Actions).unwrap_err();
    faults.iter().map(|fault| format!("p.yaml:{}:{}: {}", fault.line, fault.column, fault.message)).collect()
}

#[test]
fn the_behaviour_derived_from_the_board_machine_is_that_of_boards() {
    let definition = board();
    let profile = Profile::read("", &[&definition], &Actions).unwrap();
    assert_eq!(profile, Profile::read("# nothing\n{}", &[&definition], &Actions).unwrap());
    let available: Vec<&str> = definition
        .states
        .keys()
        .zip(&profile.machines[0].available)
        .filter_map(|(name, available)| available.then_some(name.as_str()))
        .collect();
    assert_eq!(available, ["Ready"]);
    let sound = &profile.machines[0].classes[0];
    let reports = |state: &str| {
        sound.reports[index(&definition, state)]
            .iter()
            .map(|report| report.event.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(reports("RebootComplete"), ["image-running"]);
    assert_eq!(reports("ReimageInstalling"), ["image-installed"]);
    assert_eq!(reports("SelfTestRunning"), ["self-test-ok"]);
    assert_eq!(reports("RebootRebooting"), Vec::<String>::new());
    assert_eq!(reports("Ready"), Vec::<String>::new());
    let duration = sound.reports[index(&definition, "RebootComplete")][0].after;
    assert_eq!(duration, Distribution::log_normal(200.0, 400.0));
    let sites: Vec<_> = profile.machines[0]
        .actions
        .iter()
        .map(ActionName::as_str)
        .zip(sound.actions.iter().map(|action| action.at))
        .collect();
    let expected = [
        ("clear-pxe", ActionSite::Server),
        ("poll", ActionSite::Instance),
        ("power-cycle", ActionSite::Resource),
        ("set-pxe", ActionSite::Server),
    ];
    assert_eq!(sites, expected);
    let requests_in = |state: &str| {
        let state = index(&definition, state);
        let requests = profile.machines[0].requests.iter().filter(|request| request.states.contains(&state));
        requests.map(|request| (request.event.to_string(), request.repair_rate)).collect::<Vec<_>>()
    };
    assert_eq!(requests_in("New"), [("rq-reboot".to_owned(), 0.0)]);
    assert_eq!(requests_in("FailedBadBoard"), [("rq-reboot".to_owned(), 0.9)]);
    assert_eq!(requests_in("LockedOut"), []);
    assert_eq!(requests_in("RebootComplete"), []);
}

#[test]
fn the_profile_of_the_board_machine_is_read() {
    let definition = board();
    let profile = Profile::read(FARM, &[&definition], &Actions).unwrap();
    assert_eq!(profile.layout.instances_per_device, 14);
    assert_eq!((profile.layout.settle_ms, profile.layout.circuit.gap_ms), (500, 0));
    let names: Vec<&str> = profile.machines[0].classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(names, ["sound", "dead", "worn-card", "bad-cable"]);
    let installing = index(&definition, "ReimageInstalling");
    assert_eq!(profile.machines[0].classes[2].reports[installing][0].event.as_str(), "image-installed");
    assert!((profile.machines[0].classes[2].reports[installing][0].chance - 0.2).abs() < 1e-9);
    // What a class leaves out is that of sound boards.
    let booted = index(&definition, "ReimageBooted");
    assert_eq!(
        profile.machines[0].classes[2].reports[booted],
        profile.machines[0].classes[0].reports[booted]
    );
    assert!(profile.machines[0].classes[1].reports.iter().all(Vec::is_empty));
    let failed: Vec<usize> = (0..definition.states.len())
        .filter(|state| profile.machines[0].requests[5].states.contains(state))
        .collect();
    assert_eq!(failed.len(), 16);
    assert_eq!((profile.machines[0].requests[5].repair_rate, profile.outages[0].share), (0.9, 0.1));
}

#[test]
fn limits_of_circuits_and_the_site_are_read() {
    let text = "farm: { board_load: 1.2A, power_on_gap: 1s, circuit: { capacity: 4, window: 5s, budget: 16A }, site: { gap: 2s } }";
    let layout = Profile::read(text, &[&board()], &Actions).unwrap().layout;
    let circuit =
        ContainerLimits { capacity: Some(4), gap_ms: 1000, window_ms: 5000, budget_ma: Some(16_000) };
    let site = ContainerLimits { gap_ms: 2000, ..ContainerLimits::default() };
    assert_eq!((layout.load_ma, layout.circuit, layout.site), (1200, circuit, site));
}

#[test]
fn longer_patterns_override_shorter_ones() {
    let definition = board();
    let text = "states:
  ReimageBoot*: { event: image-failed, args: { reason: x }, after: 1s }
  ReimageBooting: []
  Re*: { event: image-running, after: 1s }";
    let profile = Profile::read(text, &[&definition], &Actions).unwrap();
    let reports = |state: &str| {
        profile.machines[0].classes[0].reports[index(&definition, state)]
            .first()
            .map(|report| report.event.as_str())
    };
    assert_eq!(reports("ReimageBooting"), None);
    assert_eq!(reports("ReimageBooted"), Some("image-failed"));
    assert_eq!(reports("ReimageComplete"), Some("image-running"));
}

#[test]
fn every_fault_has_its_position_and_a_correction() {
    let text = "availible: [Ready]
available: [Redy]
farm: { boards_per_relay_board: 0, relay_board_rests: 500, circuit: { budget: 5V } }
device: { name: b1 }
actions:
  power-cicle: { takes: 3s }
  poll: { at: bord, fails: 101% }
states:
  RebootCompleted: []
  RebootComplete:
    - { event: image-runing, after: 5s }
    - { event: rq-reboot, after: 5s }
    - { event: image-failed, after: 5s }
    - { event: image-running, after: { median: 90s, p95: 45s }, chance: 60% }
    - { event: image-running, after: { from: 1s }, chance: 60% }
    - { event: image-running, chance: 60% }
operators:
  - { event: rq-reboot, after: 1s }
  - { in: [Ready], event: image-running, after: { per_day: 0 } }
  - { in: [LockedOut], event: rq-reboot, after: { mean: 0s } }
classes:
  a: { share: 60% }
  b: { share: 60% }
outages: [{ lasts: 1m }]";
    let expected = [
        ("1:1", "did you mean `available`?"),
        ("2:13", "did you mean `Ready`?"),
        ("3:33", "from 1 to 10000"),
        ("3:55", "has no unit"),
        ("3:79", "bad current `5V`: write it like `16A`"),
        ("4:11", "unknown key `name`"),
        ("6:3", "did you mean `power-cycle`?"),
        ("7:15", "did you mean `board`?"),
        ("7:28", "from `0%` to `100%`"),
        ("9:3", "did you mean `RebootComplete`?"),
        ("11:16", "did you mean `image-running`?"),
        ("12:16", "a board may not send `rq-reboot`"),
        ("13:7", "needs the argument `reason`"),
        ("13:16", "none of these states handles `image-failed`"),
        ("14:38", "`median` is not above `p95`"),
        ("15:38", "not a span; write `30s`"),
        ("16:7", "`after` is missing"),
        ("18:5", "`in` is missing"),
        ("19:27", "an operator may not send `image-running`"),
        ("20:31", "none of these states handles `rq-reboot`"),
        ("20:57", "must be above 0"),
        ("22:3", "more than 100% in all"),
        ("24:11", "either `at:`"),
    ];
    let found = faults(text);
    for (position, correction) in expected {
        let line = found.iter().find(|line| line.starts_with(&format!("p.yaml:{position}: ")));
        assert!(
            line.is_some_and(|line| line.contains(correction)),
            "{position}: {correction}\n{}",
            found.join("\n")
        );
    }
    assert_eq!(found.len(), expected.len(), "{}", found.join("\n"));

    let chances = "states: { RebootComplete: [{ event: image-running, after: 1s, chance: 60% }, { event: image-running, after: 1s, chance: 0.5 }] }";
    assert_eq!(faults(chances), ["p.yaml:1:11: the chances in `RebootComplete` are more than 100% in all"]);
    assert!(faults("[1]")[0].starts_with("p.yaml:1:1: expected a profile, found a list"));
    assert!(faults("a: [")[0].starts_with("p.yaml:"));
    let rate = faults("operators: [{ in: [Ready], event: rq-reboot, after: { per_day: 0 } }]");
    assert_eq!(
        rate,
        ["p.yaml:1:64: a rate is a number above 0, such as `2` or `0.5`; leave out what never happens"]
    );
}
