//! Tests of removed instances that others are linked to, and of new instances with their names.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{LEASE, assert_replay_is_exact, call, create, history, leased, load, post, show};
use crate::world::wait_until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_a_removed_instance_does_not_lead_to_another_of_its_name() {
    let world = leased().await;
    assert_eq!(call(&world, Method::DELETE, "thing/t1", None).await.0, StatusCode::NO_CONTENT);
    create(&world, "thing/t1", json!({})).await;
    let answer = post(&world, "lease/l1", "rq-tell").await;
    assert_eq!(answer["outcome"], "stayed");
    assert_eq!(history(&world, "thing/t1").await, ["created: Free → Free"]);
    let lease = history(&world, "lease/l1").await;
    let refused = |event: &str| {
        format!("{event}-refused: ignored: state Leased does not wait for {event}-refused (thing/t1)")
    };
    assert_eq!(lease[3..], [refused("tell-one"), refused("tell-two")]);
    post(&world, "lease/l1", "rq-end").await;
    assert_eq!(show(&world, "lease/l1").await["data"], json!({ "why": "there is no thing/t1" }));
    // The new one can be leased by another, and answers to no other.
    create(&world, "lease/l2", json!({ "thing": "t1" })).await;
    assert_eq!(show(&world, "thing/t1").await["state"], "Booting");
    assert_replay_is_exact(world.server.engine.store(), &["lease"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_cached_the_previous_instance_finds_the_current_one() {
    let world = leased().await;
    let other = world.second_server().await;
    // The other process has seen the thing, and caches it.
    post(&other, "thing/t1", "rq-break").await;
    assert_eq!(call(&world, Method::DELETE, "thing/t1", None).await.0, StatusCode::NO_CONTENT);
    create(&world, "thing/t1", json!({})).await;
    create(&world, "lease/l2", json!({ "thing": "t1" })).await;
    post(&world, "thing/t1", "rq-boot").await;
    assert_eq!(show(&other, "lease/l2").await["state"], "Leased");
    post(&other, "lease/l2", "rq-tell").await;
    assert_eq!(show(&world, "thing/t1").await["data"], json!({ "told": "two" }));
    post(&other, "lease/l2", "rq-end").await;
    assert_eq!(show(&world, "thing/t1").await["state"], "Free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_raised_to_an_instance_being_removed_is_refused() {
    let world = leased().await;
    let pool = world.database.pool().await;
    // Another process, between its removal and its commit.
    let mut other = pool.begin().await.unwrap();
    sqlx::query("DELETE FROM instance WHERE name = 't1'").execute(&mut *other).await.unwrap();
    let overtaken = world.server.engine.retries().overtaken.get();
    let raised = async {
        wait_until("it was tried", async || world.server.engine.retries().overtaken.get() > overtaken).await;
        assert_eq!(
            show(&world, "lease/l1").await["state"],
            "Leased",
            "it waits for what becomes of its target"
        );
        other.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(post(&world, "lease/l1", "rq-end"), raised);
    assert_eq!(answer["to"], "Ended", "{answer}");
    assert_eq!(show(&world, "lease/l1").await["data"], json!({ "why": "there is no thing/t1" }));
    assert_replay_is_exact(world.server.engine.store(), &["lease"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_a_removed_instance_is_kept_when_another_link_is_created() {
    let world = leased().await;
    let with_spare = LEASE
        .replace("links: { thing:", "links: { spare: thing, thing:")
        .replace("\nevents:\n", "\nevents:\n  rq-spare: { from: operator, args: [thing] }\n")
        .replace(
            "      rq-tell:\n",
            "      rq-spare: { do: { link: { spare: $args.thing } } }\n      rq-tell:\n",
        );
    load(&world, "lease", &with_spare).await;
    assert_eq!(call(&world, Method::DELETE, "thing/t1", None).await.0, StatusCode::NO_CONTENT);
    for name in ["t1", "t2"] {
        create(&world, &format!("thing/{name}"), json!({})).await;
    }
    let spare = Some(json!({ "thing": "t2" }));
    assert_eq!(call(&world, Method::POST, "lease/l1/events/rq-spare", spare).await.0, StatusCode::OK);
    assert_eq!(show(&world, "lease/l1").await["links"]["spare"]["name"], "t2");
    post(&world, "lease/l1", "rq-tell").await;
    assert_eq!(history(&world, "thing/t1").await, ["created: Free → Free"]);
    post(&world, "lease/l1", "rq-end").await;
    assert_eq!(show(&world, "lease/l1").await["data"], json!({ "why": "there is no thing/t1" }));
}
