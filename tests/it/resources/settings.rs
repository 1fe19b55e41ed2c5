//! Tests of what operators set for resources: the API, files, and what a running farm makes of it.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cli::{CommandOutput, lifeguard, run};
use crate::rack::Rack;
use crate::world::World;

fn path(resource: &str) -> String {
    format!("/api/v1/resources/{}", resource.replace('/', "%2F"))
}

async fn import(world: &World, text: &str, query: &str) -> (StatusCode, Value) {
    let url = format!("http://{}/api/v1/resources{query}", world.server.http);
    let answer = reqwest::Client::new().put(url).body(text.to_owned()).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn export(world: &World) -> String {
    let url = format!("http://{}/api/v1/resources?format=yaml", world.server.http);
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/yaml");
    answer.text().await.unwrap()
}

async fn command(world: &World, args: &[&str]) -> CommandOutput {
    let mut command = lifeguard(args);
    command.env("LIFEGUARD_SERVER", format!("http://{}", world.server.http));
    run(command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_on_a_circuit_are_switched_on_within_its_window_and_kept_off_for_its_minimum_time() {
    let world = World::new().await;
    let rack = Rack::new(&world, 3);
    let file = format!(
        "resources:\n  circuit: {{ capacity: 1, window: 20s, budget: 4A, min_off: 3s }}\n  \"{}\": {{ within: circuit }}\n\
         hardware:\n  panda: {{ load: 1500mA }}\n",
        rack.resource()
    );
    assert_eq!(import(&world, &file, "").await.0, StatusCode::OK);
    for (name, coil) in [("b0", 0), ("b1", 1)] {
        world.register(name, rack.power_facts(coil)).await;
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
    }
    let circuit = world.get("/api/v1/resources/circuit").await;
    assert_eq!((&circuit["budget_a"], &circuit["window_s"]), (&json!(4.0), &json!(20.0)), "{circuit}");
    world.pass_time_until("b0", "its power is back", |device| device["state"] == "RebootComplete").await;
    let circuit = world.get("/api/v1/resources/circuit").await;
    let cooling = &circuit["cooling"];
    assert_eq!(
        (&circuit["in_use"], &cooling["units"], &cooling["load_a"]),
        (&json!(0), &json!(1), &json!(1.5))
    );
    assert_eq!(circuit["queue"][0]["name"], "b1", "{circuit}");
    let waits = world.get("/api/v1/queue").await;
    assert_eq!((&waits["queue"][0]["name"], waits["queue"].as_array().unwrap().len()), (&json!("b1"), 1));
    assert!(waits["queue"][0]["expected_at"].is_string(), "one power cycle was seen: {waits}");
    world.pass_time_until("b1", "its power is back", |device| device["state"] == "RebootComplete").await;
    let mut times = Vec::new();
    for name in ["b0", "b1"] {
        let history = world.history(name).await;
        let ended = history.iter().find(|entry| entry["event"] == "power-cycle-ok").unwrap();
        let time = |key: &str| ended["evidence"][key].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
        assert!(time("on_at") - time("off_at") >= TimeDelta::seconds(3), "{ended}");
        times.push(time("on_at"));
    }
    assert!(times[1] - times[0] >= TimeDelta::seconds(20), "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installations_hold_imaging_which_is_limited_for_all_boards_or_for_those_of_a_site() {
    let world = World::new().await;
    let rack = Rack::new(&world, 4);
    world.image("linux").await;
    for coil in 0..3 {
        world.register(&format!("b{coil}"), rack.power_facts(coil)).await;
    }
    let imaging = async || world.get("/api/v1/resources/imaging").await;
    assert_eq!((&imaging().await["capacity"], &imaging().await["in_use"]), (&Value::Null, &json!(0)));
    assert_eq!(import(&world, "resources: { imaging: { capacity: 1 } }", "").await.0, StatusCode::OK);
    for name in ["b0", "b1"] {
        let (status, answer) = world.request(name, "rq-reimage", json!({ "image": "linux" })).await;
        assert_eq!(status, 200, "{answer}");
    }
    world.pass_time_until("b0", "its power is back", |device| device["state"] == "ReimageBooting").await;
    let used = imaging().await;
    assert_eq!((&used["in_use"], &used["queue"][0]["name"]), (&json!(1), &json!("b1")), "{used}");
    for event in ["live-running", "image-installing"] {
        world.report("b0", event).await;
    }
    assert_eq!(world.get("/api/v1/devices/b1").await["state"], "ReimageRebooting");
    world.report("b0", "image-installed").await;
    world.pass_time_until("b1", "its power is back", |device| device["state"] == "ReimageBooting").await;
    // Boards of a site hold units of the site's own.
    let file = format!(
        "resources:\n  imaging: {{ capacity: 1 }}\n  imaging@lab: {{ capacity: 5 }}\n  lab: {{}}\n  \"{}\": {{ within: lab }}\n",
        rack.resource()
    );
    let (status, answer) = import(&world, &file, "").await;
    assert_eq!((status, &answer["warnings"]), (StatusCode::OK, &Value::Null), "{answer}");
    assert_eq!(world.request("b2", "rq-reimage", json!({ "image": "linux" })).await.0, 200);
    world.pass_time_until("b2", "its power is back", |device| device["state"] == "ReimageBooting").await;
    let of_site = world.get("/api/v1/resources/imaging%40lab").await;
    assert_eq!((&of_site["in_use"], &imaging().await["in_use"]), (&json!(1), &json!(1)), "{of_site}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_made_after_a_bulk_comes_before_most_of_it() {
    let world = World::new().await;
    let rack = Rack::new(&world, 6);
    for coil in 0..6 {
        world.register(&format!("b{coil}"), rack.power_facts(coil)).await;
    }
    let out_of_use = format!("resources: {{ \"{}\": {{ capacity: 0 }} }}", rack.resource());
    assert_eq!(import(&world, &out_of_use, "").await.0, StatusCode::OK);
    for position in 0..5 {
        let path = format!("/api/v1/devices/b{position}/requests/rq-reboot?position={position}");
        assert_eq!(world.call(Method::POST, &path, Some(json!({}))).await.0, 200);
    }
    assert_eq!(world.request("b5", "rq-reboot", json!({})).await.0, 200);
    let waits = world.get("/api/v1/queue").await;
    let names: Vec<&Value> = waits["queue"].as_array().unwrap().iter().map(|wait| &wait["name"]).collect();
    assert_eq!(names, ["b0", "b5", "b1", "b2", "b3", "b4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_changed_one_by_one_or_all_and_unset() {
    let world = World::new().await;
    let call =
        async |method, resource: &str, body: Value| world.call(method, &path(resource), Some(body)).await;
    let (status, set) = call(
        Method::PUT,
        "circuit",
        json!({ "capacity": 3, "window_s": 10, "budget_a": 16, "about": "left" }),
    )
    .await;
    assert_eq!((status, &set["within"]), (StatusCode::OK, &Value::Null), "{set}");
    let (status, refused) = call(Method::PATCH, "relay", json!({ "within": "circiut" })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("no_container")), "{refused}");
    let detail = "`relay` is within `circiut`, which does not exist; did you mean `circuit`?";
    assert_eq!(refused["detail"], detail);
    assert_eq!(call(Method::PATCH, "relay", json!({ "within": "circuit", "min_off_s": 5 })).await.0, 200);
    let (_, changed) = call(Method::PATCH, "circuit", json!({ "window_s": null, "gap_s": 2 })).await;
    let shown = ["capacity", "gap_s", "window_s", "budget_a", "about"].map(|key| changed[key].clone());
    assert_eq!(shown, [json!(3), json!(2.0), json!(0.0), json!(16.0), json!("left")]);
    assert_eq!(
        call(Method::PATCH, "circuit", json!({ "within": "relay" })).await.1["code"],
        "container_cycle"
    );
    for (body, expected) in [
        (json!({ "min_off_s": 46 }), "min_off_s: 0 to 45"),
        (json!({ "budget_a": -1 }), "budget_a: a current is 0 to 1000000 A"),
        (json!({ "windows": 1 }), "unknown field `windows`"),
    ] {
        let (status, refused) = call(Method::PATCH, "relay", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(expected), "{refused}");
    }
    let (status, refused) = world.call(Method::DELETE, &path("circuit"), None).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("contains_resources")), "{refused}");
    for resource in ["relay", "circuit"] {
        assert_eq!(world.call(Method::DELETE, &path(resource), None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(world.call(Method::GET, &path(resource), None).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_imported_as_a_whole_or_not_at_all() {
    const FILE: &str = "\
resources:
  circuit: { within: site, capacity: 3, window: 10s, budget: 1A }
  \"modbus://relay-3.lab:502\": { within: circuit, settle: 500ms, min_off: 5s }
  site: { about: \"room 3\", capacity: 20 }
hardware:
  panda: { load: 1.2A }
";
    let world = World::new().await;
    world.register("b1", json!({ "power_url": "modbus://relay-3.lab/5" })).await;
    let empty = export(&world).await;
    assert_eq!(empty, "resources: {}\nhardware: {}\n");
    let (status, tried) = import(&world, FILE, "?dry_run=true").await;
    assert_eq!((status, tried["changes"].as_array().unwrap().len()), (StatusCode::OK, 3), "{tried}");
    let alone = "the load of `panda` is more than the budget of `circuit`: there it is switched on alone";
    assert_eq!(tried["warnings"], json!([alone]));
    assert_eq!(export(&world).await, empty, "nothing was changed");
    assert_eq!(import(&world, FILE, "").await.1["hardware"][0]["after"], "1.2A");
    assert_eq!(export(&world).await, FILE);
    assert_eq!(import(&world, FILE, "").await.1["changes"], json!([]), "it is so already");
    let bad = FILE.replace("window: 10s", "window: 10").replace("within: circuit", "within: circiut");
    let (status, refused) = import(&world, &bad, "").await;
    assert_eq!((status, &refused["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("bad_resources")));
    let lines: Vec<_> =
        refused["faults"].as_array().unwrap().iter().map(|fault| fault["line"].clone()).collect();
    assert_eq!(lines, [json!(2), json!(3)], "{refused}");
    let renamed = FILE.replace("site", "tower").replace("relay-3", "relay-4");
    let (_, changed) = import(&world, &renamed, "").await;
    assert_eq!(changed["changes"].as_array().unwrap().len(), 5, "{changed}");
    assert_eq!(changed["changes"][3]["after"], Value::Null, "{changed}");
    let unused = changed["warnings"][0].as_str().unwrap();
    assert!(
        unused.starts_with("nothing uses the resource `modbus://relay-4.lab:502`; did you mean"),
        "{changed}"
    );
    assert_eq!(export(&world).await, renamed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_resources_within_each_other_and_what_a_bulk_will_take() {
    let world = World::new().await;
    let rack = Rack::new(&world, 3);
    let relay = rack.resource();
    for args in [
        vec!["resource", "set", "lab", "--capacity", "9", "--about", "room 3"],
        vec!["resource", "set", "circuit", "--within", "lab", "--window", "10s", "--budget", "1.5A"],
        vec!["resource", "set", &relay, "--within", "circuit", "--capacity", "0"],
    ] {
        let set = command(&world, &args).await;
        assert_eq!(set.code, 0, "{}", set.err);
    }
    for (name, coil) in [("b0", 0), ("b1", 1)] {
        world.register(name, rack.power_facts(coil)).await;
    }
    let asked = command(&world, &["device", "reboot", "b0", "b1"]).await;
    assert!(asked.out.ends_with("2 boards queued; when the last starts is not known yet\n"), "{}", asked.out);
    let listed = command(&world, &["resource", "list"]).await.out;
    // The board's definition declares `imaging`.
    let names: Vec<&str> =
        listed.lines().skip(2).map(|line| line.split("  0 of").next().unwrap().trim_end()).collect();
    assert_eq!(names[0], "lab", "{listed}");
    assert!(names[1].starts_with("  circuit") && names[2].starts_with(&format!("    {relay}")), "{listed}");
    let shown = command(&world, &["resource", "show", "circuit"]).await.out;
    for part in ["within", "window", "0 of 1.5 A", "b0 for", "b1 for"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // One is seen, so that the next bulk is predicted.
    assert_eq!(command(&world, &["resource", "set", &relay, "--unset", "capacity"]).await.code, 0);
    for name in ["b0", "b1"] {
        world.pass_time_until(name, "its power is back", |device| device["state"] == "RebootComplete").await;
        world.report(name, "image-running").await;
    }
    assert_eq!(command(&world, &["resource", "set", "circuit", "--capacity", "1"]).await.code, 0);
    let none = command(&world, &["device", "reboot", "--labels", "rack-9"]).await;
    assert_eq!(
        (none.code, none.err.trim()),
        (1, "lifeguard: no board has the label `rack-9`"),
        "{}",
        none.out
    );
    let none = command(&world, &["device", "reboot", "--state", "Maintenance"]).await;
    assert_eq!((none.code, none.err.trim()), (0, "lifeguard: no board matches"), "{}", none.out);
    let refused = command(&world, &["device", "reboot", "b0", "--state", "Ready"]).await;
    assert!(refused.code == 2 && refused.err.contains("cannot be used with"), "{}", refused.err);
    let asked = command(&world, &["device", "reboot", "--state", "Ready", "--json"]).await.out;
    let last: Value = serde_json::from_str(asked.lines().last().unwrap()).unwrap();
    assert!(last["queued"].as_u64().unwrap() >= 1 && last["last_expected_at"].is_string(), "{asked}");
    let queue = command(&world, &["resource", "queue"]).await.out;
    assert!(queue.contains("EXPECTED START") && queue.contains("b1"), "{queue}");
}
