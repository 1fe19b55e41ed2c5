//! Tests of instances linked at creation, and of definitions that refer to each other.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{LEASE, THING, assert_replay_is_exact, call, create, history, show, world};
use crate::api::send;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_raised_at_creation_are_decided_with_it() {
    let world = world().await;
    create(&world, "thing/t1", json!({})).await;
    let lease = create(&world, "lease/l1", json!({ "thing": "t1" })).await;
    assert_eq!(lease["links"], json!({ "thing": { "machine": "thing", "name": "t1", "visit": 1 } }));
    assert_eq!(show(&world, "thing/t1").await["state"], "Booting");
    let second = create(&world, "lease/l2", json!({ "thing": { "name": "t1" } })).await;
    assert_eq!(second["state"], "Refused", "{second}");
    let why = "state Booting does not wait for claim";
    assert_eq!(second["data"], json!({ "why": why }));
    assert_eq!(history(&world, "lease/l2").await[1..], ["claim-refused: Asking → Refused (thing/t1)"]);
    assert_eq!(history(&world, "thing/t1").await[2..], [format!("claim: ignored: {why} (lease/l2)")]);
    // An instance without a link raises nothing.
    assert_eq!(create(&world, "lease/l3", json!({})).await["state"], "Asking");
    assert_replay_is_exact(world.server.engine.store(), &["lease", "thing"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_to_missing_instances_are_refused() {
    let world = world().await;
    for (links, detail) in [
        (json!({ "thing": "t1" }), "links: there is no thing \"t1\""),
        (json!({ "thin": "t1" }), "machine lease has no link `thin`"),
        (json!({ "thing": { "nam": "t1" } }), "links.thing: unknown field `nam`, expected `name` or `visit`"),
        (json!("t1"), "links: must be an object with the name of an instance for each link"),
    ] {
        let (status, answer) = call(&world, Method::PUT, "lease/l1", Some(json!({ "links": links }))).await;
        assert_eq!((status, answer["detail"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some(detail)));
    }
    assert_eq!(call(&world, Method::GET, "lease/l1", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_raises_an_unknown_event_of_the_other_machine_is_refused() {
    let world = World::new().await;
    // The other machine may be loaded later.
    let answer = send(&world, "PUT /api/v1/machines/lease", LEASE).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let deaf = THING.replace("  release: { from: { machine: lease }", "  release: { from: operator");
    let answer = send(&world, "PUT /api/v1/machines/thing", deaf).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("links")), "{}", answer.text);
    let fault = "lease raises `release` at thing, which does not declare it `from: { machine: lease }`";
    assert_eq!(answer.json()["faults"], json!([fault]));
    let dry = send(&world, "GET /api/v1/machines", "").await;
    assert!(!dry.text.contains("\"thing\""), "{}", dry.text);
    assert_eq!(send(&world, "PUT /api/v1/machines/thing", THING).await.status, 200);
    // What others refer to cannot be removed.
    let less = LEASE.replace("args: [thing, visit]", "args: [thing, visit, more]");
    let answer = send(&world, "PUT /api/v1/machines/lease", less).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
}
