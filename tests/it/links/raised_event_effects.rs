//! Tests of the effects of a raised event in its target: actions run, deadlines fire, and both raise events.

use std::time::Duration;

use lifeguard::cli::serve::ServeOptions;
use serde_json::json;

use super::{assert_replay_is_exact, create, history, load, post, show};
use crate::world::{World, wait_until};

const SWITCH: &str = "machine: switch
initial: Off
links: { lamp: lamp }
events:
  rq-flip: { from: operator }
  lit: { from: { machine: lamp } }
  dark: { from: { machine: lamp } }
states:
  Off:
    resting: true
    about: there is no light
    on: { rq-flip: { target: Flipped, do: { raise: { event: light, to: lamp, args: { by: $instance.name } } } } }
  Flipped: { resting: true, about: there is to be light, on: { lit: Bright } }
  Bright: { resting: true, about: there is light, on: { dark: Off } }
";
const LAMP: &str = "machine: lamp
initial: Dark
links: { switch: switch }
events: { light: { from: { machine: switch }, args: [by] }, rq-mended: { from: operator } }
states:
  Dark:
    resting: true
    about: it is dark
    entry: { raise: { event: dark, to: switch } }
    on: { light: { target: Heating, do: { link: { switch: $args.by } } } }
  Heating:
    about: somebody is told that it is on
    invoke: { action: notify, with: { command: ['true'] } }
    timeout: { after: 10m, target: FailedHeating }
    on: { notify-ok: Lit, notify-failed: FailedHeating }
  Lit:
    about: it is lit
    entry: { raise: { event: lit, to: switch } }
    timeout: { after: 60s, target: Dark }
  FailedHeating: { about: look at it, on: { rq-mended: Dark } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_and_deadlines_of_a_target_start_and_raise_events_themselves() {
    let world = World::with_serve_options(|options| ServeOptions { allow_commands: true, ..options }).await;
    load(&world, "switch", SWITCH).await;
    load(&world, "lamp", LAMP).await;
    create(&world, "lamp/l", json!({})).await;
    create(&world, "switch/s", json!({ "lamp": "l" })).await;
    for round in 1..=2 {
        post(&world, "switch/s", "rq-flip").await;
        wait_until("the end of the action lights it", async || {
            show(&world, "switch/s").await["state"] == "Bright"
        })
        .await;
        world.clock.advance(Duration::from_mins(1));
        wait_until("its time has passed", async || show(&world, "switch/s").await["state"] == "Off").await;
        let lamp = history(&world, "lamp/l").await;
        let count = |begin: &str| lamp.iter().filter(|line| line.starts_with(begin)).count();
        assert_eq!(["light: ", "notify-ok: ", "deadline: "].map(count), [round; 3], "{lamp:#?}");
    }
    assert_replay_is_exact(world.server.engine.store(), &["switch", "lamp"]).await;
}
