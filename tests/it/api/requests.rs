use insta::assert_snapshot;
use serde_json::json;

use super::{contract, dump_tables, send};
use crate::world::{World, unreachable_power};

async fn with_images() -> World {
    let world = World::new().await;
    for (image, hardware) in [("base", "panda"), ("wide", "panda"), ("narrow", "beagle")] {
        let line = format!("PUT /api/v1/images/{image}");
        let body = json!({ "boot_configs": { hardware: format!("{image}.cfg") } });
        assert_eq!(send(&world, &line, body.to_string()).await.status, 201);
    }
    fs_err::write(world.folder.path().join("boot/configs/base.cfg"), "").unwrap();
    world.register("b1", unreachable_power(0)).await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_names_the_right_form() {
    let world = with_images().await;
    let before = dump_tables(&world).await;
    let requests = [
        ("POST /api/v1/devices/b1/requests/rq-reimage", r#"{"image": "narrow"}"#),
        ("POST /api/v1/devices/b1/requests/rq-reimage", r#"{"image": "none such"}"#),
        ("POST /api/v1/devices/b1/requests/rq-reimage", ""),
        ("POST /api/v1/devices/b1/requests/rq-reimage", r#"{"image": null}"#),
        ("POST /api/v1/devices/b1/requests/rq-reimage", r#"{"image": ["base"]}"#),
        ("POST /api/v1/devices/b1/requests/rq-reimage", r#"{"image": "base", "boot_config": "quiet"}"#),
        ("POST /api/v1/devices/b1/requests/rq-reimage", r#"{"image": "base"#),
        ("POST /api/v1/devices/b1/requests/rq-reimage", r#""base""#),
        ("POST /api/v1/devices/b1/requests/rq-self-test", ""),
        ("POST /api/v1/devices/b1/requests/reboot", ""),
        ("POST /api/v1/devices/b1/requests/image-running", ""),
        ("POST /api/v1/devices/b2/requests/rq-reboot", ""),
        ("GET /api/v1/devices/b1/requests/rq-reboot", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    POST /api/v1/devices/b1/requests/rq-reimage
    422 refused: rq-reimage: the image has no boot config for this board's hardware
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"hardware":"panda","images":["base","wide"],"state":"New"}

    POST /api/v1/devices/b1/requests/rq-reimage
    422 refused: rq-reimage: there is no image `none such`; known: base, narrow, wide
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"hardware":"panda","images":["base","wide"],"state":"New"}

    POST /api/v1/devices/b1/requests/rq-reimage
    422 refused: rq-reimage needs the argument `image`
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"hardware":"panda","images":["base","wide"],"state":"New"}

    POST /api/v1/devices/b1/requests/rq-reimage
    422 invalid: `image` must be the name of an image

    POST /api/v1/devices/b1/requests/rq-reimage
    422 invalid: `image` must be the name of an image

    POST /api/v1/devices/b1/requests/rq-reimage
    422 invalid: `boot_config` must be a JSON object

    POST /api/v1/devices/b1/requests/rq-reimage
    400 bad_json: the body is not JSON: EOF while parsing a string at line 1 column 15
    {"column":15,"line":1}

    POST /api/v1/devices/b1/requests/rq-reimage
    422 invalid: the body must be a JSON object, or empty

    POST /api/v1/devices/b1/requests/rq-self-test
    422 refused: rq-self-test: the self-test image has no boot config for this board's hardware
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"hardware":"panda","images":["base","wide"],"state":"New"}

    POST /api/v1/devices/b1/requests/reboot
    422 no_request: operators have no request "reboot"; did you mean `rq-reboot`?
    {"requests":["rq-cancel","rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test","rq-unlock"]}

    POST /api/v1/devices/b1/requests/image-running
    422 no_request: image-running is a board's event, not an operator's request: boards send it to …/events/image-running
    {"requests":["rq-cancel","rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test","rq-unlock"]}

    POST /api/v1/devices/b2/requests/rq-reboot
    404 no_device: there is no board "b2"

    GET /api/v1/devices/b1/requests/rq-reboot
    405 method_not_allowed: this path does not accept this method; `Allow` lists those that it accepts
    "#);
    assert_eq!(dump_tables(&world).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_not_allowed_in_the_state_is_a_conflict() {
    let world = with_images().await;
    let reimage = r#"{"image": "base", "boot_config": {"console": "ttyS0"}}"#;
    let requests = [
        ("POST /api/v1/devices/b1/requests/rq-reimage", reimage),
        ("POST /api/v1/devices/b1/requests/rq-reboot", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    POST /api/v1/devices/b1/requests/rq-reimage
    200 {"from":"New","outcome":"moved","to":"ReimageRebooting","visit":2}

    POST /api/v1/devices/b1/requests/rq-reboot
    409 not_accepted: state ReimageRebooting does not wait for rq-reboot; now it takes rq-cancel, rq-lock-out
    {"accepted":["rq-cancel","rq-lock-out"],"state":"ReimageRebooting"}
    "#);
    world.force("b1", "FailedReimageBooted").await;
    let requests = [
        ("POST /api/v1/devices/b1/requests/rq-reboot?ignored=1", "{\"who\": \"me\"}"),
        ("POST /api/v1/devices/b1/requests/rq-unlock", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    POST /api/v1/devices/b1/requests/rq-reboot?ignored=1
    200 {"from":"FailedReimageBooted","outcome":"moved","to":"RebootRebooting","visit":4}

    POST /api/v1/devices/b1/requests/rq-unlock
    409 not_accepted: state RebootRebooting does not wait for rq-unlock; now it takes rq-cancel, rq-lock-out
    {"accepted":["rq-cancel","rq-lock-out"],"state":"RebootRebooting"}
    "#);
    world.force("b1", "Maintenance").await;
    let requests = [
        ("POST /api/v1/devices/b1/requests/rq-lock-out", ""),
        ("POST /api/v1/devices/b1/requests/rq-lock-out", r#"{"reason": "it smells", "by": "ann"}"#),
        ("POST /api/v1/devices/b1/requests/rq-reboot", ""),
        ("POST /api/v1/devices/b1/requests/rq-unlock", ""),
        ("POST /api/v1/devices/b1/requests/rq-cancel", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    POST /api/v1/devices/b1/requests/rq-lock-out
    422 refused: rq-lock-out needs the argument `reason`
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"hardware":"panda","images":["base","wide"],"state":"Maintenance"}

    POST /api/v1/devices/b1/requests/rq-lock-out
    200 {"from":"Maintenance","outcome":"moved","to":"LockedOut","visit":6}

    POST /api/v1/devices/b1/requests/rq-reboot
    409 not_accepted: state LockedOut does not wait for rq-reboot; now it takes rq-lock-out, rq-unlock
    {"accepted":["rq-lock-out","rq-unlock"],"state":"LockedOut"}

    POST /api/v1/devices/b1/requests/rq-unlock
    200 {"from":"LockedOut","outcome":"moved","to":"New","visit":7}

    POST /api/v1/devices/b1/requests/rq-cancel
    409 not_accepted: state New does not wait for rq-cancel; now it takes rq-lock-out, rq-maintenance, rq-reboot, rq-reimage, rq-self-test
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"state":"New"}
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_cycle_power_are_refused_for_a_board_without_a_power_url() {
    let world = with_images().await;
    world.register("b2", json!({})).await;
    let requests = [
        ("POST /api/v1/devices/b2/requests/rq-reboot", ""),
        ("POST /api/v1/devices/b2/requests/rq-reimage", r#"{"image": "base"}"#),
        ("POST /api/v1/devices/b2/requests/rq-self-test", ""),
        ("POST /api/v1/devices/b2/requests/rq-maintenance", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    POST /api/v1/devices/b2/requests/rq-reboot
    422 refused: rq-reboot: the board has no power URL, so its power cannot be cycled
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"hardware":"panda","images":["base","wide"],"state":"New"}

    POST /api/v1/devices/b2/requests/rq-reimage
    422 refused: rq-reimage: the board has no power URL, so its power cannot be cycled
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"hardware":"panda","images":["base","wide"],"state":"New"}

    POST /api/v1/devices/b2/requests/rq-self-test
    422 refused: rq-self-test: the board has no power URL, so its power cannot be cycled
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"hardware":"panda","images":["base","wide"],"state":"New"}

    POST /api/v1/devices/b2/requests/rq-maintenance
    422 refused: rq-maintenance: the board has no power URL, so its power cannot be cycled
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"hardware":"panda","images":["base","wide"],"state":"New"}
    "#);
    assert_eq!(world.state("b2").await, "New");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_move_is_compared_and_set() {
    let world = with_images().await;
    let before = dump_tables(&world).await;
    let path = "POST /api/v1/devices/b1/force";
    let requests = [
        (path, r#"{"from": "Ready", "to": "LockedOut", "reason": "it smells"}"#),
        (path, r#"{"from": "Reday", "to": "LockedOut", "reason": "it smells"}"#),
        (path, r#"{"from": "New", "to": "LockdOut", "reason": "it smells"}"#),
        (path, r#"{"from": "New", "to": "Locked out", "reason": "it smells"}"#),
        (path, r#"{"from": "New", "to": "LockedOut", "reason": " \n"}"#),
        (path, r#"{"from": "New", "to": "LockedOut"}"#),
        (path, r#"{"from": "New", "to": "LockedOut", "reason": "it smells", "now": true}"#),
        (path, r#"{"from": "New", "to": "LockedOut", "reason": 3}"#),
        (path, r#"["New", "LockedOut", "it smells"]"#),
        (path, ""),
        ("POST /api/v1/devices/b2/force", r#"{"from": "New", "to": "LockedOut", "reason": "it smells"}"#),
    ];
    let answers = contract(&world, requests).await;
    assert_snapshot!(answers, @r#"
    POST /api/v1/devices/b1/force
    409 not_accepted: the state is New, not Ready
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"state":"New"}

    POST /api/v1/devices/b1/force
    422 no_state: no state Reday in this machine; did you mean `Ready`?
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"state":"New","states":["Cancelling","FailedBadBoard","FailedBadImage","FailedCancelling","FailedMaintenanceBooting","FailedMaintenanceRebooting","FailedRebootComplete","FailedRebootRebooting","FailedReimageBooted","FailedReimageBooting","FailedReimageClearing","FailedReimageComplete","FailedReimageInstalling","FailedReimageRebooting","FailedSelfTest","FailedSelfTestBooting","FailedSelfTestRebooting","LockedOut","Maintenance","MaintenanceBooting","MaintenanceRebooting","New","Ready","RebootComplete","RebootRebooting","ReimageBooted","ReimageBooting","ReimageClearing","ReimageComplete","ReimageDone","ReimageInstalling","ReimageRebooting","SelfTestBooting","SelfTestRebooting","SelfTestRunning"]}

    POST /api/v1/devices/b1/force
    422 no_state: no state LockdOut in this machine; did you mean `LockedOut`?
    {"accepted":["rq-lock-out","rq-maintenance","rq-reboot","rq-reimage","rq-self-test"],"state":"New","states":["Cancelling","FailedBadBoard","FailedBadImage","FailedCancelling","FailedMaintenanceBooting","FailedMaintenanceRebooting","FailedRebootComplete","FailedRebootRebooting","FailedReimageBooted","FailedReimageBooting","FailedReimageClearing","FailedReimageComplete","FailedReimageInstalling","FailedReimageRebooting","FailedSelfTest","FailedSelfTestBooting","FailedSelfTestRebooting","LockedOut","Maintenance","MaintenanceBooting","MaintenanceRebooting","New","Ready","RebootComplete","RebootRebooting","ReimageBooted","ReimageBooting","ReimageClearing","ReimageComplete","ReimageDone","ReimageInstalling","ReimageRebooting","SelfTestBooting","SelfTestRebooting","SelfTestRunning"]}

    POST /api/v1/devices/b1/force
    422 invalid: to: `Locked out` is not a name: a name is 1 to 64 letters, digits, `-` and `_`, and begins with a letter

    POST /api/v1/devices/b1/force
    422 invalid: `reason` must say why the move is forced

    POST /api/v1/devices/b1/force
    422 invalid: missing field `reason`

    POST /api/v1/devices/b1/force
    422 invalid: unknown field `now`, expected one of `from`, `to`, `reason`

    POST /api/v1/devices/b1/force
    422 invalid: reason: invalid type: number, expected a string

    POST /api/v1/devices/b1/force
    422 invalid: the body must be a JSON object

    POST /api/v1/devices/b1/force
    400 bad_json: the body is empty; a JSON object is needed

    POST /api/v1/devices/b2/force
    404 no_device: there is no board "b2"
    "#);
    assert_eq!(dump_tables(&world).await, before);

    let right = [(path, r#"{"from": "New", "to": "LockedOut", "reason": "it smells"}"#)];
    assert_snapshot!(contract(&world, right).await, @r#"
    POST /api/v1/devices/b1/force
    200 {"from":"New","outcome":"moved","to":"LockedOut","visit":2}
    "#);
    let last = world.history("b1").await.pop().unwrap();
    assert_eq!((&last["kind"], &last["reason"]), (&json!("force"), &json!("forced: it smells")));
}
