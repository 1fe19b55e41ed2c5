//! Tests of models by HTTP: answers, errors, and that the server keeps running.

use std::os::unix::fs::symlink;

use fs_err as fs;
use futures_util::future::join_all;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Folders, Hosting, fixture, onnxruntime};
use crate::api::{ApiAnswer, send_to};
use crate::server_process::ServerProcess;

const COLORS: [&str; 3] = ["green", "red", "blue"];
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Sends `POST /state` as JSON.
async fn state(hosting: &Hosting, body: impl Into<reqwest::Body>) -> ApiAnswer {
    send_to(hosting.http(), "POST /state", &JSON, body).await
}

async fn get(hosting: &Hosting, path: &str) -> Value {
    let answer = send_to(hosting.http(), &format!("GET {path}"), &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// A body with this many rows, of six bytes each.
fn big(count: usize) -> String {
    let rows = vec!["[1,2]"; count].join(",");
    format!(r#"{{"name": "colors_v1", "values": [{rows}]}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_listed_shown_loaded_and_queried() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("colors_v1", &COLORS);
    folders.host("four_classes", &COLORS);
    fs::write(folders.configs().join("bad.json"), "{").unwrap();
    let hosting = Hosting::start(folders.args(&library)).await;
    let listed = get(&hosting, "/api/v1/models").await;
    let statuses = listed["models"].as_array().unwrap().iter();
    let statuses: Vec<String> =
        statuses.map(|model| format!("{}: {}", model["name"], model["status"])).collect();
    assert_snapshot!(statuses.join("\n"), @r#"
    "bad": "bad_config"
    "colors_v1": "not_loaded"
    "four_classes": "not_loaded"
    "#);

    let mut answers = Vec::new();
    for (line, body) in [
        ("POST /api/v1/models/colors_v1/predictions", r#"{"values": [[500, 0], ["100", 400]]}"#),
        ("POST /api/v1/models/colors_v1/predictions", r#"{"values": [[500]]}"#),
        ("POST /api/v1/models/colors_v1/predictions", r#"{"values": [[500, 0]], "more": 1}"#),
        ("POST /api/v1/models/colors_v1/predictions", "{}"),
        ("POST /api/v1/models/colors_v1/predictions", "[]"),
        ("POST /api/v1/models/colors_v1/predictions", r#"{"values": [[NaN, 0]]}"#),
        ("POST /api/v1/models/colors_v1/predictions", ""),
        ("POST /api/v1/models/four_classes/predictions", r#"{"values": [[500, 0]]}"#),
        ("POST /api/v1/models/bad/predictions", r#"{"values": [[500, 0]]}"#),
        ("POST /api/v1/models/nobody/predictions", r#"{"values": [[500, 0]]}"#),
        ("GET /api/v1/models/nobody", ""),
        ("POST /api/v1/models/nobody/load", ""),
        ("POST /api/v1/models/bad/load", ""),
        ("POST /api/v1/models/colors_v1/load", ""),
        ("GET /api/v1/models/colors_v1", ""),
        ("GET /api/v1/models/four_classes", ""),
    ] {
        let answer = send_to(hosting.http(), line, &JSON, body).await;
        answers.push(format!("{line} {body}\n{}", answer.status_and_body()));
    }
    assert_snapshot!(answers.join("\n\n"), @r#"
    POST /api/v1/models/colors_v1/predictions {"values": [[500, 0], ["100", 400]]}
    200 {"states":["green","red"]}

    POST /api/v1/models/colors_v1/predictions {"values": [[500]]}
    422 invalid: values: each row has 1 number, and this model takes 2

    POST /api/v1/models/colors_v1/predictions {"values": [[500, 0]], "more": 1}
    422 invalid: unknown field `more`, expected `values`

    POST /api/v1/models/colors_v1/predictions {}
    422 invalid: `values` is missing

    POST /api/v1/models/colors_v1/predictions []
    422 invalid: the body must be a JSON object

    POST /api/v1/models/colors_v1/predictions {"values": [[NaN, 0]]}
    400 bad_json: the body is not JSON: expected value at line 1 column 14
    {"column":14,"line":1}

    POST /api/v1/models/colors_v1/predictions 
    400 bad_json: the body is not JSON: EOF while parsing a value at line 1 column 0
    {"column":0,"line":1}

    POST /api/v1/models/four_classes/predictions {"values": [[500, 0]]}
    500 bad_model: team/four_classes.onnx: it has 4 classes, and its config has 3 states

    POST /api/v1/models/bad/predictions {"values": [[500, 0]]}
    500 bad_config: bad.json: line 1, column 1: EOF while parsing an object

    POST /api/v1/models/nobody/predictions {"values": [[500, 0]]}
    404 no_model: there is no model "nobody"

    GET /api/v1/models/nobody 
    404 no_model: there is no model "nobody"

    POST /api/v1/models/nobody/load 
    404 no_model: there is no model "nobody"

    POST /api/v1/models/bad/load 
    500 bad_config: bad.json: line 1, column 1: EOF while parsing an object

    POST /api/v1/models/colors_v1/load 
    200 {
      "error": null,
      "failures": 1,
      "loaded_at": "2026-01-01T12:00:00Z",
      "loads": 2,
      "model": "colors_v1.onnx",
      "name": "colors_v1",
      "predictions": 1,
      "rows": 2,
      "size_bytes": 725,
      "states": [
        "green",
        "red",
        "blue"
      ],
      "status": "loaded",
      "team": "team",
      "width": 2
    }

    GET /api/v1/models/colors_v1 
    200 {
      "error": null,
      "failures": 1,
      "loaded_at": "2026-01-01T12:00:00Z",
      "loads": 2,
      "model": "colors_v1.onnx",
      "name": "colors_v1",
      "predictions": 1,
      "rows": 2,
      "size_bytes": 725,
      "states": [
        "green",
        "red",
        "blue"
      ],
      "status": "loaded",
      "team": "team",
      "width": 2
    }

    GET /api/v1/models/four_classes 
    200 {
      "error": "team/four_classes.onnx: it has 4 classes, and its config has 3 states",
      "failures": 1,
      "loaded_at": null,
      "loads": 1,
      "model": "four_classes.onnx",
      "name": "four_classes",
      "predictions": 0,
      "rows": 0,
      "size_bytes": null,
      "states": [
        "green",
        "red",
        "blue"
      ],
      "status": "failed",
      "team": "team",
      "width": null
    }
    "#);
    let runtime = &get(&hosting, "/api/v1/models").await["runtime"];
    assert_eq!(runtime["library"], library.canonicalize().unwrap().display().to_string());
    assert!(runtime["build"].as_str().unwrap().starts_with("ORT Build Info"), "{runtime}");
    hosting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_reported_and_the_server_keeps_running() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    for name in ["colors_v1", "four_classes", "no_such_operator"] {
        folders.host(name, &COLORS);
    }
    folders.config("truncated", &COLORS);
    let whole = fs::read(fixture("colors_v1")).unwrap();
    fs::write(folders.model("truncated"), &whole[..whole.len() / 2]).unwrap();
    let pickle = json!({ "name": "pickle", "team": "team", "model": "p.pkl", "states": COLORS });
    fs::write(folders.configs().join("pickle.json"), pickle.to_string()).unwrap();
    fs::write(folders.models().join("team/p.pkl"), "a pickle").unwrap();
    let outside = json!({ "name": "outside", "team": "..", "model": "secret", "states": COLORS });
    fs::write(folders.configs().join("outside.json"), outside.to_string()).unwrap();
    for file in ["twice-1", "twice-2"] {
        let config = json!({ "name": "twice", "team": "team", "model": "colors_v1.onnx", "states": COLORS });
        fs::write(folders.configs().join(format!("{file}.json")), config.to_string()).unwrap();
    }
    let hosting = Hosting::start(folders.args(&library)).await;
    let mut answers = Vec::new();
    for body in [
        r#"{"name": "nobody", "values": [[500, 0]]}"#.to_owned(),
        r#"{"name": ["colors_v1"], "values": [[500, 0]]}"#.to_owned(),
        r#"{"name": "colors_v1", "values": [[500]]}"#.to_owned(),
        r#"{"name": "colors_v1", "values": [["hot", "cold"]]}"#.to_owned(),
        r#"{"name": "colors_v1", "values": [[NaN, 0]]}"#.to_owned(),
        r#"{"name": "colors_v1", "values": [["NaN", 0]]}"#.to_owned(),
        r#"{"name": "colors_v1", "values": [[1, 2], [3]]}"#.to_owned(),
        r#"{"name": "truncated", "values": [[500, 0]]}"#.to_owned(),
        r#"{"name": "four_classes", "values": [[500, 0]]}"#.to_owned(),
        r#"{"name": "no_such_operator", "values": [[500, 0]]}"#.to_owned(),
        r#"{"name": "pickle", "values": [[500, 0]]}"#.to_owned(),
        r#"{"name": "outside", "values": [[500, 0]]}"#.to_owned(),
        r#"{"name": "twice", "values": [[500, 0]]}"#.to_owned(),
        "[".repeat(100_000),
        big(100_001),
        big(1_500_000),
    ] {
        let shown = if body.len() < 100 { body.as_str() } else { "much" };
        let answer = state(&hosting, body.clone()).await.status_and_body();
        let answer = answer.replace(&folders.models().display().to_string(), "MODELS");
        answers.push(format!("{shown}\n{answer}"));
        let fine = state(&hosting, r#"{"name": "colors_v1", "values": [[500, 0]]}"#).await;
        assert_eq!((fine.status, &*fine.text), (200, r#"{"state": ["green"]}"#));
    }
    assert_snapshot!(answers.join("\n\n"), @r#"
    {"name": "nobody", "values": [[500, 0]]}
    500 no_model: there is no model "nobody"

    {"name": ["colors_v1"], "values": [[500, 0]]}
    500 invalid: `name` must be a text: the name of a model

    {"name": "colors_v1", "values": [[500]]}
    500 invalid: values: each row has 1 number, and this model takes 2

    {"name": "colors_v1", "values": [["hot", "cold"]]}
    500 invalid: values: row 1, column 1: "hot" is not a number

    {"name": "colors_v1", "values": [[NaN, 0]]}
    400 bad_json: the body is not JSON: expected value at line 1 column 35
    {"column":35,"line":1}

    {"name": "colors_v1", "values": [["NaN", 0]]}
    500 invalid: values: row 1, column 1: "NaN" is not a finite number

    {"name": "colors_v1", "values": [[1, 2], [3]]}
    500 invalid: values: row 2 has 1 number, and row 1 has 2; all must have the same number

    {"name": "truncated", "values": [[500, 0]]}
    500 bad_model: team/truncated.onnx: it is not an ONNX file, or an incomplete one

    {"name": "four_classes", "values": [[500, 0]]}
    500 bad_model: team/four_classes.onnx: it has 4 classes, and its config has 3 states

    {"name": "no_such_operator", "values": [[500, 0]]}
    500 bad_model: team/no_such_operator.onnx: ONNX Runtime cannot run it: com.example:Frobnicate(-1) is not a registered function/op

    {"name": "pickle", "values": [[500, 0]]}
    500 bad_model: team/p.pkl: it is a pickle, which is code and is never run here; make p.onnx of it: `lifeguard model convert --python PYTHON MODELS/team/p.pkl`

    {"name": "outside", "values": [[500, 0]]}
    500 bad_config: outside.json: `team` is "..", not the plain name of a folder

    {"name": "twice", "values": [[500, 0]]}
    500 bad_config: twice-2.json: it and twice-1.json are both named "twice"; a name can only be one model's

    much
    400 bad_json: the body is not JSON: recursion limit exceeded at line 1 column 128
    {"column":128,"line":1}

    much
    500 invalid: values: the list has 100001 items, and the maximum is 100000

    much
    413 too_large: a body may have at most 8388608 bytes
    "#);
    for (body, why) in [
        (r#"{"values": [[500, 0]]}"#, "`name` is missing: which model?"),
        (r#"{"name": "colors_v1"}"#, "`values` is missing: a row of numbers for each prediction"),
    ] {
        let answer = state(&hosting, body).await;
        assert_eq!((answer.status, &*answer.text, answer.header("lifeguard-detail")), (500, "{}", why));
    }
    hosting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_and_many_clients_are_answered() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("colors_v1", &COLORS);
    folders.host("double", &COLORS);
    let hosting = Hosting::start(folders.args(&library)).await;
    let many = state(&hosting, big(100_000)).await;
    assert_eq!(many.status, 200, "{:.200}", many.text);
    assert_eq!(many.json()["state"].as_array().unwrap().len(), 100_000);
    let answers = join_all((0..64).map(|number| {
        let (name, values) =
            if number % 2 == 0 { ("colors_v1", "[[500, 0]]") } else { ("double", "[[3, 2, 1]]") };
        state(&hosting, format!(r#"{{"name": "{name}", "values": {values}}}"#))
    }));
    for answer in answers.await {
        assert_eq!(answer.text, r#"{"state": ["green"]}"#);
    }
    hosting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predictions_are_counted() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("colors_v1", &COLORS);
    let hosting = Hosting::start(folders.args(&library)).await;
    state(&hosting, r#"{"name": "colors_v1", "values": [[500, 0], [1, 2]]}"#).await;
    state(&hosting, r#"{"name": "colors_v1", "values": [[500, 0]]}"#).await;
    state(&hosting, r#"{"name": "colors_v1", "values": [[500]]}"#).await;
    state(&hosting, r#"{"name": "nobody-1", "values": [[500]]}"#).await;
    state(&hosting, r#"{"name": "nobody-2", "values": [[500]]}"#).await;
    let answer = send_to(hosting.http(), "GET /metrics", &[], "").await;
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(answer.text.ends_with("# EOF\n"), "{}", answer.text);
    let is_steady = |line: &&str| {
        line.starts_with("lifeguard_model") && !["_bucket{", "_sum{"].iter().any(|part| line.contains(part))
    };
    let mut steady: Vec<&str> = answer.text.lines().filter(is_steady).collect();
    steady.sort_unstable();
    assert_snapshot!(steady.join("\n"), @r#"
    lifeguard_model_failures_total{model="",kind="unknown"} 2
    lifeguard_model_failures_total{model="colors_v1",kind="values"} 1
    lifeguard_model_load_seconds_count{model="colors_v1"} 1
    lifeguard_model_loaded 1
    lifeguard_model_loads_total{model="colors_v1"} 1
    lifeguard_model_prediction_seconds_count{model="colors_v1"} 2
    lifeguard_model_predictions_total{model="colors_v1"} 2
    lifeguard_model_rows_total{model="colors_v1"} 3
    lifeguard_model_size_bytes 725
    "#);
    hosting.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_runtime_works_and_finds_it_later() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("colors_v1", &COLORS);
    let data = folders.folder.path().join("data");
    let options = [("--data-dir", &data), ("--config", &folders.configs()), ("--models", &folders.models())];
    let options =
        options.iter().flat_map(|(option, path)| [(*option).to_owned(), path.display().to_string()]);
    let server = ServerProcess::start(&options.collect::<Vec<_>>());
    let body = r#"{"name": "colors_v1", "values": [[500, 0]]}"#;
    let ask = async || send_to(server.http(), "POST /state", &JSON, body).await;
    let missing = ask().await.status_and_body();
    assert_snapshot!(missing.replace(&data.display().to_string(), "DATA"), @"503 no_runtime: ONNX Runtime, which runs models, is not installed; install it with `python3 -m pip install --no-deps --target DATA/onnxruntime onnxruntime==1.28.0`: it is found without a restart");
    assert_eq!(send_to(server.http(), "GET /api/v1/devices", &[], "").await.status, 200);
    let shown = send_to(server.http(), "GET /api/v1/models/colors_v1", &[], "").await.json();
    assert_eq!(shown["status"], "failed");

    // As installed by pip.
    let folder = data.join("onnxruntime/onnxruntime/capi");
    fs::create_dir_all(&folder).unwrap();
    symlink(&library, folder.join(library.file_name().unwrap())).unwrap();
    assert_eq!(ask().await.text, r#"{"state": ["green"]}"#);
}
