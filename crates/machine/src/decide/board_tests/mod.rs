//! Walks through `states/board.yaml`: its table, reboots, limits, and ignored events.

mod requests;

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::{create, decide};
use crate::testing::{REPORTER, vocabulary};
use crate::{
    Cause, Decision, Definition, Effect, EventName, EventSource, IgnoreReason, Instance, Outcome, StateName,
    Stimulus, TimeoutDue, TransitionEffect, Visit, load,
};

const BOARD: &str = include_str!("../../../../../states/board.yaml");
const ACTIONS: [&str; 4] = ["clear-pxe", "set-pxe", "power-cycle", "poll"];

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(entries) = value else { panic!("not an object: {value}") };
    entries
}

/// A board with its definition.
struct Board {
    definition: Definition,
    instance: Instance,
    device: Map<String, Value>,
    now: DateTime<Utc>,
}

impl Board {
    fn new() -> Self {
        Self::under(BOARD)
    }

    fn under(definition: &str) -> Self {
        let definition = load(definition, &vocabulary(&ACTIONS)).unwrap();
        let device =
            object(json!({ "name": "b1", "power": true, "images": ["debian", "self-test", "maintenance"] }));
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let instance = create(&definition, "b1", device.clone(), now).instance;
        Self { definition, instance, device, now }
    }

    fn take(&mut self, cause: Cause) -> Decision {
        let stimulus = Stimulus { facts: self.device.clone(), ..Stimulus::new(cause) };
        let decision = decide(&self.definition, &self.instance, &stimulus, self.now);
        self.instance = decision.instance.clone();
        decision
    }

    fn send(&mut self, name: &str, source: EventSource, args: Value) -> Decision {
        let visit = (source == EventSource::Action).then_some(self.instance.visit);
        self.take(Cause::Event { name: EventName::new(name).unwrap(), source, args: object(args), visit })
    }

    /// Sends events of the board, its actions and operators, each without arguments.
    fn go(&mut self, events: &[&str]) -> &mut Self {
        for event in events {
            let source = if event.starts_with("rq-") {
                EventSource::Operator
            } else if event.ends_with("-ok") && *event != "self-test-ok" {
                EventSource::Action
            } else {
                REPORTER
            };
            let decision = self.send(event, source, json!({}));
            assert!(!matches!(decision.outcome, Outcome::Ignored(_)), "{event}: {:?}", decision.outcome);
        }
        self
    }

    fn reimage(&mut self) -> &mut Self {
        let args = json!({ "image": "debian", "boot_config": { "branch": "main" } });
        let decision = self.send("rq-reimage", EventSource::Operator, args);
        assert!(matches!(decision.outcome, Outcome::Moved { .. }), "{:?}", decision.outcome);
        self
    }

    fn force(&mut self, to: &str) {
        let expected = self.instance.state.clone();
        self.take(Cause::Force { expected, to: StateName::new(to).unwrap(), reason: "test".to_owned() });
        assert_eq!(self.state(), to);
    }

    /// Lets the state's time limit expire: exactly `after` seconds after its actions start.
    fn pass(&mut self, after: i64) {
        let visit = self.instance.visit;
        if self.instance.deadline_at.is_none() {
            assert_eq!(self.take(Cause::Deadline { visit }).outcome, Outcome::Ignored(IgnoreReason::NotDue));
            self.now += TimeDelta::seconds(1000);
            assert_eq!(self.take(Cause::Began { visit }).outcome, Outcome::Stayed);
        }
        self.now += TimeDelta::seconds(after) - TimeDelta::milliseconds(1);
        assert_eq!(self.take(Cause::Deadline { visit }).outcome, Outcome::Ignored(IgnoreReason::NotDue));
        self.now += TimeDelta::milliseconds(1);
        let outcome = self.take(Cause::Deadline { visit }).outcome;
        assert!(matches!(outcome, Outcome::Moved { .. }), "{outcome:?}");
    }

    fn state(&self) -> &str {
        self.instance.state.as_str()
    }

