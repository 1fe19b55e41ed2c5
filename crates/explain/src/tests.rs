use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use insta::assert_snapshot;
use machine::testing::{load_unproved, vocabulary};
use machine::{
    ActionName, CounterName, Definition, EventName, Instance, InstanceAddress, Link, LinkName, Links,
    MachineName, Sender, StateKind, StateName, Visit, load,
};
use serde_json::{Map, json};

use crate::*;

const BOARD: &str = include_str!("../../../states/board.yaml");
const ACTIONS: &[&str] = &[
    "clear-pxe",
    "notify",
    "poll",
    "power-cycle",
    "power-off",
    "power-on",
    "power-read",
    "power-scan",
    "probe",
    "set-pxe",
];

fn board() -> Definition {
    load(BOARD, &vocabulary(ACTIONS)).unwrap()
}

fn noon() -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn instance(definition: &Definition, state: &str) -> Instance {
    Instance {
        machine: definition.machine.clone(),
        name: "b1".to_owned(),
        state: definition.states.get_key_value(state).unwrap().0.clone(),
        visit: Visit(3),
        since: noon(),
        deadline_at: None,
        remaining: None,
        counters: BTreeMap::new(),
        data: Map::new(),
        links: Links::new(),
    }
}

fn waiting(action: &str, resource: Option<&str>, requests_ahead: i64) -> PendingAction {
    PendingAction {
        action: action.to_owned(),
        started_at: None,
        resource: resource.map(str::to_owned),
        expected_at: None,
        requests_ahead,
        holder: (requests_ahead > 0).then(|| "b9".to_owned()),
        is_leftover: false,
        is_compensation: false,
        suspended_at: None,
        reason: None,
        incident: None,
    }
}

fn compensation(action: PendingAction) -> PendingAction {
    PendingAction { is_leftover: true, is_compensation: true, ..action }
}

fn running(action: &str, seconds: i64) -> PendingAction {
    PendingAction { started_at: Some(noon() + TimeDelta::seconds(seconds)), ..waiting(action, None, 0) }
}

fn suspended(action: &str, seconds: i64, reason: &str) -> PendingAction {
    PendingAction {
        suspended_at: Some(noon() + TimeDelta::seconds(seconds)),
        reason: Some(reason.to_owned()),
        ..waiting(action, None, 0)
    }
}

/// The sentences about `instance` at three minutes past noon.
fn sentences(definition: &Definition, instance: &Instance, actions: &[PendingAction]) -> String {
    sentences_of_try(definition, instance, noon(), actions)
}

/// The same, where the state was last entered at `entered_at`.
fn sentences_of_try(
    definition: &Definition,
    instance: &Instance,
    entered_at: DateTime<Utc>,
    actions: &[PendingAction],
) -> String {
    let now = noon() + TimeDelta::minutes(3);
    let device = json!({ "images": ["self-test"] }).as_object().unwrap().clone();
    let requests = requests(definition, instance, Some(&device), now);
    let circumstances = InstanceCircumstances { entered_at, actions, requests: &requests };
    explain_in_sentences(definition, instance, circumstances, now).join("\n")
}

fn counted(mut instance: Instance, count: i64) -> Instance {
    instance.counters.insert(CounterName::new(instance.state.as_str()).unwrap(), count);
    instance
}

fn with_deadline(mut instance: Instance, seconds: i64) -> Instance {
    instance.deadline_at = Some(noon() + TimeDelta::seconds(seconds));
    instance
}

