//! Tests of activating another definition while boards are in transit.

use lifeguard::engine::FeedUpdate;
use lifeguard::store::Store;
use lifeguard::store::changes::InstanceChangeKind;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::rack::Rack;
use crate::world::{
    World, await_within_timeout, unreachable_power, until_lock_waiter, until_lock_waiters, wait_until,
};

/// The built-in board lifecycle.
const BOARD_YAML: &str = include_str!("../../states/board.yaml");

/// The built-in definition with replaced texts, each of which must occur.
pub(crate) fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(BOARD_YAML.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in board.yaml");
        text.replace(from, to)
    })
}

/// The built-in definition with another name for one of its states, and half its time limit.
fn renamed() -> String {
    let renamed = changed(&[
        ("FailedRebootComplete", "FailedRebootWaiting"),
        ("RebootComplete", "RebootWaiting"),
        (
            "after: 600s, target: RebootRebooting, limit: 10",
            "after: 300s, target: RebootRebooting, limit: 10",
        ),
    ]);
    let names = "renamed: { RebootComplete: RebootWaiting, FailedRebootComplete: FailedRebootWaiting }\n";
    renamed.replace("initial: New\n", &format!("initial: New\n{names}"))
}

pub(crate) async fn load(world: &World, text: &str, query: &str) -> (StatusCode, Value) {
    let url = format!("http://{}/api/v1/machines/board{query}", world.server.http);
    let answer = reqwest::Client::new().put(url).body(text.to_owned()).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn activations(world: &World) -> Vec<(i64, String)> {
    let shown = world.get("/api/v1/machines/board").await;
    let activation =
        |one: &Value| (one["definition"].as_i64().unwrap(), one["origin"].as_str().unwrap().to_owned());
    shown["history"].as_array().unwrap().iter().map(activation).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_in_transit_continue_in_the_same_visit_under_new_names_and_deadlines() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    world.register("waits", unreachable_power(0)).await;
    world.register("cycles", rack.slow_power_facts(0)).await;
    world.register("rests", json!({})).await;
    world.force("waits", "RebootComplete").await;
    world.pass_deadline("waits").await;
    world.force("waits", "RebootComplete").await;
    let before = world.get("/api/v1/devices/waits").await;
    assert_eq!(world.request("cycles", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;
    let cycling = world.get("/api/v1/devices/cycles").await;

    let (status, tried) = load(&world, &renamed(), "?dry_run=true").await;
    assert_eq!(
        (status, &tried["active"], &tried["definition"]),
        (StatusCode::OK, &json!(false), &Value::Null)
    );
    assert_eq!(world.get("/api/v1/devices/waits").await["state"], "RebootComplete", "it was only tried");

    let (status, loaded) = load(&world, &renamed(), "").await;
    assert_eq!(status, StatusCode::OK, "{loaded}");
    assert_eq!(
        (&loaded["previous"], &loaded["definition"], &loaded["changed"]),
        (&json!(1), &json!(2), &json!(true))
    );
    assert_eq!(loaded["carried_over"], tried["carried_over"]);
    let carried = json!([{
        "state": "RebootComplete", "to": "RebootWaiting", "instances": 1, "deadline": "is 5m earlier",
    }]);
    assert_eq!(loaded["carried_over"], carried);
    assert_eq!(
        loaded["difference"]["renamed"],
        json!([["FailedRebootComplete", "FailedRebootWaiting"], ["RebootComplete", "RebootWaiting"]])
    );

    let after = world.get("/api/v1/devices/waits").await;
    assert_eq!((&after["state"], &after["visit"]), (&json!("RebootWaiting"), &before["visit"]));
    assert_eq!(after["counters"], json!({ "RebootWaiting": 1 }));
    let at =
        |device: &Value, key: &str| device[key].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>();
    let (was, is) = (at(&before, "deadline").unwrap(), at(&after, "deadline").unwrap());
    assert_eq!((was - is).num_seconds(), 300);
    let history = world.history("waits").await;
    let note = history.last().unwrap();
    assert_eq!(
        (&note["event"], &note["from"], &note["to"]),
        (&json!("adopted"), &json!("RebootComplete"), &json!("RebootWaiting"))
    );
    assert_eq!((&note["definition"], &history[0]["definition"]), (&json!(2), &json!(1)), "{note}");
    assert_eq!(world.history("rests").await.len(), 1, "nothing happened to it");

    // The running power cycle ends in the visit that requested it.
    world.clock.advance(std::time::Duration::from_secs(50));
    let done = world.until_state("cycles", "RebootWaiting").await;
    assert_eq!(done["visit"].as_i64().unwrap(), cycling["visit"].as_i64().unwrap() + 1);
    assert_eq!(rack.switched(1), [(0, false), (0, true)], "power was cycled once");
    // Counters continue.
    world.pass_deadline("waits").await;
    let again = world.until_state("waits", "RebootRebooting").await;
    assert_eq!(again["counters"]["RebootWaiting"], 2);
    // Its power cycle need not be awaited.
    world.force("waits", "New").await;

    let store = Store::open(world.database.connect_options()).await.unwrap();
    world.server.stop().await.unwrap();
    crate::replay::assert_history_gives_instances(&store).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_would_strand_boards_is_refused_with_their_names() {
    let world = World::new().await;
    for name in ["b1", "b2", "b3"] {
        world.register(name, json!({})).await;
    }
    world.force("b1", "RebootComplete").await;
    world.force("b3", "RebootComplete").await;
    let text =
        changed(&[("FailedRebootComplete", "FailedRebootWaiting"), ("RebootComplete", "RebootWaiting")]);
    let (status, tried) = load(&world, &text, "?dry_run=true").await;
    let named =
        json!([{ "name": "b1", "state": "RebootComplete" }, { "name": "b3", "state": "RebootComplete" }]);
    assert_eq!((status, &tried["stranded"]), (StatusCode::OK, &named));
    let (status, refused) = load(&world, &text, "").await;
    assert_eq!(
        (status, &refused["code"], &refused["stranded"]),
        (StatusCode::CONFLICT, &json!("strands"), &named)
    );
    assert!(refused["detail"].as_str().unwrap().contains("b1 in RebootComplete"), "{refused}");
    assert_eq!(activations(&world).await, [(1, "built-in".to_owned())]);
    assert_eq!(world.state("b1").await, "RebootComplete");
    world.report("b1", "image-running").await;
    assert_eq!(world.state("b1").await, "Ready", "the active definition continues");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_during_an_activation_use_the_new_definition() {
    let world = World::new().await;
    let other = world.second_server().await;
    world.register("b1", json!({})).await;
    // The other server knows the current board and the previous definition; the board's row is unchanged.
    assert_eq!(other.state("b1").await, "New");
    other.report("b1", "image-running").await;
    let pool = world.database.pool().await;
    // A decision made before is being written.
    let mut writing = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE activation IN ROW SHARE MODE").execute(&mut *writing).await.unwrap();
    let text = changed(&[("target: LockedOut", "target: Maintenance")]);
    let engine = world.server.engine.clone();
    let mut loading = JoinSet::new();
    loading.spawn(async move {
        let definition = lifeguard::machine::load(&text, lifeguard::boards::vocabulary()).unwrap();
        let loaded = lifeguard::engine::LoadedDefinition {
            source: text,
            definition: std::sync::Arc::new(definition),
            provenance: lifeguard::engine::DefinitionOrigin::Loaded,
        };
        engine.activate(&loaded, None).await.unwrap()
    });
    until_lock_waiter(&pool).await;
    let mut asking = JoinSet::new();
    let url = format!("http://{}/api/v1/devices/b1/requests/rq-lock-out", other.server.http);
    asking.spawn(async move {
        let body = json!({ "reason": "a test" });
        reqwest::Client::new().post(url).json(&body).send().await.unwrap().json::<Value>().await.unwrap()
    });
    until_lock_waiters(&pool, 2).await;
    writing.commit().await.unwrap();
    let replacement = loading.join_next().await.unwrap().unwrap();
    let answer = asking.join_next().await.unwrap().unwrap();
    let history = world.history("b1").await;
    let entry = history.last().unwrap();
    // The loading process releases its locks for a moment after half a second, so the other may come first.
    let expected = if entry["definition"] == json!(replacement.number) { "Maintenance" } else { "LockedOut" };
    assert_eq!(answer["to"], expected, "{entry}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_is_the_same_command_and_a_restart_changes_nothing() {
    let world = World::new().await;
    let text = changed(&[("after: 5m, target: Ready", "after: 7m, target: Ready")]);
    assert_eq!(load(&world, &text, "").await.1["definition"], 2);
    let again = load(&world, &text, "").await.1;
    assert_eq!((&again["definition"], &again["changed"]), (&json!(2), &json!(false)));
    let shown = world.get("/api/v1/machines").await;
    assert_eq!(
        (&shown["machines"][0]["definition"], &shown["machines"][0]["origin"]),
        (&json!(2), &json!("loaded"))
    );
    let restarted = world.second_server().await;
    assert_eq!(restarted.get("/api/v1/machines").await, shown, "the built-in definition is replaced");
    let url = format!("http://{}/api/v1/machines/board/definitions/1", world.server.http);
    let first = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert_eq!(first, BOARD_YAML);
    assert_eq!(load(&world, &first, "").await.1["definition"], 1);
    let expected = [(1, "built-in"), (2, "loaded"), (1, "loaded")];
    assert_eq!(activations(&world).await, expected.map(|(number, origin)| (number, origin.to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_follows_a_definition_loaded_at_one() {
    let world = World::new().await;
    let other = world.second_server().await;
    world.register("b1", json!({})).await;
    load(&world, &changed(&[("target: LockedOut", "target: Maintenance")]), "").await;
    let asked = other.request("b1", "rq-lock-out", json!({ "reason": "a test" })).await.1;
    assert_eq!(asked["to"], "Maintenance", "{asked}");
    let back = load(&other, BOARD_YAML, "").await.1;
    assert_eq!(back["definition"], 1);
    let asked = world.request("b1", "rq-lock-out", json!({ "reason": "a test" })).await.1;
    assert_eq!(asked["to"], "LockedOut", "{asked}");
    // An idle server learns of it too.
    load(&world, &changed(&[("about: nobody has asked for anything yet", "about: still new")]), "").await;
    world.register("b2", json!({})).await;
    other.until("b2", "the new text", |device| device["about"] == "still new").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_has_no_deadline_yet_gets_one() {
    let world = World::new().await;
    world.register("b1", unreachable_power(0)).await;
    world.register("b2", json!({})).await;
    world.force("b1", "Maintenance").await;
    let text = changed(&[(
        "    about: the board is a person's; the boot",
        "    timeout: { after: 8h, target: RebootRebooting }\n    about: the board is a person's; the boot",
    )]);
    let loaded = load(&world, &text, "").await.1;
    assert_eq!(loaded["carried_over"][0]["deadline"], "runs from now: 8h", "{loaded}");
    assert_eq!(world.get("/api/v1/devices/b2").await["deadline"], Value::Null);
    world.pass_deadline("b1").await;
    world.until_state("b1", "RebootRebooting").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_definition_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let (status, answer) =
        load(&world, &changed(&[("{ target: RebootComplete,", "{ target: Reboot,")]), "").await;
    assert_eq!((status, &answer["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("bad_definition")));
    let fault = &answer["faults"][0];
    assert!(
        fault["line"].as_u64().unwrap() > 100 && fault["message"].as_str().unwrap().contains("`Reboot`"),
        "{answer}"
    );
    let (status, answer) = load(&world, &BOARD_YAML.replace("machine: board", "machine: other"), "").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert_eq!(load(&world, BOARD_YAML, "?dry-run=true").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(activations(&world).await, [(1, "built-in".to_owned())]);
    let (status, _) = world.call(Method::GET, "/api/v1/machines/board/definitions/9", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(world.call(Method::GET, "/api/v1/machines/none", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_outlives_an_unreadable_definition() {
    let world = World::new().await;
    world.register("b1", unreachable_power(0)).await;
    let mut news = world.server.engine.follow();
    world.force("b1", "RebootComplete").await;
    let armed = async {
        while !matches!(news.next().await, Some(FeedUpdate::Changed(changed, _))
            if changed.iter().any(|one| matches!(one.change.kind, InstanceChangeKind::Written { deadline_at: Some(_), .. })))
        {
        }
    };
    // The deadlines in the log were processed, and are not processed again.
    await_within_timeout("the news of it", armed).await;
    let pool = world.database.pool().await;
    // As if activated by another release.
    for statement in [
        "INSERT INTO definition (machine, number, digest, source) VALUES ('board', 2, 'x', 'machine: board')",
        "INSERT INTO activation (machine, number, at, origin, first_history)
         SELECT 'board', 2, now(), 'loaded', nextval(pg_get_serial_sequence('history', 'history_id'))",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let machine = lifeguard::machine::MachineName::new("board").unwrap();
    wait_until("the server has seen it", async || world.server.engine.definition(&machine).is_err()).await;
    world.clock.advance(std::time::Duration::from_mins(11));
    for _ in 0..20 {
        assert_eq!(world.report("b1", "image-running").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(load(&world, BOARD_YAML, "").await.1["definition"], 1);
    world.until_state("b1", "RebootRebooting").await;
}

/// A machine in which an operator requests one of two kinds of work.
fn works(first: &str, second: &str) -> String {
    let names = std::collections::BTreeSet::from([first, second]);
    let state = |name: &&str| {
        format!(
            "  {name}:\n    about: work\n    timeout: {{ after: 1m, target: {name}, limit: 9, exceeded: Rest }}\n    \
             on: {{ done: Rest }}\n"
        )
    };
    format!(
        "machine: board\ninitial: Rest\nevents:\n  rq-first: {{ from: operator }}\n  rq-second: {{ from: operator }}\n  \
         done: {{ from: board }}\nstates:\n  Rest:\n    about: rest\n    resting: true\n    \
         on: {{ rq-first: {first}, rq-second: {second} }}\n{}",
        names.iter().map(state).collect::<String>()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_two_counters_are_renamed_to_one_the_greater_value_counts() {
    let world = World::with_definition(&works("Alpha", "Zed")).await;
    world.register("b1", json!({})).await;
    for (request, times) in [("rq-first", 1), ("rq-second", 3)] {
        assert_eq!(world.request("b1", request, json!({})).await.0, StatusCode::OK);
        for _ in 0..times {
            world.pass_deadline("b1").await;
        }
        world.report("b1", "done").await;
    }
    assert_eq!(world.get("/api/v1/devices/b1").await["counters"], json!({ "Alpha": 1, "Zed": 3 }));
    let renamed = "initial: Rest\nrenamed: { Alpha: Work, Zed: Work }\n";
    let (status, loaded) = load(&world, &works("Work", "Work").replace("initial: Rest\n", renamed), "").await;
    assert_eq!(status, StatusCode::OK, "{loaded}");
    assert_eq!(world.get("/api/v1/devices/b1").await["counters"], json!({ "Work": 3 }));
    let store = Store::open(world.database.connect_options()).await.unwrap();
    world.server.stop().await.unwrap();
    crate::replay::assert_history_gives_instances(&store).await;
    store.close().await;
}
