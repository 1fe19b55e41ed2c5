//! The bench, as its user sees it. What its figures are does not matter here, only that there are some.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::guarded::GuardedDir;
use crate::models::{Folders, Hosting, onnxruntime};

fn bench(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    command.args(["bench", "--tiny", "--dir"]).arg(dir).args(args).stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    bench(dir, args).output().unwrap()
}

/// The files that are left in the directory.
fn left(dir: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn figures_come_as_a_document_and_as_a_table_and_nothing_is_left_behind() {
    let dir = GuardedDir::new();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("figures.json");
    let told =
        run(dir.path(), &["--only", "reading,start", "--repeats", "2", "--json", file.to_str().unwrap()]);
    let table = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.success(), "{table}{}", String::from_utf8_lossy(&told.stderr));
    assert!(table.starts_with("FIGURE") && table.contains("500 boards listed, p50"), "{table}");
    let document: Value = serde_json::from_slice(&fs_err::read(&file).unwrap()).unwrap();
    let about = &document["about"];
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(about["postgres"]["settings"][setting], "on", "{about:#}");
    }
    assert_eq!((&about["sizes"]["run"], &about["sizes"]["repeats"]), (&json!("tiny"), &json!(2)));
    let rows = document["rows"].as_array().unwrap();
    let of = |figure: &str| rows.iter().filter(|row| row["figure"] == figure).count();
    assert!(of("reading") >= 2 && of("start") == 2 && of("reading") + of("start") == rows.len(), "{rows:#?}");
    for row in rows {
        assert_eq!(row["values"].as_array().unwrap().len(), 2, "{row:#}");
        assert!(row["summary"]["median"].is_number() && row["comparison"]["values"].is_array(), "{row:#}");
    }
    assert_eq!(left(dir.path()), Vec::<String>::new());
}

#[test]
fn events_are_counted_beside_pgbench() {
    let dir = GuardedDir::new();
    let told = run(dir.path(), &["--only", "events,http", "--json", "-"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let document: Value = serde_json::from_slice(&told.stdout).unwrap();
    let rows = document["rows"].as_array().unwrap();
    // Three rates and the time of a lone event beside three forms of the transaction, both ways, and image-running.
    assert_eq!(rows.len(), 2 * (3 + 3) + 1);
    for row in rows {
        assert!(row["summary"]["min"].as_f64().unwrap() > 0.0, "{row:#}");
        assert!(row["comparison"]["what"].as_str().unwrap().starts_with("pgbench"), "{row:#}");
        assert!(row["ratio"].as_f64().unwrap() > 0.0, "{row:#}");
    }
    assert_eq!(left(dir.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predictions_are_measured_beside_http_alone_and_beside_another_server() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("colors_v1", &["green", "red", "blue"]);
    let config = fs_err::read_to_string(folders.configs().join("colors_v1.json")).unwrap();
    fs_err::write(folders.configs().join("colors_v1.json"), config.replace("\"colors_v1\"", "\"colors\""))
        .unwrap();
    let other = Hosting::start(folders.args(&library)).await;
    let (dir, address) = (GuardedDir::new(), other.http().to_string());
    let args = [
        "--only",
        "models",
        "--json",
        "-",
        "--state-service",
        &address,
        "--onnxruntime",
        library.to_str().unwrap(),
    ];
    let told = tokio::task::block_in_place(|| run(dir.path(), &args));
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let document: Value = serde_json::from_slice(&told.stdout).unwrap();
    let rows = document["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &document["missing"]), (8, &json!([])), "{document:#}");
    for row in rows {
        assert!(row["ratio"].as_f64().unwrap() > 0.0, "{row:#}");
    }
    assert_eq!(left(dir.path()), Vec::<String>::new());
    other.stop().await;
}

#[test]
fn predictions_are_left_out_where_there_is_no_onnx_runtime() {
    let dir = GuardedDir::new();
    let told = run(dir.path(), &["--only", "models", "--json", "-", "--onnxruntime", "/nowhere/lib.so"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let document: Value = serde_json::from_slice(&told.stdout).unwrap();
    let missing = document["missing"][0].to_string();
    assert!(
        missing.contains("models") && missing.contains("there is no file /nowhere/lib.so"),
        "{document:#}"
    );
    assert_eq!(left(dir.path()), Vec::<String>::new());
}

#[test]
fn ctrl_c_ends_the_bench_in_the_middle_and_nothing_is_left_behind() {
    let dir = GuardedDir::new();
    let mut child = bench(dir.path(), &["--only", "takeover"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("round 1")), "it measures");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(rest.iter().any(|line| line.contains("nothing is left running")), "{rest:?}");
    assert_eq!(left(dir.path()), Vec::<String>::new());
}

#[test]
fn what_cannot_be_is_refused_with_what_would_be_right() {
    let dir = GuardedDir::new();
    let nowhere = dir.path().join("nowhere");
    for (dir, args, right) in [
        (dir.path(), &["--only", "speed"][..], "possible values: events, http"),
        (dir.path(), &["--repeats", "0"], "1..=100"),
        (dir.path(), &["--pg-bin", "/"], "initdb and postgres"),
        (nowhere.as_path(), &[], "is not a directory"),
        (Path::new("/dev/shm"), &[], "on a disk with --dir"),
    ] {
        let told = run(dir, args);
        let error = String::from_utf8_lossy(&told.stderr);
        assert!(!told.status.success() && error.contains(right), "{args:?}: {error}");
    }
    assert_eq!(left(dir.path()), Vec::<String>::new());
}
