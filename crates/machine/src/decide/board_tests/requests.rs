//! Reimaging, self-test, maintenance.

use serde_json::{Value, json};

use super::{Board, object};
use crate::testing::REPORTER;
use crate::{Effect, EventSource, IgnoreReason, Outcome};

#[test]
fn an_image_is_recorded_once_it_has_reported() {
    let mut board = Board::new();
    board.reimage().go(&["power-cycle-ok", "live-running"]);
    assert_eq!((board.datum("image"), board.datum("next_image")), (Value::Null, json!("debian")));
    board.go(&["image-installing", "image-installed", "clear-pxe-ok"]);
    assert_eq!((board.state(), board.datum("image")), ("ReimageComplete", Value::Null));
    board.go(&["image-running"]);
    let expected = object(json!({ "image": "debian", "boot_config": { "branch": "main" } }));
    assert_eq!((board.state(), &board.instance.data), ("Ready", &expected));
    assert!(board.instance.counters.is_empty());
    // The next image says nothing about the card until the card is being written; then its content is unknown.
    board.send("rq-reimage", EventSource::Operator, json!({ "image": "self-test" }));
    board.go(&["power-cycle-ok", "live-running"]);
    assert_eq!(board.datum("image"), json!("debian"));
    board.go(&["image-installing"]);
    assert_eq!((board.datum("image"), board.datum("boot_config")), (Value::Null, Value::Null));
}

#[test]
fn an_image_that_runs_before_its_link_is_gone_is_not_lost() {
    let mut board = Board::new();
    let path = ["power-cycle-ok", "live-running", "image-installing", "image-installed"];
    board.reimage().go(&path).go(&["image-running"]);
    assert_eq!(board.state(), "ReimageClearing");
    board.pass(60);
    board.go(&["clear-pxe-ok"]);
    assert_eq!(
        (board.state(), board.datum("image"), board.datum("is_running")),
        ("Ready", json!("debian"), Value::Null)
    );

    // A report from before a later power cycle says nothing about what boots after it.
    board.reimage().go(&path).go(&["image-running"]);
    board.force("FailedReimageClearing");
    board.reimage().go(&path).go(&["clear-pxe-ok"]);
    assert_eq!(board.state(), "ReimageComplete");
}

#[test]
fn a_bad_image_a_bad_board_and_other_faults_are_distinguished() {
    let path = ["power-cycle-ok", "live-running", "image-installing", "image-installed", "clear-pxe-ok"];
    for (state, length) in [("ReimageBooted", 2), ("ReimageInstalling", 3), ("ReimageComplete", 5)] {
        for (fault, expected) in
            [("image", "FailedBadImage"), ("board", "FailedBadBoard"), ("luck", "ReimageRebooting")]
        {
            let mut board = Board::new();
            board.reimage().go(&path[..length]);
            assert_eq!(board.state(), state);
            board.send("image-failed", REPORTER, json!({ "fault": fault, "reason": "because" }));
            assert_eq!((board.state(), board.datum("failure")), (expected, json!("because")));
        }
        let mut board = Board::new();
        board.reimage();
        for round in 0..=10 {
            board.go(&path[..length]);
            // Reports and deadlines share the limit.
            if round % 2 == 0 {
                board.send("image-failed", REPORTER, json!({ "fault": "network", "reason": "because" }));
            } else {
                board.pass(if state == "ReimageBooted" { 60 } else { 600 });
            }
            assert_eq!(
                board.state(),
                if round < 10 { "ReimageRebooting".to_owned() } else { format!("Failed{state}") }
            );
        }
        board.go(&["rq-reboot", "power-cycle-ok", "image-running"]);
        assert_eq!((board.state(), board.datum("failure")), ("Ready", Value::Null));
    }
}

#[test]
fn an_image_that_was_never_installed_is_never_recorded() {
    for request in ["rq-reimage", "rq-self-test", "rq-maintenance"] {
        let mut board = Board::new();
        board.send(request, EventSource::Operator, json!({ "image": "debian" }));
        board.send("set-pxe-failed", EventSource::Action, json!({ "reason": "not our file" }));
        assert!(board.state().starts_with("Failed"), "{}", board.state());
        assert_eq!(board.datum("failure"), json!("not our file"));
        board.go(&["rq-reboot", "power-cycle-ok", "image-running"]);
        assert_eq!((board.state(), board.instance.data.len()), ("Ready", 0));
    }
    let mut board = Board::new();
    board.force("ReimageComplete");
    board.go(&["image-running"]);
    assert_eq!((board.state(), board.datum("image")), ("Ready", Value::Null));
}

