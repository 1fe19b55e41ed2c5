//! Tests of facts: no decision is made on facts that were not read.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::api::send;
use crate::replay::assert_history_gives_instances;
use crate::versions::load;
use crate::world::{World, unreachable_power};

async fn request(world: &World, request: &str) {
    let (status, answer) = world.request("b1", request, json!({})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// Boards choose by their hardware's images, after a deadline and after an action.
const CHOICE: &str = "machine: board
initial: New
events: { rq-wait: { from: operator }, rq-act: { from: operator } }
states:
  New: { about: it is new, resting: true, on: { rq-wait: Waiting, rq-act: Acting } }
  Waiting: { about: it waits, timeout: { after: 60s, target: Choosing } }
  Acting:
    about: it acts
    invoke: [clear-pxe]
    timeout: { after: 60s, target: New }
    on: { clear-pxe-ok: Choosing, clear-pxe-failed: New }
  Choosing:
    about: it chooses
    always: [{ if: \"'linux' in device.images\", target: HasLinux }, HasNothing]
  HasLinux: { about: there is an image, resting: true, on: { rq-wait: Waiting, rq-act: Acting } }
  HasNothing: { about: there is no image, resting: true, on: { rq-wait: Waiting, rq-act: Acting } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_know_the_images_also_after_a_deadline_and_after_an_action() {
    let world = World::new().await;
    world.register("b1", unreachable_power(0)).await;
    let (status, loaded) = load(&world, CHOICE, "").await;
    assert_eq!(status, 200, "{loaded}");
    for expected in ["HasNothing", "HasLinux"] {
        request(&world, "rq-wait").await;
        world.pass_deadline("b1").await;
        assert_eq!(world.state("b1").await, expected, "after a deadline");
        request(&world, "rq-act").await;
        world.until_state("b1", expected).await;
        world.image("linux").await;
    }
    assert_history_gives_instances(world.server.engine.store()).await;
}

/// The third report leads on, by a condition of the state that the board stays in.
const COUNTED: &str = "machine: board
initial: New
events: { image-running: { from: board } }
states:
  New:
    about: it counts
    timeout: { after: 1h, target: Done }
    always: { if: counters.reports > 2, target: Cycling }
    on: { image-running: { do: { count: reports } } }
  Cycling:
    about: its power is cycled
    invoke: [power-cycle]
    timeout: { after: 1h, target: Done }
    on: { power-cycle-ok: Done, power-cycle-failed: Done }
  Done: { about: it is done, resting: true }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_follows_a_stay_claims_its_resource() {
    let world = World::new().await;
    let (status, loaded) = load(&world, COUNTED, "").await;
    assert_eq!(status, 200, "{loaded}");
    world.register("b1", unreachable_power(0)).await;
    for _ in 0..3 {
        world.report("b1", "image-running").await;
    }
    let device = world.get("/api/v1/devices/b1").await;
    assert_eq!(device["actions"][0]["resource"], "modbus://127.0.0.1:1", "{device}");
}

/// A lease asks its board whether it has power.
const ASKING: &str = "machine: lease
initial: Idle
links: { board: board }
events: { go: { from: operator } }
states:
  Idle: { about: it may ask, resting: true, on: { go: { do: { raise: { event: kick, to: board } } } } }
";
const ASKED: &str = "machine: board
initial: New
events: { kick: { from: { machine: lease } }, image-running: { from: board } }
states:
  New: { about: it is new, resting: true, on: { kick: [{ if: device.power, target: HasPower }, HasNone], image-running: { do: { count: reports } } } }
  HasPower: { about: it has power, resting: true }
  HasNone: { about: it has no power, resting: true }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_event_is_decided_with_facts_while_its_target_reports() {
    const BOARDS: usize = 40;
    let world = World::new().await;
    assert_eq!(load(&world, ASKED, "").await.0, 200);
    let loaded = send(&world, "PUT /api/v1/machines/lease", ASKING).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text);
    for board in 0..BOARDS {
        world.register(&format!("b{board}"), unreachable_power(u16::try_from(board).unwrap())).await;
        let links = json!({ "links": { "board": { "name": format!("b{board}") } } });
        let path = format!("/api/v1/machines/lease/l{board}");
        let (status, answer) = world.call(Method::PUT, &path, Some(links)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    let both = (0..BOARDS).map(async |board| {
        let (name, path) = (format!("b{board}"), format!("/api/v1/machines/lease/l{board}/events/go"));
        let (reported, asked) =
            tokio::join!(world.report(&name, "image-running"), world.call(Method::POST, &path, None));
        assert_eq!((reported.0, asked.0), (StatusCode::OK, StatusCode::OK), "{asked:?}");
    });
    futures_util::future::join_all(both).await;
    for board in 0..BOARDS {
        assert_eq!(world.state(&format!("b{board}")).await, "HasPower", "b{board}");
    }
    assert_history_gives_instances(world.server.engine.store()).await;
}
