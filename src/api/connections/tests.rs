//! Connections over real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::counted_size;
use super::limits::HttpLimits;
use super::listener::HttpListener;
use super::serve::{DRAIN_TIMEOUT, HttpOptions, serve};
use crate::clock::sleep_real_time;

/// How long a test waits for what must happen: far more than it takes.
const LONG: Duration = Duration::from_secs(30);

/// Waits for what must happen.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::select! {
        output = future => output,
        () = sleep_real_time(LONG) => panic!("timed out: {what}"),
    }
}

async fn ask(at: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// A server of `routes`.
struct TestServer {
    at: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl TestServer {
    async fn new(routes: Router, limits: HttpLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, stop, mut tasks) =
            (listener.local_addr().unwrap(), CancellationToken::new(), JoinSet::new());
        let options = HttpOptions { limits, ..HttpOptions::default() };
        tasks.spawn(serve(listener, routes, None, options, stop.clone()));
        Self { at, stop, tasks }
    }

    /// Opens a connection and sends the text; returns the connection.
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

/// A timeout that a test waits for.
const SHORT: Duration = Duration::from_millis(200);

fn at_once() -> Router {
    let read = async |body: axum::extract::Request| {
        crate::api::body::read(body, 1000).await.map(|bytes| bytes.len().to_string())
    };
    Router::new().route("/", get(async || "at once").post(read))
}

/// Reads up to the end of the connection; returns what was read and how long that took.
async fn read_to_end(stream: &mut TcpStream) -> (String, Duration) {
    let started = std::time::Instant::now();
    let mut text = Vec::new();
    // A reset ends a connection as well.
    let _ = within("the end of the connection", stream.read_to_end(&mut text)).await;
    (String::from_utf8_lossy(&text).into_owned(), started.elapsed())
}

/// Reads an answer of the routes [`at_once`].
async fn read_answer(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"at once") {
        let read = within("the end of the answer", stream.read_buf(&mut answer)).await.unwrap();
        assert!(read > 0, "{answer:?}");
    }
}

#[tokio::test]
async fn a_header_that_does_not_end_closes_the_connection_even_if_bytes_keep_arriving() {
    let server =
        TestServer::new(at_once(), HttpLimits { header_timeout: SHORT, ..HttpLimits::default() }).await;
    for half in ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: localhost\r\nx: "] {
        let mut stream = server.send(half).await;
        let (answer, took) = read_to_end(&mut stream).await;
        assert!(answer.is_empty() && took >= SHORT / 2, "{answer} {took:?}");
    }
    // Bytes keep arriving, but the header as a whole takes too long.
    let mut stream = server.send("GET /").await;
    let (mut reading, mut writing) = stream.split();
    let trickle = async {
        while writing.write_all(b"a").await.is_ok() {
            sleep_real_time(SHORT / 20).await;
        }
    };
    tokio::select! {
        ended = within("the end of the connection", reading.read_u8()) => assert!(ended.is_err()),
        () = trickle => {}
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let limits = HttpLimits { idle_timeout: SHORT, ..HttpLimits::default() };
    let server = TestServer::new(at_once(), limits).await;
    let mut stream = ask(server.at, "/").await;
    read_answer(&mut stream).await;
    let (rest, took) = read_to_end(&mut stream).await;
    assert!(rest.is_empty() && took >= SHORT / 2, "{rest} {took:?}");
    // The header of the next request has its own timeout, from its first byte.
    let limits = HttpLimits { header_timeout: SHORT, ..HttpLimits::default() };
    let server = TestServer::new(at_once(), limits).await;
    let mut stream = ask(server.at, "/").await;
    read_answer(&mut stream).await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.0, "");
}

#[tokio::test]
async fn a_body_that_does_not_end_is_answered_408() {
    let server =
        TestServer::new(at_once(), HttpLimits { body_timeout: SHORT, ..HttpLimits::default() }).await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n";
    let mut stream = server.send(&format!("{head}12345")).await;
    let (answer, took) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"too_slow\""), "{answer}");
    assert!(took >= SHORT / 2, "{took:?}");
}

/// An answer that reports when it is dropped.
struct Large(Vec<u8>, Arc<Notify>);

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.1.notify_one();
    }
}

#[tokio::test]
async fn an_answer_that_the_client_does_not_read_closes_the_connection_and_is_dropped() {
    let (size, dropped) = (64 * 1024 * 1024, Arc::new(Notify::new()));
    let large = {
        let dropped = Arc::clone(&dropped);
        async move || axum::body::Bytes::from_owner(Large(vec![b'x'; size], dropped))
    };
    let routes = Router::new().route("/", get(large));
    let server = TestServer::new(routes, HttpLimits { unread_timeout: SHORT, ..HttpLimits::default() }).await;
    let mut stream = ask(server.at, "/").await;
    within("the end of the answer", dropped.notified()).await;
    assert!(read_to_end(&mut stream).await.0.len() < size);
}

#[tokio::test]
async fn unread_large_answers_are_limited_and_other_requests_are_answered() {
    let size = 5 * 1024 * 1024;
    let routes = at_once().route("/large", get(async move || vec![b'x'; size]));
    let server = TestServer::new(routes, HttpLimits::default()).await;
    // This client may have three such answers at once.
    let unread =
        [ask(server.at, "/large").await, ask(server.at, "/large").await, ask(server.at, "/large").await];
    for stream in &unread {
        within("an answer", stream.readable()).await.unwrap();
    }
    let mut small = ask(server.at, "/").await;
    read_answer(&mut small).await;
    let mut fourth = ask(server.at, "/large").await;
    let mut beginning = [0; 12];
    within("a refusal", fourth.read_exact(&mut beginning)).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 503");
    drop(unread);
}

