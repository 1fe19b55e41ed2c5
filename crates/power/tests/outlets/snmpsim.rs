//! Tests of `snmp://` at an independent agent, snmpsim, in all versions of SNMP.
//!
//! `LIFEGUARD_TEST_SNMPSIM` is the path of its program `snmpsim-command-responder`.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use device_io::CredentialSource;
use fs_err as fs;
use power::{PowerContext, PowerOperation, PowerRunErrorKind};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};

use crate::conformance::{SHORT_TIMEOUT, run, run_in};
use crate::snmp::{context_with, found_outlets, scanned, secret};

/// The objects of a switch: PoE ports 7 and 8, of which only the first can be set, and a string.
const OBJECTS: &str = "\
1.3.6.1.2.1.1.1.0|4|a switch
1.3.6.1.2.1.105.1.1.1.3.1.7|2:writecache|value=1
1.3.6.1.2.1.105.1.1.1.3.1.8|2|1
1.3.6.1.2.1.105.1.1.1.6.1.7|2|3
1.3.6.1.2.1.105.1.1.1.6.1.8|2|2
1.3.6.1.4.1.9.9.5|4:writecache|value=on
";

/// Users of version 3, and how each signs and encrypts: user, `auth`, `privacy`.
const USERS: [(&str, &str, &str); 5] = [
    ("sha256-aes", "sha256", "aes"),
    ("sha-aes256", "sha", "aes256"),
    ("md5-des", "md5", "des"),
    ("sha512", "sha512", "none"),
    ("open", "none", "none"),
];
const PASSWORD: &str = "authentication";
const PRIVACY_PASSWORD: &str = "encryption";

struct Snmpsim {
    port: u16,
    _process: Child,
    _directory: TempDir,
}

impl Snmpsim {
    /// Starts it; `None`, with a note, if its path is not configured.
    async fn start() -> Option<Self> {
        let program = std::env::var_os("LIFEGUARD_TEST_SNMPSIM");
        let Some(program) = program else {
            let name = "LIFEGUARD_TEST_SNMPSIM: the path of snmpsim-command-responder";
            let is_required = std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_some_and(|value| value == "1");
            assert!(!is_required, "LIFEGUARD_TEST_FOREIGN=1 needs {name}");
            writeln!(std::io::stderr(), "skipped: no {name}").ok();
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let (data, cache) = (directory.path().join("data"), directory.path().join("cache"));
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(&cache).unwrap();
        fs::write(data.join("private.snmprec"), OBJECTS).unwrap();
        // It cannot be told to take any free port.
        let port = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.arg(format!("--cache-dir={}", cache.display()));
        if fs::metadata(directory.path()).unwrap().uid() == 0 {
            // As root it would not start without.
            command.args(["--process-user=root", "--process-group=root"]);
        }
        command.args(["--v3-engine-id=auto", &format!("--data-dir={}", data.display())]);
        for (user, auth, privacy) in USERS {
            command.arg(format!("--v3-user={user}"));
            if auth != "none" {
                command.args([format!("--v3-auth-key={PASSWORD}"), format!("--v3-auth-proto={auth}")]);
            }
            if privacy != "none" {
                // By `AES256` it means Cisco's.
                let privacy = if privacy == "aes256" { "AES256BLMT" } else { privacy };
                command.args([
                    format!("--v3-priv-key={PRIVACY_PASSWORD}"),
                    format!("--v3-priv-proto={privacy}"),
                ]);
            }
        }
        command.arg(format!("--agent-udpv4-endpoint=127.0.0.1:{port}"));
        let mut process =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        loop {
            let line = lines.next_line().await.unwrap();
            assert!(line.is_some(), "it ended: {said:#?}");
            let line = line.unwrap();
            if line.contains("Listening at") {
                break;
            }
            said.push(line);
        }
        let agent = Self { port, _process: process, _directory: directory };
        // It says so before its port is open.
        let mut answers = false;
        for _ in 0..20 {
            answers = answers || run(PowerOperation::On, &agent.url("7", "version=1")).await.is_ok();
        }
        assert!(answers, "it does not answer");
        Some(agent)
    }

    fn url(&self, port: &str, parameters: &str) -> String {
        format!("snmp://127.0.0.1:{}/{port}?device=poe&off=20ms&{parameters}", self.port)
    }
}

/// The context of a server whose credential is this user.
fn context_of(user: &str, password: &str, privacy_password: &str) -> PowerContext {
    let user = Some(user.to_owned());
    let (password, privacy_password) = (Some(secret(password)), Some(secret(privacy_password)));
    context_with(CredentialSource { user, password, privacy_password, hosts: Vec::new() })
}

#[tokio::test]
async fn an_independent_agent_is_switched_in_all_versions() {
    let Some(agent) = Snmpsim::start().await else { return };
    for parameters in ["version=1", "version=2c"] {
        for (operation, state) in
            [(PowerOperation::Off, "off"), (PowerOperation::On, "on"), (PowerOperation::Cycle, "on")]
        {
            let evidence = run(operation, &agent.url("7", parameters)).await.unwrap();
            assert_eq!((&evidence["observed"], &evidence["attempts"]), (&state.into(), &1.into()));
            let detection = evidence.get("detection").and_then(|detection| detection.as_str());
            assert_eq!(detection, (parameters == "version=2c").then_some("deliveringPower"));
        }
    }
    for (user, auth, privacy) in USERS {
        let context = context_of(user, PASSWORD, PRIVACY_PASSWORD);
        let parameters = format!("version=3&context=private&credential=lab&auth={auth}&privacy={privacy}");
        for (operation, state) in [(PowerOperation::Off, "off"), (PowerOperation::Cycle, "on")] {
            let ended = run_in(&context, operation, &agent.url("7", &parameters)).await;
            let evidence = ended.unwrap_or_else(|error| panic!("{user}: {error:?}"));
            assert_eq!((&evidence["observed"], &evidence["attempts"]), (&state.into(), &1.into()), "{user}");
            assert_eq!(evidence["detection"], "deliveringPower");
        }
    }
}

#[tokio::test]
async fn the_outlets_of_an_independent_agent_are_found() {
    let Some(agent) = Snmpsim::start().await else { return };
    let context = context_of("sha256-aes", PASSWORD, PRIVACY_PASSWORD);
    let v3 = "?version=3&context=private&credential=lab&auth=sha256&privacy=aes";
    for parameters in ["?version=1", "?version=2c", "", v3] {
        let found = scanned(&format!("snmp://127.0.0.1:{}{parameters}", agent.port), &context).await.unwrap();
        let states: Vec<_> = found_outlets(&found).into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, ["on", "on"], "{parameters}: {found:?}");
    }
}

