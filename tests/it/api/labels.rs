use lifeguard::boards;
use lifeguard::machine::FactKind;
use serde_json::{Value, json};

use super::send;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_by_the_labels_of_boards() {
    let world = World::new().await;
    world.register("b1", json!({ "labels": ["rack-7", "arm64", "rack-7"] })).await;
    world.register("b2", json!({ "labels": "rack-8, arm64" })).await;
    world.register("b3", json!({})).await;
    let names = async |query: &str| {
        let listed = world.get(&format!("/api/v1/devices?{query}")).await;
        let devices = listed["devices"].as_array().unwrap().iter();
        devices.map(|device| format!("{} {}", device["name"], device["labels"])).collect::<Vec<_>>()
    };
    assert_eq!(names("labels=rack-7").await, [r#""b1" ["arm64","rack-7"]"#]);
    assert_eq!(names("labels=arm64").await.len(), 2);
    let unknown = send(&world, "GET /api/v1/devices?labels=rack-9", "").await.json();
    assert_eq!(unknown["detail"], "no board has the label `rack-9`; did you mean `rack-7`?");

    let change = send(&world, "PATCH /api/v1/devices/b1", r#"{"labels": null}"#).await.json();
    assert_eq!((&change["labels"], &change["hardware"]), (&json!([]), &json!("panda")));
    let refused = send(&world, "PATCH /api/v1/devices/b1", r#"{"labels": ["rack 7"]}"#).await.json();
    assert!(refused["detail"].as_str().unwrap().starts_with("labels: \"rack 7\" is not a name"), "{refused}");
    let noted = world.history("b1").await;
    assert!(noted.iter().any(|entry: &Value| entry["evidence"] == json!({ "labels": [] })), "{noted:#?}");
}

#[test]
fn conditions_can_use_labels() {
    let device = &boards::vocabulary().facts()[0];
    assert_eq!(device.fields.get("labels"), Some(&FactKind::List));
}
