use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::pretty_json;
use crate::world::World;

/// The explanation of a board's state, without its other attributes.
fn explained(device: &Value) -> String {
    let keys = ["about", "waits_for", "until", "then", "may", "actions", "boot", "counters", "data"];
    let of = |key: &&str| match device[*key].as_array() {
        Some(several) if !several.is_empty() => {
            let lines: Vec<String> = several.iter().map(|one| format!("  {one}")).collect();
            format!("{key}\n{}", lines.join("\n"))
        }
        _ => format!("{key} {}", device[*key]),
    };
    keys.iter().map(of).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_is_shown_with_the_explanation_of_its_state() {
    let world = World::new().await;
    world.register("b1", json!({ "environment": "lab", "comments": "left <shelf>" })).await;
    assert_snapshot!(pretty_json(&world.get("/api/v1/devices/b1").await), @r#"
    {
      "about": "nobody has asked for anything yet",
      "actions": [],
      "boot": null,
      "comments": "left <shelf>",
      "counters": {},
      "data": {},
      "deadline": null,
      "environment": "lab",
      "fqdn": "b1",
      "hardware": "panda",
      "image": null,
      "kind": "resting",
      "labels": [],
      "mac": "02:00:00:00:0c:0f",
      "may": [
        {
          "about": "leave the board alone until it is unlocked; by, the name of who asks, may come with it",
          "event": "rq-lock-out",
          "from": [
            "operator"
          ],
          "to": [
            "LockedOut"
          ]
        },
        {
          "about": "boot the maintenance image and leave the board to a person",
          "event": "rq-maintenance",
          "from": [
            "operator"
          ],
          "to": [
            "MaintenanceRebooting"
          ]
        },
        {
          "about": "power-cycle the board and wait for its image",
          "event": "rq-reboot",
          "from": [
            "operator"
          ],
          "to": [
            "RebootRebooting"
          ]
        },
        {
          "about": "install an image; boot_config, an object, may come with it",
          "event": "rq-reimage",
          "from": [
            "operator"
          ],
          "to": [
            "ReimageRebooting"
          ]
        },
        {
          "about": "boot the self-test image and wait for its verdict",
          "event": "rq-self-test",
          "from": [
            "operator"
          ],
          "to": [
            "SelfTestRebooting"
          ]
        }
      ],
      "name": "b1",
      "next_image": null,
      "poll_url": null,
      "power_url": null,
      "since": "2026-01-01T12:00:00Z",
      "state": "New",
      "then": null,
      "until": null,
      "visit": 1,
      "waits_for": []
    }
    "#);
    let mut shown = Vec::new();
    for state in ["RebootComplete", "ReimageBooted", "SelfTestBooting", "FailedBadImage", "LockedOut"] {
        world.force("b1", state).await;
        shown.push(format!("{state}\n{}", explained(&world.get("/api/v1/devices/b1").await)));
    }
    assert_snapshot!(shown.join("\n\n"), @r#"
    RebootComplete
    about "power is back; the board's image should report that it runs"
    waits_for
      {"about":"the image on the card has booted","event":"image-running","from":["board"],"to":["Ready"]}
    until "2026-01-01T12:10:00Z"
    then {"count":0,"exceeded":"FailedRebootComplete","left":10,"limit":"10m after entry","most":10,"to":"RebootRebooting"}
    may
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","from":["operator"],"to":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","from":["operator"],"to":["LockedOut"]}
    actions []
    boot null
    counters {}
    data {}

    ReimageBooted
    about "the live image runs; it should begin to install"
    waits_for
      {"about":"a step of the installation failed; fault is image, board, or anything else for bad luck","event":"image-failed","from":["board"],"to":["FailedBadImage","FailedBadBoard","ReimageRebooting","FailedReimageBooted"]}
      {"about":"the live image begins to write the card","event":"image-installing","from":["board"],"to":["ReimageInstalling"]}
    until "2026-01-01T12:01:00Z"
    then {"count":0,"exceeded":"FailedReimageBooted","left":10,"limit":"1m after entry","most":10,"to":"ReimageRebooting"}
    may
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","from":["operator"],"to":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","from":["operator"],"to":["LockedOut"]}
    actions []
    boot null
    counters {}
    data {}

    SelfTestBooting
    about "power is back; the self-test should report that it runs"
    waits_for
      {"about":"the self-test has begun","event":"self-test-running","from":["board"],"to":["SelfTestRunning"]}
    until "2026-01-01T12:03:00Z"
    then {"count":0,"exceeded":"FailedSelfTestBooting","left":30,"limit":"3m after entry","most":30,"to":"SelfTestRebooting"}
    may
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","from":["operator"],"to":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","from":["operator"],"to":["LockedOut"]}
    actions []
    boot null
    counters {}
    data {}

    FailedBadImage
    about "the board says that the image is bad: try another image"
    waits_for []
    until null
    then null
    may
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","from":["operator"],"to":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","from":["operator"],"to":["LockedOut"]}
      {"about":"boot the maintenance image and leave the board to a person","event":"rq-maintenance","from":["operator"],"to":["MaintenanceRebooting"]}
      {"about":"power-cycle the board and wait for its image","event":"rq-reboot","from":["operator"],"to":["RebootRebooting"]}
      {"about":"install an image; boot_config, an object, may come with it","event":"rq-reimage","from":["operator"],"to":["ReimageRebooting"]}
      {"about":"boot the self-test image and wait for its verdict","event":"rq-self-test","from":["operator"],"to":["SelfTestRebooting"]}
    actions []
    boot null
    counters {}
    data {}

    LockedOut
    about "Lifeguard does not touch this board until it is unlocked"
    waits_for []
    until null
    then null
    may
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","from":["operator"],"to":["LockedOut"]}
      {"about":"end a lock-out","event":"rq-unlock","from":["operator"],"to":["Cancelling","New"]}
    actions []
    boot null
    counters {}
    data {}
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_at_a_busy_relay_board_are_shown_with_their_queue_positions() {
    let world = World::new().await;
    // Accepts connections and sends nothing.
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay_addr = relay.local_addr().unwrap();
    for (coil, name) in ["b1", "b2", "b3"].into_iter().enumerate() {
        world.register(name, json!({ "power_url": format!("modbus://{relay_addr}/{coil}") })).await;
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
        if name == "b1" {
            world.until(name, "it has begun", |device| device["deadline"].is_string()).await;
        }
    }
    let mut shown = Vec::new();
    for name in ["b1", "b3"] {
        let device = world
            .until(name, "only power is to be cycled", |device| {
                name == "b3" || device["actions"].as_array().is_some_and(|actions| actions.len() == 1)
            })
            .await;
        shown.push(format!("{name}\n{}", explained(&device)).replace(&relay_addr.to_string(), "relay"));
    }
    assert_snapshot!(shown.join("\n\n"), @r#"
    b1
    about "the boot link is removed, then power is cycled"
    waits_for
      {"about":"","event":"power-cycle-failed","from":["action"],"to":["FailedRebootRebooting","RebootRebooting"]}
      {"about":"","event":"power-cycle-ok","from":["action"],"to":["RebootComplete"]}
    until "2026-01-01T12:01:00Z"
    then {"count":0,"exceeded":"FailedRebootRebooting","left":200,"limit":"1m after its actions begin","most":200,"to":"RebootRebooting"}
    may
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","from":["operator"],"to":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","from":["operator"],"to":["LockedOut"]}
    actions
      {"action":"power-cycle","ahead":0,"asked_at":"2026-01-01T12:00:00Z","attempts":1,"began_at":"2026-01-01T12:00:00Z","cancelled":false,"resource":"modbus://relay","status":"RUNNING"}
    boot null
    counters {}
    data {}

    b3
    about "the boot link is removed, then power is cycled"
    waits_for
      {"about":"","event":"power-cycle-failed","from":["action"],"to":["FailedRebootRebooting","RebootRebooting"]}
      {"about":"","event":"power-cycle-ok","from":["action"],"to":["RebootComplete"]}
    until null
    then {"count":0,"exceeded":"FailedRebootRebooting","left":200,"limit":"1m after its actions begin","most":200,"to":"RebootRebooting"}
    may
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","from":["operator"],"to":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","from":["operator"],"to":["LockedOut"]}
    actions
      {"action":"clear-pxe","ahead":2,"asked_at":"2026-01-01T12:00:00Z","attempts":0,"began_at":null,"cancelled":false,"resource":"modbus://relay","status":"WAITING"}
      {"action":"power-cycle","ahead":2,"asked_at":"2026-01-01T12:00:00Z","attempts":0,"began_at":null,"cancelled":false,"resource":"modbus://relay","status":"WAITING"}
    boot null
    counters {}
    data {}
    "#);
}
