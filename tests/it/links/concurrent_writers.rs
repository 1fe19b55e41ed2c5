//! Tests of concurrent writers of linked instances: related changes are written together or not at all.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{assert_replay_is_exact, call, create, history, leased, post, show, world};
use crate::world::{await_within_timeout, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_the_target_was_changed_nothing_is_written_and_others_are_not_delayed() {
    let world = leased().await;
    create(&world, "thing/t2", json!({})).await;
    let pool = world.database.pool().await;
    // Another process, between its write and its commit.
    let mut other = pool.begin().await.unwrap();
    sqlx::query("UPDATE instance SET state = 'Broken', visit = visit + 1 WHERE name = 't1'")
        .execute(&mut *other)
        .await
        .unwrap();
    let overtaken = world.server.engine.retries().overtaken.get();
    let mut sent = JoinSet::new();
    let (url, http) = (
        format!("http://{}/api/v1/machines/lease/l1/events/rq-end", world.server.http),
        reqwest::Client::new(),
    );
    sent.spawn(async move { http.post(url).send().await.unwrap().json::<Value>().await.unwrap() });
    wait_until("it was tried", async || world.server.engine.retries().overtaken.get() > overtaken).await;
    assert_eq!(history(&world, "lease/l1").await.len(), 2, "the sender waits with its target");
    post(&world, "thing/t2", "rq-break").await;
    other.commit().await.unwrap();
    let answer = await_within_timeout("the answer", sent.join_next()).await.unwrap().unwrap();
    assert_eq!(answer["outcome"], "moved", "{answer}");
    let lease = history(&world, "lease/l1").await;
    assert_eq!(lease[2..], ["rq-end: Leased → Ended", "release-refused: stayed (thing/t1)"]);
    assert_eq!(history(&world, "thing/t1").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_at_linked_instances_deliver_each_raised_event_exactly_once() {
    const LEASES: usize = 6;
    const ROUNDS: usize = 20;
    let one = world().await;
    let other = one.second_server().await;
    create(&one, "thing/hub", json!({})).await;
    for number in 0..LEASES {
        create(&one, &format!("lease/l{number}"), json!({ "thing": "hub" })).await;
    }
    post(&one, "thing/hub", "rq-boot").await;
    for number in 1..LEASES {
        let force = json!({ "from": "Refused", "to": "Leased", "reason": "several share it" });
        let (status, answer) = call(&one, Method::POST, &format!("lease/l{number}/force"), Some(force)).await;
        assert_eq!(status, 200, "{answer}");
    }
    let mut sent = Vec::new();
    for round in 0..ROUNDS {
        for number in 0..LEASES {
            let world = if (round + number) % 2 == 0 { &one } else { &other };
            sent.push(async move { post(world, &format!("lease/l{number}"), "rq-tell").await });
        }
    }
    for answer in futures_util::future::join_all(sent).await {
        assert_eq!(answer["outcome"], "stayed", "{answer}");
    }
    let hub = history(&one, "thing/hub").await;
    for number in 0..LEASES {
        let raised: Vec<&String> =
            hub.iter().filter(|line| line.ends_with(&format!("stayed (lease/l{number})"))).collect();
        assert_eq!(raised.len(), 2 * ROUNDS);
        for pair in raised.chunks(2) {
            assert!(pair[0].starts_with("tell-one") && pair[1].starts_with("tell-two"), "{pair:?}");
        }
        let own = history(&one, &format!("lease/l{number}")).await;
        assert_eq!(own.iter().filter(|line| *line == "rq-tell: stayed").count(), ROUNDS);
    }
    assert_eq!(show(&other, "thing/hub").await["data"], json!({ "told": "two" }));
    assert_replay_is_exact(one.server.engine.store(), &["lease", "thing"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_is_created_consistently_with_a_concurrently_written_target() {
    let world = world().await;
    create(&world, "thing/t1", json!({})).await;
    let pool = world.database.pool().await;
    let mut other = pool.begin().await.unwrap();
    sqlx::query("UPDATE instance SET data = '{}' WHERE name = 't1'").execute(&mut *other).await.unwrap();
    let links = json!({ "links": { "thing": "t1" } });
    let (status, answer) = call(&world, Method::PUT, "lease/l1", Some(links.clone())).await;
    assert_eq!((status.as_u16(), &answer["code"]), (503, &json!("unavailable")), "{answer}");
    assert_eq!(call(&world, Method::GET, "lease/l1", None).await.0, 404);
    other.commit().await.unwrap();
    create(&world, "lease/l1", links["links"].clone()).await;
    assert_eq!(show(&world, "thing/t1").await["state"], "Booting");
    assert_replay_is_exact(world.server.engine.store(), &["lease"]).await;
}