#[test]
fn answers_are_counted_by_their_size_and_streamed_ones_as_a_mebibyte() {
    let of_size = |size: usize| counted_size(&Response::new(Body::from(vec![b'x'; size])));
    assert_eq!((of_size(65_536), of_size(65_537)), (None, Some(65_537)));
    let parts = futures_util::stream::empty::<Result<String, Infallible>>();
    assert_eq!(counted_size(&Response::new(Body::from_stream(parts))), Some(1_048_576));
}

#[tokio::test]
async fn a_client_at_its_limit_is_refused_and_served_once_a_connection_is_free() {
    let asked = Arc::new(Notify::new());
    let release = Arc::new(Notify::new());
    let slow = {
        let (asked, release) = (Arc::clone(&asked), Arc::clone(&release));
        async move || {
            asked.notify_one();
            release.notified().await;
            "at last"
        }
    };
    let routes = at_once().route("/slow", get(slow));
    let server =
        TestServer::new(routes, HttpLimits { max_connections_per_client: 2, ..HttpLimits::default() }).await;
    let mut first = ask(server.at, "/slow").await;
    within("the request", asked.notified()).await;
    let mut second = ask(server.at, "/").await;
    read_answer(&mut second).await;
    // The idle connection is closed for the new one; the busy one is not.
    let third = ask(server.at, "/slow").await;
    within("the request", asked.notified()).await;
    assert_eq!(read_to_end(&mut second).await.0, "");
    let mut fourth = ask(server.at, "/").await;
    let (refused, _) = read_to_end(&mut fourth).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
    assert!(
        refused.contains("\"busy\"") && refused.contains("too many connections from this client"),
        "{refused}"
    );
    release.notify_waiters();
    let mut answer = vec![0; 1000];
    let read = within("an answer", first.read(&mut answer)).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).ends_with("at last"));
    drop(third);
    let mut fifth = ask(server.at, "/").await;
    read_answer(&mut fifth).await;
}

#[tokio::test]
async fn a_stopping_server_answers_requests_in_progress_and_closes_idle_connections() {
    let (asked, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (asked, release) = (Arc::clone(&asked), Arc::clone(&release));
        async move || {
            asked.notify_one();
            release.notified().await;
            "at last"
        }
    };
    let routes = Router::new().route("/slow", get(slow)).route("/", get(async || "at once"));
    let TestServer { at, stop, tasks: mut server } = TestServer::new(routes, HttpLimits::default()).await;

    let mut idle = ask(at, "/").await;
    let mut answer = [0; 1000];
    assert!(within("an answer", idle.read(&mut answer)).await.unwrap() > 0);
    let mut waiting = ask(at, "/slow").await;
    within("the request", asked.notified()).await;
    stop.cancel();
    // The idle connection, whose next request would not be answered.
    assert_eq!(within("its end", idle.read(&mut answer)).await.unwrap(), 0);
    release.notify_one();
    let mut answer = String::new();
    within("the answer", waiting.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("at last"), "{answer}");
    within("the end of the server", server.join_next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stopping_server_waits_five_seconds_for_an_answer() {
    let asked = Arc::new(Notify::new());
    let never = {
        let asked = Arc::clone(&asked);
        async move || {
            asked.notify_one();
            std::future::pending::<&str>().await
        }
    };
    let routes = Router::new().route("/", get(never));
    let TestServer { at, stop, tasks: mut server } = TestServer::new(routes, HttpLimits::default()).await;
    let mut waiting = ask(at, "/").await;
    within("the request", asked.notified()).await;
    let started = std::time::Instant::now();
    stop.cancel();
    within("the end of the server", server.join_next()).await.unwrap().unwrap();
    assert_eq!(DRAIN_TIMEOUT, Duration::from_secs(5));
    assert!(started.elapsed() >= DRAIN_TIMEOUT, "{:?}", started.elapsed());
    assert_eq!(read_to_end(&mut waiting).await.0, "");
}

#[tokio::test]
async fn connections_have_no_delay_and_keep_alive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut listener = HttpListener::new(listener);
    let _client = TcpStream::connect(listener.socket.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = within("a connection", listener.accept()).await;
    assert!(accepted.nodelay().unwrap());
    let socket = SockRef::from(&accepted);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_mins(1));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
}

#[tokio::test]
async fn a_header_larger_than_the_buffer_is_answered_431() {
    let server = TestServer::new(at_once(), HttpLimits::default()).await;
    let with_header =
        |size: usize| format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(size));
    let mut stream = server.send(&with_header(64_000)).await;
    read_answer(&mut stream).await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    // It may be refused before all of it is sent.
    let _ = stream.write_all(with_header(2 * 65_536).as_bytes()).await;
    let mut beginning = [0; 12];
    within("a refusal", stream.read_exact(&mut beginning)).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_too_large_body_is_read_up_to_a_limit_so_that_the_client_sees_the_answer() {
    let server = TestServer::new(at_once(), HttpLimits::default()).await;
    let (mebibyte, head) =
        (vec![b'x'; 1 << 20], "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    let mut stream = server.send(&format!("{head}content-length: {}\r\n\r\n", 15 << 20)).await;
    for _ in 0..15 {
        within("it is read", stream.write_all(&mebibyte)).await.unwrap();
    }
    let (answer, _) = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // Sockets buffer some more mebibytes.
    let mut stream = server.send(&format!("{head}content-length: {}\r\n\r\n", 1 << 30)).await;
    let mut sent = 0;
    while within("the end of the connection", stream.write_all(&mebibyte)).await.is_ok() {
        sent += 1;
        assert!(sent < 100, "it is read without limit");
    }
}
