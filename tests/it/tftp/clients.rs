//! Tests with external TFTP clients, on a file of more than 65,535 blocks.

use std::path::{Path, PathBuf};
use std::process::Output;

use lifeguard::tftp::TftpLimits;
use tokio::process::Command;

use super::TftpSite;
use crate::foreign_programs::tool;

const SIZE_BYTES: usize = 50_000_000;

/// Fetches the file with each of the command lines, in which `PORT` and `OUT` are replaced.
async fn fetches(program: Option<PathBuf>, lines: &[&[&str]]) {
    let Some(program) = program else { return };
    let site = TftpSite::start(TftpLimits::default()).await;
    let content = site.file("image", SIZE_BYTES);
    for line in lines {
        let out = site.grounds.path().join("out");
        let output = run(&program, line, &site, &out).await;
        let fetched = fs_err::read(&out).unwrap_or_default();
        assert!(
            output.status.success() && fetched == content,
            "{line:?}: {} bytes, {output:?}",
            fetched.len()
        );
        fs_err::remove_file(&out).unwrap();
    }
}

async fn run(program: &Path, line: &[&str], site: &TftpSite, out: &Path) -> Output {
    let (port, out) = (site.server.port().to_string(), out.to_str().unwrap());
    let arguments = line.iter().map(|argument| argument.replace("PORT", &port).replace("OUT", out));
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    // No timeout: each of these clients has its own.
    command.output().await.unwrap()
}

#[tokio::test]
async fn tftp_hpa_fetches() {
    fetches(tool("tftp", "tftp-hpa"), &[&["-m", "binary", "127.0.0.1", "PORT", "-c", "get", "image", "OUT"]])
        .await;
}

#[tokio::test]
async fn tftp_hpa_fetches_text_in_its_default_mode() {
    let Some(program) = tool("tftp", "tftp-hpa") else { return };
    let site = TftpSite::start(TftpLimits::default()).await;
    let text = b"default install\nlabel install\r\n  kernel vmlinuz\n".repeat(100);
    fs_err::write(site.path("text"), &text).unwrap();
    let out = site.grounds.path().join("out");
    run(&program, &["127.0.0.1", "PORT", "-c", "get", "text", "OUT"], &site, &out).await;
    assert_eq!(fs_err::read(&out).unwrap(), text);
}

#[tokio::test]
async fn curl_fetches_with_options() {
    let line = ["-sS", "-o", "OUT", "--tftp-blksize", "1468", "tftp://127.0.0.1:PORT/image"];
    fetches(tool("curl", "curl"), &[&line, &["-sS", "-o", "OUT", "tftp://127.0.0.1:PORT/image"]]).await;
}

#[tokio::test]
async fn curl_fetches_without_options() {
    let line = ["-sS", "-o", "OUT", "--tftp-no-options", "tftp://127.0.0.1:PORT/image"];
    fetches(tool("curl", "curl"), &[&line]).await;
}

#[tokio::test]
async fn curl_fetches_an_empty_file_and_is_refused_a_path_outside() {
    let Some(program) = tool("curl", "curl") else { return };
    let site = TftpSite::start(TftpLimits::default()).await;
    site.file("empty", 0);
    site.file("../secret", 10);
    let out = site.grounds.path().join("out");
    let empty = run(&program, &["-sS", "-o", "OUT", "tftp://127.0.0.1:PORT/empty"], &site, &out).await;
    assert!(empty.status.success(), "{empty:?}");
    let line = ["-sS", "--path-as-is", "tftp://127.0.0.1:PORT/../secret"];
    let outside = run(&program, &line, &site, &out).await;
    // curl's 69: "permission problem on TFTP server".
    assert_eq!((outside.status.code(), outside.stdout.len()), (Some(69), 0), "{outside:?}");
}

#[tokio::test]
async fn atftp_fetches() {
    let plain = ["--get", "-r", "image", "-l", "OUT", "127.0.0.1", "PORT"];
    let window = [
        "--option",
        "blksize 1428",
        "--option",
        "windowsize 16",
        "--get",
        "-r",
        "image",
        "-l",
        "OUT",
        "127.0.0.1",
        "PORT",
    ];
    let block = [
        "--option",
        "blksize 1428",
        "--option",
        "tsize",
        "--get",
        "-r",
        "image",
        "-l",
        "OUT",
        "127.0.0.1",
        "PORT",
    ];
    fetches(tool("atftp", "atftp"), &[&plain, &window, &block]).await;
}
