//! Tests of boards whose power configuration does not work.

use lifeguard::farm::relay::RelayBehaviour;
use serde_json::json;

use crate::rack::Rack;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_with_an_unreadable_relay_fails_at_once_and_keeps_its_power() {
    let world = World::new().await;
    let rack = Rack::new(&world, 8);
    rack.relay.set_behaviour(RelayBehaviour::ReadsBanks { coils: 8 });
    world.register("b1", rack.power_facts(0)).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    let device = world.until_state("b1", "FailedRebootRebooting").await;
    let failure = device["data"]["failure"].as_str().unwrap();
    assert!(
        failure.contains("refused to read coil 0 alone") && failure.contains("`readback=all8`"),
        "{failure}"
    );
    assert_eq!((&device["counters"], &device["deadline"]), (&json!({}), &json!(null)));
    let history = world.history("b1").await;
    let end = history.iter().find(|entry| entry["event"] == "power-cycle-failed").unwrap();
    assert_eq!(
        (&end["args"]["fault"], &end["evidence"]["observed"]),
        (&json!("configuration"), &json!("unknown"))
    );
    assert!(rack.relay.writes().is_empty(), "no power was taken away");

    let power_url = format!("{}/1?off=50ms&readback=all8", rack.resource());
    world.register("b2", json!({ "power_url": power_url })).await;
    assert_eq!(world.request("b2", "rq-reboot", json!({})).await.0, 200);
    world.pass_time_until("b2", "it is rebooted", |device| device["state"] == "RebootComplete").await;
    assert_eq!(rack.switched(8), [(1, false), (1, true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_without_a_power_url_fails_at_the_step_that_needs_it() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    for step in ["RebootRebooting", "MaintenanceRebooting"] {
        // The image exists, so that the boot link does not fail.
        world.image("maintenance").await;
        world.force("b1", step).await;
        let device = world.until_state("b1", &format!("Failed{step}")).await;
        assert!(device["data"]["failure"].is_string(), "{device}");
    }
}
