use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::pretty_json;
use crate::world::World;

/// The explanation of a board's state, without its other attributes.
fn explained(device: &Value) -> String {
    let keys = [
        "about",
        "awaited_events",
        "deadline",
        "on_deadline",
        "requests",
        "actions",
        "boot",
        "counters",
        "data",
    ];
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
      "awaited_events": [],
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
      "name": "b1",
      "next_image": null,
      "observed_power": null,
      "on_deadline": null,
      "poll_url": null,
      "power_url": null,
      "requests": [
        {
          "about": "leave the board alone until it is unlocked; by, the name of who asks, may come with it",
          "event": "rq-lock-out",
          "refusal_reason": null,
          "required_args": [
            "reason"
          ],
          "targets": [
            "LockedOut"
          ]
        },
        {
          "about": "boot the maintenance image and leave the board to a person",
          "event": "rq-maintenance",
          "refusal_reason": "the board has no power URL, so its power cannot be cycled",
          "required_args": [],
          "targets": [
            "MaintenanceRebooting"
          ]
        },
        {
          "about": "power-cycle the board and wait for its image",
          "event": "rq-reboot",
          "refusal_reason": "the board has no power URL, so its power cannot be cycled",
          "required_args": [],
          "targets": [
            "RebootRebooting"
          ]
        },
        {
          "about": "install an image; boot_config, an object, may come with it",
          "event": "rq-reimage",
          "refusal_reason": "the board has no power URL, so its power cannot be cycled",
          "required_args": [
            "image"
          ],
          "targets": [
            "ReimageRebooting"
          ]
        },
        {
          "about": "boot the self-test image and wait for its verdict",
          "event": "rq-self-test",
          "refusal_reason": "the board has no power URL, so its power cannot be cycled",
          "required_args": [],
          "targets": [
            "SelfTestRebooting"
          ]
        }
      ],
      "since": "2026-01-01T12:00:00Z",
      "state": "New",
      "visit": 1
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
    awaited_events
      {"about":"the image on the card has booted","event":"image-running","senders":["board"],"targets":["Ready"]}
    deadline "2026-01-01T12:10:00Z"
    on_deadline {"exceeded_to":"FailedRebootComplete","max_retries":10,"retries":0,"retries_left":10,"time_limit":"10m after entry","to":"RebootRebooting"}
    requests
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","refusal_reason":null,"required_args":[],"targets":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","refusal_reason":null,"required_args":["reason"],"targets":["LockedOut"]}
    actions []
    boot null
    counters {}
    data {}

    ReimageBooted
    about "the live image runs; it should begin to install"
    awaited_events
      {"about":"a step of the installation failed; fault is image, board, or anything else for bad luck","event":"image-failed","senders":["board"],"targets":["FailedBadImage","FailedBadBoard","ReimageRebooting","FailedReimageBooted"]}
      {"about":"the live image begins to write the card","event":"image-installing","senders":["board"],"targets":["ReimageInstalling"]}
    deadline "2026-01-01T12:01:00Z"
    on_deadline {"exceeded_to":"FailedReimageBooted","max_retries":10,"retries":0,"retries_left":10,"time_limit":"1m after entry","to":"ReimageRebooting"}
    requests
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","refusal_reason":null,"required_args":[],"targets":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","refusal_reason":null,"required_args":["reason"],"targets":["LockedOut"]}
    actions []
    boot null
    counters {}
    data {}

    SelfTestBooting
    about "power is back; the self-test should report that it runs"
    awaited_events
      {"about":"the self-test has begun","event":"self-test-running","senders":["board"],"targets":["SelfTestRunning"]}
    deadline "2026-01-01T12:03:00Z"
    on_deadline {"exceeded_to":"FailedSelfTestBooting","max_retries":30,"retries":0,"retries_left":30,"time_limit":"3m after entry","to":"SelfTestRebooting"}
    requests
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","refusal_reason":null,"required_args":[],"targets":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","refusal_reason":null,"required_args":["reason"],"targets":["LockedOut"]}
    actions []
    boot null
    counters {}
    data {}

    FailedBadImage
    about "the board says that the image is bad: try another image"
    awaited_events []
    deadline null
    on_deadline null
    requests
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","refusal_reason":null,"required_args":[],"targets":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","refusal_reason":null,"required_args":["reason"],"targets":["LockedOut"]}
      {"about":"boot the maintenance image and leave the board to a person","event":"rq-maintenance","refusal_reason":"the board has no power URL, so its power cannot be cycled","required_args":[],"targets":["MaintenanceRebooting"]}
      {"about":"power-cycle the board and wait for its image","event":"rq-reboot","refusal_reason":"the board has no power URL, so its power cannot be cycled","required_args":[],"targets":["RebootRebooting"]}
      {"about":"install an image; boot_config, an object, may come with it","event":"rq-reimage","refusal_reason":"the board has no power URL, so its power cannot be cycled","required_args":["image"],"targets":["ReimageRebooting"]}
      {"about":"boot the self-test image and wait for its verdict","event":"rq-self-test","refusal_reason":"the board has no power URL, so its power cannot be cycled","required_args":[],"targets":["SelfTestRebooting"]}
    actions []
    boot null
    counters {}
    data {}

    LockedOut
    about "Lifeguard does not touch this board until it is unlocked"
    awaited_events []
    deadline null
    on_deadline null
    requests
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","refusal_reason":null,"required_args":["reason"],"targets":["LockedOut"]}
      {"about":"end a lock-out","event":"rq-unlock","refusal_reason":null,"required_args":[],"targets":["New"]}
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
    awaited_events
      {"about":"","event":"power-cycle-failed","senders":["action"],"targets":["FailedRebootRebooting","RebootRebooting"]}
      {"about":"","event":"power-cycle-ok","senders":["action"],"targets":["RebootComplete"]}
    deadline "2026-01-01T12:01:00Z"
    on_deadline {"exceeded_to":"FailedRebootRebooting","max_retries":200,"retries":0,"retries_left":200,"time_limit":"1m after its actions begin","to":"RebootRebooting"}
    requests
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","refusal_reason":null,"required_args":[],"targets":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","refusal_reason":null,"required_args":["reason"],"targets":["LockedOut"]}
    actions
      {"action":"power-cycle","asked_at":"2026-01-01T12:00:00Z","attempts":1,"cancelled":false,"holder":null,"is_compensation":false,"is_leftover":false,"requests_ahead":0,"resource":"modbus://relay","started_at":"2026-01-01T12:00:00Z","status":"RUNNING"}
    boot null
    counters {}
    data {}

    b3
    about "the boot link is removed, then power is cycled"
    awaited_events
      {"about":"","event":"power-cycle-failed","senders":["action"],"targets":["FailedRebootRebooting","RebootRebooting"]}
      {"about":"","event":"power-cycle-ok","senders":["action"],"targets":["RebootComplete"]}
    deadline null
    on_deadline {"exceeded_to":"FailedRebootRebooting","max_retries":200,"retries":0,"retries_left":200,"time_limit":"1m after its actions begin","to":"RebootRebooting"}
    requests
      {"about":"give up what is under way, and remove the boot link","event":"rq-cancel","refusal_reason":null,"required_args":[],"targets":["Cancelling"]}
      {"about":"leave the board alone until it is unlocked; by, the name of who asks, may come with it","event":"rq-lock-out","refusal_reason":null,"required_args":["reason"],"targets":["LockedOut"]}
    actions
      {"action":"clear-pxe","asked_at":"2026-01-01T12:00:00Z","attempts":0,"cancelled":false,"holder":"b1","is_compensation":false,"is_leftover":false,"requests_ahead":2,"resource":"modbus://relay","started_at":null,"status":"WAITING"}
      {"action":"power-cycle","asked_at":"2026-01-01T12:00:00Z","attempts":0,"cancelled":false,"holder":"b1","is_compensation":false,"is_leftover":false,"requests_ahead":2,"resource":"modbus://relay","started_at":null,"status":"WAITING"}
    boot null
    counters {}
    data {}
    "#);
}
