//! `pdudaemon://` at the daemon itself, with a PDU whose driver runs commands.

use std::ffi::OsString;
use std::process::Stdio;

use fs_err as fs;
use power::{PowerOperation, PowerRunErrorKind};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::conformance::run;

struct DaemonProcess {
    port: u16,
    _process: Child,
    /// Reads what it logs, so that it never waits for that.
    _log: JoinSet<()>,
    directory: TempDir,
}

impl DaemonProcess {
    /// Starts the daemon with the PDU `pdu-3`; `None` where it is not installed.
    async fn start() -> Option<Self> {
        let program = program()?;
        let directory = tempfile::tempdir().unwrap();
        let orders = directory.path().join("orders");
        fs::write(&orders, "").unwrap();
        // Its configuration has to name a port: one that was free just now.
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let order = |state: &str| format!("echo %s {state} >> '{}'", orders.display());
        let pdu =
            serde_json::json!({ "driver": "localcmdline", "cmd_on": order("on"), "cmd_off": order("off") });
        let configuration = serde_json::json!({
            "daemon": { "hostname": "127.0.0.1", "port": port, "listener": "http" },
            "pdus": { "pdu-3": pdu },
        });
        let file = directory.path().join("pdudaemon.conf");
        fs::write(&file, configuration.to_string()).unwrap();
        let mut process = Command::new(program)
            .arg("--conf")
            .arg(&file)
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut read = String::new();
        loop {
            let line = lines.next_line().await.unwrap();
            assert!(line.is_some(), "pdudaemon ended: {read}");
            let line = line.unwrap();
            if line.contains("Listening on") {
                break;
            }
            read.push_str(&line);
        }
        let mut log = JoinSet::new();
        log.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { port, _process: process, _log: log, directory })
    }

    fn url(&self, pdu: &str) -> String {
        format!("pdudaemon://127.0.0.1:{}/{pdu}/5?off=20ms", self.port)
    }
}

/// The path of `pdudaemon`; `None`, with a note, if it is not configured: the test is then skipped.
#[expect(clippy::print_stderr, reason = "a skipped test prints a note")]
fn program() -> Option<OsString> {
    let program = std::env::var_os("LIFEGUARD_TEST_PDUDAEMON");
    if program.is_none() {
        assert!(
            std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_none_or(|value| value != "1"),
            "LIFEGUARD_TEST_FOREIGN=1 needs LIFEGUARD_TEST_PDUDAEMON: the path of pdudaemon"
        );
        eprintln!("skipped: LIFEGUARD_TEST_PDUDAEMON is not the path of pdudaemon");
    }
    program
}

#[tokio::test]
async fn the_daemon_switches_a_port_off_and_on_and_knows_no_other_pdu() {
    let Some(daemon) = DaemonProcess::start().await else { return };
    let evidence = run(PowerOperation::Cycle, &daemon.url("pdu-3")).await.unwrap();
    assert_eq!(evidence["result"], "accepted, not observed");
    let orders = || fs::read_to_string(daemon.directory.path().join("orders")).unwrap();
    assert_eq!(orders(), "5 off\n5 on\n");
    let failed = run(PowerOperation::Off, &daemon.url("pdu-4")).await.unwrap_err();
    assert!(failed.reason.contains("has no PDU `pdu-4`"), "{failed}");
    assert_eq!((failed.kind, orders().lines().count()), (PowerRunErrorKind::Failed, 2));
}
