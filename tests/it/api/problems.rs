use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use insta::assert_snapshot;
use lifeguard::cli::serve::LifeguardServer;
use lifeguard::clock::ManualClock;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{ApiAnswer, contract, send, send_to};
use crate::database::{TestDatabase, database};
use crate::world::{World, options, yield_briefly};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_is_a_problem() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let requests = [
        ("GET /nothing", ""),
        ("GET /api/v1/nothing/", ""),
        ("GET /api/v1/devices/b%zz", ""),
        ("GET /api/v1/devices/%ff", ""),
        ("GET /api/v1/devices/%00", ""),
        ("GET /api/v1/devices/%2e%2e", ""),
        ("GET /api/v1/devices/%3Cscript%3E", ""),
        ("PUT /api/v1/devices", ""),
        ("POST /api/v1/devices/b1", ""),
        ("DELETE /api/v1/images", ""),
        ("POST /healthz", ""),
        ("POST /", ""),
        ("GET /healthz", ""),
        ("GET /readyz", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    GET /nothing
    404 no_such_path: no such path: /nothing

    GET /api/v1/nothing/
    404 no_such_path: no such path: /api/v1/nothing

    GET /api/v1/devices/b%zz
    404 no_device: there is no board "b%zz"

    GET /api/v1/devices/%ff
    400 bad_request: Invalid URL: Invalid UTF-8 in `name`

    GET /api/v1/devices/%00
    404 no_device: there is no board "\0"

    GET /api/v1/devices/%2e%2e
    404 no_such_path: no such path: /api/v1

    GET /api/v1/devices/%3Cscript%3E
    404 no_device: there is no board "<script>"

    PUT /api/v1/devices
    405 method_not_allowed: this path does not accept this method; `Allow` lists those that it accepts

    POST /api/v1/devices/b1
    405 method_not_allowed: this path does not accept this method; `Allow` lists those that it accepts

    DELETE /api/v1/images
    405 method_not_allowed: this path does not accept this method; `Allow` lists those that it accepts

    POST /healthz
    405 method_not_allowed: this path does not accept this method; `Allow` lists those that it accepts

    POST /
    405 method_not_allowed: this path does not accept this method; `Allow` lists those that it accepts

    GET /healthz
    200 {"status":"alive","version":"0.1.0"}

    GET /readyz
    200 {"status":"ready"}
    "#);
    assert_eq!(send(&world, "POST /api/v1/devices/b1", "").await.header("allow"), "GET,HEAD,PATCH,DELETE");

    let long = format!("GET /{}", "a".repeat(60_000));
    let answer = send(&world, &long, "").await;
    assert!(
        answer.status_and_body().starts_with("404 no_such_path: no such path: /aaa"),
        "{}",
        answer.status_and_body()
    );
    assert!(answer.text.len() < 500, "the answer does not repeat it all");
    // Longer ones are refused before our code sees them.
    let mut connection = TcpStream::connect(world.server.http).await.unwrap();
    let request = format!("GET /{} HTTP/1.1\r\nHost: b1\r\n\r\n", "a".repeat(70_000));
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 414 URI Too Long"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_answered_as_get_without_a_body() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    for path in ["/", "/healthz", "/api/v1/devices", "/api/v1/devices/b1", "/api/v1/devices/b2", "/nothing"] {
        // A list has a cursor that changes with the whole database server, also by other tests: the HEAD is compared
        // only between two equal answers.
        let (get, head) = loop {
            let get = send(&world, &format!("GET {path}"), "").await;
            let head = send(&world, &format!("HEAD {path}"), "").await;
            if send(&world, &format!("GET {path}"), "").await.text == get.text {
                break (get, head);
            }
        };
        assert_eq!((head.status, &*head.text), (get.status, ""), "{path}");
        for name in ["content-type", "content-length", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
    // Where only GET knows the length of the answer, HEAD omits it.
    let get = send(&world, "GET /api/v1/devices/%ff", "").await;
    let head = send(&world, "HEAD /api/v1/devices/%ff", "").await;
    assert_eq!((head.status, &*head.text), (get.status, ""));
    assert_eq!(head.header("content-type"), get.header("content-type"));
    assert_eq!(head.header("content-length"), "");
}

/// A forwarder to a database that can be closed.
struct DatabaseForwarder {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl DatabaseForwarder {
    async fn to(database: &TestDatabase) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = database.connect_options();
        let (is_open, watched) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ways = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let (options, mut watched) = (options.clone(), watched.clone());
                ways.spawn(async move {
                    tokio::select! {
                        _ = watched.wait_for(|is_open| !is_open) => {}
                        () = carry(near, &options) => {}
                    }
                });
            }
        });
        Self { address, is_open, _tasks: tasks }
    }

    fn url(&self, database: &TestDatabase) -> url::Url {
        let options = database.connect_options();
        let (user, name) = (options.get_username(), options.get_database().unwrap());
        format!("postgres://{user}@{}/{name}?sslmode=disable", self.address).parse().unwrap()
    }
}

