//! A board's life as its table says it, through a whole server.

use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_whose_power_cannot_be_cycled_is_tried_again_after_sixty_seconds() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    let first = world.until("b1", "time runs", |device| device["deadline"].is_string()).await;
    assert_eq!(first["state"], "RebootRebooting");
    world.pass_deadline("b1").await;
    let second = world.until_state("b1", "RebootRebooting").await;
    assert_eq!(second["counters"], json!({ "RebootRebooting": 1 }));
}
