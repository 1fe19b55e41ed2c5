//! Tests of hosting models: loaded on request, refused with a reason, limited in number, and reloaded when they change.

use fs_err as fs;
use insta::assert_snapshot;
use lifeguard::model::ModelStatus;
use lifeguard::random::Random;
use serde_json::json;

use super::{Folders, fixture, hosted, onnxruntime, predict_text};

const COLORS: [&str; 3] = ["green", "red", "blue"];

#[tokio::test]
async fn each_row_gets_its_predicted_state() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("colors_v1", &COLORS);
    folders.host("whole", &COLORS);
    folders.host("double", &COLORS);
    let models = folders.open(&library);
    assert_eq!(models.show("colors_v1").unwrap().status, ModelStatus::NotLoaded);
    let predicted = [
        predict_text(&models, "colors_v1", json!([[500, 0], [100, 400], [900, 900]])).await,
        predict_text(&models, "colors_v1", json!([["500", " 2e2 "], [500.7, 200.1]])).await,
        predict_text(&models, "whole", json!([[1, 2, 0], [3, 2, 1], [0, 0, 9_007_199_254_740_992_i64]]))
            .await,
        predict_text(&models, "double", json!([[1e300, 2, 0], [0, 1e300, 1e301]])).await,
    ];
    assert_eq!(predicted, ["green red blue", "green blue", "red green blue", "green blue"]);
    let shown = models.show("colors_v1").unwrap();
    assert_eq!((shown.status, shown.width), (ModelStatus::Loaded, Some(2)));
    assert_eq!(shown.size_bytes, Some(fs::metadata(fixture("colors_v1")).unwrap().len()));
    assert_eq!((shown.counts.predictions, shown.counts.rows, shown.counts.loads), (2, 5, 1));
}

#[tokio::test]
async fn invalid_values_are_refused_with_their_position() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("colors_v1", &COLORS);
    folders.host("whole", &COLORS);
    folders.host("fixture", &COLORS);
    let models = folders.open(&library);
    let mut all = Vec::new();
    for (model, values) in [
        ("colors_v1", json!([[500]])),
        ("colors_v1", json!([[500, 0, 1], [1, 2, 3]])),
        ("colors_v1", json!([[]])),
        ("colors_v1", json!([500, 0])),
        ("colors_v1", json!([[500, "hot"]])),
        ("colors_v1", json!([[500, 0], [1, 1e39]])),
        ("whole", json!([[1, 2, 3], [4, 5.5, 6]])),
        ("fixture", json!([[1, 2]])),
        ("nobody", json!([[1, 2]])),
    ] {
        all.push(predict_text(&models, model, values).await);
    }
    assert_snapshot!(all.join("\n"), @r#"
    values: values: each row has 1 number, and this model takes 2
    values: values: each row has 3 numbers, and this model takes 2
    values: values: each row has 0 numbers, and this model takes 2
    values: values: a list of rows is needed, each a list of 2 numbers
    values: values: row 1, column 2: "hot" is not a number
    values: values: row 2, column 2: 1e39 is too large for this model's 32-bit numbers
    values: values: row 2, column 2: 5.5 is not a whole number within 2⁵³, which this model takes
    values: values: this model takes one plain list of numbers, not rows
    unknown: there is no model "nobody"
    "#);
    assert_eq!(predict_text(&models, "colors_v1", json!([[500, 0]])).await, "green");
}

