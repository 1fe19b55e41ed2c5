//! Tests of answers from the listening port, for clients behind NAT.

use std::net::IpAddr;
use std::time::Duration;

use lifeguard::tftp::client::{TransferOptions, fetch};
use lifeguard::tftp::packet::{TftpErrorCode, TftpPacket};
use lifeguard::tftp::{ClientAbort, PortMode, TransferEnd};
use tokio::task::JoinSet;

use super::{LONG_RETRY_LIMITS, RawTftpClient, TftpSite, within};

#[tokio::test]
async fn all_answers_come_from_the_requested_port_and_address() {
    for (listen, asked) in [
        ("127.0.0.1:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.2"),
        ("[::]:0", "::1"),
        ("[::]:0", "127.0.0.3"),
        ("[::1]:0", "::1"),
    ] {
        let site = TftpSite::answering(listen, LONG_RETRY_LIMITS, PortMode::Single).await;
        let content = site.file("image", 1700);
        let mut client =
            RawTftpClient::at((asked.parse::<IpAddr>().unwrap(), site.server.port()).into()).await;
        client.ask("image", &[]).await;
        assert_eq!(client.hear_rest(1).await, content, "{asked} of {listen}");
        assert_eq!(client.peer, client.server, "{asked} of {listen}");
        client.ask("nowhere", &[]).await;
        assert_eq!(client.hear_error().await.0, 1);
        assert_eq!(client.peer, client.server, "{asked} of {listen}");
    }
}

#[tokio::test]
async fn many_concurrent_clients_get_their_own_files_and_no_window() {
    let mut site = TftpSite::answering("127.0.0.1:0", LONG_RETRY_LIMITS, PortMode::Single).await;
    let (server, mut fetches) = (site.server, JoinSet::new());
    let contents: Vec<Vec<u8>> =
        (0..20).map(|number| site.file(&format!("image-{number}"), 20_000 + number)).collect();
    for (number, content) in contents.into_iter().enumerate() {
        let from = IpAddr::from([127, 0, 0, u8::try_from(number).unwrap() + 1]);
        fetches.spawn(async move {
            let options = TransferOptions {
                window_blocks: Some(16),
                answer_timeout: Duration::from_secs(2),
                ..TransferOptions::default()
            };
            assert!(fetch(server, from, &format!("image-{number}"), &options).await.unwrap() == content);
        });
    }
    within("all files", fetches.join_all()).await;

    let mut client = site.client().await;
    client.ask("image-0", &[("windowsize", "16")]).await;
    assert_eq!(client.hear_options().await, "windowsize=1");
    client.say(TftpPacket::Error { code: TftpErrorCode::OPTIONS, message: "no".into() }).await;
    loop {
        if let TransferEnd::Aborted { by, .. } = site.end().await {
            assert_eq!(by, ClientAbort::Error { code: TftpErrorCode::OPTIONS, message: "no".into() });
            break;
        }
    }
}
