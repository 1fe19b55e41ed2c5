//! Tests of scikit-learn models: converted by the command and hosted by a server, they predict the same.

mod convert;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fs_err as fs;
use serde_json::{Value, json};

use crate::models::{Folders, Hosting, onnxruntime};

/// The models of `train.py`, each with three classes.
const MODELS: [&str; 9] = [
    "decision-tree",
    "random-forest",
    "gradient-boosting",
    "logistic-regression",
    "scaled",
    "scaled-forest",
    "mlp",
    "k-means",
    "words",
];
const STATES: [&str; 3] = ["low", "middle", "high"];

/// A Python environment with scikit-learn, skl2onnx and onnxruntime; `None`, with a note, if there is none and none is
/// required.
#[expect(clippy::print_stderr, reason = "a skipped test prints a note")]
fn python() -> Option<OsString> {
    let python = std::env::var_os("LIFEGUARD_TEST_SKLEARN");
    if python.is_none() {
        let name =
            "LIFEGUARD_TEST_SKLEARN: the path of a Python that has scikit-learn, skl2onnx and onnxruntime";
        let is_required = std::env::var_os("LIFEGUARD_TEST_FOREIGN").is_some_and(|value| value == "1");
        assert!(!is_required, "LIFEGUARD_TEST_FOREIGN=1 needs {name}");
        eprintln!("skipped: there is no {name}");
    }
    python
}

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs one of our Python programs.
fn run_python(python: &OsStr, program: &str, argument: &Path) -> Vec<u8> {
    let output = Command::new(python).arg(file(program)).arg(argument).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs `lifeguard model convert` in the environment of `python`.
fn convert(python: &OsStr, args: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifeguard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LIFEGUARD_") {
            command.env_remove(name);
        }
    }
    command.args(["model", "convert", "--python"]).arg(python).args(args);
    command.stdin(Stdio::null()).output().unwrap()
}

/// The predicted states of rows, the same by both interfaces of a server.
async fn predict(hosting: &Hosting, name: &str, rows: &Value) -> Vec<String> {
    let http = reqwest::Client::new();
    let ask = async |path: &str, body: Value| {
        let url = format!("http://{}{path}", hosting.http());
        let response = http.post(url).json(&body).send().await.unwrap();
        let (status, answer) = (response.status(), response.json::<Value>().await.unwrap());
        assert_eq!(status, 200, "{name}: {answer}");
        answer
    };
    let ours = ask(&format!("/api/v1/models/{name}/predictions"), json!({ "values": rows })).await;
    let originals = ask("/state", json!({ "name": name, "values": rows })).await;
    assert_eq!(ours["states"], originals["state"], "{name}");
    serde_json::from_value(ours["states"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn converted_models_predict_the_classes_that_scikit_learn_predicts() {
    let (Some(python), Some(library)) = (python(), onnxruntime()) else { return };
    let folders = Folders::new();
    let folder = folders.models().join("team");
    run_python(&python, "tests/it/sklearn/train.py", &folder);
    for name in MODELS {
        let pickle = folder.join(name).with_extension("pkl");
        let done = convert(&python, &[pickle.as_os_str()]);
        let output = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{output}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(output.contains("\n1000 rows are predicted as by scikit-learn "), "{output}");
        folders.config(name, &STATES);
    }
    let hosting = Hosting::start(folders.args(&library)).await;
    for name in MODELS {
        let asked = fs::read(folder.join(name).with_extension("json")).unwrap();
        let asked: Value = serde_json::from_slice(&asked).unwrap();
        let state = |class: &Value| match class.as_str() {
            Some(word) => word.to_owned(),
            None => STATES[usize::try_from(class.as_u64().unwrap()).unwrap()].to_owned(),
        };
        let expected: Vec<String> = asked["classes"].as_array().unwrap().iter().map(state).collect();
        assert_eq!(expected.len(), 1000);
        for state in STATES {
            assert!(expected.iter().any(|one| one == state), "{name}: rows of each class are compared");
        }
        assert_eq!(predict(&hosting, name, &asked["rows"]).await, expected, "{name}");
    }
    hosting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_model_matches_its_program() {
    let (Some(python), Some(library)) = (python(), onnxruntime()) else { return };
    let folders = Folders::new();
    let config: Value =
        serde_json::from_slice(&fs::read(file("fixtures/models/config/board-health.json")).unwrap()).unwrap();
    let states: Vec<&str> =
        config["states"].as_array().unwrap().iter().map(|state| state.as_str().unwrap()).collect();
    fs::copy(file("fixtures/models/lifeguard/board-health.onnx"), folders.model("kept")).unwrap();
    run_python(&python, "fixtures/models/board_health.py", &folders.model("made"));
    for name in ["kept", "made"] {
        folders.config(name, &states);
    }
    let hosting = Hosting::start(folders.args(&library)).await;
    let rows = (0..1000).map(|row| {
        let [temperature, errors, voltage] = [row % 10, row / 10 % 10, row / 100].map(f64::from);
        json!([32.5 + 7.0 * temperature, 6.0 * errors, 4.43 + 0.07 * voltage])
    });
    let rows = rows.collect();
    let kept = predict(&hosting, "kept", &rows).await;
    assert_eq!(kept, predict(&hosting, "made", &rows).await);
    let failing = kept.iter().filter(|state| *state == "failing").count();
    assert!((100..900).contains(&failing), "{failing} of 1000");
    assert_eq!(
        predict(&hosting, "kept", &json!([[41, 0, 5.02], [91.5, 40, 4.71]])).await,
        ["healthy", "failing"]
    );
    hosting.stop().await;
}
