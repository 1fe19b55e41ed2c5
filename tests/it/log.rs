//! Tests of the log: it never makes the program fail, and has colours only on a terminal.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_tftp_request_is_logged() {
    let database = database().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tftp-listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ]);
    command.args(["--database-url", &database.url(), "--boot-root"]).arg(folder.path());
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let _server =
        LoggingServer { child, http: ([127, 0, 0, 1], 0).into(), http_client: reqwest::Client::new() };
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let lines = log.lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str::<Value>(&line).unwrap_or_default()).for_each(|line| {
            // The test may have ended.
            let _ = sender.send(line);
        });
    });
    let mut fields = async |message: &str| {
        let logged = async {
            loop {
                let line = lines.recv().await.expect("the log has ended");
                if line["fields"]["message"] == message {
                    break line["fields"].clone();
                }
            }
        };
        await_within_timeout(message, logged).await
    };
    let serving = fields("TFTP server listening").await;
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"\0\x01../etc/passwd\0octet\0", serving["tftp"].as_str().unwrap()).unwrap();
    let refused = fields("TFTP request refused").await;
    assert_eq!(refused["file"], "../etc/passwd");
    assert_eq!(refused["error"], "outside the boot tree");
    assert_eq!(refused["peer"], client.local_addr().unwrap().to_string());
}
