//! Tests of start, stop, limits, and of our own client, also on a lossy network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lifeguard::tftp::client::{SizeProbe, TftpClientError, TransferOptions, fetch};
use lifeguard::tftp::packet::{TftpErrorCode, TftpPacket};
use lifeguard::tftp::{TftpError, TftpLimits, TftpServer, TransferDropReason, TransferEnd};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::{
    LONG_RETRY_LIMITS, ObservedFetch, RawTftpClient, RecordingObserver, SHORT_LIMITS, TftpSite, within,
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn a_file_with_more_blocks_than_block_numbers_is_transferred() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let content = site.file("image", 8 * 66_000 + 3);
    let options = TransferOptions {
        block_bytes: Some(8),
        window_blocks: Some(16),
        answer_timeout: Duration::from_secs(10),
        ..TransferOptions::default()
    };
    let fetched = within("the file", fetch(site.server, HERE, "image", &options)).await.unwrap();
    assert!(fetched == content, "the content differs");
    assert!(matches!(site.end().await, TransferEnd::Sent { bytes: 528_003, .. }));
}

#[tokio::test]
async fn two_concurrent_clients_get_their_own_files() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let (large, small) = (site.file("large", 3_000_000), site.file("small", 1_000_000));
    let options = TransferOptions {
        window_blocks: Some(8),
        answer_timeout: Duration::from_millis(200),
        ..TransferOptions::default()
    };
    let (first, second) = tokio::join!(
        fetch(site.server, HERE, "large", &options),
        fetch(site.server, "127.0.0.9".parse().unwrap(), "small", &options),
    );
    assert!(first.unwrap() == large && second.unwrap() == small);
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_dropped_and_served_later() {
    let mut site = TftpSite::start(TftpLimits { max_transfers: 1, ..LONG_RETRY_LIMITS }).await;
    site.file("image", 2000);
    let mut first = site.client().await;
    first.ask("image", &[]).await;
    first.hear_data(1).await;
    let hasty = TransferOptions {
        answer_timeout: Duration::from_millis(20),
        retries: 2,
        ..TransferOptions::default()
    };
    let second = fetch(site.server, HERE, "image", &hasty).await;
    assert!(matches!(second, Err(TftpClientError::Silent { blocks: 0 })), "{second:?}");
    first.say(TftpPacket::Error { code: TftpErrorCode::OTHER, message: String::new() }).await;
    site.end().await;
    let patient = TransferOptions {
        answer_timeout: Duration::from_millis(20),
        retries: 100,
        ..TransferOptions::default()
    };
    assert_eq!(fetch(site.server, HERE, "image", &patient).await.unwrap().len(), 2000);
}

#[tokio::test]
async fn the_client_can_hang_and_reports_the_server_s_error() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("image", 10_000);
    let options = TransferOptions {
        block_bytes: None,
        size_probe: SizeProbe::No,
        stop_after_blocks: Some(3),
        ..TransferOptions::default()
    };
    let hung = fetch(site.server, HERE, "image", &options).await;
    assert!(matches!(hung, Err(TftpClientError::StoppedEarly { blocks: 3 })), "{hung:?}");
    let refused = fetch(site.server, HERE, "../x", &TransferOptions::default()).await;
    assert!(matches!(refused, Err(TftpClientError::Refused { code: TftpErrorCode(2), .. })), "{refused:?}");
    let empty = site.file("empty", 0);
    assert_eq!(fetch(site.server, HERE, "empty", &TransferOptions::default()).await.unwrap(), empty);
}

/// Forwards packets between one client and the server and drops each fifth one.
async fn lossy(relay: UdpSocket, server: SocketAddr) {
    let inner = UdpSocket::bind((HERE, 0)).await.unwrap();
    let (mut client, listener, mut server, mut count) = (None, server, server, 0_u32);
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
            (false, true, _) => {
                // Requests go to the listening port, also repeated ones.
                let to = if from_client.starts_with(&[0, 1]) { listener } else { server };
                drop(inner.send_to(&from_client[..length], to).await);
            }
            (false, false, Some(client)) => drop(relay.send_to(&from_server[..length], client).await),
            (true, _, _) | (false, false, None) => {}
        }
    }
}

