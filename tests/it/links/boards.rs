//! Tests of boards linked to other instances.

use serde_json::json;

use super::{THING, create, load, show};
use crate::versions::changed;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_is_shown_with_its_links_like_any_instance() {
    let linked = changed(&[
        ("initial: New\n", "initial: New\nlinks: { thing: thing }\n"),
        ("\nevents:\n", "\nevents:\n  rq-take: { from: operator, args: [thing], about: take a thing }\n"),
        (
            "      rq-lock-out:\n",
            "      rq-take: { do: { link: { thing: $args.thing } } }\n      rq-lock-out:\n",
        ),
    ]);
    let world = World::with_definition(&linked).await;
    load(&world, "thing", THING).await;
    create(&world, "thing/t1", json!({})).await;
    world.register("b1", json!({})).await;
    assert!(world.get("/api/v1/devices/b1").await.get("links").is_none());
    let (status, answer) = world.request("b1", "rq-take", json!({ "thing": "t1" })).await;
    assert_eq!(status, 200, "{answer}");
    let board = world.get("/api/v1/devices/b1").await;
    assert_eq!(board["links"], json!({ "thing": { "machine": "thing", "name": "t1" } }));
    assert_eq!(board["links"], show(&world, "board/b1").await["links"]);
}
