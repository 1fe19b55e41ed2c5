//! Test of a definition activated while two hundred boards are being reimaged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use lifeguard::clock::{Clock, SystemClock};
use lifeguard::engine::replay::{ReplayRequest, replay};
use lifeguard::farm::{self, FaultRates};
use lifeguard::machine::{self, MachineName};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{READY_TIMEOUT, SurvivalScene, history, private_postgres_options};
use crate::guarded_dir::GuardedDir;
use crate::server_process::ServerProcess;
use crate::versions::changed;
use crate::world::yield_briefly;

/// Number of boards.
const BOARDS: u16 = 200;
/// Number of boards that cannot install their image at first.
const UNLUCKY: usize = 8;

impl SurvivalScene {
    async fn load(&self, text: &str) -> (StatusCode, Value) {
        let answer = self.http.put(self.url("machines/board")).body(text.to_owned()).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// Waits until `board` is in `state`.
    async fn until_it_is(&self, board: &farm::SimulatedBoard, state: &str) {
        let url = self.url(&format!("devices/{}", board.registration().name));
        let give_up_at = Instant::now() + READY_TIMEOUT;
        loop {
            let device: Value = self.http.get(&url).send().await.unwrap().json().await.unwrap();
            if device["state"] == state {
                return;
            }
            assert!(Instant::now() < give_up_at, "it is never in {state}: {device}");
            yield_briefly().await;
        }
    }

    /// Reports for a silent board as if its installation failed `times` times without a known reason; then lets it
    /// report itself.
    async fn fail_to_install(&self, board: &farm::SimulatedBoard, times: i64) {
        let url = self.url(&format!("devices/{}", board.registration().name));
        let give_up_at = Instant::now() + READY_TIMEOUT;
        loop {
            let device: Value = self.http.get(&url).send().await.unwrap().json().await.unwrap();
            let failed = device["counters"]["ReimageInstalling"].as_i64().unwrap_or(0);
            let event = match device["state"].as_str().unwrap() {
                "ReimageStarting" => Some("live-running"),
                "ReimageBooted" => Some("image-installing"),
                "ReimageInstalling" => Some("image-failed"),
                _ => None,
            };
            // From its next boot on.
            let is_last = event == Some("image-failed") && failed == times - 1;
            if is_last {
                board.set_faults(FaultRates::NONE);
            }
            if let Some(event) = event {
                let report = format!("{url}/events/{event}?visit={}", device["visit"]);
                let args = json!({ "reason": "out of luck" });
                assert!(self.http.post(report).json(&args).send().await.unwrap().status().is_success());
            }
            if is_last {
                return;
            }
            assert!(Instant::now() < give_up_at, "it does not fail as it should: {device}");
            yield_briefly().await;
        }
    }
}

/// The built-in definition with another name and a shorter time limit for the state in which boards wait for their live
/// image; the limit is longer than any of them needs on a busy machine, otherwise the replay would differ.
fn renamed() -> String {
    let names = "renamed: { ReimageBooting: ReimageStarting, FailedReimageBooting: FailedReimageStarting }\n";
    changed(&[
        ("ReimageBooting", "ReimageStarting"),
        ("after: 180s, target: ReimageRebooting", "after: 170s, target: ReimageRebooting"),
        ("initial: New\n", &format!("initial: New\n{names}")),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_is_replaced_during_two_hundred_reimages() {
    let dir = GuardedDir::new();
    let data = dir.path().join("data");
    let mut server = ServerProcess::start(&private_postgres_options(&dir));
    farm::write_boot_tree(&data.join("boot")).unwrap();
    let scene = SurvivalScene::new(BOARDS, &data.join("boot"), &server).await;
    let unlucky: Vec<_> = scene.farm.boards().take(UNLUCKY).collect();
    for board in &unlucky {
        board.set_faults(FaultRates { does_not_boot: 1.0, ..FaultRates::NONE });
    }
    scene.request_all("rq-reimage", &json!({ "image": farm::IMAGES[0] })).await;
    // The others continue meanwhile; these wait for the test's reports.
    for board in &unlucky {
        scene.until_it_is(board, "ReimageBooting").await;
    }

    // A definition without the boards' current state is refused, with their names.
    let (status, refused) = scene.load(&changed(&[("ReimageBooting", "ReimageStarting")])).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("strands")), "{refused}");
    let stranded = refused["stranded"].as_array().unwrap();
    for board in &unlucky {
        let one = json!({ "name": *board.registration().name, "state": "ReimageBooting" });
        assert!(stranded.contains(&one), "{one}: {refused}");
    }

    let (status, loaded) = scene.load(&renamed()).await;
    let loaded_at = SystemClock.now();
    assert_eq!((status, &loaded["definition"]), (StatusCode::OK, &json!(2)), "{loaded}");
    let carried = &loaded["carried_over"][0];
    assert_eq!((&carried["state"], &carried["to"]), (&json!("ReimageBooting"), &json!("ReimageStarting")));
    assert!(carried["instances"].as_i64().unwrap() >= i64::try_from(UNLUCKY).unwrap(), "{loaded}");
    futures_util::future::join_all(unlucky.iter().map(|board| scene.fail_to_install(board, 6))).await;
    scene.until_ready(|ready| ready == usize::from(BOARDS)).await;
    let states = scene.states().await.unwrap();
    assert_eq!(states, BTreeMap::from([("Ready".to_owned(), usize::from(BOARDS))]));

    let hardware = scene.end().await;
    let store = server.store_of(&data).await;
    let boards = history::read(&store).await;
    history::assert_all_acknowledged_is_there(&boards, &hardware);
    history::assert_power_was_cycled_only_for_the_visit_that_asked(&boards, &hardware);
    history::assert_power_was_cycled_once_a_visit(&boards, &hardware, DateTime::<Utc>::MAX_UTC);
    history::assert_no_visit_is_twice(&boards);
    let activated = |entry: &&lifeguard::store::history::HistoryEntry| {
        entry.at <= loaded_at
            && entry.from.as_str() == "ReimageBooting"
            && entry.to.as_str() == "ReimageStarting"
    };
    assert!(boards.values().flatten().any(|entry| activated(&entry)), "some boards were in transit");
    crate::replay::assert_history_gives_instances(&store).await;

    let limit =
        ("limit: 10, exceeded: FailedReimageInstalling", "limit: 5, exceeded: FailedReimageInstalling");
    let halved = renamed().replace(limit.0, limit.1);
    let halved = halved.replace("counters.ReimageInstalling < 10", "counters.ReimageInstalling < 5");
    let with = Some(Arc::new(machine::load(&halved, lifeguard::boards::vocabulary()).unwrap()));
    let wanted = ReplayRequest {
        machine: MachineName::new("board").unwrap(),
        name: None,
        since: None,
        what_if_definition: with,
    };
    let what_if = replay(&store, lifeguard::boards::vocabulary(), &wanted).await.unwrap().what_if.unwrap();
    assert_eq!(what_if.instances, u64::from(BOARDS));
    let unlucky: Vec<&str> = what_if.elsewhere.iter().map(|one| one.would_be.as_str()).collect();
    assert_eq!(unlucky.len(), UNLUCKY, "{what_if:?}");
    assert!(unlucky.iter().all(|state| *state == "FailedReimageInstalling"), "{what_if:?}");
    let failures: u64 = what_if.failures.values().map(|both| both.would_be - both.was).sum();
    assert_eq!(failures, UNLUCKY as u64, "{what_if:?}");
    let cycles = what_if.actions["power-cycle"];
    assert!(cycles.would_be < cycles.was, "{what_if:?}");
    store.close().await;
    server.terminate();
}
