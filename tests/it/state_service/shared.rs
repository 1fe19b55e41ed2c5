//! Tests of one machine with many clients: no accepted request is lost or counted twice.

use std::sync::atomic::{AtomicI64, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::waits_for;
use crate::database::database;
use crate::server_process::ServerProcess;
use crate::world::{World, await_within_timeout, wait_until};

/// Number of concurrent clients.
const CLIENTS: usize = 64;

/// The count of the shared machine, and the number of counts in its history.
async fn counted(http: &reqwest::Client, server: std::net::SocketAddr) -> (i64, i64) {
    let url = format!("http://{server}/api/v1/machines/states/shared");
    let shown: Value = http.get(&url).send().await.unwrap().json().await.unwrap();
    let (mut recorded, mut before) = (0, String::new());
    loop {
        let url = format!("{url}/history?limit=1000{before}");
        let page: Value = http.get(url).send().await.unwrap().json().await.unwrap();
        let entries = page["history"].as_array().unwrap().iter();
        recorded += entries.filter(|entry| entry["event"] == "a" && entry["outcome"] != "ignored").count();
        match page["next"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    (shown["counters"]["a"].as_i64().unwrap_or_default(), i64::try_from(recorded).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_accepted_put_of_many_at_once_is_counted_once_and_the_last_one_moves() {
    let many = 640;
    let world = World::with_state_service(&waits_for(many)).await.unwrap();
    let other = world.second_server().await;
    let (accepted, http) = (AtomicI64::new(0), reqwest::Client::new());
    let client = async |number: usize| {
        // Two processes share one machine.
        let server = if number.is_multiple_of(2) { world.server.http } else { other.server.http };
        loop {
            let status = http.put(format!("http://{server}/state?state=a")).send().await.unwrap().status();
            match status {
                StatusCode::OK => _ = accepted.fetch_add(1, Ordering::Relaxed),
                // It has moved.
                status => break assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR),
            }
        }
    };
    let clients = futures_util::future::join_all((0..CLIENTS).map(client));
    await_within_timeout("all clients are done", clients).await;
    assert_eq!(accepted.into_inner(), many);
    for server in [world.server.http, other.server.http] {
        assert_eq!(counted(&http, server).await, (many, many));
    }
    other.until_current("/state?state=b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_accepted_by_a_killed_server_are_counted() {
    let (database, folder) = (database().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("states.yaml");
    fs_err::write(&file, waits_for(1_000_000)).unwrap();
    fs_err::create_dir(folder.path().join("boot")).unwrap();
    let path = |path: &std::path::Path| path.display().to_string();
    let options = [
        "--machine".to_owned(),
        path(&file),
        "--boot-root".to_owned(),
        path(&folder.path().join("boot")),
        "--database-url".to_owned(),
        database.url(),
    ];
    let mut server = ServerProcess::start(&options);
    let (accepted, unanswered) = (AtomicI64::new(0), AtomicI64::new(0));
    let url = format!("http://{}/state?state=a", server.http());
    let client = async |_| {
        let http = reqwest::Client::new();
        while let Ok(answer) = http.put(&url).send().await {
            assert_eq!(answer.status(), StatusCode::OK);
            accepted.fetch_add(1, Ordering::Relaxed);
        }
        unanswered.fetch_add(1, Ordering::Relaxed);
    };
    let clients = futures_util::future::join_all((0..CLIENTS).map(client));
    let killer = async {
        wait_until("enough was accepted", async || accepted.load(Ordering::Relaxed) > 1000).await;
        server.kill();
    };
    tokio::join!(clients, killer);
    let again = ServerProcess::start(&options);
    let (count, recorded) = counted(&reqwest::Client::new(), again.http()).await;
    let (accepted, unanswered) = (accepted.into_inner(), unanswered.into_inner());
    assert_eq!(count, recorded, "the count agrees with history");
    // For an unanswered PUT it is unknown whether it was accepted.
    assert!((accepted..=accepted + unanswered).contains(&count), "{accepted} + {unanswered}: {count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waiting_for_a_state_is_answered_when_it_is_entered() {
    let world = World::with_state_service(&waits_for(2)).await.unwrap();
    let other = world.second_server().await;
    let waits = other.call(Method::GET, "/state?state=b&wait=5m", None);
    let enters = async {
        for _ in 0..2 {
            assert_eq!(world.call(Method::PUT, "/state?state=a", None).await.0, StatusCode::OK);
        }
    };
    let ((status, _), ()) = await_within_timeout("the state", async { tokio::join!(waits, enters) }).await;
    assert_eq!(status, StatusCode::OK);
    // A finished machine never changes, so a request does not wait for it.
    let never = world.call(Method::GET, "/state?state=a&wait=10m", None);
    assert_eq!(await_within_timeout("an answer", never).await.0, StatusCode::NOT_ACCEPTABLE);
    for wrong in ["11m", "soon", "-1s", ""] {
        let (status, problem) = world.call(Method::GET, &format!("/state?state=a&wait={wrong}"), None).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid")),
            "{wrong}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_requests_are_answered_with_the_current_state_when_the_server_stops() {
    let world = World::with_state_service(&waits_for(2)).await.unwrap();
    let url = format!("http://{}/state?state=b&wait=10m", world.server.http);
    let asked = tokio::task::JoinSet::from_iter([async move { reqwest::get(url).await.unwrap().status() }]);
    // The second request shows that the first is running, or comes after it.
    world.until_current("/state?state=a").await;
    world.server.stop().await.unwrap();
    let answered = await_within_timeout("an answer", asked.join_all()).await;
    assert_eq!(answered, [StatusCode::NOT_ACCEPTABLE]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_activated_and_must_contain_the_current_state() {
    let world = World::with_state_service(&waits_for(3)).await.unwrap();
    assert_eq!(world.call(Method::PUT, "/state?state=a", None).await.0, StatusCode::OK);
    let file = world.folder.path().join("states.yaml");
    fs_err::write(&file, waits_for(2).replace("value: 0", "value: 1")).unwrap();
    let world = world.restart_after(std::time::Duration::ZERO).await.unwrap();
    // Earlier counts continue, whatever initial count the file names.
    assert_eq!(world.call(Method::PUT, "/state?state=a", None).await.0, StatusCode::OK);
    world.until_current("/state?state=b").await;

    fs_err::write(&file, "current_state: a\nstates:\n- {name: a}\n").unwrap();
    let (database, folder) = (std::sync::Arc::clone(&world.database), std::sync::Arc::clone(&world.folder));
    let refused = world.restart_after(std::time::Duration::ZERO).await.err().unwrap();
    assert!(refused.contains("lacks states that instances are in: shared in b"), "{refused}");
    assert!(
        refused.contains("states.yaml: ") && refused.contains("lifeguard instance force states shared"),
        "{refused}"
    );
    drop((database, folder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_of_the_original_are_continued() {
    let world = World::with_state_service(&waits_for(5).replace("value: 0", "value: 3")).await.unwrap();
    let count = async || world.get("/api/v1/machines/states/shared").await["counters"]["a"].clone();
    assert_eq!(count().await, 3);
    assert_eq!(world.call(Method::PUT, "/state?state=a", None).await.0, StatusCode::OK);
    assert_eq!(count().await, 4);
    assert_eq!(world.call(Method::PUT, "/state?state=a", None).await.0, StatusCode::OK);
    world.until_current("/state?state=b").await;
}
