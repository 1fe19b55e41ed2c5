//! Tests of notifications, sent to a real HTTP server and by real programs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use lifeguard::actions::{
    ActionEnding, ActionKind as _, CommandPolicy, LocalTrouble, NotifyAction, NotifyPolicy, OperatorsUrl,
    Trouble,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::world::yield_briefly;

/// A received request.
struct ReceivedRequest {
    head: String,
    body: Value,
}

/// Receives a request and answers it with `answer`.
async fn take(listener: &TcpListener, answer: &str) -> ReceivedRequest {
    let (stream, _) = listener.accept().await.unwrap();
    reply(stream, answer).await
}

async fn reply(mut stream: TcpStream, answer: &str) -> ReceivedRequest {
    let request = read(&mut stream).await;
    stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.unwrap();
    request
}

async fn read(stream: &mut TcpStream) -> ReceivedRequest {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    ReceivedRequest { head, body: serde_json::from_slice(&body).unwrap() }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let url = format!("http://{}/hook?room=7", listener.local_addr().unwrap());
    (listener, url)
}

fn notification(settings: &Value) -> Job {
    let mut job = job("");
    job.settings.clone_from(settings.as_object().unwrap());
    job
}

fn notify() -> NotifyAction {
    NotifyAction::new(NotifyPolicy { commands: CommandPolicy::Allowed, ..NotifyPolicy::default() })
}

const FINE: &str = "204 No Content\r\n\r\n";

#[tokio::test]
async fn a_message_describes_its_subject_and_is_signed() {
    let ((listener, url), folder) = (listener().await, tempfile::tempdir().unwrap());
    let secret = folder.path().join("hook.password");
    fs_err::write(&secret, "Jefe\n").unwrap();
    fs_err::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let settings = json!({
        "url": url, "message": "look at it", "headers": { "X-Room": "7" }, "secret_file": secret
    });
    let (job, token) = (notification(&settings), CancellationToken::new());
    let (kind, server) = (notify(), take(&listener, FINE));
    let (ended, request) =
        within_long_timeout("its end", async { tokio::join!(kind.run(&job, &token), server) }).await;
    let evidence = ended.unwrap();
    assert_eq!((&evidence["status"], &evidence["tries"]), (&json!(204), &json!(1)));
    // The path may contain a secret.
    assert_eq!(evidence["to"], format!("http://{}", listener.local_addr().unwrap()));
    let ReceivedRequest { head, body } = request;
    assert!(head.starts_with("post /hook?room=7 http/1.1\r\n"), "{head}");
    let key = body["key"].as_str().unwrap();
    for line in ["content-type: application/json", "x-room: 7", &format!("idempotency-key: {key}")] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    let expected = lifeguard::actions::signature::hmac(b"Jefe", body.to_string().as_bytes());
    assert!(head.contains(&format!("x-lifeguard-signature: sha256={expected}\r\n")), "{head}");
    let answer_text =
        ["machine", "instance", "state", "visit", "action", "action_id", "message"].map(|key| &body[key]);
    assert_eq!(json!(answer_text), json!(["board", "board-1", "Working", 7, "test", 1, "look at it"]));
    // Nothing is said of facts that are not asked for, and of those that are not known.
    assert_eq!(body.get("facts"), None);
}

#[tokio::test]
async fn temporary_failures_are_retried_with_back_off_and_the_same_key() {
    let ((clock, shared), (listener, url)) = (manual(), listener().await);
    let job = with_clock(shared, notification(&json!({ "url": url, "retries": 3, "timeout": "1h" })));
    let (kind, token, began) = (notify(), CancellationToken::new(), clock.now());
    let server = async {
        let mut keys = Vec::new();
        for answer in ["503 Busy\r\n\r\n", "429 Slow Down\r\n\r\n", "no HTTP at all\r\n\r\n", FINE] {
            let stream = loop {
                tokio::select! {
                    biased;
                    accepted = listener.accept() => break accepted.unwrap().0,
                    () = yield_briefly() => clock.advance(Duration::from_millis(100)),
                }
            };
            keys.push(reply(stream, answer).await.body["key"].clone());
        }
        keys
    };
    let (ended, keys) =
        within_long_timeout("its end", async { tokio::join!(kind.run(&job, &token), server) }).await;
    assert_eq!(ended.unwrap()["tries"], 4);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(clock.now() - began >= chrono::TimeDelta::seconds(7), "after 1, 2 and 4 seconds");
}

