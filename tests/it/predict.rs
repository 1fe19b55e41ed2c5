//! Tests of conditions that query a hosted model: its prediction decides, is recorded, and replay needs no model.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use insta::assert_snapshot;
use lifeguard::cli::serve::ModelArgs;
use lifeguard::engine::Submission;
use lifeguard::engine::replay::{ReplayRequest, replay};
use lifeguard::machine::{self, Cause, EventName, MachineName, Outcome};
use lifeguard::store::instances::InstanceKey;
use serde_json::{Map, Value, json};

use crate::models::{Folders, onnxruntime};
use crate::replay::{assert_history_gives_instances, boards};
use crate::versions::{changed, load};
use crate::world::{World, unreachable_power};

/// The shipped example as the lifecycle of boards.
fn telemetry() -> String {
    let example = include_str!("../../states/examples/telemetry.yaml");
    example.replace("machine: telemetry", "machine: board")
}

/// The board lifecycle with the additions from the example's comment.
fn with_quarantine() -> String {
    let quarantine = r#"on:
      poll-failed: RebootRebooting
      telemetry:
        if: predict("board-health", args.values) == "failing"
        target: Quarantined

  Quarantined:
    about: its telemetry looks bad; a person has to look, and then asks for a reboot, a self-test or a new image
"#;
    changed(&[
        ("events:\n", "events:\n  telemetry: { from: board, args: [values], about: what was measured }\n"),
        (
            "states: [New, Ready, Maintenance, Failed*]",
            "states: [New, Ready, Quarantined, Maintenance, Failed*]",
        ),
        ("on:\n      poll-failed: RebootRebooting\n", quarantine),
    ])
}

/// A report of bad telemetry.
fn report(target: InstanceKey) -> Submission {
    let args = Map::from_iter([("values".to_owned(), json!([99, 99, 1]))]);
    let name = EventName::new("telemetry").unwrap();
    Submission::new(target, Cause::Event { name, source: lifeguard::boards::BOARD_SOURCE, args, visit: None })
}

