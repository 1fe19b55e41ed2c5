//! The power drivers at an independent Modbus server.

use std::process::Stdio;

use lifeguard::actions::ActionKind as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::*;

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a skipped test prints a note")]
async fn a_foreign_modbus_server_is_switched() {
    let Some(python) = std::env::var_os("LIFEGUARD_TEST_PYMODBUS") else {
        assert!(
            std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_none_or(|value| value != "1"),
            "LIFEGUARD_TEST_FOREIGN=1 needs LIFEGUARD_TEST_PYMODBUS: the path of a Python that has pymodbus"
        );
        eprintln!("skipped: LIFEGUARD_TEST_PYMODBUS is not the path of a Python that has pymodbus");
        return;
    };
    let mut server = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/modbus_server.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let first = within_long_timeout("the server's port", lines.next_line()).await.unwrap().unwrap();
    let port = first.strip_prefix("port ").unwrap();

    // With the limits of a real farm.
    let run = async |operation, coil: &str| {
        let driver = power(operation);
        let job = job(format!("modbus://127.0.0.1:{port}/{coil}"));
        within_long_timeout("the foreign server", driver.run(&job, &CancellationToken::new())).await
    };
    for (operation, seen) in
        [(PowerOperation::On, "on"), (PowerOperation::Off, "off"), (PowerOperation::On, "on")]
    {
        let done = run(operation, "5?unit=3").await.unwrap();
        assert_eq!((&done["observed"], &done["attempts"]), (&seen.into(), &1.into()));
    }
    run(PowerOperation::Cycle, "5?unit=3&off=50ms").await.unwrap();
    let failed = run(PowerOperation::On, "16?unit=3").await.unwrap_err();
    assert_eq!(failed.reason, "illegal data address: the relay board has no coil 16");

    drop(server.stdin.take());
    assert!(within_long_timeout("the server's end", server.wait()).await.unwrap().success());
    let mut received = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        received.push(line);
    }
    assert_eq!(received, ["coil 5 on", "coil 5 off", "coil 5 on", "coil 5 off", "coil 5 on"]);
}