#[tokio::test]
async fn operators_are_notified_where_the_server_says_and_elsewhere_nobody_is() {
    let (listener, url) = listener().await;
    let (job, token) = (notification(&json!({ "to": "operators" })), CancellationToken::new());
    let nobody = within_long_timeout("its end", notify().run(&job, &token)).await.unwrap();
    assert_eq!(nobody["to"], "nobody: this server has no operators-url");
    let policy =
        NotifyPolicy { operators_url: Some(OperatorsUrl::new(&url).unwrap()), ..NotifyPolicy::default() };
    let (kind, server) = (NotifyAction::new(policy), take(&listener, FINE));
    let (ended, request) =
        within_long_timeout("its end", async { tokio::join!(kind.run(&job, &token), server) }).await;
    assert_eq!(ended.unwrap()["to"], format!("http://{}", listener.local_addr().unwrap()));
    assert!(request.head.starts_with("post /hook?room=7 http/1.1\r\n"), "{}", request.head);
    // A broadcast address: a local fault. The operators' server is not waited for.
    let url = OperatorsUrl::new("http://255.255.255.255:9/hook").unwrap();
    let policy = NotifyPolicy { operators_url: Some(url), ..NotifyPolicy::default() };
    let job = notification(&json!({ "to": "operators", "retries": 0 }));
    let failed =
        within_long_timeout("its end", NotifyAction::new(policy).run(&job, &token)).await.unwrap_err();
    assert_eq!(failed.kind, ActionEnding::Failed, "{failed}");
    for more in ["url", "command", "headers", "secret_file"] {
        let value = match more {
            "url" => json!("http://chat.lab/"),
            "command" => json!(["true"]),
            "headers" => json!({ "x": "y" }),
            _ => json!("/etc/x.password"),
        };
        let settings = json!({ "to": "operators", more: value });
        let faults = notify().check_settings(settings.as_object().unwrap());
        assert!(faults.len() == 1 && faults[0].message.starts_with("with `to`"), "{faults:?}");
    }
}

#[tokio::test]
async fn permanent_failures_fail_at_once_with_the_answer() {
    let (listener, url) = listener().await;
    let (job, token) = (notification(&json!({ "url": url })), CancellationToken::new());
    for (answer, reason) in [
        ("404 Not Found\r\ncontent-length: 7\r\n\r\nno room", "HTTP status 404 Not Found"),
        ("302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", "HTTP status 302 Found"),
    ] {
        let (kind, server) = (notify(), take(&listener, answer));
        let (ended, _) =
            within_long_timeout("its end", async { tokio::join!(kind.run(&job, &token), server) }).await;
        let failed = ended.unwrap_err();
        assert_eq!((failed.reason.as_str(), &failed.kind), (reason, &ActionEnding::Failed));
        let answer_text = if answer.starts_with("404") { "no room" } else { "" };
        assert_eq!((&failed.evidence["answer"], &failed.evidence["tries"]), (&json!(answer_text), &json!(1)));
    }
}

