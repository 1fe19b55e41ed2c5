//! Tests of the demo.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::guarded_dir::GuardedDir;

fn demo(dir: &GuardedDir, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    // Its directory is inside the test's; a left-over PostgreSQL there would be found by the guardian.
    command.env("TMPDIR", dir.path()).args(["demo", "--listen", "127.0.0.1:0", "--boards", "6"]).args(more);
    // The variables of a production server, which the demo does not use.
    command
        .env("LIFEGUARD_DATABASE_URL", "postgres://127.0.0.1:1/farm")
        .env("LIFEGUARD_BOOT_ROOT", "/nowhere");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The files left in the directory.
fn left(dir: &GuardedDir) -> Vec<String> {
    let entries = fs_err::read_dir(dir.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_demo_brings_every_board_to_ready_and_leaves_nothing_behind() {
    let dir = GuardedDir::new();
    let output = demo(&dir, &["--speed", "60", "--once"]).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for expected in
        ["6 boards registered", "Rolling reboot, group 6", "base-2 is installed", "Every board is Ready"]
    {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    assert_eq!(left(&dir), Vec::<String>::new());
}

#[test]
fn a_signal_ends_a_demo_that_waits_for_its_database() {
    let dir = GuardedDir::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // It accepts connections and never answers.
        let database = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://ann@{}/farm", database.local_addr().unwrap());
        let child = demo(&dir, &["--database-url", &url]);
        let _client = database.accept().unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(left(&dir), Vec::<String>::new());
    }
}

#[test]
fn a_signal_during_the_start_leaves_nothing_behind() {
    let dir = GuardedDir::new();
    let child = demo(&dir, &[]);
    while left(&dir).is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(left(&dir), Vec::<String>::new());
}

#[test]
fn ctrl_c_ends_a_busy_demo_and_leaves_nothing_behind() {
    let dir = GuardedDir::new();
    let mut child = demo(&dir, &["--speed", "10"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().contains("RebootRebooting")), "the boards are at work");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    assert!(rest.iter().any(|line| line.contains("nothing is left running")), "{rest:?}");
    assert_eq!(left(&dir), Vec::<String>::new());
}
