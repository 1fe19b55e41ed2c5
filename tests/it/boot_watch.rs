//! Tests of the boot log: TFTP fetches are in a board's history, and boards that never asked are distinguished from
//! those that fell silent.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lifeguard::tftp::client::{TransferOptions, fetch};
use lifeguard::tftp::packet::{TftpErrorCode, TftpPacket, TftpRequest, TransferMode};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::rack::Rack;
use crate::world::{World, wait_until};

const MAC: &str = "02:00:00:00:00:07";
const LINK: &str = "pxelinux.cfg/01-02-00-00-00-00-07";

/// A board whose power was just switched on, in `RebootComplete`.
async fn powered(world: &World, rack: &Rack) {
    let mut more = rack.power_facts(0);
    more["mac"] = json!(MAC);
    world.register("b1", more).await;
    reboot(world).await;
}

async fn reboot(world: &World) {
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    world.pass_time_until("b1", "power is back", |device| device["state"] == "RebootComplete").await;
}

async fn reasons_of(world: &World, event: &str) -> Vec<String> {
    let entries = world.history("b1").await.into_iter().filter(|entry| entry["event"] == event);
    entries.map(|entry| entry["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The requests in the last boot log: file and end of each.
async fn requests(world: &World) -> Vec<(String, String)> {
    let entries = world.history("b1").await;
    let Some(log) = entries.iter().rfind(|entry| entry["event"] == "fetched") else { return Vec::new() };
    let requests = log["evidence"]["requests"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    requests.iter().map(|one| (text(&one["file"]), text(&one["end"]))).collect()
}

async fn boot(world: &World) -> String {
    world.get("/api/v1/devices/b1").await["boot"].as_str().unwrap_or_default().to_owned()
}

fn here(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 7, last))
}

/// Tries to fetch a file.
async fn get(world: &World, from: IpAddr, file: &str) {
    fetch(world.server.tftp.unwrap(), from, file, &TransferOptions::default()).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetched_files_and_their_times_are_in_a_board_s_history() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    powered(&world, &rack).await;
    let folder = world.folder.path().join("boot");
    fs_err::write(folder.join("kernel"), vec![7; 5000]).unwrap();
    world.clock.advance(Duration::from_secs(12));
    // Without a link the board boots from its card. Its next requests are attributed to it.
    get(&world, here(1), LINK).await;
    get(&world, here(1), "kernel").await;

    let expected = "its boot config: no such file; kernel: fetched, 5000 bytes";
    wait_until("both are recorded", async || reasons_of(&world, "fetched").await == [expected]).await;
    assert_eq!(
        reasons_of(&world, "asked-boot-config").await,
        ["asked for its boot config 12 s after power-on"]
    );
    assert!(boot(&world).await.starts_with("it asked for its boot config 12 s after power-on"));
    world.pass_deadline("b1").await;
    let log_lines = reasons_of(&world, "deadline").await;
    assert!(log_lines[0].starts_with("it asked for its boot config 12 s after power-on"), "{log_lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_listed_in_order_with_times_in_one_entry_per_boot() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    powered(&world, &rack).await;
    let mut files = vec!["pxelinux.0".to_owned(), LINK.to_owned()];
    files.extend((0..50).map(|number| format!("grub/x86_64-efi/module-{number}.mod")));
    for file in &files {
        world.clock.advance(Duration::from_millis(100));
        get(&world, here(2), file).await;
    }
    let asked = async || requests(&world).await.into_iter().map(|(file, _)| file).collect::<Vec<_>>();
    wait_until("all are written down in their order", async || asked().await == files).await;
    let entries = world.history("b1").await;
    let notes = entries.iter().filter(|entry| entry["kind"] == "note").count();
    assert_eq!(notes, 2, "the boot log, and that it asked for its boot config");
    let log = entries.iter().find(|entry| entry["event"] == "fetched").unwrap();
    let times: Vec<chrono::DateTime<chrono::Utc>> = log["evidence"]["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["at"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == chrono::TimeDelta::milliseconds(100)));
    assert!(
        boot(&world).await.contains("last request or report 5 s after power-on"),
        "{}",
        boot(&world).await
    );

    // The next boot has its own entry.
    world.report("b1", "image-running").await;
    reboot(&world).await;
    get(&world, here(2), "pxelinux.0").await;
    wait_until("the next boot is written down", async || reasons_of(&world, "fetched").await.len() == 2)
        .await;
    assert_eq!(requests(&world).await, [("pxelinux.0".to_owned(), "no such file".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_without_requests_is_reported_as_not_seen() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    powered(&world, &rack).await;
    assert_eq!(boot(&world).await, "no request from it has been seen by this server since its power came on");
    // An unregistered client is not in its history, but it could have been the board.
    world.clock.advance(Duration::from_secs(3));
    get(&world, here(3), "pxelinux.cfg/01-02-00-00-00-00-99").await;
    let but = " (but requests from unknown senders, the last 3 s after power-on)";
    let unseen = format!("no request from it has been seen by this server since its power came on{but}");
    wait_until("the stranger is known of", async || boot(&world).await == unseen).await;
    world.pass_deadline("b1").await;
    assert_eq!(reasons_of(&world, "deadline").await, [unseen]);
    assert_eq!(reasons_of(&world, "asked-boot-config").await, Vec::<String>::new());
    let kinds: Vec<Value> = world.history("b1").await.iter().map(|entry| entry["kind"].clone()).collect();
    assert!(!kinds.contains(&json!("note")), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_is_identified_by_the_mac_in_a_file_name_before_its_address() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    powered(&world, &rack).await;
    let mut other = rack.power_facts(0);
    other["mac"] = json!("02:00:00:00:00:08");
    other.as_object_mut().unwrap().remove("power_url");
    world.register("b2", other).await;
    get(&world, here(4), "pxelinux.cfg/01-02-00-00-00-00-08").await;
    // The address now belongs to this board.
    get(&world, here(4), "grub/grub.cfg-01-02-00-00-00-00-07").await;
    get(&world, here(4), &format!("menu-efi64/{LINK}")).await;
    get(&world, here(4), "kernel").await;
    let files = async || requests(&world).await.into_iter().map(|(file, _)| file).collect::<Vec<_>>();
    let expected =
        ["grub/grub.cfg-01-02-00-00-00-00-07", "menu-efi64/pxelinux.cfg/01-02-00-00-00-00-07", "kernel"];
    wait_until("all are this board's", async || files().await == expected).await;
    // The time after power-on depends on the machine's speed.
    assert!(boot(&world).await.starts_with("it asked for its boot config "), "{}", boot(&world).await);
    let others = async || {
        let logs = world.history("b2").await.into_iter().filter(|entry| entry["event"] == "fetched");
        logs.map(|entry| entry["reason"].clone()).collect::<Vec<_>>()
    };
    wait_until("the other one's is written", async || others().await == ["its boot config: no such file"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_requests_are_in_the_boot_log_with_the_client_s_error_text() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    // The board is registered with its address, so names need not contain its MAC.
    let mut more = rack.power_facts(0);
    (more["mac"], more["fqdn"]) = (json!(MAC), json!("127.0.7.5"));
    world.register("b1", more).await;
    reboot(&world).await;
    get(&world, here(5), "../loader").await;
    let refused = ("../loader".to_owned(), "refused: outside the boot tree".to_owned());
    wait_until("the refusal is written down", async || requests(&world).await == [refused.clone()]).await;
    assert!(
        boot(&world).await.starts_with(
            "no request for its boot config has been seen by this server; last request or report"
        )
    );

    fs_err::write(world.folder.path().join("boot/loader"), vec![7; 5000]).unwrap();
    let client = UdpSocket::bind((here(5), 0)).await.unwrap();
    let request = TftpRequest { file: b"loader".to_vec(), mode: TransferMode::Octet, options: Vec::new() };
    client.send_to(&TftpPacket::Read(request).to_bytes(), world.server.tftp.unwrap()).await.unwrap();
    let (_, from) = client.recv_from(&mut [0; 600]).await.unwrap();
    let error = TftpPacket::Error { code: TftpErrorCode(0), message: "Early terminate".into() };
    client.send_to(&error.to_bytes(), from).await.unwrap();
    let words = "the board ended it after 0 bytes: error 0 \"Early terminate\"".to_owned();
    wait_until("the client's words are written down", async || {
        requests(&world).await.last().is_some_and(|(_, end)| *end == words)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_boot_root_is_missing_the_server_is_not_ready_and_boards_wait() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    world.image("linux").await;
    world.register("b1", rack.power_facts(0)).await;
    let (root, aside) = (world.folder.path().join("boot"), world.folder.path().join("aside"));
    fs_err::rename(&root, &aside).unwrap();
    wait_until("it is not ready", async || world.call(Method::GET, "/readyz", None).await.0 == 503).await;
    let problem = world.call(Method::GET, "/readyz", None).await.1;
    assert_eq!(problem["code"], "boot_tree_unreadable");
    assert!(problem["detail"].as_str().unwrap().contains("cannot be read"), "{problem}");

    let (status, answer) = world.request("b1", "rq-reimage", json!({ "image": "linux" })).await;
    assert_eq!(status, 200, "{answer}");
    let events = async || {
        let history = world.history("b1").await;
        history.iter().map(|entry| entry["event"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    wait_until("set-pxe was tried", async || world.state("b1").await == "ReimageRebooting").await;
    fs_err::rename(&aside, &root).unwrap();
    wait_until("it is ready again", async || world.call(Method::GET, "/readyz", None).await.0 == 200).await;
    world.pass_time_until("b1", "the link is set", |device| device["state"] == "ReimageBooting").await;
    assert!(!events().await.contains(&"set-pxe-failed".to_owned()), "{:?}", events().await);
}