    fn datum(&self, key: &str) -> Value {
        self.instance.data.get(key).cloned().unwrap_or_default()
    }
}

/// Describes a state in one line.
fn describe(definition: &Definition, name: &str) -> String {
    let state = &definition.states[name];
    let actions: Vec<&str> = state.invoke.iter().map(|invoke| invoke.action.as_str()).collect();
    let mut line = format!("{name} [{}]", actions.join(", "));
    if let Some(timeout) = &state.timeout {
        let TimeoutDue::After(after) = timeout.due else { panic!("{name}: a time") };
        write!(line, " {}s → {}", after.as_secs(), timeout.target).unwrap();
        if timeout.keeps_actions {
            line += " with its actions";
        }
        if let Some(limit) = &timeout.limit {
            write!(line, ", more than {} of {} → {}", limit.max_count, limit.counter, limit.exceeded)
                .unwrap();
        }
    }
    for (event, transitions) in &state.on {
        for transition in transitions {
            if let TransitionEffect::Move { target, .. } = &transition.effect {
                write!(line, "; {event} → {target}").unwrap();
            }
        }
    }
    line
}

#[test]
fn the_table_of_states_is_as_specified() {
    let board = Board::new();
    let requests = "rq-lock-out → LockedOut; rq-maintenance → MaintenanceRebooting; rq-reboot → RebootRebooting; \
                    rq-reimage → ReimageRebooting; rq-self-test → SelfTestRebooting";
    let of_work = "rq-cancel → Cancelling; rq-lock-out → LockedOut";
    for (state, rest) in [
        ("New", format!("[]; {requests}")),
        ("Ready", format!("[poll] 300s → Ready with its actions; poll-failed → RebootRebooting; {requests}")),
        ("RebootRebooting",
         "[clear-pxe, power-cycle] 60s → RebootRebooting, more than 200 of RebootRebooting → FailedRebootRebooting; \
          power-cycle-failed → FailedRebootRebooting; power-cycle-ok → RebootComplete; ".to_owned() + of_work),
        ("RebootComplete",
         "[] 600s → RebootRebooting, more than 10 of RebootComplete → FailedRebootComplete; image-running → Ready; "
             .to_owned() + of_work),
        ("FailedRebootRebooting", format!("[]; rq-cancel → Cancelling; {requests}")),
        ("FailedRebootComplete", format!("[]; rq-cancel → Cancelling; {requests}")),
        ("ReimageRebooting",
         "[set-pxe, power-cycle] 60s → ReimageRebooting, more than 200 of ReimageRebooting → FailedReimageRebooting; \
          power-cycle-failed → FailedReimageRebooting; power-cycle-ok → ReimageBooting; \
          power-cycle-ok → ReimageBooting; rq-cancel → Cancelling; rq-lock-out → LockedOut; set-pxe-failed → FailedReimageRebooting".to_owned()),
        ("ReimageBooting",
         "[] 180s → ReimageRebooting, more than 30 of ReimageBooting → FailedReimageBooting; \
          image-failed → FailedBadImage; image-failed → FailedBadBoard; image-failed → ReimageRebooting; \
          image-failed → FailedReimageBooting; live-running → ReimageBooted; ".to_owned() + of_work),
        ("SelfTestRunning",
         format!("[clear-pxe] 3600s → FailedSelfTest; {of_work}; self-test-failed → FailedSelfTest; \
                  self-test-ok → RebootRebooting; self-test-ok → New")),
        ("Maintenance", format!("[]; {requests}")),
        ("LockedOut", "[]; rq-lock-out → LockedOut; rq-unlock → Cancelling; rq-unlock → New".to_owned()),
        ("Cancelling",
         "[clear-pxe] 60s → Cancelling, more than 200 of Cancelling → FailedCancelling; clear-pxe-ok → New; \
          rq-lock-out → LockedOut".to_owned()),
    ] {
        assert_eq!(describe(&board.definition, state), format!("{state} {rest}"));
    }
    let ready = &board.definition.states["Ready"];
    assert_eq!(ready.entry[0], crate::Operation::Clear(crate::operation::ClearOperation::All));
}

