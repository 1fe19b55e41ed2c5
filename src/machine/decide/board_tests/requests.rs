//! Reimaging, self-test, maintenance.

use serde_json::{Value, json};

use super::{Board, object};
use crate::machine::{Ignored, Outcome, Source};

#[test]
fn an_image_is_recorded_when_it_has_been_seen_to_run() {
    let mut board = Board::new();
    board.reimage().go(&["power-cycle-ok", "live-running"]);
    assert_eq!((board.datum("image"), board.datum("next_image")), (Value::Null, json!("debian")));
    board.go(&["image-installing", "image-installed", "clear-pxe-ok"]);
    assert_eq!((board.state(), board.datum("image")), ("ReimageComplete", Value::Null));
    board.go(&["image-running"]);
    let expected = object(json!({ "image": "debian", "boot_config": { "branch": "main" } }));
    assert_eq!((board.state(), &board.instance.data), ("Ready", &expected));
    assert!(board.instance.counters.is_empty());
    // The next image is no claim about the card until it is being written, and then there is none.
    board.send("rq-reimage", Source::Operator, json!({ "image": "self-test" }));
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

    // A report from before a later power cycle says nothing of what boots after it.
    board.reimage().go(&path).go(&["image-running"]);
    board.force("FailedReimageClearing");
    board.reimage().go(&path).go(&["clear-pxe-ok"]);
    assert_eq!(board.state(), "ReimageComplete");
}

#[test]
fn a_failed_image_is_told_from_a_failed_board_and_from_bad_luck() {
    let path = ["power-cycle-ok", "live-running", "image-installing", "image-installed", "clear-pxe-ok"];
    for (state, length) in [("ReimageBooted", 2), ("ReimageInstalling", 3), ("ReimageComplete", 5)] {
        for (fault, expected) in
            [("image", "FailedBadImage"), ("board", "FailedBadBoard"), ("luck", "ReimageRebooting")]
        {
            let mut board = Board::new();
            board.reimage().go(&path[..length]);
            assert_eq!(board.state(), state);
            board.send("image-failed", Source::Board, json!({ "fault": fault, "reason": "because" }));
            assert_eq!((board.state(), board.datum("failure")), (expected, json!("because")));
        }
        let mut board = Board::new();
        board.reimage();
        for round in 0..=10 {
            board.go(&path[..length]);
            // Reports and deadlines share the limit.
            if round % 2 == 0 {
                board.send("image-failed", Source::Board, json!({ "fault": "network", "reason": "because" }));
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
        board.send(request, Source::Operator, json!({ "image": "debian" }));
        board.send("set-pxe-failed", Source::Action, json!({ "reason": "not our file" }));
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
fn a_self_test_ends_where_the_board_earns_it() {
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
    board.send("self-test-failed", Source::Board, json!({ "reason": "bad card" }));
    assert_eq!((board.state(), board.datum("failure")), ("FailedSelfTest", json!("bad card")));

    board.go(&["rq-self-test", "power-cycle-ok", "self-test-running"]).pass(3600);
    assert_eq!(board.state(), "FailedSelfTest");
}

#[test]
fn maintenance_leaves_the_board_to_a_person() {
    let mut board = Board::new();
    board.instance.data.insert("image".to_owned(), json!("debian"));
    board.go(&["rq-maintenance", "power-cycle-ok", "maintenance-running"]);
    assert_eq!(
        (board.state(), board.instance.deadline_at, board.instance.data.len()),
        ("Maintenance", None, 0)
    );
    board.go(&["rq-lock-out"]);
    for event in ["rq-reboot", "rq-lock-out", "image-running"] {
        let source = if event == "image-running" { Source::Board } else { Source::Operator };
        assert!(matches!(
            board.send(event, source, json!({})).outcome,
            Outcome::Ignored(Ignored::NotHandled { .. })
        ));
    }
    board.force("New");
}

#[test]
fn what_the_boards_hardware_cannot_boot_is_refused() {
    let mut board = Board::new();
    board.device = object(json!({ "images": ["debian"] }));
    for (event, args) in [
        ("rq-reimage", json!({ "image": "other" })),
        ("rq-self-test", json!({})),
        ("rq-maintenance", json!({})),
    ] {
        let outcome = board.send(event, Source::Operator, args).outcome;
        assert!(matches!(outcome, Outcome::Ignored(Ignored::Refused { .. })), "{event}: {outcome:?}");
    }
    let outcome = board.send("rq-reimage", Source::Operator, json!({})).outcome;
    assert!(matches!(outcome, Outcome::Ignored(Ignored::MissingArgument { .. })), "{outcome:?}");
}
