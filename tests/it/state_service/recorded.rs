//! Tests of requests and answers recorded from the original, and of documented differences.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::differences;
use crate::server_process::ServerProcess;
use crate::world::World;

/// The recordings.
pub(super) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../fixtures/state_service/vectors.json")).unwrap()
}

/// Sends the recorded requests; returns where the answer differs.
async fn send(http: &reqwest::Client, server: std::net::SocketAddr, step: &Value) -> Option<String> {
    let (request, expected) = (&step["request"], &step["expect"]);
    let method = Method::from_bytes(request["method"].as_str().unwrap().as_bytes()).unwrap();
    let url = format!("http://{server}{}", request["target"].as_str().unwrap());
    let mut sent = http.request(method, url);
    for (name, value) in request["headers"].as_object().unwrap() {
        sent = sent.header(name, value.as_str().unwrap());
    }
    if let Some(body) = request["body"].as_str() {
        sent = sent.body(body.to_owned());
    }
    let answer = sent.send().await.unwrap();
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let body = answer.text().await.unwrap();
    let is_exact = expected["body_kind"] == "exact";
    let is_same = expected["status"] == status
        && (!is_exact || (expected["body"] == body && expected["content_type"].as_str() == kind.as_deref()));
    (!is_same).then(|| format!("{}: {expected} is {status} {kind:?} {body:?}", step["id"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_answers_are_reproduced_or_documented_as_different() {
    let (vectors, differences) = (vectors(), differences());
    let http = reqwest::Client::new();
    let (mut wrong, mut same) = (Vec::new(), 0);
    let groups = vectors["groups"].as_array().unwrap();
    for group in groups.iter().filter(|group| group["machine_yaml"].is_string()) {
        let (id, machine) = (group["id"].as_str().unwrap(), group["machine_yaml"].as_str().unwrap());
        if matches!(id, "S-unkarg" | "S-abbr") {
            // About the command line.
            continue;
        }
        let world = match (World::with_state_service(machine).await, differences.contains(id)) {
            (Ok(world), false) => world,
            (Ok(_), true) => {
                wrong.push(format!("{id} is to differ, and is read"));
                continue;
            }
            (Err(why), true) => {
                assert!(why.contains("states.yaml:") && why.contains(": error["), "{id}: {why}");
                continue;
            }
            (Err(why), false) => {
                wrong.push(format!("{id} is refused: {why}"));
                continue;
            }
        };
        if group.get("wait_before_first_request_s").is_some() {
            world.until_current(group["steps"][0]["request"]["target"].as_str().unwrap()).await;
        }
        for step in group["steps"].as_array().unwrap() {
            same += 1;
            let is_listed = differences.contains(step["id"].as_str().unwrap());
            match send(&http, world.server.http, step).await {
                Some(_) if is_listed => {}
                None if is_listed => wrong.push(format!("{} is to differ, and does not", step["id"])),
                difference => wrong.extend(difference),
            }
        }
        let file = world.folder.path().join("states.yaml");
        assert_eq!(fs_err::read_to_string(file).unwrap(), machine, "{id}: the file is never written");
    }
    // Servers without a machine.
    let world = World::new().await;
    for group in groups.iter().filter(|group| group["machine_yaml"].is_null()) {
        let steps = group["steps"].as_array().unwrap().iter();
        for step in steps.filter(|step| step["request"]["method"] != "POST") {
            same += 1;
            wrong.extend(send(&http, world.server.http, step).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(same >= 70, "only {same} requests were sent");
}

/// The options of a server without existing files, with a machine.
fn options(folder: &Path, machine: &str) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    ["--machine", &path(machine), "--data-dir", &path("data")].map(str::to_owned).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_the_original_refuses_is_refused_and_not_changed() {
    let (vectors, differences) = (vectors(), differences());
    let mut refused = 0;
    for case in vectors["startup"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("states.yaml");
        let Some(before) = case["machine_file_before"].as_str() else {
            let log = ServerProcess::try_start(&options(folder.path(), "absent.yaml")).err().unwrap();
            assert!(log.contains("absent.yaml"), "{log}");
            continue;
        };
        fs_err::write(&file, before).unwrap();
        assert!(!case["starts"].as_bool().unwrap());
        if id == "S-badport" {
            // About the command line.
            continue;
        }
        if differences.contains(id) {
            let world = World::with_state_service(before).await.unwrap();
            world.until_current("/state?state=a").await;
            continue;
        }
        let log = ServerProcess::try_start(&options(folder.path(), "states.yaml")).err().unwrap();
        assert!(log.contains("states.yaml:") && log.contains("error["), "{id}: {log}");
        assert_eq!(fs_err::read_to_string(&file).unwrap(), before, "{id}");
        assert!(!folder.path().join("data").exists(), "{id}: nothing was started");
        refused += 1;
    }
    assert!(refused >= 7, "only {refused} files were refused");
    for words in [["--bogus", "x"], ["--mach", "states.yaml"], ["--port", "abc"]] {
        assert!(ServerProcess::try_start(&words.map(str::to_owned)).is_err(), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_were_recorded_pass_when_they_should() {
    let vectors = vectors();
    let http = reqwest::Client::new();
    for group in vectors["timed_groups"].as_array().unwrap() {
        let begin = World::noon();
        let local = |seconds: i64| {
            let at = (begin + chrono::TimeDelta::seconds(seconds)).with_timezone(&chrono::Local);
            at.format("%Y-%m-%dT%H:%M:%S").to_string()
        };
        let machine = group["machine_yaml"].as_str().map_or_else(mixed, str::to_owned);
        let machine = [8, 9, 12]
            .iter()
            .fold(machine, |text, seconds| text.replace(&format!("{{T0+{seconds}s}}"), &local(*seconds)));
        let world = World::with_state_service(&machine).await.unwrap();
        let mut now = 0;
        for step in group["steps"].as_array().unwrap() {
            let at = step["at_s"].as_u64().unwrap();
            world.clock.advance(Duration::from_secs(at - now));
            now = at;
            if step["request"]["method"] == "GET" {
                world.until_current(step["request"]["target"].as_str().unwrap()).await;
            }
            assert_eq!(send(&http, world.server.http, step).await, None, "{}", group["id"]);
        }
    }
}

/// The machine of the second group, as its description says.
fn mixed() -> String {
    "current_state: a
states:
- {name: a, func: increment, current: {key: n, value: 0}, target: {name: t, when: {key: n, value: 1}}}
- {name: t, func: time, target: {name: c, when: {key: clock, value: '{T0+9s}'}}}
- {name: c, func: increment, current: {key: n, value: 0}, target: {name: e, when: {key: n, value: 1}}}
- {name: e}
"
    .to_owned()
}
