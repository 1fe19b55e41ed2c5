//! Tests of raised events: order, visit, refusal and the limit of chains.

use serde_json::json;

use super::{assert_replay_is_exact, create, history, leased, load, post, show};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linked_instances_move_together_in_order_and_history_names_the_sender() {
    let world = leased().await;
    let lease = show(&world, "lease/l1").await;
    assert_eq!(lease["links"], json!({ "thing": { "machine": "thing", "name": "t1", "visit": 3 } }));
    let thing = show(&world, "thing/t1").await;
    assert_eq!(thing["links"], json!({ "lease": { "machine": "lease", "name": "l1", "visit": 1 } }));
    let answer = post(&world, "lease/l1", "rq-tell").await;
    assert_eq!((&answer["outcome"], &answer["state"]), (&json!("stayed"), &json!("Leased")), "{answer}");
    assert_eq!(show(&world, "thing/t1").await["data"], json!({ "told": "two" }));
    post(&world, "lease/l1", "rq-end").await;
    assert_eq!(show(&world, "thing/t1").await["state"], "Free");
    assert!(show(&world, "lease/l1").await.get("links").is_none());
    assert_eq!(
        history(&world, "lease/l1").await,
        [
            "created: Asking → Asking",
            "ready: Asking → Leased (thing/t1)",
            "rq-tell: stayed",
            "rq-end: Leased → Ended",
        ]
    );
    assert_eq!(
        history(&world, "thing/t1").await,
        [
            "created: Free → Free",
            "claim: Free → Booting (lease/l1)",
            "rq-boot: Booting → Used",
            "tell-one: stayed (lease/l1)",
            "tell-two: stayed (lease/l1)",
            "release: Used → Free (lease/l1)",
        ]
    );
    assert_replay_is_exact(world.server.engine.store(), &["lease", "thing"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_outlive_a_restart() {
    let world = leased().await;
    let before =
        (show(&world, "lease/l1").await["links"].clone(), show(&world, "thing/t1").await["links"].clone());
    let world = world.restart_when(async |_, _| {}).await.unwrap();
    let after =
        (show(&world, "lease/l1").await["links"].clone(), show(&world, "thing/t1").await["links"].clone());
    assert_eq!(before, after);
    post(&world, "lease/l1", "rq-end").await;
    assert_eq!(show(&world, "thing/t1").await["state"], "Free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_raised_for_an_earlier_visit_is_refused_and_its_sender_stays_moved() {
    let world = leased().await;
    post(&world, "thing/t1", "rq-break").await;
    let answer = post(&world, "lease/l1", "rq-end").await;
    assert_eq!((&answer["outcome"], &answer["to"]), (&json!("moved"), &json!("Ended")), "{answer}");
    let why = "stale: it speaks of visit 3, this is visit 4";
    assert_eq!(show(&world, "lease/l1").await["data"], json!({ "why": why }));
    let lease = history(&world, "lease/l1").await;
    assert_eq!(lease[2..], ["rq-end: Leased → Ended", "release-refused: stayed (thing/t1)"]);
    let thing = history(&world, "thing/t1").await;
    assert_eq!(thing.last().unwrap(), &format!("release: ignored: {why} (lease/l1)"));
    assert_replay_is_exact(world.server.engine.store(), &["lease", "thing"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_of_raised_events_are_bounded() {
    const BALL: &str = "machine: MINE
initial: Still
links: { other: OTHER }
events: { hit: { from: [operator, { machine: OTHER }] }, rq-link: { from: operator, args: [to] } }
states:
  Still:
    resting: true
    about: it waits to be hit
    on: { rq-link: { do: { link: { other: $args.to } } }, hit: { target: Still, do: { raise: { event: hit, to: other } } } }
";
    let of = |mine: &str, other: &str| BALL.replace("MINE", mine).replace("OTHER", other);
    let world = World::new().await;
    load(&world, "ping", &of("ping", "pong")).await;
    // The check detects the endless chain, so it is inserted without a check.
    let quiet = of("pong", "ping").replace(", do: { raise: { event: hit, to: other } }", "");
    load(&world, "pong", &quiet).await;
    create(&world, "ping/a", json!({})).await;
    create(&world, "pong/b", json!({ "other": "a" })).await;
    let path = "/api/v1/machines/ping/a/events/rq-link";
    assert_eq!(world.call(reqwest::Method::POST, path, Some(json!({ "to": "b" }))).await.0, 200);
    let world = world.restart_when(async |_, database| {
        let sql = "UPDATE definition SET source = $1 WHERE machine = 'pong'";
        let changed = sqlx::query(sql).bind(of("pong", "ping")).execute(&database.pool().await).await;
        assert_eq!(changed.unwrap().rows_affected(), 1);
    });
    let world = world.await.unwrap();
    post(&world, "ping/a", "hit").await;
    let (ping, pong) = (history(&world, "ping/a").await, history(&world, "pong/b").await);
    let hits = |history: &[String]| history.iter().filter(|line| line.starts_with("hit: Still")).count();
    assert_eq!((hits(&ping), hits(&pong)), (5, 4), "{ping:#?}\n{pong:#?}");
    assert!(ping.last().unwrap().starts_with("hit-refused: ignored"), "{ping:#?}");
    assert_replay_is_exact(world.server.engine.store(), &["ping", "pong"]).await;
}