async fn carry(mut near: TcpStream, options: &PgConnectOptions) {
    if let Some(folder) = options.get_socket() {
        let path: PathBuf = folder.join(format!(".s.PGSQL.{}", options.get_port()));
        let mut far = UnixStream::connect(path).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    } else {
        let mut far = TcpStream::connect((options.get_host(), options.get_port())).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}

/// Repeats a request until the answer has this status.
async fn until(server: SocketAddr, line: &str, status: u16) -> ApiAnswer {
    let mut tries = 0;
    loop {
        let answer = send_to(server, line, &[], "").await;
        if answer.status == status {
            return answer;
        }
        tries += 1;
        assert!(tries < 500, "{line} never was {status}: {} {}", answer.status, answer.text);
        yield_briefly().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_outage_is_reported_and_the_server_recovers() {
    let database = database().await;
    let forwarder = DatabaseForwarder::to(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&database, &folder);
    options.database_url = Some(forwarder.url(&database).into());
    let clock = ManualClock::new("2026-01-01T12:00:00Z".parse().unwrap());
    let server = LifeguardServer::start(options, Arc::new(clock)).await.unwrap();
    let new = json!({ "name": "b1", "mac": "02:00:00:00:00:01", "hardware": "panda" }).to_string();
    assert_eq!(send_to(server.http, "POST /api/v1/devices", &[], new.clone()).await.status, 201);

    forwarder.is_open.send_replace(false);
    let requests = [
        ("GET /healthz", ""),
        ("GET /readyz", ""),
        ("GET /api/v1/devices", ""),
        ("GET /api/v1/devices/b1", ""),
        ("GET /api/v1/devices/b1/history", ""),
        ("GET /api/v1/devices/b1/boot-config", ""),
        ("POST /api/v1/devices", &*new),
        ("PATCH /api/v1/devices/b1", "{}"),
        ("DELETE /api/v1/devices/b1", ""),
        ("POST /api/v1/devices/b1/events/image-running", ""),
        ("POST /api/v1/devices/b1/requests/rq-reboot", ""),
        ("POST /api/v1/devices/b1/force", r#"{"from": "New", "to": "Ready", "reason": "r"}"#),
        ("GET /api/v1/images", ""),
        ("PUT /api/v1/images/base", r#"{"boot_configs": {}}"#),
        ("DELETE /api/v1/images/base", ""),
    ];
    let mut answers = Vec::new();
    for (line, body) in requests {
        let answer = send_to(server.http, line, &[], body.to_owned()).await;
        answers.push(format!("{line}: {}", answer.status_and_body()));
    }
    assert_snapshot!(answers.join("\n"), @r#"
    GET /healthz: 200 {"status":"alive","version":"0.1.0"}
    GET /readyz: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    GET /api/v1/devices: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    GET /api/v1/devices/b1: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    GET /api/v1/devices/b1/history: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    GET /api/v1/devices/b1/boot-config: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    POST /api/v1/devices: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    PATCH /api/v1/devices/b1: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    DELETE /api/v1/devices/b1: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    POST /api/v1/devices/b1/events/image-running: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    POST /api/v1/devices/b1/requests/rq-reboot: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    POST /api/v1/devices/b1/force: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    GET /api/v1/images: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    PUT /api/v1/images/base: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    DELETE /api/v1/images/base: 503 unavailable: the database is unavailable; try again shortly
    {"cause":"disconnected"}
    "#);
    let page = send_to(server.http, "GET /", &[], "").await;
    assert_eq!((page.status, page.header("content-type")), (503, "text/html; charset=utf-8"));
    assert_eq!(page.header("retry-after"), "1");
    assert!(
        page.text.contains("The database is unavailable") && page.text.contains("http-equiv=\"refresh\"")
    );

    forwarder.is_open.send_replace(true);
    until(server.http, "GET /readyz", 200).await;
    let device = until(server.http, "GET /api/v1/devices/b1", 200).await.json();
    assert_eq!((&device["state"], &device["visit"]), (&json!("New"), &json!(1)));
    let moved =
        send_to(server.http, "POST /api/v1/devices/b1/requests/rq-lock-out", &[], r#"{"reason": "r"}"#).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    assert!(until(server.http, "GET /", 200).await.text.contains("LockedOut"));
    server.stop().await.unwrap();
}