#[tokio::test]
async fn a_file_is_transferred_although_each_fifth_packet_is_lost() {
    let waits = TftpLimits {
        first_retransmit_after: Duration::from_millis(20),
        max_retransmit_wait: Duration::from_millis(40),
        max_retransmits: 100,
        ..TftpLimits::default()
    };
    for window_blocks in [None, Some(2), Some(8)] {
        let site = TftpSite::start(waits).await;
        let content = site.file("image", 30_000);
        let relay = UdpSocket::bind((HERE, 0)).await.unwrap();
        let (address, mut relaying) = (relay.local_addr().unwrap(), JoinSet::new());
        relaying.spawn(lossy(relay, site.server));
        let options = TransferOptions {
            block_bytes: Some(1000),
            window_blocks,
            answer_timeout: Duration::from_millis(30),
            retries: 100,
            ..TransferOptions::default()
        };
        let fetched = within("the file", fetch(address, HERE, "image", &options)).await.unwrap();
        assert!(fetched == content, "the content differs with a window of {window_blocks:?}");
    }
}

#[tokio::test]
async fn a_stopped_server_closes_its_port_and_transfers() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
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
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let observer = Arc::new(RecordingObserver(tokio::sync::mpsc::unbounded_channel().0));
    let taken = TftpServer::bind(site.server, site.path("."), observer).await;
    assert!(matches!(taken, Err(TftpError::Bind { .. })));
}

#[tokio::test]
async fn while_the_boot_root_is_missing_clients_get_no_answer_and_retry() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("image", 700);
    let (root, aside) = (site.grounds.path().join("boot"), site.grounds.path().join("aside"));
    fs_err::rename(&root, &aside).unwrap();
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    assert!(matches!(site.end().await, TransferEnd::ServerError { .. }));
    client.hear_no_more().await;
    fs_err::rename(&aside, &root).unwrap();
    client.ask("image", &[]).await;
    assert_eq!(client.hear_rest(1).await.len(), 700);
}

#[tokio::test]
async fn an_unanswered_request_causes_one_packet_and_one_retransmission() {
    let mut site = TftpSite::start(SHORT_LIMITS).await;
    site.file("image", 5000);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    client.hear_data(1).await;
    client.hear_data(1).await;
    assert_eq!(site.end().await, TransferEnd::Silent { bytes_acked: 0, is_all_sent: false });
    client.hear_no_more().await;
}

