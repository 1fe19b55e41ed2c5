//! Tests of models that hang: other models and the server are not blocked.

use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use lifeguard::model::{ModelOptions, Models};
use serde_json::json;

use super::{Folders, fixture, hosted, onnxruntime, predict_text};
use crate::api::send_to;
use crate::server_process::ServerProcess;
use crate::world::{await_within_timeout, wait_until};

/// A loop count that never finishes.
const FOREVER: i64 = 9_007_199_254_740_992;

/// A loop count that takes seconds: a test must not leave endless threads.
const SECONDS: i64 = 4_000_000;

/// Hosts models with short timeouts.
fn open_with_short_timeouts(folders: &Folders, library: &Path) -> Models {
    hosted(ModelOptions { timeout: Duration::from_millis(400), ..folders.options(library) })
}

/// One more hanging model than there are slots, and one that returns.
fn folders(endless: &str) -> (Folders, Vec<String>) {
    let folders = Folders::new();
    let processors = std::thread::available_parallelism().unwrap().get();
    let names: Vec<String> = (0..=processors).map(|number| format!("m{number}")).collect();
    for name in &names {
        folders.config(name, &["a"]);
        fs::copy(fixture(endless), folders.model(name)).unwrap();
    }
    folders.host("colors_v1", &["green", "red", "blue"]);
    (folders, names)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_models_do_not_block_others() {
    others_answer_while_some_do_not("endless").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_that_hang_while_loading_do_not_block_others() {
    others_answer_while_some_do_not("slow_always").await;
}

async fn others_answer_while_some_do_not(endless: &str) {
    let Some(library) = onnxruntime() else { return };
    let (folders, names) = folders(endless);
    let models = open_with_short_timeouts(&folders, &library);
    let all = names.iter().map(|name| predict_text(&models, name, json!([[SECONDS]])));
    for answer in await_within_timeout("answers", futures_util::future::join_all(all)).await {
        assert!(answer.starts_with("busy: ") || answer.starts_with("stuck: "), "{answer}");
    }
    wait_until("an answer of another model", async || {
        predict_text(&models, "colors_v1", json!([[500, 0]])).await == "green"
    })
    .await;
    // It blocks no request again until it returns or its file changes.
    wait_until("the mark", async || {
        predict_text(&models, "m0", json!([[SECONDS]])).await
            == "stuck: team/m0.onnx: it took longer than 400ms and gets no requests until it has returned or its file has changed"
    })
    .await;
    fs::copy(fixture("endless"), folders.folder.path().join("new")).unwrap();
    fs::rename(folders.folder.path().join("new"), folders.model("m0")).unwrap();
    wait_until("an answer of the new file", async || predict_text(&models, "m0", json!([[0]])).await == "a")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_hanging_model_stops_in_order() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("endless", &["a"]);
    let data = folders.folder.path().join("data");
    let options = [
        ("--data-dir", &data),
        ("--config", &folders.configs()),
        ("--models", &folders.models()),
        ("--onnxruntime", &library),
    ];
    let options =
        options.iter().flat_map(|(option, path)| [(*option).to_owned(), path.display().to_string()]);
    let mut server = ServerProcess::start(&options.collect::<Vec<_>>());
    let http = server.http();
    let body = json!({ "values": [[FOREVER]] }).to_string();
    let line = "POST /api/v1/models/endless/predictions";
    let mut asking = tokio::task::JoinSet::new();
    asking.spawn(async move { send_to(http, line, &[], body).await });
    wait_until("a run", async || {
        let shown = send_to(http, "GET /api/v1/models/endless", &[], "").await.json();
        shown["status"] == "loaded"
    })
    .await;
    asking.shutdown().await;
    let ended = tokio::task::spawn_blocking(move || server.terminate());
    await_within_timeout("the end of the server", ended).await.unwrap();
}