/// The last event in a board's history; entries of its actions may follow.
async fn last(world: &World, name: &str) -> Value {
    let history = world.history(name).await;
    history.into_iter().rfind(|entry| entry["kind"] == "event").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_that_need_an_unavailable_model_do_not_hold_and_history_says_why() {
    let definition = telemetry().replace(
        "        - if: predict(\"board-health\", args.values) == \"healthy\"\n          target: Healthy\n",
        "        - if: predict(\"board-health\", args.values) != \"failing\"\n          target: Healthy\n        - { do: { set: { unjudged: true } } }\n",
    );
    let world = World::with_definition(&definition).await;
    world.register("b1", json!({})).await;
    let why = r#"predict("board-health", args.values) has no answer: there is no model "board-health""#;

    let answer = world.report_with("b1", "telemetry", json!({ "values": [99, 99, 1] })).await;
    assert_eq!((&answer["outcome"], &answer["state"]), (&json!("ignored"), &json!("Healthy")));
    let entry = last(&world, "b1").await;
    assert_eq!(entry["reason"], json!(format!("no condition of telemetry in state Healthy holds; {why}")));
    assert_eq!(entry["predicted"], Value::Null);

    // The next transition applies.
    world.force("b1", "Suspect").await;
    let answer = world.report_with("b1", "telemetry", json!({ "values": [99, 99, 1] })).await;
    assert_eq!(answer["outcome"], "stayed");
    let entry = last(&world, "b1").await;
    assert_eq!((&entry["outcome"], &entry["reason"]), (&json!("stayed"), &json!(why)));
    let device = world.get("/api/v1/devices/b1").await;
    assert_eq!(device["data"], json!({ "unjudged": true }));

    // A report without the argument is refused, and no model is queried.
    let (status, answer) = world.report("b1", "telemetry").await;
    assert_eq!((status.as_u16(), &answer["detail"]), (422, &json!("telemetry needs the argument `values`")));
    assert_eq!(last(&world, "b1").await["reason"], "telemetry needs the argument `values`");
    assert_history_gives_instances(world.server.engine.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_queried_for_events_of_the_pipeline_too() {
    let world = World::with_definition(&telemetry()).await;
    world.register("b1", json!({})).await;
    let id = boards(world.server.engine.store()).await[0].id;
    // The machine, and so the model to query, is unknown before the instance is read.
    let committed = world.server.engine.submit(report(InstanceKey::Id(id))).await.unwrap();
    assert!(matches!(committed.outcome, Outcome::Ignored(_)), "{committed:?}");
    let history = world.history("b1").await;
    assert_eq!(history.len(), 2, "it is decided on once: {history:#?}");
    assert!(history[1]["reason"].as_str().unwrap().contains("there is no model"), "{history:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activated_definition_is_used_by_every_process() {
    let one = World::new().await;
    let other = one.second_server().await;
    one.register("b1", json!({})).await;
    one.force("b1", "Ready").await;
    let (status, answer) = load(&one, &with_quarantine(), "").await;
    assert!(status.is_success(), "{answer}");
    // It usually does not know of the activation yet, so before deciding it does not know that a query is needed.
    let target = InstanceKey::Name(MachineName::new("board").unwrap(), "b1".to_owned());
    let committed = other.server.engine.submit(report(target)).await.unwrap();
    assert!(matches!(committed.outcome, Outcome::Ignored(_)), "{committed:?}");
    let entry = last(&one, "b1").await;
    assert!(entry["reason"].as_str().unwrap().contains("there is no model"), "{entry:#}");
}

/// The shipped model and the runtime; `None` without ONNX Runtime.
fn shipped() -> Option<ModelArgs> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    let onnxruntime = Some(onnxruntime()?);
    let (config, models) = (Some(fixtures.join("config")), Some(fixtures));
    Some(ModelArgs { config, models, onnxruntime, ..ModelArgs::default() })
}

/// Values that the shipped model calls healthy, and failing.
const HEALTHY: [f64; 3] = [45.0, 0.0, 5.05];
const FAILING: [f64; 3] = [91.0, 60.0, 4.6];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_whose_telemetry_looks_bad_is_quarantined_before_it_fails() {
    let Some(models) = shipped() else { return };
    let world = World::with_models(&with_quarantine(), models).await;
    world.register("b1", unreachable_power(0)).await;
    world.force("b1", "Ready").await;

    let answer = world.report_with("b1", "telemetry", json!({ "values": HEALTHY })).await;
    assert_eq!((&answer["outcome"], &answer["state"]), (&json!("ignored"), &json!("Ready")));
    let entry = last(&world, "b1").await;
    assert_eq!(entry["predicted"], json!({ "board-health": { "values": "healthy" } }));

    let answer = world.report_with("b1", "telemetry", json!({ "values": FAILING })).await;
    assert_eq!((&answer["outcome"], &answer["to"]), (&json!("moved"), &json!("Quarantined")));
    let entry = last(&world, "b1").await;
    assert_eq!(entry["predicted"], json!({ "board-health": { "values": "failing" } }));
    assert_eq!((&entry["args"], &entry["reason"]), (&json!({ "values": FAILING }), &Value::Null));
    let why = world.get("/api/v1/devices/b1/why").await;
    let came =
        "It came from Ready at 12:00:00 UTC, when it reported telemetry, judged failing by board-health.";
    assert!(why["sentences"].as_array().unwrap().contains(&json!(came)), "{why:#}");

    // An operator has checked it.
    assert_eq!(world.request("b1", "rq-reboot", json!({})).await.0, 200);
    assert_history_gives_instances(world.server.engine.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_example_quarantines_boards_that_look_bad_twice_or_fall_silent() {
    let Some(models) = shipped() else { return };
    let world = World::with_models(&telemetry(), models).await;
    world.register("b1", json!({})).await;
    let report = async |values: [f64; 3]| {
        let answer = world.report_with("b1", "telemetry", json!({ "values": values })).await;
        let state = answer.get("to").unwrap_or(&answer["state"]);
        format!("{} {}", answer["outcome"].as_str().unwrap(), state.as_str().unwrap())
    };
    let twice = [report(HEALTHY).await, report(FAILING).await, report(HEALTHY).await];
    assert_eq!(twice, ["stayed Healthy", "moved Suspect", "moved Healthy"]);
    assert_eq!([report(FAILING).await, report(FAILING).await], ["moved Suspect", "moved Quarantined"]);
    // It is evaluated here too.
    assert_eq!(report(HEALTHY).await, "ignored Quarantined");
    assert_eq!(last(&world, "b1").await["predicted"], json!({ "board-health": { "values": "healthy" } }));
    assert_eq!(world.request("b1", "rq-release", json!({})).await.0, 200);
    assert_eq!(report(FAILING).await, "moved Suspect");
    world.pass_deadline("b1").await;
    assert_eq!(world.state("b1").await, "Quarantined");
    assert_history_gives_instances(world.server.engine.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_model_inputs_decide_nothing_and_history_says_why() {
    let Some(models) = shipped() else { return };
    let world = World::with_models(&telemetry(), models).await;
    world.register("b1", json!({})).await;
    let mut reasons = Vec::new();
    for values in [json!("hot"), json!([]), json!([1, 2]), json!([1, "hot", 3]), json!([[1, 2, 3], [4]])] {
        let answer = world.report_with("b1", "telemetry", json!({ "values": values })).await;
        assert_eq!(answer["outcome"], "ignored");
        let reason = last(&world, "b1").await["reason"].as_str().unwrap().to_owned();
        reasons.push(reason.split_once(" has no answer: ").unwrap().1.to_owned());
    }
    assert_snapshot!(reasons.join("\n"), @r#"
    values: a list of rows is needed, such as [[500, 0]], not a text
    values: each row has 0 numbers, and this model takes 3
    values: each row has 2 numbers, and this model takes 3
    values: row 1, column 2: "hot" is not a number
    values: row 2 has 1 number, and row 1 has 3; all must have the same number
    "#);
    // With rows of several subjects, none of the conditions applies.
    let answer = world.report_with("b1", "telemetry", json!({ "values": [HEALTHY, FAILING] })).await;
    assert_eq!(answer["outcome"], "ignored");
    let entry = last(&world, "b1").await;
    assert_eq!(entry["predicted"], json!({ "board-health": { "values": ["healthy", "failing"] } }));
    assert_eq!(entry["reason"], "no condition of telemetry in state Healthy holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_row_is_treated_like_several() {
    let Some(models) = shipped() else { return };
    let asked = r#"predict("board-health", args.values) == "failing""#;
    let definition = telemetry().replace(asked, r#"'"failing" in predict("board-health", args.values)'"#);
    let world = World::with_models(&definition, models).await;
    world.register("b1", json!({})).await;
    let answer = world.report_with("b1", "telemetry", json!({ "values": [FAILING] })).await;
    assert_eq!(answer["to"], "Suspect", "{answer}");
    let entry = last(&world, "b1").await;
    assert_eq!(entry["predicted"], json!({ "board-health": { "values": ["failing"] } }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_uses_the_recorded_predictions() {
    let Some(library) = onnxruntime() else { return };
    let folders = Folders::new();
    let definition = telemetry().replace("board-health", "colors_v1");
    folders.host("colors_v1", &["healthy", "worn", "failing"]);
    let world = World::with_models(&definition, folders.args(&library)).await;
    world.register("b1", json!({})).await;
    let engine = &world.server.engine;
    let report = async || {
        world.clock.advance(Duration::from_mins(1));
        world.report_with("b1", "telemetry", json!({ "values": [900, 900] })).await
    };
    assert_eq!(report().await["to"], "Suspect");
    // The same values get another label from now on.
    folders.config("colors_v1", &["failing", "worn", "healthy"]);
    engine.models().load("colors_v1").await.unwrap();
    assert_eq!(report().await["to"], "Healthy");
    assert_history_gives_instances(engine.store()).await;

    // Under a definition without clearing, both answers count as given.
    let strict = definition.replace("          target: Healthy\n", "          target: Quarantined\n");
    let with = Some(Arc::new(machine::load(&strict, lifeguard::boards::vocabulary()).unwrap()));
    let wanted = ReplayRequest {
        machine: MachineName::new("board").unwrap(),
        name: None,
        since: None,
        what_if_definition: with,
    };
    let what_if =
        replay(engine.store(), lifeguard::boards::vocabulary(), &wanted).await.unwrap().what_if.unwrap();
    let elsewhere: Vec<_> =
        what_if.elsewhere.iter().map(|one| [one.is.as_str(), one.would_be.as_str()]).collect();
    assert_eq!(elsewhere, [["Healthy", "Quarantined"]]);
}
