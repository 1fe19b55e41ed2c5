//! Tests of the observer.

use lifeguard::tftp::packet::{TftpErrorCode, TftpPacket};
use lifeguard::tftp::{ClientAbort, TransferEnd};

use super::{LONG_RETRY_LIMITS, ObservedFetch, SHORT_LIMITS, TftpSite};

#[tokio::test]
async fn a_fetch_is_reported_with_client_file_and_size() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    fs_err::create_dir(site.path("pxelinux.cfg")).unwrap();
    site.file("pxelinux.cfg/01-02", 1300);
    let mut client = site.client().await;
    client.ask("//pxelinux.cfg/01-02", &[]).await;
    client.hear_rest(1).await;
    let ObservedFetch::Asked(asked) = site.next_observed().await else { panic!("no request") };
    assert_eq!(
        (asked.file.as_str(), asked.peer.port()),
        ("pxelinux.cfg/01-02", client.socket.local_addr().unwrap().port())
    );
    let ObservedFetch::Ended(ended, TransferEnd::Sent { bytes: 1300, .. }) = site.next_observed().await
    else {
        panic!("not sent")
    };
    assert_eq!(ended, asked);
}

#[tokio::test]
async fn clients_that_never_answer_or_fall_silent_are_reported() {
    let mut site = TftpSite::start(SHORT_LIMITS).await;
    site.file("image", 5000);
    let mut client = site.client().await;
    client.ask("image", &[("tsize", "0")]).await;
    for _ in 0..2 {
        client.hear_options().await; // The first time and once again, and then no more.
    }
    assert_eq!(site.end().await, TransferEnd::Silent { bytes_acked: 0, is_all_sent: false });
    client.hear_no_more().await;

    let mut client = site.client().await;
    client.ask("image", &[("windowsize", "2"), ("blksize", "1000")]).await;
    client.hear_options().await;
    client.ack(0).await;
    client.hear_until_data(2).await;
    client.ack(2).await;
    for _ in 0..=SHORT_LIMITS.max_retransmits {
        client.hear_until_data(3).await;
        client.hear_until_data(4).await;
    }
    assert_eq!(site.end().await, TransferEnd::Silent { bytes_acked: 2000, is_all_sent: false });
    client.hear_no_more().await;
}

#[tokio::test]
async fn the_client_s_timeout_replaces_the_server_s() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("image", 100);
    let mut client = site.client().await;
    client.ask("image", &[("timeout", "1")]).await;
    assert_eq!(client.hear_options().await, "timeout=1");
    assert_eq!(client.hear_options().await, "timeout=1", "again, after a second instead of ten minutes");
}

#[tokio::test]
async fn a_closed_client_port_ends_the_transfer() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("image", 5000);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    client.hear_data(1).await;
    client.ack(1).await;
    client.hear_data(2).await;
    client.ack(2).await;
    drop(client);
    let end = site.end().await;
    let TransferEnd::Aborted { bytes_acked: 512 | 1024, by: ClientAbort::PortClosed } = end else {
        panic!("{end:?}")
    };
}

#[tokio::test]
async fn a_file_that_shrinks_during_the_transfer_is_a_server_error() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("image", 400_000);
    let mut client = site.client().await;
    client.ask("image", &[("blksize", "65464")]).await;
    client.hear_options().await;
    client.ack(0).await;
    client.hear_data(1).await;
    fs_err::OpenOptions::new().write(true).open(site.path("image")).unwrap().set_len(100_000).unwrap();
    client.ack(1).await;
    client.hear_data(2).await; // It was read ahead.
    client.ack(2).await;
    assert_eq!(client.hear_error().await, (0, "the file cannot be read".to_owned()));
    let end = site.end().await;
    assert!(matches!(end, TransferEnd::ServerError { .. }), "{end:?}");
}

#[tokio::test]
async fn requests_are_reported_in_order() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let mut clients = Vec::new();
    for number in 0..100 {
        // One port has one request at a time.
        let client = site.client().await;
        client.ask(&format!("file-{number}"), &[]).await;
        clients.push(client);
    }
    let (mut asked, mut number) = (0, 0);
    while asked < 100 {
        if let ObservedFetch::Asked(fetch) = site.next_observed().await {
            assert_eq!(fetch.file, format!("file-{asked}"));
            assert!(fetch.number > number, "{fetch:?}");
            (asked, number) = (asked + 1, fetch.number);
        }
    }
}

#[tokio::test]
async fn the_client_s_error_text_is_reported() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("image", 5000);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    client.hear_data(1).await;
    client.say(TftpPacket::Error { code: TftpErrorCode(0), message: "Early terminate".into() }).await;
    let by = ClientAbort::Error { code: TftpErrorCode(0), message: "Early terminate".into() };
    assert_eq!(site.end().await, TransferEnd::Aborted { bytes_acked: 0, by });
}

#[tokio::test]
async fn a_missing_last_ack_is_distinguished_from_an_incomplete_transfer() {
    let mut site = TftpSite::start(SHORT_LIMITS).await;
    site.file("kernel", 600);
    let mut client = site.client().await;
    client.ask("kernel", &[]).await;
    client.hear_until_data(1).await;
    client.ack(1).await;
    client.hear_until_data(2).await;
    assert_eq!(site.end().await, TransferEnd::Silent { bytes_acked: 512, is_all_sent: true });
}
