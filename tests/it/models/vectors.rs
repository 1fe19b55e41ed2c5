//! Tests of recorded answers of StateService to `POST /state`, repeated over HTTP.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use lifeguard::cli::serve::ModelArgs;
use serde_json::{Value, json};

use super::{Hosting, fixture, onnxruntime};
use crate::api::send_to;
use crate::state_service::differences;

/// A recorded request with its answer.
struct VectorStep<'v> {
    id: &'v str,
    method: &'v str,
    target: &'v str,
    headers: Vec<(&'v str, &'v str)>,
    body: Vec<u8>,
    status: u64,
    /// The recorded content type and body, where they are the program's own.
    own: Option<(&'v str, &'v str)>,
}

impl<'v> VectorStep<'v> {
    fn of(step: &'v Value) -> Self {
        let (request, expect) = (&step["request"], &step["expect"]);
        let body = match request["body_hex"].as_str() {
            Some(hex) => {
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16)).collect()
            }
            None => Ok(request["body"].as_str().unwrap_or_default().into()),
        };
        let headers = request["headers"].as_object().unwrap().iter();
        let is_own = expect["body_kind"] != "framework_error_page";
        Self {
            id: step["id"].as_str().unwrap(),
            method: request["method"].as_str().unwrap(),
            target: request["target"].as_str().unwrap(),
            headers: headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect(),
            body: body.unwrap(),
            status: expect["status"].as_u64().unwrap(),
            own: is_own.then(|| (expect["content_type"].as_str().unwrap(), expect["body"].as_str().unwrap())),
        }
    }
}

/// Creates the directories of the recording: configs by the names in its arguments, and the models.
fn lay_out(folder: &Path, fixtures: &Value) {
    let write = |name: &str, files: &Value| {
        for (file, content) in files.as_object().unwrap() {
            let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join(file), text).unwrap();
        }
    };
    write("conf", &fixtures["config_dir"]);
    for (name, files) in fixtures["other_config_dirs"].as_object().unwrap() {
        write(name, files);
    }
    let nested =
        json!({ "name": "nested", "team": "state_service", "model": "fixture.pkl", "states": ["a", "b"] });
    write("conf/sub", &json!({ "nested.json": nested }));
    write("conf", &json!({ "README.txt": "not a config" }));
    let models = folder.join("models/state_service");
    fs::create_dir_all(&models).unwrap();
    let constants = fixtures["constant_models"].as_object().unwrap();
    for name in constants.keys().map(String::as_str).chain(["colors_v1"]) {
        // All were pickles. Those that can only be code have no other form.
        fs::write(models.join(format!("{name}.pkl")), "a pickle").unwrap();
        if fixture(name).exists() {
            fs::copy(fixture(name), models.join(format!("{name}.onnx"))).unwrap();
        }
    }
}

/// The change made before a step of the group `H-hot`.
fn change_before(id: &str, folder: &Path) {
    let config = |name: &str, states: [&str; 3]| {
        let config = json!({ "name": name, "team": "state_service", "model": "m.onnx", "states": states });
        fs::create_dir_all(folder.join("hot")).unwrap();
        fs::write(folder.join(format!("hot/{name}.json")), config.to_string()).unwrap();
    };
    let model = |name: &str| {
        fs::copy(fixture(name), folder.join("models/state_service/m.onnx")).unwrap();
    };
    match id {
        "H-hot" => {
            config("m", ["a", "b", "c"]);
            model("fixture");
        }
        "H-hot-02" => model("neg"),
        "H-hot-03" => config("m", ["x", "y", "z"]),
        "H-hot-04" => config("n", ["a", "b", "c"]),
        _ => {}
    }
}

/// The arguments of a group's server.
fn args(group: &Value, folder: &Path, library: &Path) -> ModelArgs {
    let mut args = ModelArgs { onnxruntime: Some(library.to_owned()), ..ModelArgs::default() };
    let words: Vec<&str> = group["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for pair in words.chunks(2) {
        let path = pair[1].replace("<fixtures>/", "").replace("<models>", "models");
        match pair[0] {
            "--config" => args.config = Some(folder.join(path)),
            "--models" => args.models = Some(folder.join(path)),
            _ => {}
        }
    }
    if group["id"] == "H-hot" {
        args.config = Some(folder.join("hot"));
        args.models = Some(folder.join("models"));
    }
    args
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_recorded_post_is_answered_as_recorded_or_as_documented() {
    let Some(library) = onnxruntime() else { return };
    let text = include_str!("../../../fixtures/state_service/vectors.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    let documented = differences();
    let mut asked = 0;
    let mut wrong = BTreeMap::new();
    for group in vectors["groups"].as_array().unwrap() {
        let steps = group["steps"].as_array().unwrap().iter().map(VectorStep::of);
        let steps: Vec<VectorStep<'_>> = steps.filter(|step| step.method == "POST").collect();
        if steps.is_empty() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        lay_out(folder.path(), &vectors["fixtures"]);
        change_before(group["id"].as_str().unwrap(), folder.path());
        let hosting = Hosting::start(args(group, folder.path(), &library)).await;
        for VectorStep { id, method, target, headers, body, status, own } in steps {
            change_before(id, folder.path());
            let line = format!("{method} {target}");
            let answer = send_to(hosting.http(), &line, &headers, body).await;
            let kind = answer.header("content-type").to_owned();
            let is_as_recorded = u64::from(answer.status) == status
                && own
                    .is_none_or(|(recorded_kind, recorded)| kind == recorded_kind && answer.text == recorded);
            if is_as_recorded == documented.contains(id) {
                wrong.insert(
                    id.to_owned(),
                    format!("{status} {own:?} became {} {}", answer.status, answer.text),
                );
            }
            asked += 1;
        }
        hosting.stop().await;
    }
    assert!(wrong.is_empty(), "differs and is not documented, or the other way about: {wrong:#?}");
    assert_eq!(asked, 80, "so many were recorded");
}
