//! Starting, stopping, bounds, and our own client with and without a network that loses packets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lifeguard::tftp::client::{ClientError, Options, SizeProbe, fetch};
use lifeguard::tftp::packet::{ErrorCode, Packet};
use lifeguard::tftp::{End, Limits, Server, TftpError};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::{STUBBORN, Site, Witness, within};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn a_file_of_more_blocks_than_numbers_arrives() {
    let mut site = Site::start(STUBBORN).await;
    let content = site.file("image", 8 * 66_000 + 3);
    let options = Options {
        block_bytes: Some(8),
        window_blocks: Some(16),
        wait: Duration::from_secs(10),
        ..Options::default()
    };
    let fetched = within("the file", fetch(site.server, HERE, "image", &options)).await.unwrap();
    assert!(fetched == content, "the content differs");
    assert!(matches!(site.end().await, End::Sent { bytes: 528_003, .. }));
}

#[tokio::test]
async fn two_at_a_time_get_each_their_own() {
    let site = Site::start(STUBBORN).await;
    let (large, small) = (site.file("large", 3_000_000), site.file("small", 1_000_000));
    let options = Options { window_blocks: Some(8), wait: Duration::from_millis(200), ..Options::default() };
    let (first, second) = tokio::join!(
        fetch(site.server, HERE, "large", &options),
        fetch(site.server, "127.0.0.9".parse().unwrap(), "small", &options),
    );
    assert!(first.unwrap() == large && second.unwrap() == small);
}

#[tokio::test]
async fn one_request_too_many_is_dropped_and_served_when_there_is_room() {
    let mut site = Site::start(Limits { transfers: 1, ..STUBBORN }).await;
    site.file("image", 2000);
    let mut first = site.client().await;
    first.ask("image", &[]).await;
    first.hear_data(1).await;
    let hasty = Options { wait: Duration::from_millis(20), retries: 2, ..Options::default() };
    let second = fetch(site.server, HERE, "image", &hasty).await;
    assert!(matches!(second, Err(ClientError::Silent { blocks: 0 })), "{second:?}");
    first.say(Packet::Error { code: ErrorCode::OTHER, message: String::new() }).await;
    site.end().await;
    let patient = Options { wait: Duration::from_millis(20), retries: 100, ..Options::default() };
    assert_eq!(fetch(site.server, HERE, "image", &patient).await.unwrap().len(), 2000);
}

#[tokio::test]
async fn our_client_can_hang_and_says_what_the_server_said() {
    let site = Site::start(STUBBORN).await;
    site.file("image", 10_000);
    let options = Options {
        block_bytes: None,
        size: SizeProbe::No,
        abandon_after_blocks: Some(3),
        ..Options::default()
    };
    let hung = fetch(site.server, HERE, "image", &options).await;
    assert!(matches!(hung, Err(ClientError::Abandoned { blocks: 3 })), "{hung:?}");
    let refused = fetch(site.server, HERE, "../x", &Options::default()).await;
    assert!(matches!(refused, Err(ClientError::Refused { code: ErrorCode(2), .. })), "{refused:?}");
    let empty = site.file("empty", 0);
    assert_eq!(fetch(site.server, HERE, "empty", &Options::default()).await.unwrap(), empty);
}

/// Passes packets between one client and the server and loses each fifth one.
async fn lossy(relay: UdpSocket, server: SocketAddr) {
    let inner = UdpSocket::bind((HERE, 0)).await.unwrap();
    let (mut client, mut server, mut count) = (None, server, 0_u32);
    let (mut from_client, mut from_server) = (vec![0; 2048], vec![0; 2048]);
    loop {
        let (is_outward, length) = tokio::select! {
            received = relay.recv_from(&mut from_client) => {
                let (length, from) = received.unwrap();
                client = Some(from);
                (true, length)
            }
            received = inner.recv_from(&mut from_server) => {
                let (length, from) = received.unwrap();
                server = from;
                (false, length)
            }
        };
        count += 1;
        match (count % 5 == 2, is_outward, client) {
            (false, true, _) => drop(inner.send_to(&from_client[..length], server).await),
            (false, false, Some(client)) => drop(relay.send_to(&from_server[..length], client).await),
            (true, _, _) | (false, false, None) => {}
        }
    }
}

#[tokio::test]
async fn a_file_arrives_though_each_fifth_packet_is_lost() {
    let waits = Limits {
        first_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(40),
        retries: 100,
        ..Limits::default()
    };
    for window_blocks in [None, Some(2), Some(8)] {
        let site = Site::start(waits).await;
        let content = site.file("image", 30_000);
        let relay = UdpSocket::bind((HERE, 0)).await.unwrap();
        let (address, mut relaying) = (relay.local_addr().unwrap(), JoinSet::new());
        relaying.spawn(lossy(relay, site.server));
        let options = Options {
            block_bytes: Some(1000),
            window_blocks,
            wait: Duration::from_millis(30),
            retries: 100,
            ..Options::default()
        };
        let fetched = within("the file", fetch(address, HERE, "image", &options)).await.unwrap();
        assert!(fetched == content, "the content differs with a window of {window_blocks:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_leaves_its_port_and_its_transfers() {
    let mut site = Site::start(STUBBORN).await;
    site.file("image", 2000);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    client.hear_data(1).await;
    site.stop.cancel();
    within("the end of the server", site.tasks.join_next()).await;
    UdpSocket::bind(site.server).await.expect("the port is free");
    client.socket.connect(client.peer).await.unwrap();
    client.socket.send(b"\0\x04\0\x01").await.unwrap();
    let gone = within("the news that the transfer is gone", client.socket.recv(&mut [0; 9])).await;
    assert_eq!(gone.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_server_without_its_port_is_an_error() {
    let site = Site::start(STUBBORN).await;
    let observer = Arc::new(Witness(tokio::sync::mpsc::unbounded_channel().0));
    let taken = Server::bind(site.server, site.path("."), observer).await;
    assert!(matches!(taken, Err(TftpError::Bind { .. })));
}

#[tokio::test]
async fn while_the_boot_root_is_missing_clients_are_not_answered_and_ask_again() {
    let mut site = Site::start(STUBBORN).await;
    site.file("image", 700);
    let (root, aside) = (site.grounds.path().join("boot"), site.grounds.path().join("aside"));
    fs_err::rename(&root, &aside).unwrap();
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    assert!(matches!(site.end().await, End::Broken { .. }));
    client.hear_no_more().await;
    fs_err::rename(&aside, &root).unwrap();
    client.ask("image", &[]).await;
    assert_eq!(client.hear_rest(1).await.len(), 700);
}