#[test]
fn labels_change_no_decision() {
    let lines = BOARD.lines().filter(|line| !line.starts_with("    label: "));
    let without: String = lines.flat_map(|line| [line, "\n"]).collect();
    let mut boards = [BOARD, &without].map(Board::under);
    let [labelled, plain] = &boards;
    let label = "power is back, waiting for the image";
    assert_eq!(labelled.definition.explicit_label("RebootComplete"), Some(label));
    assert!(plain.definition.states.keys().all(|state| plain.definition.label(state) == state.as_str()));
    let events: Vec<EventName> = labelled.definition.events.keys().cloned().collect();
    let states: Vec<StateName> = labelled.definition.states.keys().cloned().collect();
    let args = json!({ "image": "debian", "reason": "no power", "fault": "image" });
    for state in states {
        for board in &mut boards {
            let expected = board.instance.state.clone();
            let reason = "the test wants it there".to_owned();
            board.take(Cause::Force { expected, to: state.clone(), reason });
        }
        let before = boards[0].instance.clone();
        for event in &events {
            for source in [EventSource::Operator, EventSource::Action, REPORTER] {
                let [labelled, plain] = boards.each_mut().map(|board| {
                    board.instance = before.clone();
                    board.send(event.as_str(), source.clone(), args.clone())
                });
                assert_eq!(labelled, plain, "{event} in {state}");
            }
        }
        for board in &mut boards {
            board.instance = before.clone();
        }
    }
}

#[test]
fn a_new_board_is_in_its_first_visit() {
    let board = Board::new();
    let decision = create(&board.definition, "b1", Map::new(), board.now);
    let new = StateName::new("New").unwrap();
    assert_eq!(decision.outcome, Outcome::Moved { from: new.clone(), to: new });
    assert_eq!((decision.instance.visit, decision.instance.deadline_at), (Visit(1), None));
    assert!(decision.effects.is_empty());
}

#[test]
fn kept_actions_are_re_entered_at_a_full_second_unless_the_time_limit_is_shorter() {
    for (after, until_next) in [("999ms", 999), ("1s", 600), ("1099ms", 600), ("1100ms", 1600)] {
        let definition = BOARD.replace("after: 5m, target: Ready", &format!("after: {after}, target: Ready"));
        assert_ne!(definition, BOARD);
        let mut board = Board::under(&definition);
        board.now += TimeDelta::milliseconds(400);
        let [expected, to] = ["New", "Ready"].map(|name| StateName::new(name).unwrap());
        board.take(Cause::Force { expected, to, reason: "the test wants it there".to_owned() });
        let visit = board.instance.visit;
        assert_eq!(board.take(Cause::Began { visit }).outcome, Outcome::Stayed);
        let at = board.now + TimeDelta::milliseconds(until_next);
        assert_eq!(board.instance.deadline_at, Some(at), "{after}");
    }
}

#[test]
fn a_reboot_leads_to_ready() {
    let mut board = Board::new();
    let decision = board.send("rq-reboot", EventSource::Operator, json!({}));
    assert!(matches!(
        &decision.effects[..],
        [Effect::Cancel { visit: Visit(1) }, Effect::Invoke { visit: Visit(2), actions }] if actions.len() == 2
    ));
    let decision = board.send("power-cycle-ok", EventSource::Action, json!({}));
    assert_eq!(decision.effects, [Effect::Cancel { visit: Visit(2) }]);
    assert_eq!(board.instance.deadline_at, Some(board.now + TimeDelta::seconds(600)));
    board.go(&["image-running"]);
    assert_eq!((board.state(), board.instance.visit), ("Ready", Visit(4)));
    board.pass(300);
    assert_eq!((board.state(), board.instance.visit), ("Ready", Visit(5)));
    // Its poll continues, so its time limit is running already.
    assert_eq!(board.instance.deadline_at, Some(board.now + TimeDelta::seconds(300)));
    // However late it is processed, the next one is at a full second, together with all others due then.
    for (late, until_next) in [(499, 299_501), (500, 300_500), (0, 300_000)] {
        let visit = board.instance.visit;
        board.now = board.instance.deadline_at.unwrap() + TimeDelta::milliseconds(late);
        assert!(matches!(board.take(Cause::Deadline { visit }).outcome, Outcome::Moved { .. }));
        assert_eq!((board.state(), board.instance.visit), ("Ready", visit.next()));
        assert_eq!(board.instance.deadline_at, Some(board.now + TimeDelta::milliseconds(until_next)));
    }
    let reason = json!({ "reason": "no answer" });
    board.send("poll-failed", EventSource::Action, reason);
    assert_eq!(board.state(), "RebootRebooting");
}