#[test]
fn the_verdict_of_a_self_test_decides_the_next_state() {
    let mut board = Board::new();
    board.go(&["rq-self-test"]);
    assert_eq!(board.datum("next_image"), json!("self-test"));
    board.go(&["power-cycle-ok", "self-test-running", "self-test-ok"]);
    assert_eq!((board.state(), board.instance.data.len()), ("New", 0));

    board.instance.data.insert("image".to_owned(), json!("debian"));
    board.go(&["rq-self-test", "power-cycle-ok", "self-test-running", "self-test-ok"]);
    assert_eq!(board.state(), "RebootRebooting");
    board.go(&["power-cycle-ok", "image-running"]);
    assert_eq!((board.state(), board.datum("image")), ("Ready", json!("debian")));

    board.go(&["rq-self-test", "power-cycle-ok", "self-test-running"]);
    board.send("self-test-failed", REPORTER, json!({ "reason": "bad card" }));
    assert_eq!((board.state(), board.datum("failure")), ("FailedSelfTest", json!("bad card")));

    board.go(&["rq-self-test", "power-cycle-ok", "self-test-running"]).pass(3600);
    assert_eq!(board.state(), "FailedSelfTest");
}

#[test]
fn maintenance_leaves_the_board_to_an_operator() {
    let mut board = Board::new();
    board.instance.data.insert("image".to_owned(), json!("debian"));
    board.go(&["rq-maintenance", "power-cycle-ok", "maintenance-running"]);
    assert_eq!(
        (board.state(), board.instance.deadline_at, board.instance.data.len()),
        ("Maintenance", None, 0)
    );
    board.send("rq-lock-out", EventSource::Operator, json!({ "reason": "a new card" }));
    for event in ["rq-reboot", "rq-cancel", "image-running"] {
        let source = if event == "image-running" { REPORTER } else { EventSource::Operator };
        assert!(matches!(
            board.send(event, source, json!({})).outcome,
            Outcome::Ignored(IgnoreReason::NotHandled { .. })
        ));
    }
    board.go(&["rq-unlock"]);
    assert_eq!((board.state(), board.instance.data.len()), ("New", 0));
}

#[test]
fn a_board_is_locked_out_whatever_it_does_until_it_is_unlocked() {
    let states: Vec<String> = Board::new().definition.states.keys().map(ToString::to_string).collect();
    for state in states.iter().filter(|state| *state != "ReimageDone") {
        let mut board = Board::new();
        board.force(state);
        let outcome = board.send("rq-lock-out", EventSource::Operator, json!({})).outcome;
        assert!(
            matches!(outcome, Outcome::Ignored(IgnoreReason::MissingArgument { .. })),
            "{state}: {outcome:?}"
        );
        board.send("rq-lock-out", EventSource::Operator, json!({ "reason": "it smells", "by": "ann" }));
        assert_eq!((board.state(), board.instance.deadline_at), ("LockedOut", None), "{state}");
        assert_eq!(
            (board.datum("lock_reason"), board.datum("locked_by")),
            (json!("it smells"), json!("ann"))
        );
        // The last reason is kept.
        board.send("rq-lock-out", EventSource::Operator, json!({ "reason": "it burns" }));
        assert_eq!((board.datum("lock_reason"), board.datum("locked_by")), (json!("it burns"), Value::Null));
        board.go(&["rq-unlock"]);
        assert_eq!((board.state(), board.instance.data.len()), ("New", 0), "{state}");
    }
}

