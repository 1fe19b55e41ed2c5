//! Tests of what applies to all routes: paths, hosts, origins, browser security, and connection limits.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{ApiAnswer, send, send_to};
use crate::server_process::ServerProcess;
use crate::world::{World, await_within_timeout, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_url_may_end_in_slashes() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    for path in [
        "//api/v1/devices/b1",
        "/api/v1/devices/b1/",
        "/api//v1/devices///b1//",
        "//api/v1/devices/?limit=1",
        "/healthz/",
        "//",
        "//devices/b1/",
        "/api/v1/machines//board/diagram.svg/",
    ] {
        assert_eq!(send(&world, &format!("GET {path}"), "").await.status, 200, "{path}");
    }
    let reported = send(&world, "POST //api/v1/devices/b1/events/image-running/", "").await;
    assert_eq!((reported.status, &reported.json()["outcome"]), (200, &json!("ignored")));
    // Two slashes in a path do not bypass the protection of changes.
    let foreign = [("sec-fetch-site", "cross-site")];
    let line = "GET //api/v1/devices/b1//events/image-running";
    assert_eq!(send_to(world.server.http, line, &foreign, "").await.status, 403);
    assert_eq!(
        send(&world, "POST //api/v1/devices/", "").await.status,
        400,
        "it is the route for registering"
    );
}

