//! `redfish://` at a service that others wrote: sushy-emulator of sushy-tools, whose systems follow an order 1 to 11 s after
//! they accepted it.

use std::ffi::OsString;
use std::process::Stdio;

use fs_err as fs;
use power::{PowerOperation, PowerRunErrorKind};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::conformance::{run, run_with};
use crate::tls;

/// `admin` and the password below, by bcrypt.
const USERS: &str = "admin:$2b$04$pIytn0Kj5wh6Rd8WIipa7OLm5fX9m.vfXLZVjxsuEx335OI.Egtw2\n";
const PASSWORD: &str = "sushy secret";
const MISCONFIGURED: PowerRunErrorKind = PowerRunErrorKind::Misconfigured;

struct Sushy {
    /// `127.0.0.1:port`.
    authority: String,
    _process: Child,
    /// Reads what it logs, so that it never waits for that.
    _log: JoinSet<()>,
    _directory: TempDir,
}

impl Sushy {
    /// Starts the emulator with these lines of configuration and two systems, `a` on and `b` off; `None` where it is not
    /// installed.
    async fn start(configuration: &str) -> Option<Self> {
        let program = program()?;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let system = |id: &str, state: &str| {
            format!("{{'uuid': '{id}', 'name': 'name-of-{id}', 'power_state': '{state}', 'nics': []}}")
        };
        let file = directory.path().join("sushy.conf");
        fs::write(directory.path().join("users"), USERS).unwrap();
        let (a, b) = (system("a", "On"), system("b", "Off"));
        let text = format!(
            "SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = 0\n\
             SUSHY_EMULATOR_STATE_DIR = '{path}'\nSUSHY_EMULATOR_FAKE_SYSTEMS = [{a}, {b}]\n{configuration}\n"
        );
        fs::write(&file, text.replace("DIRECTORY", path)).unwrap();
        let mut process = Command::new(program)
            .args(["--fake", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut read = String::new();
        let authority = loop {
            let line = lines.next_line().await.unwrap();
            assert!(line.is_some(), "sushy-emulator ended: {read}");
            let line = line.unwrap();
            if let Some((_, url)) = line.split_once("Running on http") {
                break url.trim_start_matches('s').trim_start_matches("://").trim().to_owned();
            }
            read.push_str(&line);
        };
        let mut log = JoinSet::new();
        log.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { authority, _process: process, _log: log, _directory: directory })
    }
}

/// The path of `sushy-emulator`; `None`, with a note, if it is not configured: the test is then skipped.
#[expect(clippy::print_stderr, reason = "a skipped test prints a note")]
fn program() -> Option<OsString> {
    let program = std::env::var_os("LIFEGUARD_TEST_SUSHY");
    if program.is_none() {
        assert!(
            std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_none_or(|value| value != "1"),
            "LIFEGUARD_TEST_FOREIGN=1 needs LIFEGUARD_TEST_SUSHY: the path of sushy-emulator"
        );
        eprintln!("skipped: LIFEGUARD_TEST_SUSHY is not the path of sushy-emulator");
    }
    program
}

#[tokio::test]
async fn a_cycle_by_tls_with_a_password_waits_for_the_effect_of_each_order() {
    let configuration = format!(
        "SUSHY_EMULATOR_SSL_CERT = '{}'\nSUSHY_EMULATOR_SSL_KEY = '{}'\nSUSHY_EMULATOR_AUTH_FILE = 'DIRECTORY/users'",
        tls::CERTIFICATE,
        tls::KEY
    );
    let Some(sushy) = Sushy::start(&configuration).await else { return };
    let url = format!("redfish://{}/a?credential=plugs&certificate={}", sushy.authority, tls::FINGERPRINT);
    let evidence = run_with((Some("admin"), PASSWORD), PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!((&evidence["observed"], &evidence["resource"]), (&"on".into(), &"Systems/a".into()));
    assert!(evidence.contains_key("off_at") && evidence.contains_key("on_at"), "{evidence:?}");

    let failed = run_with((Some("admin"), "wrong"), PowerOperation::Cycle, &url).await.unwrap_err();
    assert_eq!(
        (&failed.kind, &failed.evidence["answer"]),
        (&MISCONFIGURED, &"Incorrect username or password".into())
    );
    assert!(failed.reason.ends_with("rejects user and password of credential `plugs`"), "{failed}");
}

#[tokio::test]
async fn systems_are_switched_on_and_off_and_named_where_there_are_several() {
    let Some(sushy) = Sushy::start("").await else { return };
    let authority = &sushy.authority;
    let (a, b) = (format!("redfish+http://{authority}/a"), format!("redfish+http://{authority}/b"));
    let (off, on) = tokio::join!(run(PowerOperation::Off, &a), run(PowerOperation::On, &b));
    assert_eq!((&off.unwrap()["observed"], &on.unwrap()["observed"]), (&"off".into(), &"on".into()));

    for (path, reason, words) in [
        ("", "has several systems: `a`, `b`; write one of them after the host in the power URL", None),
        ("/c", "has no /redfish/v1/Systems/c", Some("Fake system c was not found")),
        (
            "/name-of-a",
            "redirects /redfish/v1/Systems/name-of-a to /redfish/v1/Systems/a; write that path",
            None,
        ),
    ] {
        let failed = run(PowerOperation::On, &format!("redfish+http://{authority}{path}")).await.unwrap_err();
        assert!(failed.kind == MISCONFIGURED && failed.reason.ends_with(reason), "{failed}");
        assert!(words.is_none_or(|words| failed.evidence["answer"] == words), "{failed:?}");
    }
}

#[tokio::test]
async fn an_order_that_a_system_refuses_has_its_words() {
    let Some(sushy) = Sushy::start("SUSHY_EMULATOR_DISABLE_POWER_OFF = True").await else { return };
    let failed =
        run(PowerOperation::Cycle, &format!("redfish+http://{}/a", sushy.authority)).await.unwrap_err();
    assert_eq!((&failed.kind, &failed.evidence["observed"]), (&PowerRunErrorKind::Failed, &"on".into()));
    assert!(failed.reason.ends_with("answered with HTTP status 400"), "{failed}");
    let words = failed.evidence["answer"].as_str().unwrap();
    assert!(words.starts_with("Can not request power off transition."), "{words}");
}