#[test]
fn a_suspension_is_described_with_its_reason_and_the_remaining_time() {
    let definition = board();
    let mut rebooting = instance(&definition, "RebootRebooting");
    rebooting.remaining = Some(Duration::from_secs(34));
    let text =
        sentences(&definition, &rebooting, &[suspended("power-cycle", 26, "no file descriptor is left")]);
    for part in [
        "power-cycle is suspended since 12:00:26 UTC",
        "by a local fault (no file descriptor is left)",
        "it is started again when the fault is cleared",
        "its timeout is paused with 34 s left",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_poll_that_can_find_nothing_says_so() {
    let definition = board();
    let reason = Some("nothing has ever answered at the poll URL tcp://b1:22".to_owned());
    let actions = [PendingAction { reason, ..running("poll", 0) }];
    let text = sentences(&definition, &instance(&definition, "Ready"), &actions);
    assert!(text.contains("poll runs since 12:00:00 UTC, but nothing has ever answered at"), "{text}");
}

#[test]
fn sentences_about_a_board_follow_its_definition_and_its_record() {
    let board = board();
    let of = |state: &str| instance(&board, state);
    let relay = Some("modbus://relay-3:502");
    let failed = {
        let mut failed = of("FailedBadImage");
        failed.data.insert("failure".to_owned(), json!("no such partition"));
        failed
    };
    let again = with_deadline(counted(of("RebootRebooting"), 199), 200);
    let lines = [
        sentences(&board, &of("New"), &[]),
        sentences(&board, &with_deadline(of("Ready"), 300), &[running("poll", 0)]),
        sentences(&board, &of("LockedOut"), &[]),
        sentences(&board, &failed, &[]),
        sentences(&board, &with_deadline(counted(of("RebootComplete"), 3), 600), &[]),
        sentences(&board, &with_deadline(counted(of("RebootComplete"), 10), 600), &[]),
        sentences(&board, &with_deadline(of("ReimageBooted"), 170), &[]),
        sentences(
            &board,
            &of("RebootRebooting"),
            &[waiting("clear-pxe", relay, 3), waiting("power-cycle", relay, 3)],
        ),
        sentences(&board, &of("RebootRebooting"), &[waiting("power-cycle", relay, 0)]),
        sentences(&board, &with_deadline(of("ReimageRebooting"), 190), &[running("power-cycle", 130)]),
        sentences_of_try(&board, &again, noon() + TimeDelta::minutes(2), &[]),
        sentences(
            &board,
            &with_deadline(of("SelfTestRunning"), 3600),
            &[PendingAction { is_leftover: true, ..running("power-cycle", -5) }],
        ),
        sentences(
            &board,
            &with_deadline(of("RebootRebooting"), 60),
            &[compensation(waiting("power-on", relay, 0))],
        ),
        sentences(
            &board,
            &with_deadline(of("RebootRebooting"), 60),
            &[compensation(running("power-on", 5)), running("power-cycle", 0)],
        ),
        sentences(
            &board,
            &of("New"),
            &[
                compensation(suspended("power-on", 60, "no answer from relay-3 within 5s")),
                compensation(waiting("power-on", relay, 2)),
            ],
        ),
        sentences(&board, &of("ReimageDone"), &[]),
    ];
    assert_snapshot!(lines.join("\n\n"), @"
    Rests since 12:00:00 UTC (3 min): nobody has asked for anything yet; nothing is under way; an operator may ask for rq-lock-out, rq-reboot, rq-reimage or rq-self-test, or move it by force.
    Refused now: rq-maintenance (the maintenance image has no boot config for this board's hardware).

    Rests since 12:00:00 UTC (3 min): the board's image runs; its health is polled; poll runs since 12:00:00 UTC; poll-failed would lead to RebootRebooting; at 12:05:00 UTC (in 2 min) its timeout starts again; an operator may ask for rq-lock-out, rq-reboot, rq-reimage or rq-self-test, or move it by force.
    Refused now: rq-maintenance (the maintenance image has no boot config for this board's hardware).

    Rests since 12:00:00 UTC (3 min): Lifeguard does not touch this board until it is unlocked; nothing is under way; an operator may ask for rq-lock-out or rq-unlock, or move it by force.

    Needs an operator since 12:00:00 UTC (3 min): the board says that the image is bad: try another image; failure: no such partition; nothing is under way; an operator may ask for rq-cancel, rq-lock-out, rq-reboot, rq-reimage or rq-self-test, or move it by force.
    Refused now: rq-maintenance (the maintenance image has no boot config for this board's hardware).

    Waits since 12:00:00 UTC (3 min) for image-running from the board; at 12:10:00 UTC (in 7 min) it goes to RebootRebooting (try 4 of 10, 6 left after it), in the end to FailedRebootComplete.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Waits since 12:00:00 UTC (3 min) for image-running from the board; at 12:10:00 UTC (in 7 min) it goes to FailedRebootComplete: no tries left.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Waits since 12:00:00 UTC (3 min) for image-installing or image-failed from the board; its deadline passed at 12:02:50 UTC; any moment now it goes to ReimageRebooting (try 1 of 10, 9 left after it), in the end to FailedReimageBooted.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Waits since 12:00:00 UTC (3 min) for resource modbus://relay-3:502, 3 requests ahead (b9 holds it now), to run clear-pxe and power-cycle; it waits for power-cycle-ok or power-cycle-failed from its actions; its timeout of 1m has not started; when it passes, it tries RebootRebooting again (try 1 of 200, 199 left after it), in the end to FailedRebootRebooting.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Is next in the queue of modbus://relay-3:502, since 12:00:00 UTC (3 min), to run power-cycle; it waits for power-cycle-ok or power-cycle-failed from its action; its timeout of 1m has not started; when it passes, it tries RebootRebooting again (try 1 of 200, 199 left after it), in the end to FailedRebootRebooting.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Runs power-cycle since 12:02:10 UTC (50 s), in this state since 12:00:00 UTC (3 min); it waits for power-cycle-ok or power-cycle-failed from its action; at 12:03:10 UTC (in 10 s) it tries ReimageRebooting again (try 1 of 200, 199 left after it), in the end to FailedReimageRebooting.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Waits since 12:00:00 UTC (3 min; this try since 12:02:00 UTC) for its deadline: its actions ended without success; at 12:03:20 UTC (in 20 s) it tries RebootRebooting again (try 200 of 200, the last), in the end to FailedRebootRebooting.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Waits since 12:00:00 UTC (3 min) for self-test-ok or self-test-failed from the board; at 13:00:00 UTC (in 57 min) it goes to FailedSelfTest.
    Its earlier power-cycle still runs, since 11:59:55 UTC (3 min 5 s).
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Waits since 12:00:00 UTC (3 min) for its deadline: its actions ended without success; its deadline passed at 12:01:00 UTC; any moment now it tries RebootRebooting again (try 1 of 200, 199 left after it), in the end to FailedRebootRebooting.
    An interrupted action has left something to undo: power-on is about to start.
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Runs power-cycle since 12:00:00 UTC (3 min); it waits for power-cycle-ok or power-cycle-failed from its action; its deadline passed at 12:01:00 UTC; any moment now it tries RebootRebooting again (try 1 of 200, 199 left after it), in the end to FailedRebootRebooting.
    An interrupted action has left something to undo: power-on runs, since 12:00:05 UTC (2 min 55 s).
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.

    Rests since 12:00:00 UTC (3 min): nobody has asked for anything yet; nothing is under way; an operator may ask for rq-lock-out, rq-reboot, rq-reimage or rq-self-test, or move it by force.
    An interrupted action has left something to undo: power-on could not be completed, since 12:01:00 UTC (2 min) (no answer from relay-3 within 5s); it is tried again.
    An interrupted action has left something to undo: power-on waits for modbus://relay-3:502, 2 requests ahead.
    Refused now: rq-maintenance (the maintenance image has no boot config for this board's hardware).

    Goes on to Ready at once; in this state since 12:00:00 UTC (3 min).
    Meanwhile an operator may ask for rq-cancel or rq-lock-out, or move it by force.
    ");
}

#[test]
fn sentences_about_a_sparse_definition_say_what_is_known() {
    let text = "
machine: m
initial: Start
events:
  go: { from: operator }
  stop: { from: operator, args: [why] }
  both: { from: [board, operator] }
states:
  Start:
    on: { go: Later }
  Later:
    timeout: { at: 3000-01-01T12:00:00, target: Both }
  Both:
    timeout: { after: 5m, target: Shut }
    on: { both: Shut }
  Shut:
    timeout: { after: 1m, target: FailedShut }
    on: { go: { if: counters.FailedShut > 2, target: End } }
  FailedShut:
    invoke: [poll]
    timeout: { after: 1h, target: Start, limit: 0, exceeded: End }
    on: { poll-ok: Start, stop: Rest }
  Rest:
    resting: true
    on: { both: Start, go: { if: counters.FailedShut > 2, target: End } }
  End:
    final: true
";
    let definition = load_unproved(text, &vocabulary(ACTIONS))
        .unwrap_or_else(|faults| panic!("{}", faults.display("text")));
    let of = |state: &str| instance(&definition, state);
    let in_3000 = Instance { deadline_at: Some("3000-01-01T12:00:00Z".parse().unwrap()), ..of("Later") };
    let stranded = Instance { state: StateName::new("Gone").unwrap(), ..of("End") };
    let lines = [
        sentences(&definition, &of("Start"), &[]),
        sentences(&definition, &in_3000, &[]),
        sentences(&definition, &of("Both"), &[]),
        sentences(&definition, &with_deadline(of("Shut"), 240), &[]),
        sentences(&definition, &with_deadline(of("FailedShut"), 3600), &[running("poll", 60)]),
        sentences(&definition, &with_deadline(of("Rest"), 3600), &[]),
        sentences(&definition, &of("End"), &[]),
        sentences(&definition, &stranded, &[]),
    ];
    assert_snapshot!(lines.join("\n\n"), @r"
    Waits since 12:00:00 UTC (3 min) for an operator.
    Meanwhile an operator may ask for go, or move it by force.

    Waits since 12:00:00 UTC (3 min) for its deadline; at 3000-01-01 12:00:00 UTC (in 973 years) it goes to Both.
    Meanwhile an operator may only move it by force.

    Waits since 12:00:00 UTC (3 min) for both from the m; its timeout of 5m has not started; when it passes, it goes to Shut.
    Meanwhile an operator may ask for both, or move it by force.

    Waits since 12:00:00 UTC (3 min) for its deadline; at 12:04:00 UTC (in 1 min) it goes to FailedShut.
    Meanwhile an operator may only move it by force.
    Refused now: go (no condition of go in state Shut holds).

    Needs an operator since 12:00:00 UTC (3 min); poll runs since 12:01:00 UTC; poll-ok would lead to Start; at 13:00:00 UTC (in 57 min) it goes to End: no tries left; an operator may ask for stop, or move it by force.

    Rests since 12:00:00 UTC (3 min); both would lead to Start; its deadline 13:00:00 UTC belongs to an earlier definition and is ignored; an operator may ask for both, or move it by force.
    Refused now: go (no condition of go in state Rest holds).

    Finished since 12:00:00 UTC (3 min); an operator may only move it by force.

    Waits for a forced move: the active definition has no state Gone, so nothing else moves it.
    ");
}

/// The ways in which an instance may be in `state`: its time runs, has passed or does not run; its actions wait, queue,
/// run, or are over.
fn situations(definition: &Definition, state: &StateName) -> Vec<(Instance, Vec<PendingAction>)> {
    let invoked: Vec<&ActionName> =
        definition.states[state].invoke.iter().map(|invocation| &invocation.action).collect();
    let relay = Some("modbus://relay-3:502");
    let each =
        |build: &dyn Fn(&str) -> PendingAction| invoked.iter().map(|name| build(name.as_str())).collect();
    let action_lists: [Vec<PendingAction>; 5] = [
        Vec::new(),
        each(&|action| waiting(action, None, 0)),
        each(&|action| waiting(action, relay, 2)),
        each(&|action| running(action, 10)),
        vec![PendingAction { is_leftover: true, ..running("power-cycle", 0) }],
    ];
    let plain = instance(definition, state.as_str());
    let instances = [
        plain.clone(),
        with_deadline(plain.clone(), 600),
        with_deadline(plain.clone(), 60),
        counted(with_deadline(plain, 600), 99),
    ];
    instances
        .iter()
        .flat_map(|instance| action_lists.iter().map(|actions| (instance.clone(), actions.clone())))
        .collect()
}

/// Whether `text`, above all its first sentence, answers the question for an instance of `definition`.
fn answers(definition: &Definition, instance: &Instance, actions: &[PendingAction], text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let state = &definition.states[&instance.state];
    let awaited = awaited_events(definition, instance, actions);
    let names_all = || awaited.iter().all(|awaited| first.contains(awaited.event.as_str()));
    let asks: Vec<&EventName> = definition.accepted_events(instance.state.as_str(), &Sender::Operator);
    let may = || asks.iter().all(|event| text.contains(event.as_str())) && first.contains("by force");
    let own = actions.iter().find(|action| !action.is_leftover);
    let says_time = state.timeout.as_ref().is_none_or(|timeout| {
        let is_told = first.contains(timeout.target.as_str()) || first.contains("starts again");
        is_told || timeout.limit.as_ref().is_some_and(|limit| first.contains(limit.exceeded.as_str()))
    });
    match state.kind {
        StateKind::Working => {
            let does = own.is_none_or(|action| first.contains(&action.action));
            let waits = ["Waits", "Runs", "Is next", "Is about", "Goes on to"];
            does && names_all() && says_time && waits.iter().any(|verb| first.starts_with(verb))
        }
        StateKind::Resting | StateKind::Failed => names_all() && says_time && may(),
        StateKind::Final => may(),
    }
}

#[test]
fn no_state_of_any_shipped_machine_answers_unknown() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../states");
    let (mut files, mut asked) = (0, 0);
    for file in fs_err::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        files += 1;
        let text = fs_err::read_to_string(&path).unwrap();
        let definition = load(&text, &vocabulary(ACTIONS)).unwrap();
        for state in definition.states.keys() {
            for (instance, actions) in situations(&definition, state) {
                let text = sentences(&definition, &instance, &actions);
                assert!(answers(&definition, &instance, &actions, &text), "{state} {actions:?}: {text}");
                assert!(!text.to_lowercase().contains("unknown"), "{state}: {text}");
                asked += 1;
            }
        }
    }
    assert!(files > 0 && asked >= 20 * 33, "only {asked} situations of {files} machines");
}

#[test]
fn links_of_an_instance_are_described_with_awaited_and_raised_events() {
    const LEASE: &str = "machine: lease
initial: Asking
links: { thing: thing, spare: thing }
events: { ready: { from: { machine: thing } }, rq-end: { from: operator } }
states:
  Asking:
    entry: [{ raise: { event: claim, to: thing } }, { raise: { event: claim, to: spare } }]
    on:
      ready: Asking
      rq-end: { target: Asking, do: [{ raise: { event: release, to: thing } }, { raise: { event: forget, to: thing } }] }
";
    let definition = load_unproved(LEASE, &vocabulary(ACTIONS)).unwrap();
    let mut lease = instance(&definition, "Asking");
    let text = |lease: &Instance| {
        let requests = requests(&definition, lease, Some(&Map::new()), noon());
        let circumstances = InstanceCircumstances { entered_at: noon(), actions: &[], requests: &requests };
        explain_in_sentences(&definition, lease, circumstances, noon()).join("\n")
    };
    assert_snapshot!(text(&lease), @r"
    Waits since 12:00:00 UTC (0 s) for ready from a thing.
    Meanwhile an operator may ask for rq-end, or move it by force.
    ");
    let to = InstanceAddress { machine: MachineName::new("thing").unwrap(), name: "t1".to_owned() };
    let link = Link { to, visit: Some(Visit(3)) };
    lease.links.insert(LinkName::new("thing").unwrap(), link);
    assert_snapshot!(text(&lease), @r"
    Waits since 12:00:00 UTC (0 s) for ready from thing/t1.
    Meanwhile an operator may ask for rq-end, or move it by force.
    It is linked to thing/t1 (thing, in visit 3).
    On entry to this state it raised claim at thing/t1.
    In this state rq-end raises release at thing/t1 and forget at thing/t1.
    ");
}

#[test]
fn a_request_that_is_refused_whatever_its_arguments_is_shown_as_refused() {
    let definition = board();
    let ready = instance(&definition, "Ready");
    let refusal = |device: serde_json::Value| {
        let facts = device.as_object().unwrap().clone();
        let requests = requests(&definition, &ready, Some(&facts), noon());
        let reimage = requests.into_iter().find(|request| request.event.as_str() == "rq-reimage").unwrap();
        reimage.refusal_reason
    };
    let no_power = "the board has no power URL, so its power cannot be cycled";
    assert_eq!(refusal(json!({ "power": false, "images": ["linux"] })).as_deref(), Some(no_power));
    // Whether the image has a boot config depends on which image is asked for.
    assert_eq!(refusal(json!({ "power": true, "images": [] })), None);
    assert!(
        requests(&definition, &ready, None, noon()).iter().all(|request| request.refusal_reason.is_none())
    );
}

#[test]
fn an_instance_that_waits_for_an_incident_says_since_when_why_and_when_it_is_probed() {
    let board = board();
    let incident = ResourceIncident {
        resource: "modbus://relay-3:502".to_owned(),
        opened_at: Some(noon() + TimeDelta::minutes(1)),
        reason: Some("no answer within 5s".to_owned()),
        waiting: 14,
        next_probe_at: Some(noon() + TimeDelta::seconds(188)),
    };
    let first = |incident: ResourceIncident| {
        let waits = waiting("power-cycle", Some("modbus://relay-3:502"), 3);
        let actions = [PendingAction { incident: Some(incident), ..suspended_at_noon(waits) }];
        sentences(&board, &instance(&board, "RebootRebooting"), &actions).lines().next().unwrap().to_owned()
    };
    let expected = "Waits since 12:00:00 UTC (3 min): power-cycle waits for incident at modbus://relay-3:502, open for 2 min: no \
                    answer within 5s; 14 boards wait; next probe in 8 s; it waits for power-cycle-ok or power-cycle-failed";
    let text = first(incident.clone());
    assert!(text.starts_with(expected), "{text}");
    let text = first(ResourceIncident { reason: None, waiting: 1, next_probe_at: None, ..incident });
    assert!(text.contains(", open for 2 min; 1 board waits; it is being probed; it waits for"), "{text}");
}

fn suspended_at_noon(action: PendingAction) -> PendingAction {
    PendingAction { suspended_at: Some(noon()), ..action }
}
