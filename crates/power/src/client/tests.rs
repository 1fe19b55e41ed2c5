//! Tests of the client at sockets.

use std::sync::Arc;
use std::time::Duration;

use clock::SystemClock;
use device_io::{Credentials, ProcessLease};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::commands::PowerCommands;

const PROTOCOL: DeviceProtocol = DeviceProtocol {
    name: "echoes",
    device: "relay board",
    unanswered: UnansweredOrder::ClosesConnection,
    early_bytes: EarlyBytes::Discarded,
    describe: |bytes| format!("{bytes:?}"),
};

fn client(relay: &TcpListener, lease: &ProcessLease, call_limit: Duration) -> DeviceClient {
    let access = OutletAccess {
        clock: Arc::new(SystemClock),
        lease: lease.clone(),
        call_limit,
        is_resumed: false,
        credentials: Credentials::default(),
        commands: PowerCommands::default(),
    };
    let port = relay.local_addr().unwrap().port();
    let endpoint =
        DeviceEndpoint { host: "127.0.0.1".to_owned(), port, settle_for: Duration::ZERO, certificate: None };
    DeviceClient::new(access, endpoint, PROTOCOL)
}

fn parse(bytes: &[u8]) -> ParsedAnswer<u8> {
    bytes.first().map_or(ParsedAnswer::Incomplete, |byte| ParsedAnswer::Answer(*byte))
}

#[tokio::test]
async fn delivery_of_a_request_is_bounded_by_the_call_timeout_and_the_lease() {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (lease, call_limit) = (ProcessLease::default(), Duration::from_mins(1));
    let mut client = client(&relay, &lease, call_limit);
    let mut deliver_within = async || {
        client.connect().await.unwrap();
        client.exchange(RequestKind::Order, &[7], parse).await.unwrap();
        client.connection.as_ref().unwrap().stream.delivery_limit().unwrap()
    };
    let echo = async {
        let (mut stream, _) = relay.accept().await.unwrap();
        loop {
            let byte = stream.read_u8().await.unwrap();
            stream.write_u8(byte).await.unwrap();
        }
    };
    let written = async {
        assert_eq!(deliver_within().await, Some(call_limit));
        lease.extend(Instant::now() + call_limit / 2);
        let remaining = deliver_within().await.unwrap();
        assert!(remaining <= call_limit / 2, "{remaining:?}");
    };
    tokio::select! {
        () = written => {}
        () = echo => unreachable!("it answers forever"),
    }
}

#[tokio::test]
async fn what_was_received_before_a_request_is_not_its_answer() {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = client(&relay, &ProcessLease::default(), Duration::from_secs(5));
    let (connected, accepted) = tokio::join!(client.connect(), relay.accept());
    connected.unwrap();
    let (mut stream, _) = accepted.unwrap();
    for request in [7, 8] {
        // Late answers, as a serial server passes them on to whoever is connected.
        stream.write_all(&[9; 1000]).await.unwrap();
        // One of them was received, and so were all: they are one packet.
        let connection = client.connection.as_mut().unwrap();
        assert_eq!(connection.stream.request().read_u8().await.unwrap(), 9);
        let answered = async {
            let byte = stream.read_u8().await.unwrap();
            stream.write_u8(byte).await.unwrap();
        };
        let sent = [request];
        let (answer, ()) = tokio::join!(client.exchange(RequestKind::Query, &sent, parse), answered);
        assert_eq!(answer.unwrap().value, request);
    }
}

#[tokio::test]
async fn a_device_that_closes_after_an_answer_gets_a_connection_for_each_request() {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = client(&relay, &ProcessLease::default(), Duration::from_secs(5));
    let serve = async {
        loop {
            let (mut stream, _) = relay.accept().await.unwrap();
            let byte = stream.read_u8().await.unwrap();
            stream.write_u8(byte).await.unwrap();
        }
    };
    let asked = async {
        client.connect().await.unwrap();
        client.exchange(RequestKind::Query, &[7], parse).await.unwrap();
        // The device has not closed the connection visibly yet, or it has: both are possible.
        let second = match client.exchange(RequestKind::Query, &[8], parse).await {
            Err(error) => error,
            Ok(answer) => panic!("{answer:?}"),
        };
        assert_eq!(second.kind, OutletErrorKind::ConnectionLost);
        assert!(second.reason.contains("closed the connection after its answer"), "{second:?}");
        for request in [9, 10] {
            assert_eq!(client.connect().await, Ok(Connected::New));
            let answer = client.exchange(RequestKind::Query, &[request], parse).await.unwrap();
            assert_eq!((answer.value, answer.text), (request, format!("[{request}]")));
        }
        assert_eq!(client.attempts(), 3);
    };
    tokio::select! {
        () = asked => {}
        () = serve => unreachable!("it answers forever"),
    }
}
