//! Tests of the log: what it says, that it never makes the program fail, and that it has colours only on a terminal.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use lifeguard::farm::relay::{RelayBehaviour, RelayBoard};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use reqwest::Method;
use serde_json::{Value, json};

use crate::database::{TestDatabase, database};
use crate::world::{await_within_timeout, wait_until};

/// A server on a given address, killed on drop.
struct LoggingServer {
    child: Child,
    http: SocketAddr,
    http_client: reqwest::Client,
}

impl LoggingServer {
    /// Starts a server that writes much to `stderr`.
    fn start(database: &TestDatabase, stderr: Stdio) -> Self {
        // Its log does not contain the address.
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
        command.args(["serve", "--log", "trace", "--listen", &http.to_string()]);
        command.args(["--database-url", &database.url(), "--boot-root"]);
        command.arg(tempfile::tempdir().unwrap().path());
        let child = command.stdin(Stdio::null()).stderr(stderr).spawn().unwrap();
        Self { child, http, http_client: reqwest::Client::new() }
    }

    /// Whether it registers boards, which are committed before it answers.
    async fn registers(&self, name: &str, mac: &str) -> bool {
        let board = json!({ "name": name, "mac": mac, "hardware": "panda" });
        let url = format!("http://{}/api/v1/devices", self.http);
        let answer = self.http_client.post(url).json(&board).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

impl Drop for LoggingServer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_serving_if_its_log_cannot_be_written() {
    let database = database().await;
    let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut server = LoggingServer::start(&database, full.into_parts().0.into());
    wait_until("it registers a board", async || server.registers("b1", "02:00:00:00:00:01").await).await;
    for number in 2..10 {
        let (name, mac) = (format!("b{number}"), format!("02:00:00:00:00:{number:02}"));
        assert!(server.registers(&name, &mac).await);
    }
    assert!(server.child.try_wait().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_serving_if_its_log_reader_exits() {
    let database = database().await;
    let mut server = LoggingServer::start(&database, Stdio::piped());
    let mut log = BufReader::new(server.child.stderr.take().unwrap());
    let mut first = String::new();
    log.read_line(&mut first).unwrap();
    assert!(!first.is_empty());
    drop(log);
    wait_until("it registers a board", async || server.registers("b1", "02:00:00:00:00:01").await).await;
    for number in 2..10 {
        let (name, mac) = (format!("b{number}"), format!("02:00:00:00:00:{number:02}"));
        assert!(server.registers(&name, &mac).await);
    }
    assert!(server.child.try_wait().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_serving_if_its_log_is_not_read() {
    let database = database().await;
    // The pipe holds 64 KiB, which the log fills long before the last board.
    let server = LoggingServer::start(&database, Stdio::piped());
    wait_until("it registers a board", async || server.registers("b1", "02:00:00:00:00:01").await).await;
    for number in 2..60 {
        let (name, mac) = (format!("b{number}"), format!("02:00:00:00:00:{number:02}"));
        wait_until("it registers another", async || server.registers(&name, &mac).await).await;
    }
}

/// The log of a command on a terminal, with `NO_COLOR` as given.
fn on_a_terminal(no_color: Option<&str>) -> String {
    let terminal = openpty(None, None).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    command.args(["machine", "simulate", "--boards", "1", "--days", "1"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/states/board.yaml"));
    command.env_remove("NO_COLOR").stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal.slave);
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    command.status().unwrap();
    drop(command);
    let mut shown = Vec::new();
    // It never ends if another test's process has inherited the other end; it has what was written.
    fcntl(&terminal.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let _ = std::fs::File::from(terminal.master).read_to_end(&mut shown);
    String::from_utf8(shown).unwrap()
}

#[test]
fn a_log_on_a_terminal_has_colours_unless_disabled() {
    assert!(on_a_terminal(None).contains('\u{1b}'));
    assert!(on_a_terminal(Some("")).contains('\u{1b}'), "an empty variable is unset");
    let plain = on_a_terminal(Some("1"));
    assert!(!plain.is_empty() && !plain.contains('\u{1b}'), "{plain}");
}

/// The lines of a server's log, as they are written.
struct JsonLog(tokio::sync::mpsc::UnboundedReceiver<Value>);

impl JsonLog {
    /// Starts a server with `arguments` that logs JSON.
    fn start(database: &TestDatabase, arguments: &[&str]) -> (LoggingServer, Self) {
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
        command.args(["serve", "--log-format", "json", "--listen", &http.to_string()]);
        command.args(["--database-url", &database.url()]).args(arguments);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let lines = log.lines().map_while(Result::ok);
            lines.map(|line| serde_json::from_str::<Value>(&line).unwrap_or_default()).for_each(|line| {
                // The test may have ended.
                let _ = sender.send(line);
            });
        });
        (LoggingServer { child, http, http_client: reqwest::Client::new() }, Self(lines))
    }

    /// Waits for the next line with this message; returns its level and fields.
    async fn next(&mut self, message: &str) -> (String, Value) {
        let logged = async {
            loop {
                let line = self.0.recv().await.expect("the log has ended");
                if line["fields"]["message"] == message {
                    break (line["level"].as_str().unwrap().to_owned(), line["fields"].clone());
                }
            }
        };
        await_within_timeout(message, logged).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_tftp_request_is_logged() {
    let database = database().await;
    let folder = tempfile::tempdir().unwrap();
    let boot_root = folder.path().to_str().unwrap();
    let (_server, mut log) =
        JsonLog::start(&database, &["--tftp-listen", "127.0.0.1:0", "--boot-root", boot_root]);
    let (_, listening) = log.next("TFTP server listening").await;
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"\0\x01../etc/passwd\0octet\0", listening["tftp"].as_str().unwrap()).unwrap();
    let (level, refused) = log.next("TFTP request refused").await;
    assert_eq!((&*level, &refused["file"]), ("INFO", &json!("../etc/passwd")));
    assert_eq!(refused["error"], "outside the boot tree");
    assert_eq!(refused["peer"], client.local_addr().unwrap().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_changes_are_logged_and_so_is_a_relay_board_that_is_away() {
    let database = database().await;
    let folder = tempfile::tempdir().unwrap();
    let (server, mut log) = JsonLog::start(&database, &["--boot-root", folder.path().to_str().unwrap()]);
    log.next("serving").await;
    let post = async |path: &str, body: Value| {
        let url = format!("http://{}/api/v1/devices{path}", server.http);
        let answer = server.http_client.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    };
    // Nothing listens at this port.
    let power_url = "modbus://127.0.0.1:1/1";
    let board =
        json!({ "name": "b1", "mac": "02:00:00:00:00:01", "hardware": "panda", "power_url": power_url });
    post("", board).await;
    let (level, created) = log.next("instance created").await;
    let of_created = json!({
        "message": "instance created", "machine": "board", "instance": "b1", "state": "New", "visit": 1,
    });
    assert_eq!((&*level, &created), ("INFO", &of_created));
    post("/b1/force", json!({ "from": "New", "to": "Ready", "reason": "it is ready" })).await;
    let (level, forced) = log.next("state changed").await;
    let of_forced = json!({
        "message": "state changed", "machine": "board", "instance": "b1", "from": "New", "to": "Ready",
        "event": "forced", "visit": forced["visit"],
    });
    assert_eq!((&*level, &forced), ("INFO", &of_forced));
    post("/b1/requests/rq-reboot", json!({})).await;
    let (level, mut failed) = log.next("action failed").await;
    let reason = failed.as_object_mut().unwrap().remove("reason").unwrap();
    assert!(reason.as_str().unwrap().contains("127.0.0.1:1"), "{reason}");
    let of_failed = json!({
        "message": "action failed", "machine": "board", "instance": "b1", "action": "power-cycle",
        "resource": "modbus://127.0.0.1:1",
    });
    assert_eq!((&*level, &failed), ("WARN", &of_failed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renamed_states_and_removed_instances_are_logged() {
    let database = database().await;
    let folder = tempfile::tempdir().unwrap();
    let (server, mut log) = JsonLog::start(&database, &["--boot-root", folder.path().to_str().unwrap()]);
    log.next("serving").await;
    let call = async |method: Method, path: &str, body: &'static str| {
        let url = format!("http://{}/api/v1/machines/{path}", server.http);
        let answer = server.http_client.request(method, url).body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    };
    let first = "machine: lamp\ninitial: Off\nstates: { Off: { resting: true, about: it is dark } }\n";
    call(Method::PUT, "lamp", first).await;
    call(Method::PUT, "lamp/hall", "").await;
    let renamed = "machine: lamp\ninitial: Dark\nrenamed: { Off: Dark }\nstates: { Dark: { resting: true, about: it is dark } }\n";
    call(Method::PUT, "lamp", renamed).await;
    call(Method::DELETE, "lamp/hall", "").await;
    let (level, logged) = log.next("state renamed").await;
    let expected = json!({
        "message": "state renamed", "machine": "lamp", "definition": 2, "from": "Off", "to": "Dark", "instances": 1,
    });
    assert_eq!((&*level, &logged), ("INFO", &expected));
    let (level, logged) = log.next("instance removed").await;
    let expected = json!({
        "message": "instance removed", "machine": "lamp", "instance": "hall", "state": "Dark", "visit": 1,
    });
    assert_eq!((&*level, &logged), ("INFO", &expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_that_another_server_restores_is_logged() {
    let relay = RelayBoard::start(([127, 0, 0, 1], 0).into(), 1, RelayBehaviour::Normal).unwrap();
    relay.switch(0, true);
    let database = database().await;
    let folder = tempfile::tempdir().unwrap();
    let boot_root = ["--boot-root", folder.path().to_str().unwrap()];
    let (first, mut log) = JsonLog::start(&database, &boot_root);
    log.next("starting").await;
    log.next("serving").await;
    let post = async |server: &LoggingServer, path: &str, body: Value| {
        let url = format!("http://{}/api/v1/devices{path}", server.http);
        let answer = server.http_client.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    };
    let power_url = format!("modbus://{}/0?off=30s", relay.addr());
    let board =
        json!({ "name": "b1", "mac": "02:00:00:00:00:01", "hardware": "panda", "power_url": power_url });
    post(&first, "", board).await;
    post(&first, "/b1/requests/rq-reboot", json!({})).await;
    let mut power = relay.coil(0);
    await_within_timeout("the power is taken", power.wait_for(|is_on| !is_on)).await.unwrap();

    drop(first);
    let (second, mut log) = JsonLog::start(&database, &boot_root);
    log.next("serving").await;
    post(&second, "/b1/requests/rq-lock-out", json!({ "reason": "a cable is loose" })).await;
    let (level, completed) = log.next("compensation completed").await;
    let expected = json!({
        "message": "compensation completed", "machine": "board", "instance": "b1", "action": "power-on",
    });
    assert_eq!((&*level, &completed), ("INFO", &expected));
    assert!(*power.borrow());
}
