//! Tests of reimaging, self-test, maintenance and forced moves, with reports sent by the test.

use std::path::Path;

use lifeguard::store::Store;
use reqwest::Method;
use serde_json::{Value, json};

use crate::rack::Rack;
use crate::replay::assert_history_gives_instances;
use crate::world::World;

/// A board on its own relay board, with the images that it needs.
async fn board() -> (World, Rack) {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    for image in ["linux", "self-test", "maintenance"] {
        world.image(image).await;
    }
    world.register("b1", rack.power_facts(0)).await;
    (world, rack)
}

async fn ask_for(world: &World, request: &str, args: Value) {
    let (status, answer) = world.request("b1", request, args).await;
    assert_eq!(status, 200, "{answer}");
}

async fn until_booting(world: &World, state: &str) -> Value {
    world.pass_time_until("b1", state, |device| device["state"] == state).await
}

async fn report(world: &World, event: &str, to: &str) {
    let (_, answer) = world.report("b1", event).await;
    assert_eq!((&answer["outcome"], &answer["to"]), (&json!("moved"), &json!(to)), "{event}: {answer}");
}

async fn data(world: &World) -> Value {
    world.get("/api/v1/devices/b1").await["data"].clone()
}

fn target(link: &Path) -> String {
    fs_err::read_link(link).unwrap().display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reimage_ends_in_ready_with_the_new_image_recorded() {
    let (world, rack) = board().await;
    let link = world.link("b1").await;
    let config = json!({ "root": "sda1" });
    ask_for(&world, "rq-reimage", json!({ "image": "linux", "boot_config": config })).await;
    let device = until_booting(&world, "ReimageBooting").await;
    assert_eq!(target(&link), "../configs/linux");
    assert_eq!((&device["image"], &device["next_image"]), (&Value::Null, &json!("linux")));
    let arguments = world.get("/api/v1/devices/b1/boot-config").await;
    assert_eq!((&arguments["next_image"], &arguments["next_boot_config"]), (&json!("linux"), &config));

    report(&world, "live-running", "ReimageBooted").await;
    report(&world, "image-installing", "ReimageInstalling").await;
    report(&world, "image-installed", "ReimageClearing").await;
    world.until_state("b1", "ReimageComplete").await;
    assert!(!link.is_symlink(), "the board boots from its card now");
    report(&world, "image-running", "Ready").await;
    assert_eq!(data(&world).await, json!({ "image": "linux", "boot_config": config }));
    assert_eq!(rack.switched(1), [(0, false), (0, true)]);

    // A reboot keeps the card's image; a new installation clears it once the card is written.
    ask_for(&world, "rq-reboot", json!({})).await;
    assert_eq!(data(&world).await["image"], "linux");
    world.force("b1", "ReimageBooted").await;
    report(&world, "image-installing", "ReimageInstalling").await;
    assert_eq!(data(&world).await, json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_runs_before_its_link_is_cleared_need_not_report_again() {
    let (world, _rack) = board().await;
    // The directory of links is a file: links can be neither found nor removed.
    let links = world.server.boot_root.join("pxelinux.cfg");
    fs_err::remove_dir_all(&links).unwrap();
    fs_err::write(&links, "").unwrap();
    world.force("b1", "ReimageClearing").await;
    let (_, answer) = world.report("b1", "image-running").await;
    assert_eq!((&answer["outcome"], &answer["state"]), (&json!("stayed"), &json!("ReimageClearing")));
    world.until("b1", "clearing failed", |device| device["actions"] == json!([])).await;
    fs_err::remove_file(&links).unwrap();
    fs_err::create_dir(&links).unwrap();
    world.pass_deadline("b1").await;
    world.until_state("b1", "Ready").await;
    assert_eq!(data(&world).await.get("is_running"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_installation_distinguishes_image_board_and_temporary_faults() {
    let (world, _rack) = board().await;
    for state in ["ReimageBooted", "ReimageInstalling", "ReimageComplete"] {
        for (fault, to) in [("image", "FailedBadImage"), ("board", "FailedBadBoard")] {
            world.force("b1", state).await;
            let args = json!({ "reason": "it smokes", "fault": fault });
            assert_eq!(world.report_with("b1", "image-failed", args).await["to"], to);
            assert_eq!(data(&world).await["failure"], "it smokes");
        }
        // A temporary fault is retried ten times.
        ask_for(&world, "rq-reimage", json!({ "image": "linux" })).await;
        for time in 1..=11 {
            world.force("b1", state).await;
            let answer = world.report_with("b1", "image-failed", json!({ "reason": "no luck" })).await;
            let to = if time <= 10 { "ReimageRebooting".to_owned() } else { format!("Failed{state}") };
            assert_eq!(answer["to"], to, "time {time} in {state}");
            let device = world.get("/api/v1/devices/b1").await;
            assert_eq!(device["counters"], json!({ state: time }));
        }
    }
    let (status, _) = world.report("b1", "image-failed").await;
    assert_eq!(status, 422, "a failure without a reason");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_link_that_cannot_be_set_fails_the_board_with_the_reason_and_its_power_is_left_alone() {
    let (world, rack) = board().await;
    fs_err::remove_file(world.server.boot_root.join("configs/linux")).unwrap();
    ask_for(&world, "rq-reimage", json!({ "image": "linux" })).await;
    let device = world.until_state("b1", "FailedReimageRebooting").await;
    assert_eq!(device["data"]["failure"], "no boot config `linux` in the `configs` folder of the boot tree");
    assert_eq!((&device["actions"], rack.switched(1)), (&json!([]), vec![]));

    let (status, answer) = world.request("b1", "rq-reimage", json!({ "image": "bsd" })).await;
    assert_eq!((status.as_u16(), &answer["code"]), (422, &json!("refused")));
    assert_eq!(answer["images"], json!(["linux", "maintenance", "self-test"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_of_a_reimage_has_a_timeout_a_limit_and_a_failed_state() {
    let (world, _rack) = board().await;
    ask_for(&world, "rq-reimage", json!({ "image": "linux" })).await;
    for (state, seconds, limit, again, failed) in [
        ("ReimageBooting", 180, 30, "ReimageRebooting", "FailedReimageBooting"),
        ("ReimageBooted", 60, 10, "ReimageRebooting", "FailedReimageBooted"),
        ("ReimageInstalling", 600, 10, "ReimageRebooting", "FailedReimageInstalling"),
        ("ReimageComplete", 600, 10, "ReimageRebooting", "FailedReimageComplete"),
        ("SelfTestBooting", 180, 30, "SelfTestRebooting", "FailedSelfTestBooting"),
        ("MaintenanceBooting", 180, 30, "MaintenanceRebooting", "FailedMaintenanceBooting"),
    ] {
        let pool = world.database.pool().await;
        for (counted, to) in [(limit - 1, again), (limit, failed)] {
            sqlx::query("UPDATE instance SET counters = $1")
                .bind(json!({ state: counted }))
                .execute(&pool)
                .await
                .unwrap();
            world.force("b1", state).await;
            let device = world.get("/api/v1/devices/b1").await;
            let at =
                |key: &str| device[key].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
            assert_eq!((at("deadline") - at("since")).num_seconds(), seconds, "{state}");
            assert_eq!(
                (&device["on_deadline"]["to"], device["on_deadline"]["max_retries"].as_i64()),
                (&json!(to), Some(limit))
            );
            world.pass_deadline("b1").await;
            let device = world.get("/api/v1/devices/b1").await;
            assert_eq!(device["state"], to, "after {counted} in {state}");
            assert_eq!(device["counters"][state], counted + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_test_ends_with_its_verdict() {
    let (world, _rack) = board().await;
    let link = world.link("b1").await;
    ask_for(&world, "rq-self-test", json!({})).await;
    until_booting(&world, "SelfTestBooting").await;
    assert_eq!(target(&link), "../configs/self-test");
    report(&world, "self-test-running", "SelfTestRunning").await;
    world.until("b1", "the link is gone", |device| device["actions"] == json!([])).await;
    assert!(!link.is_symlink());
    report(&world, "self-test-ok", "New").await;

    world.force("b1", "SelfTestRunning").await;
    let answer = world.report_with("b1", "self-test-failed", json!({ "reason": "bit 7 is stuck" })).await;
    assert_eq!(
        (&answer["to"], &data(&world).await["failure"]),
        (&json!("FailedSelfTest"), &json!("bit 7 is stuck"))
    );
    world.force("b1", "SelfTestRunning").await;
    world.pass_deadline("b1").await;
    assert_eq!(world.state("b1").await, "FailedSelfTest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_keeps_the_link_and_clears_the_card_s_image() {
    let (world, _rack) = board().await;
    let link = world.link("b1").await;
    world.force("b1", "ReimageDone").await;
    ask_for(&world, "rq-maintenance", json!({})).await;
    until_booting(&world, "MaintenanceBooting").await;
    report(&world, "maintenance-running", "Maintenance").await;
    assert_eq!((target(&link), data(&world).await), ("../configs/maintenance".to_owned(), json!({})));
    let device = world.get("/api/v1/devices/b1").await;
    assert_eq!((&device["deadline"], &device["actions"]), (&Value::Null, &json!([])));
    ask_for(&world, "rq-reboot", json!({})).await;
    until_booting(&world, "RebootComplete").await;
    assert!(!link.is_symlink());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_out_board_is_left_alone_until_it_is_unlocked_or_moved_by_force() {
    let (world, rack) = board().await;
    ask_for(&world, "rq-lock-out", json!({ "reason": "it smells", "by": "ann" })).await;
    let accepted = json!(["rq-lock-out", "rq-unlock"]);
    for request in ["rq-reboot", "rq-reimage", "rq-self-test", "rq-maintenance", "rq-cancel"] {
        let (status, answer) = world.request("b1", request, json!({ "image": "linux" })).await;
        assert_eq!((status.as_u16(), &answer["accepted"]), (409, &accepted), "{request}: {answer}");
    }
    for event in ["image-running", "live-running", "image-installed", "self-test-ok", "maintenance-running"] {
        assert_eq!(world.report("b1", event).await.1["outcome"], "ignored", "{event}");
    }
    let device = world.get("/api/v1/devices/b1").await;
    assert_eq!((&device["state"], &device["visit"]), (&json!("LockedOut"), &json!(2)));

    let force = |from: &str, to: &str| json!({ "from": from, "to": to, "reason": "it is repaired" });
    let path = "/api/v1/devices/b1/force";
    let (status, answer) = world.call(Method::POST, path, Some(force("New", "Ready"))).await;
    assert_eq!((status.as_u16(), &answer["state"]), (409, &json!("LockedOut")), "{answer}");
    let refused = world.history("b1").await.pop().unwrap();
    assert_eq!(refused["reason"], "the state is LockedOut, not New; forced: it is repaired");
    let (status, _) = world.call(Method::POST, path, Some(force("LockedOut", "Nowhere"))).await;
    assert_eq!(status, 422);
    let (status, answer) = world.call(Method::POST, path, Some(force("LockedOut", "New"))).await;
    assert_eq!((status.as_u16(), &answer["to"]), (200, &json!("New")));
    let history = world.history("b1").await;
    assert_eq!(history.last().unwrap()["reason"], "forced: it is repaired");
    ask_for(&world, "rq-lock-out", json!({ "reason": "it smells" })).await;
    ask_for(&world, "rq-unlock", json!({})).await;
    assert_eq!(world.state("b1").await, "New");
    assert_eq!(rack.switched(1), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_cancelled_or_locked_out_during_a_power_cycle_end_with_power_and_without_a_boot_link() {
    let world = World::new().await;
    let rack = Rack::new(&world, 2);
    world.image("linux").await;
    for (coil, name, request) in [(0, "b1", "rq-cancel"), (1, "b2", "rq-lock-out")] {
        world.register(name, rack.slow_power_facts(coil)).await;
        let (status, answer) = world.request(name, "rq-reimage", json!({ "image": "linux" })).await;
        assert_eq!(status, 200, "{answer}");
        rack.until(coil, false).await;
        assert!(world.link(name).await.is_symlink());
        let (status, answer) = world.request(name, request, json!({ "reason": "wrong board" })).await;
        assert_eq!(status, 200, "{answer}");
        rack.until(coil, true).await;
    }
    let is_clean = |device: &Value| device["state"] == "New" && device["next_image"] == Value::Null;
    let is_idle = |device: &Value| is_clean(device) && device["actions"] == json!([]);
    world.pass_time_until("b1", "cancelled", is_idle).await;
    assert!(!world.link("b1").await.is_symlink());
    let locked = world.get("/api/v1/devices/b2").await;
    assert_eq!(
        (&locked["state"], &locked["data"]["lock_reason"]),
        (&json!("LockedOut"), &json!("wrong board"))
    );
    assert!(world.link("b2").await.is_symlink(), "nothing is touched meanwhile");
    assert_eq!(world.request("b2", "rq-unlock", json!({})).await.0, 200);
    world.pass_time_until("b2", "unlocked", is_clean).await;
    assert!(!world.link("b2").await.is_symlink());
    assert_eq!(rack.switched(2), [(0, false), (0, true), (1, false), (1, true)]);
    assert_history_gives_instances(&Store::open(world.database.connect_options()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_of_another_visit_are_recorded_and_change_nothing() {
    let (world, _rack) = board().await;
    world.force("b1", "RebootComplete").await;
    world.pass_deadline("b1").await;
    world.force("b1", "RebootComplete").await;
    let before = world.get("/api/v1/devices/b1").await;
    let visit = before["visit"].as_i64().unwrap();
    for (spoken, why) in [
        (2, format!("stale: it speaks of visit 2, this is visit {visit}")),
        (visit + 1, format!("it speaks of visit {}, but this is only visit {visit}", visit + 1)),
    ] {
        let answer = world.report_with("b1", &format!("image-running?visit={spoken}"), json!({})).await;
        assert_eq!((&answer["outcome"], &answer["reason"]), (&json!("ignored"), &json!(why)));
        let entry = world.history("b1").await.pop().unwrap();
        assert_eq!((&entry["event"], &entry["outcome"]), (&json!("image-running"), &json!("ignored")));
        assert_eq!(entry["reason"], why);
        let after = world.get("/api/v1/devices/b1").await;
        let kept = |key: &str| before[key] == after[key];
        assert!(
            ["state", "visit", "since", "deadline", "counters", "data"].into_iter().all(kept),
            "{after:#}"
        );
    }
    let answer = world.report_with("b1", &format!("image-running?visit={visit}"), json!({})).await;
    assert_eq!(answer["to"], "Ready");
}