#[tokio::test]
async fn an_unreachable_receiver_is_retried_and_a_local_fault_suspends() {
    let (listener, url) = listener().await;
    drop(listener);
    let token = CancellationToken::new();
    let job = notification(&json!({ "url": url, "retries": 0 }));
    let failed = notify().run(&job, &token).await.unwrap_err();
    assert_eq!((failed.reason.as_str(), failed.kind), ("connection refused", ActionEnding::Failed));
    // Connecting to this address is always refused locally.
    let job = notification(&json!({ "url": "http://255.255.255.255/", "retries": 0 }));
    let waits = notify().run(&job, &token).await.unwrap_err();
    let is_network = matches!(
        waits.kind,
        ActionEnding::Suspended { trouble: Trouble::Local(LocalTrouble::Network(_)), .. }
    );
    assert!(is_network, "{waits:?}");
    // A process with an expired lease sends nothing.
    let job = notification(&json!({ "url": url }));
    job.lease.extend(tokio::time::Instant::now());
    let late = notify().run(&job, &token).await.unwrap_err();
    assert!(late.reason.contains("lease"), "{late}");
}

#[tokio::test]
async fn a_cancelled_notification_ends_at_once() {
    let (listener, url) = listener().await;
    let (job, token) = (notification(&json!({ "url": url })), CancellationToken::new());
    let kind = notify();
    let server = async {
        let silent = listener.accept().await.unwrap();
        token.cancel();
        silent
    };
    let (ended, _silent) =
        within_long_timeout("its end", async { tokio::join!(kind.run(&job, &token), server) }).await;
    assert_eq!(ended.unwrap_err().reason, "cancelled");
}

#[tokio::test]
async fn a_program_is_run_only_where_the_server_allows_it_and_gets_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message");
    let script = format!("cat > {}; echo told $1", file.display());
    let job = notification(&json!({ "command": ["sh", "-c", script, "sh", "; exit 7"], "message": "hi" }));
    let token = CancellationToken::new();
    let refused = NotifyAction::new(NotifyPolicy::default()).run(&job, &token).await.unwrap_err();
    assert_eq!(refused.kind, ActionEnding::Misconfigured);
    assert!(refused.reason.contains("--allow-commands") && !file.exists(), "{refused}");
    let evidence = within_long_timeout("its end", notify().run(&job, &token)).await.unwrap();
    assert_eq!((&evidence["to"], &evidence["answer"]), (&json!("sh"), &json!("told ; exit 7")));
    let message: Value = serde_json::from_slice(&fs_err::read(&file).unwrap()).unwrap();
    assert_eq!(message["message"], "hi");

    for (command, reason) in [
        (json!(["sh", "-c", "echo no >&2; exit 3"]), "exit status: 3"),
        (json!(["/nowhere/at-all"]), "cannot run `/nowhere/at-all`"),
        (json!(["sleep", "1000"]), "`sleep` timed out after 500ms"),
    ] {
        let job = notification(&json!({ "command": command, "retries": 0, "timeout": "500ms" }));
        let failed = within_long_timeout("its end", notify().run(&job, &token)).await.unwrap_err();
        assert!(failed.reason.contains(reason), "{failed}");
    }
}

#[tokio::test]
async fn settings_name_the_receivers() {
    for (settings, key, right) in [
        (json!({}), None, "say whom to notify"),
        (json!({ "url": "http://a/", "command": ["b"] }), Some("command"), "either `url` or `command`"),
        (json!({ "url": "https://a/" }), Some("url"), "`http://HOST[:PORT]/PATH`"),
        (json!({ "url": "http://a/", "headers": { "a b": "c" } }), Some("headers"), "`a b`"),
        (json!({ "command": ["a"], "headers": { "a": "b" } }), Some("headers"), "request"),
        (json!({ "command": ["a"], "secret_file": "/a" }), Some("secret_file"), "request"),
        (json!({ "url": "http://a/", "secret_file": "/etc/shadow" }), Some("secret_file"), "`.password`"),
        (json!({ "command": "a | b" }), Some("command"), "`[mail-admins, --quiet]`"),
        (json!({ "ulr": "http://a/" }), Some("ulr"), "did you mean `url`?"),
    ] {
        let faults = notify().check_settings(settings.as_object().unwrap());
        assert_eq!(faults.len(), 1, "{settings}: {faults:?}");
        assert_eq!(faults[0].key.as_deref(), key, "{settings}");
        assert!(faults[0].message.contains(right), "{settings}: {faults:?}");
    }
}
