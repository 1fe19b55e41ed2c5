//! Tests of boot loaders' behaviour that servers often handle wrongly.

use lifeguard::tftp::packet::{TftpErrorCode, TftpPacket, TftpRequest, TransferMode};
use lifeguard::tftp::{ClientAbort, TransferEnd};

use super::{LONG_RETRY_LIMITS, ObservedFetch, RawTftpClient, SHORT_LIMITS, TftpSite, request};

#[tokio::test]
async fn a_size_probe_ends_with_the_client_s_error_and_its_port_is_served_at_once() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let content = site.file("image", 1300);
    let mut client = site.client().await;
    for _ in 0..3 {
        client.ask("image", &[("tsize", "0")]).await;
        assert_eq!(client.hear_options().await, "tsize=1300");
        client.say(TftpPacket::Error { code: TftpErrorCode::OPTIONS, message: "thanks".into() }).await;
        let by = ClientAbort::Error { code: TftpErrorCode::OPTIONS, message: "thanks".into() };
        assert_eq!(site.end().await, TransferEnd::Aborted { bytes_acked: 0, by });
    }
    client.ask("image", &[]).await;
    assert_eq!(client.hear_rest(1).await, content);
}

#[tokio::test]
async fn another_request_from_the_same_port_ends_the_previous_transfer() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("first", 5000);
    let content = site.file("second", 600);
    let mut client = site.client().await;
    client.ask("first", &[]).await;
    client.hear_data(1).await;
    client.ack(1).await;
    client.hear_data(2).await;
    client.ask("second", &[]).await;
    assert_eq!(client.hear_rest(1).await, content);
    assert_eq!(site.end().await, TransferEnd::Aborted { bytes_acked: 512, by: ClientAbort::NewRequest });
    assert!(matches!(site.end().await, TransferEnd::Sent { bytes: 600, .. }));
}

#[tokio::test]
async fn a_repeated_request_starts_no_second_transfer() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let content = site.file("image", 1300);
    let mut client = site.client().await;
    for _ in 0..5 {
        client.ask("image", &[]).await;
    }
    assert_eq!(client.hear_rest(1).await, content);
    assert!(matches!(site.next_observed().await, ObservedFetch::Asked(_)));
    assert!(matches!(
        site.next_observed().await,
        ObservedFetch::Ended(_, TransferEnd::Sent { bytes: 1300, .. })
    ));
    assert!(site.observed.try_recv().is_err(), "the observer got one fetch");
}

#[tokio::test]
async fn the_same_request_after_a_reset_starts_a_new_transfer() {
    let mut site = TftpSite::start(SHORT_LIMITS).await;
    site.file("image", 1300);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    client.hear_until_data(1).await;
    client.ack(1).await;
    client.hear_until_data(2).await;
    client.hear_until_data(2).await; // So the server has noticed the silence.
    let before = client.peer;
    client.ask("image", &[]).await;
    loop {
        let bytes = client.hear_raw().await;
        if client.peer != before {
            assert!(matches!(TftpPacket::parse(&bytes), Ok(TftpPacket::Data { block: 1, .. })));
            break;
        }
    }
    assert_eq!(site.end().await, TransferEnd::Aborted { bytes_acked: 512, by: ClientAbort::NewRequest });
    client.ack(1).await;
    client.hear_until_data(2).await;
    client.ack(2).await;
    client.hear_until_data(3).await;
    client.ack(3).await;
    assert!(matches!(site.end().await, TransferEnd::Sent { bytes: 1300, .. }));
}

#[tokio::test]
async fn a_lost_block_is_retransmitted_at_once_also_at_the_start_of_a_window() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let content = site.file("image", 512 * 12 + 100);
    let mut client = site.client().await;
    client.ask("image", &[("windowsize", "4")]).await;
    assert_eq!(client.hear_options().await, "windowsize=4");
    client.ack(0).await;
    for block in 1..=4 {
        client.hear_data(block).await;
    }
    client.ack(2).await; // Block 3 was lost.
    for block in 3..=6 {
        client.hear_data(block).await;
    }
    client.ack(6).await;
    for block in 7..=10 {
        client.hear_data(block).await;
    }
    client.ack(6).await; // Block 7, the first of its window, was lost.
    let mut rest = Vec::new();
    for block in 7..=10 {
        rest.extend(client.hear_data(block).await);
    }
    client.ack(10).await;
    for block in 11..=13 {
        rest.extend(client.hear_data(block).await);
    }
    assert_eq!(rest, content[512 * 6..]);
}

#[tokio::test]
async fn repeated_acks_cause_no_repeated_blocks() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let content = site.file("image", 512 * 300 + 1);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    let mut got = Vec::new();
    for block in 1..=301 {
        got.extend(client.hear_data(block).await); // Any block twice, and this fails.
        for _ in 0..3 {
            client.ack(block).await;
        }
    }
    assert_eq!(got, content);
}

#[tokio::test]
async fn repeated_acks_of_a_window_cause_one_retransmission() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("image", 512 * 20);
    let mut client = site.client().await;
    client.ask("image", &[("windowsize", "2")]).await;
    client.hear_options().await;
    for _ in 0..10 {
        client.ack(0).await;
    }
    for block in [1, 2, 1, 2] {
        client.hear_data(block).await;
    }
    client.ack(2).await;
    for block in [3, 4] {
        client.hear_data(block).await;
    }
}

