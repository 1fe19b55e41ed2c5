//! Tests of power by hand: over HTTP, at simulated relay boards that take one client at a time.

use lifeguard::farm::relay::RelayBehaviour;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cli;
use crate::rack::Rack;
use crate::world::{World, pass_time_during, wait_until};

/// Asks for an operation, while time goes by; returns the status and the answer.
async fn power(world: &World, body: Value) -> (StatusCode, Value) {
    post(world, "/api/v1/power", body).await
}

async fn post(world: &World, path: &str, body: Value) -> (StatusCode, Value) {
    // A relay board that still closes a connection refuses the next one, which is tried again later.
    pass_time_during("an answer", &world.clock, world.call(Method::POST, path, Some(body))).await
}

/// Runs a command of the CLI at the world's server.
async fn command(world: &World, args: &[&str]) -> cli::CommandOutput {
    let mut command = cli::lifeguard(args);
    command.env("LIFEGUARD_SERVER", format!("http://{}", world.server.http));
    cli::run(command).await
}

/// The power URL of a coil, spelled in another way than in a board's facts.
fn url(rack: &Rack, coil: u16) -> String {
    format!("MODBUS://127.0.0.1:{}/0{coil}?unit=1&off=50ms", rack.relay.addr().port())
}

/// The history of an outlet, the oldest entry first.
async fn outlet_history(world: &World, answer: &Value) -> Vec<Value> {
    let instance = answer["instance"].as_str().unwrap();
    let history = world.get(&format!("/api/v1/machines/outlet/{instance}/history")).await;
    history["history"].as_array().unwrap().iter().rev().cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outlet_is_read_by_its_url_and_by_its_board_and_nothing_is_switched() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    world.register("b1", rack.power_facts(1)).await;
    let by_url = json!({ "operation": "status", "url": url(&rack, 1) });
    let by_board = json!({ "operation": "status", "board": "b1" });
    for (state, body) in [("on", by_url.clone()), ("off", by_board), ("off", by_url)] {
        rack.relay.switch(1, state == "on");
        let (status, answer) = power(&world, body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!((&answer["outcome"], &answer["observed"]), (&json!("ok"), &json!(state)), "{answer}");
        assert_eq!((&answer["boards"], &answer["resource"]), (&json!(["b1"]), &json!(rack.resource())));
        assert!(answer["took_s"].is_f64() && answer["queued_s"].is_f64(), "{answer}");
        assert_eq!(answer["evidence"]["coil"], 1);
        let instance =
            world.get(&format!("/api/v1/machines/outlet/{}", answer["instance"].as_str().unwrap())).await;
        assert_eq!(instance["state"], "Idle");
    }
    let listed = world.get("/api/v1/machines/outlet/instances").await;
    assert_eq!(listed["instances"].as_array().unwrap().len(), 1, "one outlet is one instance: {listed}");
    let (_, tested) = power(&world, json!({ "operation": "test", "board": "b1" })).await;
    let capabilities = json!({
        "readback": "alone", "cycle_timed_by": "server", "off_s": 0.05, "one_client": true, "rest_s": 0.0,
        "effect_s": 0.0,
    });
    assert_eq!((&tested["observed"], &tested["capabilities"]), (&json!("off"), &capabilities), "{tested}");
    let history = outlet_history(&world, &tested).await;
    let asked = history.iter().find(|entry| entry["event"] == "rq-test").unwrap();
    assert!(asked["sender"].is_string(), "{asked}");
    let read = history.iter().rfind(|entry| entry["event"] == "power-read-ok").unwrap();
    assert_eq!(read["evidence"]["observed"], "off");
    assert!(rack.relay.writes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_out_board_is_switched_and_its_history_says_who_did_it() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    world.register("b1", rack.power_facts(0)).await;
    world.request("b1", "rq-lock-out", json!({ "reason": "fan" })).await;
    for (operation, on) in [("off", false), ("on", true), ("off", false)] {
        let (status, answer) = power(&world, json!({ "operation": operation, "board": "b1" })).await;
        assert_eq!((status, &answer["observed"]), (StatusCode::OK, &json!(operation)), "{answer}");
        assert_eq!(rack.is_on(0), on);
    }
    let (status, answer) = power(&world, json!({ "operation": "cycle", "url": url(&rack, 0) })).await;
    assert_eq!((status, &answer["observed"]), (StatusCode::OK, &json!("on")), "{answer}");
    assert_eq!(rack.switched(8), [(0, false), (0, true), (0, false), (0, true)]);
    let history = world.history("b1").await;
    let notes: Vec<&Value> = history.iter().filter(|entry| entry["event"] == "power-by-hand").collect();
    let operations: Vec<&Value> = notes.iter().map(|note| &note["evidence"]["operation"]).collect();
    assert_eq!(operations, ["off", "on", "off", "cycle"]);
    assert!(notes.iter().all(|note| note["sender"].is_string() && note["evidence"]["forced"] == false));
    assert_eq!(world.state("b1").await, "LockedOut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_of_a_board_that_is_looked_after_is_switched_by_force_only() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    world.register("b1", rack.power_facts(0)).await;
    for state in ["New", "FailedRebootComplete", "RebootComplete", "Ready"] {
        if state != "New" {
            world.force("b1", state).await;
        }
        for operation in ["on", "off", "cycle"] {
            for target in [json!({ "board": "b1" }), json!({ "url": url(&rack, 0) })] {
                let mut body = target;
                body["operation"] = json!(operation);
                let (status, answer) = power(&world, body).await;
                assert_eq!(status, 409, "{state}: {answer}");
                let refusal = (&answer["code"], &answer["board"], &answer["state"]);
                assert_eq!(refusal, (&json!("looked_after"), &json!("b1"), &json!(state)), "{answer}");
                let detail = answer["detail"].as_str().unwrap();
                assert!(detail.contains("lifeguard device lock-out b1") && detail.contains("--force"));
            }
        }
        let (status, _) = power(&world, json!({ "operation": "status", "board": "b1" })).await;
        assert_eq!(status, 200, "reading is always allowed");
    }
    assert!(rack.relay.writes().is_empty());
    let (status, answer) =
        power(&world, json!({ "operation": "off", "url": url(&rack, 0), "force": true })).await;
    assert_eq!((status, &answer["observed"]), (StatusCode::OK, &json!("off")), "{answer}");
    assert!(!rack.is_on(0));
    let history = world.history("b1").await;
    let note = history.iter().rfind(|entry| entry["event"] == "power-by-hand").unwrap();
    assert!(note["sender"].is_string(), "{note}");
    assert_eq!(
        (&note["evidence"]["forced"], &note["reason"]),
        (&json!(true), &json!("power off by hand, forced"))
    );
    let history = outlet_history(&world, &answer).await;
    let asked = history.iter().find(|entry| entry["event"] == "rq-off").unwrap();
    assert_eq!((&asked["args"]["force"], &asked["args"]["boards"]), (&json!(true), &json!(["b1"])));
    // Nobody looks after an outlet without a board.
    let (status, _) = power(&world, json!({ "operation": "off", "url": url(&rack, 7) })).await;
    assert_eq!((status.as_u16(), rack.is_on(7)), (200, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_waits_for_the_relay_board_like_the_actions_of_boards() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    world.register("b1", rack.slow_power_facts(0)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;
    let connections = rack.relay.connections();
    let (status, answer) =
        power(&world, json!({ "operation": "off", "url": url(&rack, 3), "timeout_s": 1 })).await;
    assert_eq!((status, &answer["outcome"]), (StatusCode::ACCEPTED, &json!("pending")), "{answer}");
    assert_eq!(answer["action"], "queued", "{answer}");
    let why = world.get(answer["see"].as_str().unwrap()).await;
    assert_eq!(why["actions"][0]["resource"], rack.resource());
    let (status, busy) = power(&world, json!({ "operation": "status", "url": url(&rack, 3) })).await;
    assert_eq!((status, &busy["code"]), (StatusCode::CONFLICT, &json!("outlet_busy")), "{busy}");
    assert_eq!(rack.relay.connections(), connections, "no second client connects");
    assert!(rack.is_on(3));
    let path = format!("/api/v1/machines/outlet/{}", answer["instance"].as_str().unwrap());
    world.pass_time_until("b1", "it is rebooted", |device| device["state"] == "RebootComplete").await;
    wait_until("the operation has ended", async || world.get(&path).await["state"] == "Idle").await;
    assert_eq!(rack.switched(8), [(0, false), (0, true), (3, false)]);
    let (_, status) = power(&world, json!({ "operation": "status", "url": url(&rack, 3) })).await;
    assert_eq!(status["observed"], "off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_a_problem_with_what_was_read_and_a_local_fault_leaves_nothing_behind() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    let (status, answer) = power(&world, json!({ "operation": "off", "url": url(&rack, 9) })).await;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_GATEWAY, &json!("power_failed")), "{answer}");
    assert_eq!((&answer["fault"], &answer["observed"]), (&json!("configuration"), &json!("unknown")));
    assert!(answer["detail"].as_str().unwrap().contains("no coil 9"), "{answer}");
    let nowhere = json!({ "operation": "on", "url": "modbus://relay.invalid/1" });
    let (status, answer) = power(&world, nowhere).await;
    assert_eq!((status, &answer["fault"]), (StatusCode::BAD_GATEWAY, &json!("server")), "{answer}");
    let path = format!("/api/v1/machines/outlet/{}/why", answer["instance"].as_str().unwrap());
    wait_until("nothing is left", async || {
        let outlet = world.get(&path).await;
        (&outlet["state"], &outlet["actions"]) == (&json!("Idle"), &json!([]))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_shows_its_power_as_it_was_last_observed_and_an_unknown_one_causes_nothing() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    world.register("b1", rack.power_facts(0)).await;
    let observed = async || world.get("/api/v1/devices/b1").await["observed_power"].clone();
    let shows = async |state: &str, source: &str, words: &str| {
        let power = observed().await;
        assert_eq!((&power["state"], &power["source"]), (&json!(state), &json!(source)), "{power}");
        assert!(power["at"].is_string() && power["words"].as_str().unwrap().contains(words), "{power}");
        let why = world.get("/api/v1/devices/b1/why").await;
        let is_told =
            |sentence: &Value| sentence.as_str().unwrap().starts_with(&format!("Power: {state}, at"));
        assert!(why["sentences"].as_array().unwrap().iter().any(is_told), "{why}");
        assert_eq!(why["observed_power"], power);
        let page = reqwest::get(format!("http://{}/devices/b1", world.server.http)).await.unwrap();
        assert!(page.text().await.unwrap().contains(&format!("<p>Power: {state}, at")), "{state}");
    };
    let never =
        json!({ "state": "unknown", "at": null, "source": null, "words": "no observation in its history" });
    assert_eq!(observed().await, never);
    let status = json!({ "operation": "status", "board": "b1" });
    assert_eq!(power(&world, status.clone()).await.0, 200);
    shows("on", "by-hand", "power-read by hand").await;
    world.request("b1", "rq-lock-out", json!({ "reason": "fan" })).await;
    power(&world, json!({ "operation": "off", "url": url(&rack, 0) })).await;
    shows("off", "by-hand", "power-off by hand").await;
    world.request("b1", "rq-unlock", json!({})).await;
    world.request("b1", "rq-reboot", json!({})).await;
    world.pass_time_until("b1", "it is rebooted", |device| device["state"] == "RebootComplete").await;
    shows("on", "action", "read at the outlet, by power-cycle").await;
    world.report("b1", "image-running").await;
    shows("on", "board", "the board reported image-running").await;

    rack.relay.set_behaviour(RelayBehaviour::Refusing);
    let (visit, orders) = (world.get("/api/v1/devices/b1").await["visit"].clone(), rack.relay.writes().len());
    assert_eq!(power(&world, status).await.0, 502);
    shows("unknown", "by-hand", "power-read by hand failed: ").await;
    let board = world.get("/api/v1/devices/b1").await;
    assert_eq!((&board["state"], &board["visit"]), (&json!("Ready"), &visit), "{board}");
    assert_eq!(rack.relay.writes().len(), orders, "nothing is switched because of it");
    // What was read elsewhere says nothing about another outlet; that the board reported still does.
    let other = json!({ "power_url": rack.power_facts(1)["power_url"] });
    assert_eq!(world.call(Method::PATCH, "/api/v1/devices/b1", Some(other)).await.0, 200);
    shows("on", "board", "the board reported image-running").await;
    world.register("b2", json!({})).await;
    assert_eq!(world.get("/api/v1/devices/b2").await["observed_power"], Value::Null);
    // What was read before a board was registered there was read for another board.
    world.clock.advance(std::time::Duration::from_secs(1));
    world.register("b3", rack.power_facts(0)).await;
    assert_eq!(world.get("/api/v1/devices/b3").await["observed_power"], never);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_lives_while_its_outlet_reads_off_is_a_warning_wherever_its_power_is_shown() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    let inverted = json!({ "power_url": format!("{}/0?off=50ms&invert=true", rack.resource()) });
    world.register("b1", inverted.clone()).await;
    let status = json!({ "operation": "status", "board": "b1" });
    let (_, silent) = power(&world, status.clone()).await;
    assert_eq!((&silent["observed"], &silent["warnings"]), (&json!("off"), &Value::Null), "{silent}");
    world.force("b1", "RebootComplete").await;
    world.report("b1", "image-running").await;
    let (_, read) = power(&world, status.clone()).await;
    let warning = read["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("although the board reported image-running at ")
            && warning.contains("`invert` may be"),
        "{read}"
    );
    assert_eq!(read["warnings"].as_array().unwrap().len(), 1);
    let board = world.get("/api/v1/devices/b1").await;
    assert_eq!(board["observed_power"]["warning"], warning, "{board}");
    let why = world.get("/api/v1/devices/b1/why").await;
    let is_told = |sentence: &Value| sentence.as_str().unwrap().contains(warning);
    assert!(why["sentences"].as_array().unwrap().iter().any(is_told), "{why}");
    let shown = command(&world, &["device", "show", "b1"]).await.out;
    assert!(shown.contains("`invert` may be missing"), "{shown}");
    // Readings by the old URL say nothing about the new one, also those by hand.
    let right = json!({ "power_url": rack.power_facts(0)["power_url"] });
    let (status_code, changed) = world.call(Method::PATCH, "/api/v1/devices/b1", Some(right)).await;
    assert_eq!((status_code.as_u16(), &changed["warnings"]), (200, &Value::Null), "{changed}");
    let power_now = &changed["observed_power"];
    assert_eq!((&power_now["source"], &power_now["warning"]), (&json!("board"), &Value::Null), "{changed}");
    assert!(power_now["url_changed_at"].is_string(), "{changed}");
    let (_, read) = power(&world, status).await;
    assert_eq!((&read["observed"], &read["warnings"]), (&json!("on"), &Value::Null), "{read}");
    assert!(rack.relay.writes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_board_says_that_its_power_url_was_changed_since_and_history_has_the_new_one() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    world.register("b1", json!({ "power_url": format!("{}/9?off=50ms", rack.resource()) })).await;
    world.request("b1", "rq-reboot", json!({})).await;
    world.until_state("b1", "FailedRebootRebooting").await;
    let says = async || {
        let why = world.get("/api/v1/devices/b1/why").await;
        why["sentences"].to_string().contains("Its power URL was changed at")
    };
    assert!(!says().await);
    world.clock.advance(std::time::Duration::from_secs(5));
    let url = rack.power_facts(1)["power_url"].as_str().unwrap().to_owned();
    let change = json!({ "power_url": url });
    assert_eq!(world.call(Method::PATCH, "/api/v1/devices/b1", Some(change)).await.0, 200);
    assert!(says().await);
    let history = command(&world, &["device", "history", "b1"]).await.out;
    assert!(history.contains(&format!("power_url {url}")), "{history}");
    world.request("b1", "rq-reboot", json!({})).await;
    world.pass_time_until("b1", "it is rebooted", |device| device["state"] == "RebootComplete").await;
    assert!(!says().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_unlocks_a_board_whose_outlet_is_off_is_told_so() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    for (coil, name) in (0..).zip(["b1", "b2"]) {
        world.register(name, rack.power_facts(coil)).await;
        world.request(name, "rq-lock-out", json!({ "reason": "fan" })).await;
    }
    power(&world, json!({ "operation": "off", "board": "b1" })).await;
    let unlocked = command(&world, &["device", "unlock", "b1", "b2"]).await;
    let (printed, complaints) = (unlocked.out, unlocked.err);
    assert!(printed.contains("b1: ") && printed.contains("b2: "), "{printed}");
    assert!(complaints.contains("b1: its outlet was last read off"), "{complaints}");
    assert!(complaints.contains("lifeguard device reboot b1") && !complaints.contains("b2"), "{complaints}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_proposes_the_power_urls_of_a_relay_board_and_says_which_are_used() {
    let world = World::new().await;
    let rack = Rack::new(&world, 12);
    rack.relay.switch(5, false);
    world.register("b1", rack.power_facts(3)).await;
    let connections = rack.relay.connections();
    let body = json!({ "url": rack.resource() });
    let (status, answer) = post(&world, "/api/v1/power/scan", body).await;
    assert_eq!(status, 200, "{answer}");
    let outlets = answer["outlets"].as_array().unwrap();
    assert_eq!(outlets.len(), 12, "{answer}");
    for (coil, outlet) in outlets.iter().enumerate() {
        let expected = json!({
            "url": format!("{}/{coil}", rack.resource()),
            "observed": if coil == 5 { "off" } else { "on" },
            "board": (coil == 3).then_some("b1"),
        });
        assert_eq!(*outlet, expected);
    }
    assert!(answer["ended_by"].as_str().unwrap().contains("no coil 12"), "{answer}");
    // A board that is wired the other way is shown as its own URL reads it.
    let inverted = format!("{}/5?off=50ms&invert=true", rack.resource());
    world.register("b5", json!({ "power_url": inverted })).await;
    let (_, scanned) = post(&world, "/api/v1/power/scan", json!({ "url": rack.resource() })).await;
    assert_eq!(scanned["outlets"][5], json!({ "url": inverted, "observed": "on", "board": "b5" }));
    assert_eq!(scanned["outlets"][3], answer["outlets"][3]);
    // Under another scheme it would be another resource.
    let other = rack.resource().replace("modbus://", "proxr://");
    let outlet = format!("{other}/1/4");
    for (path, body) in [
        ("/api/v1/power/scan", json!({ "url": other })),
        ("/api/v1/power", json!({ "operation": "status", "url": outlet })),
        ("/api/v1/power", json!({ "operation": "off", "url": outlet })),
    ] {
        let (status, refused) = post(&world, path, body).await;
        assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("other_scheme")), "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(&format!("write `{}`", rack.resource())));
    }
    assert_eq!((rack.relay.writes().len(), rack.relay.connections()), (0, connections + 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_refused_with_what_would_be_right() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    for (path, body, status, right) in [
        ("", json!({ "operation": "on" }), 422, "either `board` or `url`"),
        (
            "",
            json!({ "operation": "on", "url": "modbus://r/1", "board": "b1" }),
            422,
            "either `board` or `url`",
        ),
        (
            "",
            json!({ "operation": "toggle", "url": "modbus://r/1" }),
            422,
            "`status`, `test`, `on`, `off`, `cycle`",
        ),
        (
            "",
            json!({ "operation": "on", "url": "modbus://r/x" }),
            422,
            "`x` is not a coil; a coil is 0 to 65535",
        ),
        ("", json!({ "operation": "on", "url": "modbus://me:secret@r/1" }), 422, "no user"),
        ("", json!({ "operation": "on", "board": "b2" }), 404, "b2"),
        ("", json!({ "operation": "on", "board": "b1" }), 422, "lifeguard device set b1 --power-url"),
        ("", json!({ "operation": "on", "url": "modbus://r/1", "timeout_s": 601 }), 422, "1 to 600"),
        ("/scan", json!({ "url": "modbus://r/1" }), 422, "without an outlet: `modbus://HOST[:502]`"),
        ("/scan", json!({ "url": "http://r?on-path=/on&off-path=/off" }), 422, "cannot be found by reading"),
    ] {
        let path = format!("/api/v1/power{path}");
        let (answered, answer) = world.call(Method::POST, &path, Some(body.clone())).await;
        let detail = answer["detail"].as_str().unwrap();
        assert_eq!(answered.as_u16(), status, "{body}: {answer}");
        assert!(detail.contains(right) && !detail.contains("secret"), "{body}: {detail}");
    }
    for (method, path) in [(Method::PUT, "x"), (Method::POST, "x/events/rq-on"), (Method::POST, "x/force")] {
        let body = json!({ "from": "Idle", "to": "Cycling", "reason": "because" });
        let (status, answer) =
            world.call(method, &format!("/api/v1/machines/outlet/{path}"), Some(body)).await;
        assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("is_outlet")), "{path}");
    }
    let drivers = world.get("/api/v1/power/drivers").await;
    let modbus = drivers["drivers"].as_array().unwrap().iter().find(|driver| driver["scheme"] == "modbus");
    let modbus = modbus.unwrap();
    assert_eq!(
        (&modbus["scan"], &modbus["capabilities"]["one_client"]),
        (&json!("modbus://HOST[:502]"), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outlets_are_there_also_where_a_server_has_definitions_of_its_own() {
    let board = include_str!("../../states/board.yaml");
    let world = World::with_definition(board).await;
    let rack = Rack::new(&world, 8);
    let status = json!({ "operation": "status", "url": url(&rack, 0) });
    assert_eq!(power(&world, status.clone()).await.0, 200);
    // A user's machine of the same name stays; power cannot be switched by hand then.
    let world = World::with_serve_options(|options| {
        let states = options.boot_root.as_ref().unwrap().with_file_name("states");
        fs_err::create_dir(&states).unwrap();
        fs_err::write(states.join("board.yaml"), board).unwrap();
        let own = "machine: outlet\ninitial: Open\nevents: { open: { from: operator }, close: { from: operator } }\n\
                   states:\n  Open: { resting: true, about: a shop, on: { close: Closed } }\n  Closed: { resting: true, \
                   about: closed, on: { open: Open } }\n";
        fs_err::write(states.join("outlet.yaml"), own).unwrap();
        lifeguard::cli::serve::ServeOptions { states: Some(states), ..options }
    })
    .await;
    let (status, answer) = power(&world, status).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("no_outlets")), "{answer}");
    assert_eq!(world.call(Method::PUT, "/api/v1/machines/outlet/shop", None).await.0, 201);
    let (status, _) = world.call(Method::PUT, "/api/v1/machines/outlet/shop/events/close", None).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outlets_are_switched_from_the_command_line() {
    let world = World::new().await;
    let rack = Rack::new(&world, 4);
    world.register("b1", rack.power_facts(1)).await;
    let resource = rack.resource();
    let coil = format!("{resource}/2");
    let run = async |args: &[&str]| {
        let mut command = cli::lifeguard(args);
        command.env("LIFEGUARD_SERVER", format!("http://{}", world.server.http));
        pass_time_during("the end of the command", &world.clock, cli::run(command)).await
    };
    let off = run(&["power", "off", &coil]).await;
    assert_eq!((off.code, off.err.as_str()), (0, ""));
    assert!(off.out.starts_with("power     off\n") && off.out.contains("took"), "{}", off.out);
    let refused = run(&["power", "off", "b1"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("b1 is in New") && refused.err.contains("--force"), "{}", refused.err);
    let forced = run(&["power", "off", "b1", "--force", "--json"]).await;
    let answer: Value = serde_json::from_str(&forced.out).unwrap();
    assert_eq!((forced.code, &answer["observed"]), (0, &json!("off")), "{}", forced.err);
    assert_eq!(answer["forced"], true);
    let no_scheme = run(&["power", "status", "relay-3.lab/5"]).await;
    assert_eq!(no_scheme.code, 1);
    assert!(no_scheme.err.contains("it has no scheme; write `modbus://HOST"), "{}", no_scheme.err);
    let scan = run(&["power", "scan", &resource]).await;
    let lines: Vec<String> =
        scan.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines[..3],
        [
            "POWER URL STATE BOARD".to_owned(),
            format!("{resource}/0 on unused"),
            format!("{resource}/1 off b1")
        ]
    );
    assert!(lines[5].starts_with("The scan ended") && lines[5].contains("no coil 4"), "{lines:?}");
    let drivers = run(&["power", "drivers"]).await;
    assert!(drivers.out.contains("example   modbus://relay-3.lab/5"), "{}", drivers.out);
    let failed = run(&["power", "off", &format!("{resource}/9")]).await;
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("no coil 9"), "{}", failed.err);
    assert!(failed.out.starts_with("power     unknown\n") && failed.out.contains("took"), "{}", failed.out);
    let failed = run(&["power", "status", "modbus://relay.invalid/1"]).await;
    assert_eq!(failed.code, 1);
    let shown = run(&["device", "show", "b1"]).await;
    assert!(shown.out.contains("read at the outlet, by power-off by hand"), "{}", shown.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outlet_of_a_board_is_switched_as_the_board_s_own_url_says() {
    let world = World::new().await;
    let rack = Rack::new(&world, 4);
    let own = format!("{}/2?invert=true&off=50ms", rack.resource());
    world.register("b1", json!({ "power_url": own })).await;
    world.request("b1", "rq-lock-out", json!({ "reason": "fan" })).await;
    // The board has power while its coil is off.
    for (operation, coil_is_on) in [("off", true), ("on", false), ("cycle", false)] {
        let (status, answer) = power(&world, json!({ "operation": operation, "url": url(&rack, 2) })).await;
        assert_eq!((status, rack.is_on(2)), (StatusCode::OK, coil_is_on), "{operation}: {answer}");
    }
    let (_, read) = power(&world, json!({ "operation": "status", "url": url(&rack, 2) })).await;
    assert_eq!(read["observed"], "on", "{read}");
}