#[test]
fn a_power_cycle_is_tried_two_hundred_and_one_times() {
    for (request, state) in [
        ("rq-reboot", "RebootRebooting"),
        ("rq-reimage", "ReimageRebooting"),
        ("rq-self-test", "SelfTestRebooting"),
        ("rq-maintenance", "MaintenanceRebooting"),
    ] {
        let mut board = Board::new();
        board.send(request, EventSource::Operator, json!({ "image": "debian" }));
        for _ in 0..200 {
            assert_eq!(board.state(), state);
            let mut expected = board.instance.clone();
            board.send("power-cycle-failed", EventSource::Action, json!({ "reason": "timeout" }));
            // Only data that everybody may see.
            expected.data = board.instance.data.clone();
            assert_eq!((&board.instance, board.datum("failure")), (&expected, json!("timeout")));
            board.pass(60);
        }
        assert_eq!(board.state(), state);
        board.pass(60);
        assert_eq!(board.state(), format!("Failed{state}"));
        assert_eq!(board.instance.deadline_at, None);
        // An operator's request starts anew.
        board.go(&["rq-reboot"]).pass(60);
        assert_eq!(board.state(), "RebootRebooting");
    }
}

#[test]
fn a_power_cycle_that_fails_by_configuration_is_not_tried_again() {
    for (request, state) in [
        ("rq-reboot", "RebootRebooting"),
        ("rq-reimage", "ReimageRebooting"),
        ("rq-self-test", "SelfTestRebooting"),
        ("rq-maintenance", "MaintenanceRebooting"),
    ] {
        let mut board = Board::new();
        board.send(request, EventSource::Operator, json!({ "image": "debian" }));
        let args = json!({ "reason": "the relay board has no coil 9", "fault": "configuration" });
        board.send("power-cycle-failed", EventSource::Action, args);
        assert_eq!(board.state(), format!("Failed{state}"));
        assert_eq!(board.instance.data["failure"], "the relay board has no coil 9");
    }
}

#[test]
fn a_silent_step_is_tried_again_within_its_limit() {
    let steps: [(&str, &[&str], i64, usize); 8] = [
        ("RebootComplete", &["power-cycle-ok"], 600, 10),
        ("ReimageBooting", &["power-cycle-ok"], 180, 30),
        ("ReimageBooted", &["power-cycle-ok", "live-running"], 60, 10),
        ("ReimageInstalling", &["power-cycle-ok", "live-running", "image-installing"], 600, 10),
        (
            "ReimageClearing",
            &["power-cycle-ok", "live-running", "image-installing", "image-installed"],
            60,
            200,
        ),
        (
            "ReimageComplete",
            &["power-cycle-ok", "live-running", "image-installing", "image-installed", "clear-pxe-ok"],
            600,
            10,
        ),
        ("SelfTestBooting", &["power-cycle-ok"], 180, 30),
        ("MaintenanceBooting", &["power-cycle-ok"], 180, 30),
    ];
    for (state, path, after, most) in steps {
        let mut board = Board::new();
        let request = match state {
            "RebootComplete" => "rq-reboot",
            "SelfTestBooting" => "rq-self-test",
            "MaintenanceBooting" => "rq-maintenance",
            _ => "rq-reimage",
        };
        board.send(request, EventSource::Operator, json!({ "image": "debian" }));
        for _ in 0..=most {
            assert!(!board.state().starts_with("Failed"), "{state}");
            if board.state() != state {
                board.go(path);
            }
            assert_eq!(board.state(), state);
            board.pass(after);
        }
        assert_eq!(board.state(), format!("Failed{state}"));
    }
}