#[tokio::test]
async fn one_request_causes_at_most_64_blocks() {
    let site = TftpSite::start(SHORT_LIMITS).await;
    site.file("image", 65_464 * 70);
    let mut client = site.client().await;
    client.ask("image", &[("windowsize", "65535"), ("blksize", "65464")]).await;
    assert_eq!(client.hear_options().await, "windowsize=64 blksize=65464");
    client.ack(0).await;
    let mut last = 0;
    // The kernel may drop packets, so not all arrive; those that arrive end with the window.
    loop {
        let bytes = client.hear_raw().await;
        let Ok(TftpPacket::Data { block, .. }) = TftpPacket::parse(&bytes) else { panic!("no block") };
        assert!(block <= 64, "block {block} is beyond the window");
        if block <= last {
            break;
        }
        last = block;
    }
}

#[tokio::test]
async fn block_sizes_are_clamped_or_declined() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("image", 600);
    for (asked, answer) in [
        ("70000", Some("blksize=65464")),
        ("65464", Some("blksize=65464")),
        ("8", Some("blksize=8")),
        ("4", None),
        ("abc", None),
        ("-1", None),
        ("", None),
    ] {
        let mut client = site.client().await;
        client.ask("image", &[("blksize", asked)]).await;
        match answer {
            Some(answer) => assert_eq!(client.hear_options().await, answer, "{asked}"),
            None => assert_eq!(client.hear_data(1).await.len(), 512, "{asked}"),
        }
    }
}

#[tokio::test]
async fn the_answer_comes_from_the_requested_address() {
    for (listen, asked) in [
        ("0.0.0.0:0", "127.0.0.2"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("[::]:0", "::1"),
        ("[::]:0", "127.0.0.3"),
        ("[::1]:0", "::1"),
    ] {
        let mut site = TftpSite::listen(listen, LONG_RETRY_LIMITS).await;
        let content = site.file("image", 700);
        let mut client =
            RawTftpClient::at((asked.parse::<std::net::IpAddr>().unwrap(), site.server.port()).into()).await;
        client.ask("image", &[]).await;
        assert_eq!(client.hear_rest(1).await, content);
        assert_eq!(client.peer.ip(), client.server.ip(), "asked at {asked} of {listen}");
        let ObservedFetch::Asked(fetch) = site.next_observed().await else { panic!("no request") };
        assert_eq!(fetch.peer.is_ipv4(), client.server.is_ipv4());
    }
}

#[tokio::test]
async fn a_write_request_is_refused() {
    let site = TftpSite::listen("0.0.0.0:0", LONG_RETRY_LIMITS).await;
    let mut client = RawTftpClient::at(([127, 0, 0, 2], site.server.port()).into()).await;
    client.send_raw(&TftpPacket::Write(request("new", &[])).to_bytes()).await;
    assert_eq!(client.hear_error().await, (2, "write not supported".to_owned()));
    assert_eq!(client.peer.ip(), client.server.ip());
    assert!(!site.path("new").exists());
}

#[tokio::test]
async fn garbage_is_ignored_and_the_server_keeps_serving() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let content = site.file("image", 100);
    let mut client = site.client().await;
    let long = vec![b'a'; 5000];
    for bytes in [
        &b""[..],
        b"\0",
        b"\0\x01",
        b"\0\x01image",
        b"\xff\xff\xff",
        b"\0\x03\0\x01data",
        b"\0\x04\0\x01",
        &long,
    ] {
        client.send_raw(bytes).await;
    }
    for length in 0..200 {
        client.send_raw(&super::noise(length)).await;
    }
    client
        .send_raw(&TftpPacket::Error { code: TftpErrorCode::OTHER, message: String::new() }.to_bytes())
        .await;
    client.ask("image", &[]).await;
    assert_eq!(client.hear_rest(1).await, content);
}

#[tokio::test]
async fn garbage_in_a_transfer_has_no_effect() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    let content = site.file("image", 1000);
    let mut client = site.client().await;
    client.ask("image", &[]).await;
    client.hear_data(1).await;
    for bytes in
        [&b""[..], b"\0", b"\0\x09", b"\0\x04", b"\0\x04\0\x07", b"\0\x04\xff\xff", b"\0\x01x\0octet\0"]
    {
        client.socket.send_to(bytes, client.peer).await.unwrap();
    }
    client.ack(1).await;
    assert_eq!(client.hear_rest(2).await, content[512..]);
}

#[tokio::test]
async fn an_empty_file_is_one_empty_block_without_tsize() {
    let mut site = TftpSite::start(LONG_RETRY_LIMITS).await;
    site.file("empty", 0);
    let mut client = site.client().await;
    client.ask("empty", &[("tsize", "0")]).await;
    assert_eq!(client.hear_rest(1).await, b"");
    assert!(matches!(site.end().await, TransferEnd::Sent { bytes: 0, .. }));
    client.ask("empty", &[("tsize", "0"), ("blksize", "1024")]).await;
    assert_eq!(client.hear_options().await, "blksize=1024");
}

#[tokio::test]
async fn text_is_sent_as_netascii_and_mail_is_refused() {
    let site = TftpSite::start(LONG_RETRY_LIMITS).await;
    fs_err::write(site.path("text"), b"a\nb\r\n").unwrap();
    let mut client = site.client().await;
    let options = vec![("tsize".to_owned(), "0".to_owned())];
    let text = TftpRequest { mode: TransferMode::Netascii, options, ..request("text", &[]) };
    client.send_raw(&TftpPacket::Read(text).to_bytes()).await;
    assert_eq!(client.hear_rest(1).await, b"a\r\nb\r\0\r\n");
    let mail = TftpRequest { mode: TransferMode::Other("mail".into()), ..request("text", &[]) };
    client.send_raw(&TftpPacket::Read(mail).to_bytes()).await;
    assert_eq!(client.hear_error().await, (4, "only octet and netascii are supported".to_owned()));
}
