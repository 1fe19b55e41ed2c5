//! The command line of the bench. The values of the figures do not matter here.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../../tests/it/guarded_dir.rs"]
mod guarded_dir;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use guarded_dir::GuardedDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lifeguard-bench");

fn bench(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--tiny", "--dir"]).arg(dir).args(args).stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    bench(dir, args).output().unwrap()
}

/// The files left in the directory.
fn left(dir: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn figures_are_printed_as_a_document_and_a_table_and_nothing_is_left_behind() {
    let dir = GuardedDir::new();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("figures.json");
    let output =
        run(dir.path(), &["--only", "reading,start", "--repeats", "2", "--json", file.to_str().unwrap()]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
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
    let output = run(dir.path(), &["--only", "events,http", "--json", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = document["rows"].as_array().unwrap();
    // Three rates and the latency of a single event beside three forms of the transaction, in process and over HTTP, and
    // image-running.
    assert_eq!(rows.len(), 2 * (3 + 3) + 1);
    for row in rows {
        assert!(row["summary"]["min"].as_f64().unwrap() > 0.0, "{row:#}");
        assert!(row["comparison"]["what"].as_str().unwrap().starts_with("pgbench"), "{row:#}");
        assert!(row["ratio"].as_f64().unwrap() > 0.0, "{row:#}");
    }
    assert_eq!(left(dir.path()), Vec::<String>::new());
}

/// The shared library of ONNX Runtime; `None` with a note if it is not configured, as in the product's tests.
fn onnxruntime() -> Option<PathBuf> {
    let found = std::env::var_os("LIFEGUARD_TEST_ONNXRUNTIME").map(PathBuf::from);
    if found.is_none() {
        let is_required = std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_some_and(|value| value == "1");
        assert!(!is_required, "LIFEGUARD_TEST_FOREIGN=1 needs LIFEGUARD_TEST_ONNXRUNTIME: libonnxruntime.so");
        let note = "skipped: LIFEGUARD_TEST_ONNXRUNTIME is not the path of ONNX Runtime's libonnxruntime.so";
        writeln!(std::io::stderr(), "{note}").ok();
    }
    found
}

/// A server with the model `colors` in place of the original StateService: the product in the bench.
struct OtherServer {
    process: Child,
    address: String,
}

impl OtherServer {
    fn start(dir: &Path, onnxruntime: &Path) -> Self {
        let (config, models) = (dir.join("config"), dir.join("models"));
        fs_err::create_dir_all(&config).unwrap();
        fs_err::create_dir_all(models.join("team")).unwrap();
        let model = "../../fixtures/models/state_service/colors_v1.onnx";
        fs_err::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(model), models.join("team/colors_v1.onnx"))
            .unwrap();
        let states = ["green", "red", "blue"];
        let colors = json!({ "name": "colors", "team": "team", "model": "colors_v1.onnx", "states": states });
        fs_err::write(config.join("colors.json"), colors.to_string()).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["lifeguard", "serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        for (name, path) in [
            ("--data-dir", dir.join("data").as_path()),
            ("--config", &config),
            ("--models", &models),
            ("--onnxruntime", onnxruntime),
        ] {
            command.arg(name).arg(path);
        }
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let serving = lines.find(|line| line.contains("\"serving\"")).expect("it serves");
        let serving: Value = serde_json::from_str(&serving).unwrap();
        let address = serving["fields"]["http"].as_str().unwrap().to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }

    fn stop(mut self) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn predictions_are_measured_beside_http_alone_and_beside_another_server() {
    let Some(library) = onnxruntime() else { return };
    let (dir, others) = (GuardedDir::new(), GuardedDir::new());
    let other = OtherServer::start(others.path(), &library);
    let args = [
        "--only",
        "models",
        "--json",
        "-",
        "--state-service",
        &other.address,
        "--onnxruntime",
        library.to_str().unwrap(),
    ];
    let output = run(dir.path(), &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = document["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &document["missing"]), (8, &json!([])), "{document:#}");
    for row in rows {
        assert!(row["ratio"].as_f64().unwrap() > 0.0, "{row:#}");
    }
    assert_eq!(left(dir.path()), Vec::<String>::new());
    other.stop();
}

#[test]
fn help_describes_the_bench_and_only_settings_come_from_the_environment() {
    let output = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.starts_with("Measures how fast"), "{help}");
    let settings = ["log", "log-format", "pg-bin", "onnxruntime"];
    let mut options = 0;
    for option in help.split("\n      --").skip(1) {
        let words: Vec<&str> = option.split_whitespace().collect();
        let has_variable = words.join(" ").contains("[env: LIFEGUARD_");
        assert_eq!(has_variable, settings.contains(&words[0]), "--{option}");
        options += 1;
    }
    assert!(options > 8, "{help}");
}

#[test]
fn predictions_are_missing_without_onnx_runtime() {
    let dir = GuardedDir::new();
    let output = run(dir.path(), &["--only", "models", "--json", "-", "--onnxruntime", "/nowhere/lib.so"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
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
fn invalid_arguments_are_refused_with_a_correction() {
    let dir = GuardedDir::new();
    let nowhere = dir.path().join("nowhere");
    for (dir, args, correction) in [
        (dir.path(), &["--only", "speed"][..], "possible values: events, http"),
        (dir.path(), &["--repeats", "0"], "1..=100"),
        (dir.path(), &["--pg-bin", "/"], "initdb and postgres"),
        (dir.path(), &["--server", "/nowhere"], "/nowhere is not a file"),
        (nowhere.as_path(), &[], "is not a directory"),
        (Path::new("/dev/shm"), &[], "on a disk with --dir"),
    ] {
        let output = run(dir, args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(correction), "{args:?}: {error}");
    }
    assert_eq!(left(dir.path()), Vec::<String>::new());
}
