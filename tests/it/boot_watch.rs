//! What a board fetches by TFTP is in its history, and tells boards that never asked from those that fell silent.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lifeguard::tftp::client::{Options, fetch};
use serde_json::{Value, json};

use crate::rack::Rack;
use crate::world::{World, ask};

const MAC: &str = "02:00:00:00:00:07";
const LINK: &str = "pxelinux.cfg/01-02-00-00-00-00-07";

/// A board whose power has just come on, `RebootComplete`.
async fn powered(world: &World, rack: &Rack) {
    let mut more = rack.wired(0);
    more["mac"] = json!(MAC);
    world.register("b1", more).await;
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    world.pass_time_until("b1", "power is back", |device| device["state"] == "RebootComplete").await;
}

async fn remarks(world: &World, event: &str) -> Vec<String> {
    let entries = world.history("b1").await.into_iter().filter(|entry| entry["event"] == event);
    entries.map(|entry| entry["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_board_fetched_and_when_is_in_its_history() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    powered(&world, &rack).await;
    let boot = world.folder.path().join("boot");
    fs_err::write(boot.join("kernel"), vec![7; 5000]).unwrap();
    world.clock.advance(Duration::from_secs(12));
    let tftp = world.server.tftp.unwrap();
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 7, 1));
    // There is no link: the board boots from its card. What it asks for next is known to be its own.
    fetch(tftp, from, LINK, &Options::default()).await.unwrap_err();
    fetch(tftp, from, "kernel", &Options::default()).await.unwrap();

    ask("both are written down", async || remarks(&world, "fetched").await.len() == 2).await;
    assert_eq!(remarks(&world, "asked-boot-config").await, ["asked for its boot config 12 s after power-on"]);
    let mut fetched = remarks(&world, "fetched").await;
    fetched.sort();
    assert_eq!(fetched, ["its boot config: there is none", "kernel: fetched, 5000 bytes"]);

    let device = world.get("/api/v1/devices/b1").await;
    assert!(device["boot"].as_str().unwrap().starts_with("it asked for its boot config 12 s after power-on"));
    world.pass_deadline("b1").await;
    let said = remarks(&world, "timeout").await;
    assert!(said[0].starts_with("it asked for its boot config 12 s after power-on"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_never_asked_is_told_from_the_others() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    powered(&world, &rack).await;
    // Somebody whom nobody registered leaves no trace.
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 7, 2));
    let stranger = "pxelinux.cfg/01-02-00-00-00-00-99";
    fetch(world.server.tftp.unwrap(), from, stranger, &Options::default()).await.unwrap_err();
    world.pass_deadline("b1").await;
    let silent = "it has not asked for anything since its power came on";
    assert_eq!(remarks(&world, "timeout").await, [silent]);
    assert_eq!(remarks(&world, "asked-boot-config").await, Vec::<String>::new());
    let kinds: Vec<Value> = world.history("b1").await.iter().map(|entry| entry["kind"].clone()).collect();
    assert!(!kinds.contains(&json!("note")), "{kinds:?}");
}
