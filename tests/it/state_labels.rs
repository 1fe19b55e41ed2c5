//! Labels of states: what people see in place of a name, and nothing else.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::versions::{changed, load};
use crate::world::{World, unreachable_power};

const BOARD_YAML: &str = include_str!("../../states/board.yaml");
const LABEL: &str = "power is back, waiting for the image";

/// The built-in definition without its labels.
fn without_labels() -> String {
    let lines = BOARD_YAML.lines().filter(|line| !line.starts_with("    label: "));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    assert!(text.len() < BOARD_YAML.len());
    text
}

async fn page(world: &World, path: &str) -> String {
    let url = format!("http://{}{path}", world.server.http);
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_shown_wherever_people_look() {
    let world = World::new().await;
    world.register("b1", unreachable_power(0)).await;
    world.register("b2", json!({})).await;
    world.force("b1", "RebootComplete").await;
    for path in [
        "/api/v1/devices/b1",
        "/api/v1/devices/b1/why",
        "/api/v1/machines/board/b1",
        "/api/v1/machines/board/b1/why",
    ] {
        let shown = world.get(path).await;
        assert_eq!((&shown["state"], &shown["label"]), (&json!("RebootComplete"), &json!(LABEL)), "{path}");
    }
    for path in [
        "/api/v1/devices/b2",
        "/api/v1/devices/b2/why",
        "/api/v1/machines/board/b2",
        "/api/v1/machines/board/b2/why",
    ] {
        assert!(world.get(path).await.get("label").is_none(), "New has no label: {path}");
    }
    let listed = world.get("/api/v1/devices").await;
    assert_eq!(listed["devices"][0]["label"], LABEL);
    assert!(listed["devices"][1].get("label").is_none(), "New has no label");
    let instances = world.get("/api/v1/machines/board/instances").await;
    assert_eq!(instances["instances"][0]["label"], LABEL);
    assert!(instances["instances"][1].get("label").is_none(), "New has no label");
    assert_eq!(world.get("/api/v1/states").await["labels"], json!({ "RebootComplete": LABEL }));
    let farm = page(&world, "/").await;
    assert!(farm.contains(&format!("<h2>{LABEL} <small>RebootComplete: 1</small></h2>")), "{farm}");
    let board = page(&world, "/devices/b1").await;
    for part in [
        format!("<title>Lifeguard: b1: {LABEL}</title>"),
        format!("<p><b>{LABEL}</b></p>"),
        format!("<td class=\"state\">→&nbsp;RebootComplete <small>{LABEL}</small></td>"),
    ] {
        assert!(board.contains(&part), "{part}: {board}");
    }
    assert!(page(&world, "/devices/b2").await.contains("<title>Lifeguard: b2: New</title>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_is_added_moves_no_board_and_is_shown_at_once() {
    let world = World::new().await;
    assert_eq!(load(&world, &without_labels(), "").await.0, StatusCode::OK);
    world.register("b1", unreachable_power(0)).await;
    world.force("b1", "RebootComplete").await;
    let before = world.get("/api/v1/devices/b1").await;
    assert!(before.get("label").is_none(), "{before}");
    let cursor = world.get("/api/v1/devices").await["cursor"].as_str().unwrap().to_owned();
    let list = format!("http://{}/api/v1/devices", world.server.http);
    let tag = reqwest::get(&list).await.unwrap().headers()["etag"].clone();

    let (status, loaded) = load(&world, BOARD_YAML, "").await;
    assert_eq!((status, &loaded["carried_over"]), (StatusCode::OK, &json!([])), "{loaded}");
    let changes = loaded["difference"]["changed"].as_array().unwrap();
    assert!(changes.iter().all(|change| change["what"] == "label"), "{loaded}");
    let label = json!({ "state": "RebootComplete", "what": "label", "was": null, "is": LABEL });
    assert!(changes.contains(&label), "{loaded}");

    let mut after = world.get("/api/v1/devices/b1").await;
    assert_eq!(after.as_object_mut().unwrap().remove("label"), Some(json!(LABEL)));
    assert_eq!(after, before);
    // Nothing was written, but a list from before shows the state without the label.
    let since = reqwest::get(format!("{list}?since={cursor}")).await.unwrap();
    assert_eq!(since.status(), StatusCode::GONE);
    assert_eq!(since.json::<Value>().await.unwrap()["code"], "cursor_gone");
    let request = reqwest::Client::new().get(&list).header("if-none-match", tag);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "an answer without the label is not current");
    world.report("b1", "image-running").await;
    world.until_state("b1", "Ready").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_with_a_label_still_goes_by_its_name_where_programs_ask() {
    let world = World::new().await;
    world.register("b1", unreachable_power(0)).await;
    world.force("b1", "RebootComplete").await;
    for (state, expected) in [
        ("RebootComplete", StatusCode::OK),
        ("power%20is%20back,%20waiting%20for%20the%20image", StatusCode::OK),
        ("Ready", StatusCode::NOT_ACCEPTABLE),
    ] {
        let url = format!("http://{}/api/v1/machines/board/b1/state?state={state}", world.server.http);
        assert_eq!(reqwest::get(url).await.unwrap().status(), expected, "{state}");
    }
    let listed = world.get("/api/v1/devices?state=RebootComplete").await;
    assert_eq!(listed["devices"].as_array().unwrap().len(), 1);
    let answer = world.report("b1", "image-running").await;
    assert_eq!(
        answer.1,
        json!({ "outcome": "moved", "from": "RebootComplete", "to": "Ready", "visit": 3 }),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_no_line_can_show_is_refused() {
    let world = World::new().await;
    let long = "x".repeat(201);
    for label in [long.as_str(), "\"two\\nlines\""] {
        let text = changed(&[(&format!("label: {LABEL}"), &format!("label: {label}"))]);
        let (status, answer) = load(&world, &text, "").await;
        assert_eq!(
            (status, &answer["faults"][0]["rule"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("label")),
            "{answer}"
        );
    }
    let (status, _) = world.call(Method::GET, "/api/v1/devices", None).await;
    assert_eq!(status, StatusCode::OK);
}