#[tokio::test]
async fn an_unverifiable_model_is_refused_when_it_is_loaded() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    for name in [
        "four_classes",
        "oob",
        "flt",
        "scalar",
        "no_such_operator",
        "divides",
        "divides_rest",
        "fails_when_run",
        "one_for_all",
        "texts",
        "outside_weights",
    ] {
        folders.host(name, &COLORS);
    }
    folders.host("strlab", &["red", "blue"]);
    folders.config("truncated", &COLORS);
    let whole = fs::read(fixture("colors_v1")).unwrap();
    fs::write(folders.model("truncated"), &whole[..whole.len() / 2]).unwrap();
    folders.config("empty", &COLORS);
    fs::write(folders.model("empty"), "").unwrap();
    folders.config("absent", &COLORS);
    folders.host("colors_v1", &COLORS);
    let models = folders.open(&library);
    let mut all = Vec::new();
    for model in models.list() {
        let error = models.load(&model.name).await.err();
        let error = error.map_or_else(|| "is loaded".to_owned(), |error| error.to_string());
        let error = error.replace(&folders.models().display().to_string(), "MODELS");
        // The runtime's own text may vary; but the operator must be named.
        let error = match error.split_once("cannot run it: ") {
            Some((ours, theirs)) if !theirs.contains("Frobnicate") => format!("{ours}cannot run it: …"),
            _ => error,
        };
        all.push(format!("{}: {error}", model.name));
    }
    assert_snapshot!(all.join("\n"), @r#"
    absent: team/absent.onnx: there is no such file in MODELS
    colors_v1: is loaded
    divides: team/divides.onnx: its operator Div divides integers, which could crash the server (division by zero, overflow)
    divides_rest: team/divides_rest.onnx: its operator Mod divides integers, which could crash the server (division by zero, overflow)
    empty: team/empty.onnx: it is empty
    fails_when_run: team/fails_when_run.onnx: tried with zeros, ONNX Runtime cannot run it: …
    flt: team/flt.onnx: its first output is Tensor<f32>(1); labels are needed: a tensor of int64, bool or string, one for each row
    four_classes: team/four_classes.onnx: it has 4 classes, and its config has 3 states
    no_such_operator: team/no_such_operator.onnx: ONNX Runtime cannot run it: com.example:Frobnicate(-1) is not a registered function/op
    one_for_all: team/one_for_all.onnx: it gave 1 label for 2 rows; one for each row is needed
    oob: team/oob.onnx: row 1: the model says class 7, and its config has 3 states, from 0
    outside_weights: team/outside_weights.onnx: ONNX Runtime cannot run it: …
    scalar: team/scalar.onnx: it gave labels of the shape []; one for each row is needed
    strlab: team/strlab.onnx: row 1: the model says "green", which is none of its config's states: red, blue
    texts: team/texts.onnx: it takes a tensor of String; float, double and int64 are known here
    truncated: team/truncated.onnx: it is not an ONNX file, or an incomplete one
    "#);
}

#[tokio::test]
async fn a_model_whose_file_changes_is_loaded_again() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.config("m", &COLORS);
    fs::copy(fixture("fixture"), folders.model("m")).unwrap();
    let models = folders.open(&library);
    let ask = async || predict_text(&models, "m", json!([1])).await;
    assert_eq!(ask().await, "red");
    assert_eq!(ask().await, "red");
    assert_eq!(models.show("m").unwrap().counts.loads, 1);

    fs::copy(fixture("neg"), folders.folder.path().join("new")).unwrap();
    fs::rename(folders.folder.path().join("new"), folders.model("m")).unwrap();
    assert_eq!(ask().await, "blue");

    // Half of the file is written, then all of it.
    let whole = fs::read(fixture("multi")).unwrap();
    fs::write(folders.model("m"), &whole[..40]).unwrap();
    let broken = ask().await;
    assert_eq!(broken, "file: team/m.onnx: it is not an ONNX file, or an incomplete one");
    assert_eq!(ask().await, broken);
    assert_eq!(models.show("m").unwrap().status, ModelStatus::Failed);
    fs::write(folders.model("m"), &whole).unwrap();
    assert_eq!(ask().await, "green blue green");
    let shown = models.show("m").unwrap();
    assert_eq!((shown.status, shown.error, shown.counts.loads), (ModelStatus::Loaded, None, 4));

    fs::remove_file(folders.model("m")).unwrap();
    assert!(ask().await.contains("there is no such file"), "{}", ask().await);
}

#[tokio::test]
async fn loaded_models_are_limited_and_the_least_used_is_unloaded_first() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    let size = fs::metadata(fixture("multi")).unwrap().len();
    for name in ["a", "b", "c"] {
        folders.config(name, &COLORS);
        fs::copy(fixture("multi"), folders.model(name)).unwrap();
    }
    folders.host("colors_v1", &COLORS);
    let models =
        hosted(lifeguard::model::ModelOptions { memory_bytes: 2 * size + 1, ..folders.options(&library) });
    let loaded = || {
        let all = models.list().into_iter().filter(|model| model.status == ModelStatus::Loaded);
        all.map(|model| model.name).collect::<Vec<_>>().join(" ")
    };
    for (asked, kept) in [("a", "a"), ("b", "a b"), ("a", "a b"), ("c", "a c"), ("b", "b c"), ("b", "b c")] {
        assert_eq!(predict_text(&models, asked, json!([1])).await, "green blue green");
        assert_eq!(loaded(), kept);
        assert!(models.runtime().used_bytes <= 2 * size + 1);
    }
    let predicted = predict_text(&models, "colors_v1", json!([[1, 2]])).await;
    let bytes = fs::metadata(fixture("colors_v1")).unwrap().len();
    assert_eq!(
        predicted,
        format!(
            "file: team/colors_v1.onnx: it has {bytes} bytes, and the limit for models in memory is {}: --model-memory",
            2 * size + 1
        )
    );
    assert_eq!(loaded(), "b c");
}