#[tokio::test]
async fn a_repeated_request_repeats_the_first_packet_at_a_limited_rate() {
    let site =
        TftpSite::start(TftpLimits { first_retransmit_after: Duration::from_secs(2), ..LONG_RETRY_LIMITS })
            .await;
    site.file("image", 5000);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    client.hear_data(1).await;
    for _ in 0..20 {
        client.ask("image", &[]).await;
    }
    // Once it gets an answer, the server has processed all earlier packets.
    let mut other = site.client().await;
    other.ask("nowhere", &[]).await;
    other.hear_error().await;
    client.hear_no_more().await;
    crate::world::wait_until("the first block comes again", async || {
        client.ask("image", &[]).await;
        let mut room = [0; 600];
        client.socket.try_recv_from(&mut room).is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_client_s_long_timeout_does_not_extend_a_silent_transfer() {
    let limits = TftpLimits { first_answer_timeout: Duration::from_millis(300), ..LONG_RETRY_LIMITS };
    let mut site = TftpSite::start(limits).await;
    site.file("image", 5000);
    let mut client = site.client().await;
    client.ask("image", &[("timeout", "30")]).await;
    client.hear_options().await;
    let end = within("the end of an unanswered transfer", site.end()).await;
    assert_eq!(end, TransferEnd::Silent { bytes_acked: 0, is_all_sent: false });

    let limits = TftpLimits { max_silence: Duration::from_millis(300), ..LONG_RETRY_LIMITS };
    let mut site = TftpSite::start(limits).await;
    site.file("image", 5000);
    let mut client = site.client().await;
    client.ask("image", &[("timeout", "30")]).await;
    client.hear_options().await;
    client.ack(0).await;
    client.hear_data(1).await;
    let end = within("the end of a silent transfer", site.end()).await;
    assert_eq!(end, TransferEnd::Silent { bytes_acked: 0, is_all_sent: false });
}

#[tokio::test]
async fn an_endless_transfer_is_ended() {
    let limits = TftpLimits { max_transfer_time: Duration::from_secs(2), ..LONG_RETRY_LIMITS };
    let mut site = TftpSite::start(limits).await;
    site.file("image", 512 * 60_000);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    client.hear_data(1).await;
    client.ack(1).await;
    let end = within("the end of the transfer", site.end()).await;
    assert_eq!(end, TransferEnd::Dropped { bytes_acked: 512, why: TransferDropReason::TooLong });
}

#[tokio::test]
async fn a_too_slow_client_loses_its_transfer() {
    let mut site =
        TftpSite::start(TftpLimits { slow_allowance: Duration::from_millis(300), ..LONG_RETRY_LIMITS }).await;
    site.file("image", 512 * 60_000);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    client.hear_data(1).await;
    client.ack(1).await;
    let end = within("the end of the transfer", site.end()).await;
    assert_eq!(end, TransferEnd::Dropped { bytes_acked: 512, why: TransferDropReason::TooSlow });
}

#[tokio::test]
async fn a_client_alternating_between_two_names_has_one_transfer() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("one", 2000);
    site.file("two", 2000);
    let mut client = site.client().await;
    for _ in 0..50 {
        client.ask("one", &[]).await;
        client.ask("two", &[]).await;
    }
    client.hear_data(1).await;
    // Once it gets an answer, the server has processed all earlier packets.
    let mut other = site.client().await;
    other.ask("nowhere", &[]).await;
    other.hear_error().await;
    client.hear_no_more().await;
    let mut asked = 0;
    while let Ok(call) = site.observed.try_recv() {
        asked += usize::from(matches!(call, ObservedFetch::Asked(_)));
    }
    assert_eq!(asked, 2, "its first request and the other's");
}

/// Requests `image` from `count` ports of one address without ever answering.
async fn flood(site: &TftpSite, from: &str, count: usize) -> Vec<RawTftpClient> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let client = RawTftpClient::from(from.parse().unwrap(), site.server).await;
        client.ask("image", &[("timeout", "30")]).await;
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn an_address_that_never_answers_does_not_block_others() {
    let mut site =
        TftpSite::start(TftpLimits { max_transfers: 8, max_transfers_per_client: 4, ..LONG_RETRY_LIMITS })
            .await;
    let content = site.file("image", 2000);
    let _flood = flood(&site, "127.0.0.66", 20).await;
    let mut dropped = 0;
    while dropped < 16 {
        dropped += usize::from(matches!(site.next_observed().await, ObservedFetch::Dropped(_)));
    }
    let fetched = within("the file", fetch(site.server, HERE, "image", &TransferOptions::default())).await;
    assert!(fetched.unwrap() == content);
}

#[tokio::test]
async fn without_capacity_the_oldest_unanswered_transfers_are_replaced() {
    let mut site =
        TftpSite::start(TftpLimits { max_transfers: 8, max_transfers_per_client: 8, ..LONG_RETRY_LIMITS })
            .await;
    let content = site.file("image", 2000);
    let _flood = flood(&site, "127.0.0.66", 8).await;
    let fetched = within("the file", fetch(site.server, HERE, "image", &TransferOptions::default())).await;
    assert!(fetched.unwrap() == content);
    assert_eq!(site.end().await, TransferEnd::Dropped { bytes_acked: 0, why: TransferDropReason::Overload });
}