#[tokio::test]
async fn an_independent_agent_s_refusals_are_configuration_errors() {
    let Some(agent) = Snmpsim::start().await else { return };
    let full = "version=3&context=private&credential=lab&auth=sha256&privacy=aes";
    for (parameters, user, password, privacy_password, reason) in [
        (full, "nobody", PASSWORD, PRIVACY_PASSWORD, "it does not know the user of the credential"),
        (full, "sha256-aes", "another password", PRIVACY_PASSWORD, "the password of the credential is wrong"),
        (
            full,
            "md5-des",
            PASSWORD,
            PRIVACY_PASSWORD,
            "the password of the credential is wrong, or `auth` is",
        ),
    ] {
        let context = context_of(user, password, privacy_password);
        for operation in [PowerOperation::Off, PowerOperation::On] {
            let failed = run_in(&context, operation, &agent.url("7", parameters)).await.unwrap_err();
            assert!(failed.reason.contains(reason), "{user}: {failed}");
            assert_eq!(
                (&failed.kind, &failed.evidence["attempts"]),
                (&PowerRunErrorKind::Misconfigured, &1.into())
            );
            let shown = format!("{failed:?}");
            assert!([password, privacy_password].iter().all(|secret| !shown.contains(secret)), "{shown}");
        }
    }
    for (port, parameters, operation) in [
        ("9", "version=1", PowerOperation::Off),
        ("9", "version=2c", PowerOperation::Off),
        ("9", "version=1", PowerOperation::On),
        ("9", "version=2c", PowerOperation::On),
        // It cannot be set.
        ("8", "version=1", PowerOperation::Off),
        ("8", "version=2c", PowerOperation::Off),
    ] {
        let failed = run(operation, &agent.url(port, parameters)).await.unwrap_err();
        assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{port} {parameters}: {failed:?}");
        assert!(failed.reason.contains("it has no such outlet"), "{port} {parameters}: {failed}");
    }
}

#[tokio::test]
async fn an_independent_agent_that_does_not_answer_fails() {
    let Some(agent) = Snmpsim::start().await else { return };
    let wrong = PowerContext { call_limit: SHORT_TIMEOUT, ..context_of("x", "wrong", "wrong") };
    let failed = run_in(&wrong, PowerOperation::Off, &agent.url("7", "credential=lab")).await.unwrap_err();
    assert!(failed.reason.contains("a wrong community is not answered either"), "{failed}");
    assert_eq!(failed.kind, PowerRunErrorKind::Failed);
}

#[tokio::test]
async fn an_object_of_an_independent_agent_is_switched_by_its_oid() {
    let Some(agent) = Snmpsim::start().await else { return };
    let url = format!(
        "snmp://127.0.0.1:{}/5?device=oid&oid=1.3.6.1.4.1.9.9&type=string&on-value=on&off-value=off&off=20ms",
        agent.port
    );
    let evidence = run(PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!(
        (&evidence["observed"], &evidence["answer"]),
        (&"on".into(), &"1.3.6.1.4.1.9.9.5 = on".into())
    );
}