async fn asked(world: &World, line: &str, headers: &[(&str, &str)]) -> ApiAnswer {
    send_to(world.server.http, line, headers, "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_origin_cannot_change_anything_and_our_own_can() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let own = format!("http://{}", world.server.http);
    let other_port = format!("http://{}:1", world.server.http.ip());
    for line in [
        "POST /api/v1/devices/b1/requests/rq-lock-out",
        "GET /api/v1/devices/b1/events/image-running",
        "DELETE /api/v1/devices/b1",
        "PUT /api/v1/images/i1",
        "PUT /state?state=x",
    ] {
        for origin in
            ["http://evil", "https://evil.example:8080", "null", "http://localhost", &other_port, ""]
        {
            let refused = asked(&world, line, &[("origin", origin)]).await;
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (403, &json!("other_site")),
                "{line} {origin}"
            );
        }
    }
    assert_eq!(world.history("b1").await.len(), 1, "nothing but its registration");
    let line = "POST /api/v1/devices/b1/events/image-running";
    assert_eq!(asked(&world, line, &[("origin", &own)]).await.status, 200);
    assert_eq!(asked(&world, line, &[("sec-fetch-site", "same-origin")]).await.status, 200);
    assert_eq!(
        asked(&world, "GET /", &[("origin", "http://evil")]).await.status,
        200,
        "which the browser keeps from it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_from_another_site_is_not_a_report_and_one_from_a_tool_is() {
    // Headers of Chromium 156 to http://board.lab:8080 for pages of http://evil.lab: neither `Origin` nor
    // `Sec-Fetch-Site`.
    let chromium = [
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0",
        ),
        ("accept-encoding", "gzip, deflate"),
    ];
    let language = ("accept-language", "en-US,en;q=0.9");
    let referer = ("referer", "http://evil.lab:8790/");
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let line = "GET /api/v1/devices/b1/events/image-running?a=1";
    let of_our_page = format!("http://{}/devices/b1", world.server.http);
    for more in [
        // `<img>`, `<img referrerpolicy=no-referrer>`, `fetch` with an empty language, `<iframe>`.
        vec![("accept", "image/avif,image/webp,image/*,*/*;q=0.8"), referer, language],
        vec![("accept", "image/avif,image/webp,image/*,*/*;q=0.8"), language],
        vec![("accept", "*/*"), ("accept-language", "")],
        vec![("upgrade-insecure-requests", "1"), language],
        vec![referer],
        vec![("referer", "http://evil.lab?http://127.0.0.1/")],
        vec![("referer", &of_our_page), language],
    ] {
        let headers: Vec<_> = chromium.into_iter().chain(more).collect();
        let refused = asked(&world, line, &headers).await;
        assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("other_site")), "{headers:?}");
    }
    assert_eq!(world.history("b1").await.len(), 1, "nothing but its registration");
    for headers in [
        // As sent by curl 7.88, Wget 1.21 and busybox, and by a browser for its user.
        vec![("user-agent", "curl/7.88.1"), ("accept", "*/*")],
        vec![("user-agent", "Wget/1.21.3"), ("accept", "*/*"), ("accept-encoding", "identity")],
        vec![("user-agent", "Wget"), ("connection", "close")],
        vec![("referer", of_our_page.as_str())],
        vec![("sec-fetch-site", "none"), language],
        vec![("sec-fetch-site", "same-origin"), ("referer", &of_our_page), language],
    ] {
        assert_eq!(asked(&world, line, &headers).await.status, 200, "{headers:?}");
    }
    for (tool, options) in [("curl", vec!["-sf"]), ("wget", vec!["-qO-"]), ("busybox", vec!["wget", "-qO-"])]
    {
        let mut command = Command::new(tool);
        command
            .args(options)
            .arg(format!("http://{}/api/v1/devices/b1/events/image-running", world.server.http));
        // A tool that is not installed is skipped.
        let Ok(output) = tokio::task::spawn_blocking(move || command.output()).await.unwrap() else {
            continue;
        };
        assert!(output.status.success(), "{tool}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_header_must_be_an_address_or_a_configured_name() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "boards.lab"] {
        for line in ["GET /", "GET /api/v1/devices", "POST /api/v1/devices/b1/events/image-running"] {
            let refused = asked(&world, line, &[("host", host)]).await;
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (421, &json!("wrong_host")),
                "{line} {host}"
            );
        }
    }
    assert_eq!(world.history("b1").await.len(), 1, "nothing but its registration");
    for host in ["192.0.2.7", "[2001:db8::1]:8080", "localhost:8080", "LocalHost"] {
        let line = "POST /api/v1/devices/b1/events/image-running";
        assert_eq!(asked(&world, line, &[("host", host)]).await.status, 200, "{host}");
    }
    // A target in absolute form takes precedence over `Host`; an old tool sends neither.
    let mut stream = TcpStream::connect(world.server.http).await.unwrap();
    let text = "GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(exchange(&mut stream, text).await.starts_with("HTTP/1.1 421 "));
    let mut stream = TcpStream::connect(world.server.http).await.unwrap();
    assert!(exchange(&mut stream, "GET /healthz HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
}

/// Sends a text and reads until the end.
async fn exchange(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    await_within_timeout("the end of an answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_security_headers() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    for line in [
        "GET /",
        "GET /devices/b1",
        "GET /devices/nobody",
        "GET /lifecycle",
        "GET /resources",
        "GET /api/v1/devices",
        "GET /api/v1/machines/board/diagram.svg",
        "GET /api/v1/machines/board/definitions/1",
        "GET /nothing",
        "GET /state?state=x",
        "POST /healthz",
    ] {
        let answer = asked(&world, line, &[]).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{line}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{line}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{line}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{line}");
        // Each inline style is allowed by its digest, and no other.
        let styles: Vec<&str> = answer.text.split("<style>").skip(1).collect();
        for style in &styles {
            let (style, _) = style.split_once("</style>").unwrap();
            let allowed = lifeguard::csp::with_styles(&[style]);
            let digest = allowed.split('\'').find(|part| part.starts_with("sha256-")).unwrap();
            assert!(policy.contains(digest), "{line}: {policy}");
        }
        assert!(!answer.text.contains("style=\"") && !answer.text.contains("<script"), "{line}");
    }
}

/// Opens connections from the loopback address 127.0.0.`number` and sends half a request on each.
async fn half_sent(server: SocketAddr, number: u8, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = connect_from(server, number).await;
        // A connection closed at once accepts no data.
        let _ = stream.write_all(b"POST /api/v1/devices/b1/events/image-running HTTP/1.1\r\nhost: loc").await;
        streams.push(stream);
    }
    streams
}

