//! Tests of definitions accepted by an earlier release whose action settings are invalid now: active ones are followed,
//! new ones are refused.

use std::path::Path;
use std::sync::Arc;

use lifeguard::cli::serve::{LifeguardServer, ServeOptions};
use lifeguard::engine::{DefinitionOrigin, LoadedDefinition};
use lifeguard::{boards, machine};
use serde_json::json;

use crate::versions::{changed, load};
use crate::world::{World, options, unreachable_power};

/// The built-in definition with invalid action settings.
fn outdated_definition() -> String {
    changed(&[
        ("invoke: [poll]", "invoke: [{ action: poll, with: { intervall: 30s } }]"),
        ("invoke: [set-pxe, power-cycle]", "invoke: [{ action: set-pxe, with: { tries: 3 } }, power-cycle]"),
    ])
}

/// Activates it like an earlier release that did not check settings.
async fn activate_outdated(world: &World) {
    let (definition, faults) = machine::load_stored(&outdated_definition(), boards::vocabulary()).unwrap();
    assert!(faults.unwrap().to_string().contains("did you mean `interval`?"));
    let loaded = LoadedDefinition {
        source: outdated_definition(),
        definition: Arc::new(definition),
        provenance: DefinitionOrigin::File,
    };
    world.server.engine.activate(&loaded, None).await.unwrap();
}

async fn start_with(world: &World, states: &Path) -> Result<LifeguardServer, String> {
    let options = ServeOptions { states: Some(states.to_owned()), ..options(&world.database, &world.folder) };
    LifeguardServer::start(options, Arc::new(world.clock.clone())).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_active_definition_with_invalid_action_settings_is_followed() {
    let world = World::new().await;
    activate_outdated(&world).await;
    let world = world.restart_after(std::time::Duration::ZERO).await.unwrap();
    let shown = world.get("/api/v1/machines/board").await;
    assert_eq!(shown["active"]["definition"], 2, "{shown}");
    world.image("panda").await;
    world.register("b1", unreachable_power(0)).await;
    let (status, answer) = world.request("b1", "rq-reimage", json!({ "image": "panda" })).await;
    assert_eq!(status, 200, "{answer}");
    // What earlier releases did not check is not checked.
    let link = world.link("b1").await;
    crate::world::wait_until("the boot link", async || link.is_symlink()).await;
    // A poll with invalid settings does not run, and reports it.
    world.force("b1", "Ready").await;
    world.until("b1", "why", |board| board.to_string().contains("Ready")).await;
    crate::world::wait_until("what is wrong", async || {
        world.get("/api/v1/devices/b1/why").await.to_string().contains("did you mean `interval`?")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_configured_with_it_starts_only_if_it_is_active() {
    let world = World::new().await;
    let file = world.folder.path().join("outdated.yaml");
    fs_err::write(&file, outdated_definition()).unwrap();
    let refused = start_with(&world, &file).await.err().unwrap();
    assert!(refused.contains("outdated.yaml:") && refused.contains("did you mean `interval`?"), "{refused}");
    let (status, answer) = load(&world, &outdated_definition(), "").await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(answer["faults"][0]["rule"], "settings", "{answer}");

    activate_outdated(&world).await;
    let server = start_with(&world, &file).await.unwrap();
    server.stop().await.unwrap();
    // Another text with the same faults is new.
    fs_err::write(&file, outdated_definition() + "\n# changed\n").unwrap();
    assert!(start_with(&world, &file).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_are_carried_over_from_it_to_the_one_that_replaces_it_and_its_time_is_replayed() {
    let world = World::new().await;
    activate_outdated(&world).await;
    world.register("b1", unreachable_power(0)).await;
    world.force("b1", "RebootComplete").await;
    let before = world.get("/api/v1/devices/b1").await["deadline"].clone();
    let shorter = changed(&[(
        "after: 600s, target: RebootRebooting, limit: 10",
        "after: 300s, target: RebootRebooting, limit: 10",
    )]);
    let (status, loaded) = load(&world, &shorter, "").await;
    assert_eq!(status, 200, "{loaded}");
    assert_eq!(loaded["carried_over"][0]["deadline"], "is 5m earlier", "{loaded}");
    assert_ne!(world.get("/api/v1/devices/b1").await["deadline"], before);
    let path = "/api/v1/machines/board/replay";
    let (status, replayed) = world.call(reqwest::Method::POST, path, None).await;
    assert_eq!((status.as_u16(), &replayed["difference"]), (200, &json!(null)), "{replayed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_raised_by_others_are_checked_against_it() {
    const BELL: &str = "machine: bell
initial: Quiet
events: { ring: { from: operator } }
states:
  Quiet:
    about: nobody is at the door
    resting: true
    on: { ring: Ringing }
  Ringing:
    about: the porter is told
    invoke: [{ action: notify, with: { shout: true, url: 'http://127.0.0.1:1/' } }]
    timeout: { after: 1m, target: Quiet }
    left_to_deadline: [notify-ok, notify-failed]
";
    const DOOR: &str = "machine: door
initial: Shut
links: { bell: bell }
events: { knock: { from: operator } }
states:
  Shut: { about: nobody is in, resting: true, on: { knock: { do: { raise: { event: ring, to: bell } } } } }
";
    let world = World::new().await;
    let (definition, faults) = machine::load_stored(BELL, boards::vocabulary()).unwrap();
    assert!(faults.unwrap().to_string().contains("unknown setting `shout`"));
    let loaded = LoadedDefinition {
        source: BELL.to_owned(),
        definition: Arc::new(definition),
        provenance: DefinitionOrigin::File,
    };
    world.server.engine.activate(&loaded, None).await.unwrap();
    let refused = crate::api::send(&world, "PUT /api/v1/machines/door", DOOR).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("links")), "{}", refused.text);
}