#[tokio::test]
async fn configs_are_read_again_when_a_model_is_loaded_by_hand() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("multi", &COLORS);
    let models = folders.open(&library);
    assert_eq!(predict_text(&models, "multi", json!([1])).await, "green blue green");
    folders.config("multi", &["x", "y", "z"]);
    folders.host("neg", &COLORS);
    assert_eq!(predict_text(&models, "multi", json!([1])).await, "green blue green");
    assert_eq!(predict_text(&models, "neg", json!([1])).await, "unknown: there is no model \"neg\"");
    models.load("neg").await.unwrap();
    assert_eq!(predict_text(&models, "multi", json!([1])).await, "x z x");
    assert_eq!(predict_text(&models, "neg", json!([1])).await, "blue");
    fs::remove_file(folders.configs().join("multi.json")).unwrap();
    let gone = models.load("multi").await.unwrap_err();
    assert_eq!(gone.to_string(), "there is no model \"multi\"");
    assert_eq!(models.runtime().used_bytes, fs::metadata(fixture("neg")).unwrap().len());
}

#[tokio::test]
async fn rows_are_run_in_chunks_and_an_unknown_label_is_reported_with_its_row() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("whole", &["green", "red"]);
    let models = folders.open(&library);
    let mut rows = vec![json!([0, 1, 0]); 10_000];
    rows[4096] = json!([1, 0, 0]);
    let states = models.predict("whole", &rows.clone().into()).await.unwrap();
    assert_eq!(states.len(), 10_000);
    assert_eq!(states.iter().position(|state| state == "green"), Some(4096));
    rows[9000] = json!([0, 0, 1]);
    assert_eq!(
        predict_text(&models, "whole", rows.into()).await,
        "file: team/whole.onnx: row 9001: the model says class 2, and its config has 2 states, from 0"
    );
}

#[tokio::test]
async fn a_corrupt_model_file_is_refused_or_works_and_crashes_nothing() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    folders.host("colors_v1", &COLORS);
    let models = folders.open(&library);
    let whole = fs::read(fixture("colors_v1")).unwrap();
    let mut random = Random::new(5);
    let mut refused = 0;
    for _ in 0..500 {
        let mut bytes = whole.clone();
        for _ in 0..=random.next_u64() % 3 {
            let [at, byte] = [random.next_u64(), random.next_u64()];
            let at = usize::try_from(at).unwrap() % bytes.len();
            bytes[at] = byte.to_le_bytes()[0];
        }
        fs::write(folders.model("colors_v1"), bytes).unwrap();
        if let Err(error) = models.predict("colors_v1", &json!([[500, 0]])).await {
            assert!(["file", "values"].contains(&error.kind()), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 100, "only {refused} of 500 were refused");
    fs::write(folders.model("colors_v1"), whole).unwrap();
    assert_eq!(predict_text(&models, "colors_v1", json!([[500, 0]])).await, "green");
}

#[tokio::test]
async fn invented_names_leave_no_state_when_the_configs_cannot_be_read() {
    let folders = Folders::new();
    fs::remove_dir(folders.configs()).unwrap();
    let models = folders.open(&folders.folder.path().join("none.so"));
    for name in ["made_up_1", "made_up_2"] {
        let asked = models.predict(name, &json!([[1]])).await.unwrap_err();
        assert_eq!(asked.kind(), "folder");
        assert_eq!(models.show(name).unwrap_err(), asked);
    }
    let mut metrics = String::new();
    models.encode_metrics(&mut metrics).unwrap();
    assert!(metrics.contains(r#"failures_total{model="",kind="folder"} 2"#), "{metrics}");
    assert!(!metrics.contains("made_up"), "{metrics}");
}