async fn connect_from(server: SocketAddr, number: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, number], 0).into()).unwrap();
    socket.connect(server).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_incomplete_requests_leave_connections_and_descriptors_free() {
    let database = crate::database::database().await;
    let folder = tempfile::tempdir().unwrap();
    let limit = 1024;
    let options = ["--boot-root", folder.path().to_str().unwrap(), "--database-url", &database.url()];
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_lifeguard")]);
    shell.arg("serve").args(options);
    let server = ServerProcess::run(shell).unwrap();
    let url = format!("http://{}/api/v1/devices", server.http());
    let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let board = json!({ "name": "b1", "mac": "02:00:00:00:00:01", "hardware": "panda" });
    assert_eq!(http.post(&url).json(&board).send().await.unwrap().status(), StatusCode::CREATED);

    let mut halves = Vec::new();
    for number in 2..=5 {
        halves.extend(half_sent(server.http(), number, 250).await);
    }
    let open = fs_err::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    assert!(open + 256 <= limit, "{open} of {limit} descriptors are open: none are left for relay boards");
    // A board without connections, and one with many.
    for number in [6, 5] {
        let mut stream = connect_from(server.http(), number).await;
        let text = "POST /api/v1/devices/b1/events/image-running HTTP/1.1\r\nhost: localhost\r\n\
                    content-length: 0\r\nconnection: close\r\n\r\n";
        let answer = exchange(&mut stream, text).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "127.0.0.{number}: {answer}");
    }
    drop(halves);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_too_few_open_files_reports_the_required_limit() {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "ulimit -n 200 && exec \"$0\" serve --listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_lifeguard"),
    ]);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(message.contains("may open 200 files and needs ") && message.contains("ulimit -n"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_raises_its_open_file_limit_to_the_maximum() {
    let database = crate::database::database().await;
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "ulimit -Sn 200 && ulimit -Hn 2048 && exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_lifeguard"),
        "serve",
        "--boot-root",
        folder.path().to_str().unwrap(),
        "--database-url",
        &database.url(),
    ]);
    let server = ServerProcess::run(shell).unwrap();
    let limits = fs_err::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open_files.matches(" 2048 ").count(), 2, "soft and hard: {open_files}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_accepts_its_configured_host_names() {
    let names = ["boards.lab".to_owned(), "lifeguard.example:8443".to_owned()];
    let world = World::with_server_names(&names).await;
    let line = "POST /api/v1/devices/nobody/events/image-running";
    for headers in [
        [("host", "boards.lab:8080"), ("origin", "http://boards.lab:8080")],
        // As forwarded by a proxy that does not preserve the host.
        [("host", "127.0.0.1:8080"), ("origin", "https://boards.lab")],
        [("host", "lifeguard.example"), ("origin", "https://lifeguard.example:8443")],
    ] {
        assert_eq!(asked(&world, line, &headers).await.json()["code"], "no_device", "{headers:?}");
    }
    let status =
        asked(&world, line, &[("host", "boards.lab"), ("origin", "http://boards.lab:3000")]).await.status;
    assert_eq!(status, 403, "another port is another site");
    let message: Value = asked(&world, "GET /", &[("host", "evil.example")]).await.json();
    assert!(message["detail"].as_str().unwrap().contains("boards.lab, lifeguard.example:8443"), "{message}");
    assert_eq!(world.call(Method::GET, "/healthz", None).await.0, StatusCode::OK);
}

/// Requests the whole history of `b1`; returns the connection.
async fn ask_history(server: SocketAddr, number: u8) -> TcpStream {
    let mut stream = connect_from(server, number).await;
    let text =
        "GET /api/v1/devices/b1/history?limit=1000 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// A server's memory as counted by the kernel: `VmRSS` is the current size, `VmHWM` the peak.
fn memory_bytes(server: &ServerProcess, what: &str) -> usize {
    let text = fs_err::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
    line.trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_histories_use_little_memory_and_are_read_completely() {
    const ENTRIES: usize = 300;
    let database = crate::database::database().await;
    let folder = tempfile::tempdir().unwrap();
    let options = ["--boot-root", folder.path().to_str().unwrap(), "--database-url", &database.url()];
    let server = ServerProcess::start(&options.map(str::to_owned));
    let url = format!("http://{}/api/v1/devices", server.http());
    let board = json!({ "name": "b1", "mac": "02:00:00:00:00:01", "hardware": "panda" });
    let created = reqwest::Client::new().post(&url).json(&board).send().await.unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    let pool = database.pool().await;
    let sql = "INSERT INTO history (at, instance_id, visit, kind, from_state, outcome, event, source, args)
               SELECT now(), instance_id, 1, 'event', 'New', 'ignored', 'image-running', 'board',
                      jsonb_build_object('log', repeat('x', 60000))
                 FROM instance, generate_series(1, $1)";
    sqlx::query(sql).bind(i32::try_from(ENTRIES).unwrap()).execute(&pool).await.unwrap();

    let before = memory_bytes(&server, "VmRSS");
    let mut unread = Vec::new();
    for number in 2..=25 {
        unread.push(ask_history(server.http(), number).await);
    }
    for stream in &unread {
        await_within_timeout("the beginning of a history", stream.readable()).await.unwrap();
    }
    // On a slow machine the others may keep the database busy for a while.
    wait_until("a history that is read comes whole", async || {
        let mut read = ask_history(server.http(), 1).await;
        let mut text = Vec::new();
        await_within_timeout("the end of a history", read.read_to_end(&mut text)).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        let is_whole = text.contains("],\"next\":null}");
        let entries = text.matches("\"event\":\"image-running\"").count();
        assert!(!is_whole || entries == ENTRIES, "{entries} entries");
        is_whole
    })
    .await;
    let grown = memory_bytes(&server, "VmHWM").saturating_sub(before);
    assert!(grown < 150 * 1024 * 1024, "{} MiB more", grown >> 20);
    drop(unread);
}