#[test]
fn an_ignored_stimulus_has_a_reason() {
    let mut board = Board::new();
    board.go(&["rq-reboot"]);
    let visit = board.instance.visit;
    let event = |name: &str, source, visit| Cause::Event {
        name: EventName::new(name).unwrap(),
        source,
        args: Map::new(),
        visit,
    };
    let force = |expected: &str, to: &str| Cause::Force {
        expected: StateName::new(expected).unwrap(),
        to: StateName::new(to).unwrap(),
        reason: String::new(),
    };
    let stale = Visit(1);
    for (cause, expected) in [
        (
            event("image-running", EventSource::Operator, None),
            "image-running is not an event that this sender may send",
        ),
        (event("no-such", REPORTER, None), "no-such is not an event that this sender may send"),
        (
            event("power-cycle-ok", REPORTER, Some(visit)),
            "power-cycle-ok is not an event that this sender may send",
        ),
        (
            event("power-cycle-ok", EventSource::Action, None),
            "power-cycle-ok is not an event that this sender may send",
        ),
        (
            event("power-cycle-ok", EventSource::Action, Some(stale)),
            "stale: it speaks of visit 1, this is visit 2",
        ),
        (
            event("power-cycle-ok", EventSource::Action, Some(Visit(3))),
            "it speaks of visit 3, but this is only visit 2",
        ),
        (event("image-running", REPORTER, Some(stale)), "stale: it speaks of visit 1, this is visit 2"),
        (event("image-running", REPORTER, None), "state RebootRebooting does not wait for image-running"),
        (event("image-failed", REPORTER, None), "image-failed needs the argument `reason`"),
        (Cause::Began { visit: stale }, "stale: it speaks of visit 1, this is visit 2"),
        (Cause::Deadline { visit: stale }, "stale: it speaks of visit 1, this is visit 2"),
        (Cause::Deadline { visit }, "not due"),
        (Cause::Created { links: crate::Links::new() }, "stale: it speaks of visit 0, this is visit 2"),
        (force("Ready", "New"), "the state is RebootRebooting, not Ready"),
        (force("RebootRebooting", "Nowhere"), "no state Nowhere in this machine"),
    ] {
        let before = board.instance.clone();
        let decision = board.take(cause);
        let Outcome::Ignored(why) = decision.outcome else { panic!("not ignored: {expected}") };
        assert_eq!(why.to_string(), expected);
        assert_eq!(board.instance, before);
        assert!(decision.effects.is_empty());
    }
    assert_eq!(board.take(Cause::Began { visit }).outcome, Outcome::Stayed);
    assert_eq!(board.take(Cause::Began { visit }).outcome, Outcome::Ignored(IgnoreReason::NotDue));
}

#[test]
fn a_forced_move_enters_even_the_same_state_and_frees_a_lost_instance() {
    let mut board = Board::new();
    board.go(&["rq-reboot"]).pass(60);
    let counters = board.instance.counters.clone();
    let here = board.instance.state.clone();
    let force = |expected: StateName, to: StateName| Cause::Force { expected, to, reason: String::new() };
    let decision = board.take(force(here.clone(), here.clone()));
    assert_eq!(decision.outcome, Outcome::Moved { from: here.clone(), to: here.clone() });
    assert!(matches!(
        &decision.effects[..],
        [Effect::Cancel { visit: Visit(3) }, Effect::Invoke { visit: Visit(4), .. }]
    ));
    assert_eq!(board.instance.counters, counters);

    let lost = StateName::new("OfAnotherVersion").unwrap();
    board.instance.state = lost.clone();
    for cause in [Cause::Began { visit: Visit(4) }, Cause::Deadline { visit: Visit(4) }] {
        let outcome = board.take(cause).outcome;
        assert_eq!(outcome, Outcome::Ignored(IgnoreReason::NoState { state: lost.clone() }));
    }
    board.force("New");
}