#[test]
fn cancelled_work_leaves_no_boot_link() {
    let mut board = Board::new();
    board.instance.data.insert("image".to_owned(), json!("old"));
    board.reimage();
    let visit = board.instance.visit;
    let decision = board.send("rq-cancel", EventSource::Operator, json!({}));
    let [Effect::Cancel { visit: left }, Effect::Invoke { actions, .. }, Effect::Hold { units }] =
        &decision.effects[..]
    else {
        panic!("{:?}", decision.effects)
    };
    assert_eq!((*left, units.len(), actions[0].action.as_str()), (visit, 0, "clear-pxe"));
    assert_eq!((board.state(), board.datum("next_image")), ("Cancelling", json!("debian")));
    board.send("clear-pxe-failed", EventSource::Action, json!({ "reason": "read-only" }));
    board.pass(60);
    assert_eq!((board.state(), board.datum("failure")), ("Cancelling", json!("read-only")));
    board.go(&["clear-pxe-ok"]);
    assert_eq!((board.state(), &board.instance.data), ("New", &object(json!({ "image": "old" }))));
    assert!(board.instance.counters.is_empty());

    // A lock-out in the middle of it leaves none either, once it ends.
    board.reimage().send("rq-lock-out", EventSource::Operator, json!({ "reason": "wrong board" }));
    assert_eq!((board.state(), board.datum("next_image")), ("LockedOut", json!("debian")));
    board.go(&["rq-unlock", "clear-pxe-ok"]);
    assert_eq!((board.state(), board.datum("next_image")), ("New", Value::Null));
}

#[test]
fn the_last_failure_is_shown_until_it_is_resolved() {
    for request in ["rq-reboot", "rq-self-test", "rq-maintenance"] {
        let mut board = Board::new();
        board.go(&[request]);
        board.send("power-cycle-failed", EventSource::Action, json!({ "reason": "refused" }));
        board.pass(60);
        assert_eq!(board.datum("failure"), json!("refused"), "{request}");
        board.go(&["power-cycle-ok"]);
        assert_eq!(board.datum("failure"), Value::Null, "{request}");
    }
    // While a board is reimaged, a failed power cycle replaces the last failure, but only until the power
    // works again.
    let mut board = Board::new();
    board.reimage().go(&["power-cycle-ok"]);
    board.send("image-failed", REPORTER, json!({ "reason": "checksum" }));
    board.go(&["power-cycle-ok"]);
    assert_eq!((board.state(), board.datum("failure")), ("ReimageBooting", json!("checksum")));
    board.pass(180);
    board.send("power-cycle-failed", EventSource::Action, json!({ "reason": "refused" }));
    board.pass(60);
    assert_eq!((board.state(), board.datum("failure")), ("ReimageRebooting", json!("refused")));
    board.go(&["power-cycle-ok"]);
    assert_eq!((board.datum("failure"), board.datum("power_failed")), (Value::Null, Value::Null));
}

#[test]
fn requests_that_cycle_the_power_are_refused_for_a_board_without_power() {
    let images = ["debian", "self-test", "maintenance"];
    for request in ["rq-reboot", "rq-reimage", "rq-self-test", "rq-maintenance"] {
        for (power, is_taken) in [(false, false), (true, true)] {
            let mut board = Board::new();
            board.device = object(json!({ "images": images, "power": power }));
            let outcome = board.send(request, EventSource::Operator, json!({ "image": "debian" })).outcome;
            assert_eq!(matches!(outcome, Outcome::Moved { .. }), is_taken, "{request}: {outcome:?}");
            if let Outcome::Ignored(why) = outcome {
                assert_eq!(why.to_string(), "the board has no power URL, so its power cannot be cycled");
            }
        }
    }
}

#[test]
fn an_image_that_the_hardware_cannot_boot_is_refused() {
    let mut board = Board::new();
    board.device = object(json!({ "images": ["debian"] }));
    for (event, args) in [
        ("rq-reimage", json!({ "image": "other" })),
        ("rq-self-test", json!({})),
        ("rq-maintenance", json!({})),
    ] {
        let outcome = board.send(event, EventSource::Operator, args).outcome;
        assert!(matches!(outcome, Outcome::Ignored(IgnoreReason::Refused { .. })), "{event}: {outcome:?}");
    }
    let outcome = board.send("rq-reimage", EventSource::Operator, json!({})).outcome;
    assert!(matches!(outcome, Outcome::Ignored(IgnoreReason::MissingArgument { .. })), "{outcome:?}");
}
