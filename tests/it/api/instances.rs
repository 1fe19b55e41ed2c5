use futures_util::future::join_all;
use insta::assert_snapshot;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{contract, send, send_to};
use crate::state_service::waits_for;
use crate::world::{World, await_within_timeout};

const ROLLOUT: &str = include_str!("../../../states/examples/rollout.yaml");

async fn with_rollout() -> World {
    let world = World::new().await;
    assert_eq!(send(&world, "PUT /api/v1/machines/rollout", ROLLOUT).await.status, 200);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_of_any_machine_is_created_shown_sent_events_and_removed() {
    let world = with_rollout().await;
    let answers = contract(
        &world,
        [
            ("PUT /api/v1/machines/rollout/web", ""),
            ("PUT /api/v1/machines/rollout/web", "{}"),
            ("POST /api/v1/machines/rollout/web/events/approve", r#"{"by": "nobody"}"#),
            ("POST /api/v1/machines/rollout/web/events/approve", ""),
            ("PUT /api/v1/machines/rollout/web/events/approve", r#"{"by": "ann"}"#),
            ("PUT /api/v1/machines/rollout/web/events/approve", r#"{"by": "ben"}"#),
            ("POST /api/v1/machines/rollout/web/events/done?visit=1", ""),
            ("GET /api/v1/machines/rollout/web", ""),
            (
                "POST /api/v1/machines/rollout/web/force",
                r#"{"from": "Over", "to": "Proposed", "reason": "again"}"#,
            ),
            (
                "POST /api/v1/machines/rollout/web/force",
                r#"{"from": "Underway", "to": "Proposed", "reason": "again"}"#,
            ),
            ("PUT /api/v1/machines/rollout/db", ""),
            ("GET /api/v1/machines/rollout/instances?limit=1", ""),
            ("GET /api/v1/machines/rollout/instances?after=db", ""),
            ("DELETE /api/v1/machines/rollout/web", ""),
            ("GET /api/v1/machines/rollout/web", ""),
        ],
    )
    .await;
    assert_snapshot!(answers, @r#"
    PUT /api/v1/machines/rollout/web
    201 {
      "about": "an operator has to approve it",
      "awaited_events": [],
      "counters": {
        "done": 0
      },
      "created": true,
      "data": {},
      "deadline": null,
      "kind": "resting",
      "machine": "rollout",
      "name": "web",
      "on_deadline": null,
      "requests": [
        {
          "about": "it may begin",
          "event": "approve",
          "refusal_reason": null,
          "required_args": [
            "by"
          ],
          "targets": [
            "Underway"
          ]
        },
        {
          "about": "no more of it",
          "event": "stop",
          "refusal_reason": null,
          "required_args": [],
          "targets": [
            "Over"
          ]
        }
      ],
      "since": "2026-01-01T12:00:00Z",
      "state": "Proposed",
      "visit": 1
    }

    PUT /api/v1/machines/rollout/web
    200 {
      "about": "an operator has to approve it",
      "awaited_events": [],
      "counters": {
        "done": 0
      },
      "created": false,
      "data": {},
      "deadline": null,
      "kind": "resting",
      "machine": "rollout",
      "name": "web",
      "on_deadline": null,
      "requests": [
        {
          "about": "it may begin",
          "event": "approve",
          "refusal_reason": null,
          "required_args": [
            "by"
          ],
          "targets": [
            "Underway"
          ]
        },
        {
          "about": "no more of it",
          "event": "stop",
          "refusal_reason": null,
          "required_args": [],
          "targets": [
            "Over"
          ]
        }
      ],
      "since": "2026-01-01T12:00:00Z",
      "state": "Proposed",
      "visit": 1
    }

    POST /api/v1/machines/rollout/web/events/approve
    422 refused: nobody may approve

    POST /api/v1/machines/rollout/web/events/approve
    422 refused: approve needs the argument `by`

    PUT /api/v1/machines/rollout/web/events/approve
    200 {"from":"Proposed","outcome":"moved","to":"Underway","visit":2}

    PUT /api/v1/machines/rollout/web/events/approve
    409 not_accepted: state Underway does not wait for approve; now it takes stop
    {"accepted":["stop"],"state":"Underway"}

    POST /api/v1/machines/rollout/web/events/done?visit=1
    200 {"outcome":"ignored","reason":"stale: it speaks of visit 1, this is visit 2","state":"Underway","visit":2}

    GET /api/v1/machines/rollout/web
    200 {
      "about": "machines take it, and report when they have it",
      "awaited_events": [
        {
          "about": "a machine has it",
          "event": "done",
          "senders": [
            "board"
          ],
          "targets": [
            "Underway",
            "Over"
          ]
        }
      ],
      "counters": {
        "done": 0
      },
      "data": {
        "by": "ann"
      },
      "deadline": "2026-01-01T13:00:00Z",
      "kind": "working",
      "label": "under way",
      "machine": "rollout",
      "name": "web",
      "on_deadline": {
        "exceeded_to": null,
        "max_retries": null,
        "retries": null,
        "retries_left": null,
        "time_limit": "1h after entry",
        "to": "Over"
      },
      "requests": [
        {
          "about": "no more of it",
          "event": "stop",
          "refusal_reason": null,
          "required_args": [],
          "targets": [
            "Over"
          ]
        }
      ],
      "since": "2026-01-01T12:00:00Z",
      "state": "Underway",
      "visit": 2
    }

    POST /api/v1/machines/rollout/web/force
    409 not_accepted: the state is Underway, not Over
    {"accepted":["stop"],"state":"Underway"}

    POST /api/v1/machines/rollout/web/force
    200 {"from":"Underway","outcome":"moved","to":"Proposed","visit":3}

    PUT /api/v1/machines/rollout/db
    201 {
      "about": "an operator has to approve it",
      "awaited_events": [],
      "counters": {
        "done": 0
      },
      "created": true,
      "data": {},
      "deadline": null,
      "kind": "resting",
      "machine": "rollout",
      "name": "db",
      "on_deadline": null,
      "requests": [
        {
          "about": "it may begin",
          "event": "approve",
          "refusal_reason": null,
          "required_args": [
            "by"
          ],
          "targets": [
            "Underway"
          ]
        },
        {
          "about": "no more of it",
          "event": "stop",
          "refusal_reason": null,
          "required_args": [],
          "targets": [
            "Over"
          ]
        }
      ],
      "since": "2026-01-01T12:00:00Z",
      "state": "Proposed",
      "visit": 1
    }

    GET /api/v1/machines/rollout/instances?limit=1
    200 {"instances":[{"deadline":null,"name":"db","since":"2026-01-01T12:00:00Z","state":"Proposed","visit":1}],"next":"db"}

    GET /api/v1/machines/rollout/instances?after=db
    200 {"instances":[{"deadline":null,"name":"web","since":"2026-01-01T12:00:00Z","state":"Proposed","visit":3}],"next":null}

    DELETE /api/v1/machines/rollout/web
    204

    GET /api/v1/machines/rollout/web
    404 no_instance: there is no rollout "web"
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_operations_on_an_instance_are_refused_with_the_reason() {
    let world = with_rollout().await;
    world.register("b1", json!({})).await;
    let answers = contract(
        &world,
        [
            ("PUT /api/v1/machines/rollouts/web", ""),
            ("PUT /api/v1/machines/roll%20out/web", ""),
            ("PUT /api/v1/machines/rollout/a%20b", ""),
            ("PUT /api/v1/machines/rollout/instances", ""),
            ("PUT /api/v1/machines/rollout/definitions", ""),
            ("PUT /api/v1/machines/rollout/web", r#"{"data": {}}"#),
            ("PUT /api/v1/machines/rollout/web", r#"{"links": {"thing": 7}}"#),
            ("PUT /api/v1/machines/rollout/web", r#"{"links": {"thing": {"visit": 1}}}"#),
            ("PUT /api/v1/machines/board/b2", ""),
            ("DELETE /api/v1/machines/board/b1", ""),
            ("PUT /api/v1/machines/board/b1/state?event=rq-reboot", ""),
            ("GET /api/v1/machines/nothing/x/state?state=a", ""),
            ("GET /api/v1/machines/rollout/instances?after=%00", ""),
            ("POST /api/v1/machines/board/b1/events/rq-reboot", ""),
            ("POST /api/v1/machines/rollout/web/events/approve", ""),
            ("POST /api/v1/machines/rollout/web/events/aprove", ""),
            ("POST /api/v1/machines/rollout/web/events/poll-ok", ""),
            ("POST /api/v1/machines/rollout/web/events/stop?visit=one", ""),
            (
                "POST /api/v1/machines/rollout/web/force",
                r#"{"from": "Over", "to": "Proposed", "reason": " "}"#,
            ),
            ("DELETE /api/v1/machines/rollout/web", ""),
            ("GET /api/v1/machines/rollout/web/history", ""),
            ("GET /api/v1/machines/rollout/web/why", ""),
            ("GET /api/v1/machines/rollout/web/state?state=Over", ""),
            ("PUT /api/v1/machines/rollout/web/state?event=stop", ""),
            ("GET /api/v1/machines/rollout/instances?limit=0", ""),
            ("GET /api/v1/machines/rollout/instances?limit=1001", ""),
            ("GET /api/v1/machines/rollout/web?wait=never", ""),
            ("GET /api/v1/machines/rollout/web?wait=601s", ""),
            ("GET /api/v1/machines/rollout/%00", ""),
        ],
    )
    .await;
    assert_snapshot!(answers, @r#"
    PUT /api/v1/machines/rollouts/web
    404 no_machine: there is no machine rollouts; did you mean `rollout`?

    PUT /api/v1/machines/roll%20out/web
    404 no_machine: `roll out` is not a name: a name is 1 to 64 letters, digits, `-` and `_`, and begins with a letter

    PUT /api/v1/machines/rollout/a%20b
    422 invalid: name: "a b" is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each `.`

    PUT /api/v1/machines/rollout/instances
    422 invalid: no instance can be called "instances", which is a path of its own

    PUT /api/v1/machines/rollout/definitions
    422 invalid: name: "definitions" is reserved, as definitions, diagram.svg, instances, replay are

    PUT /api/v1/machines/rollout/web
    422 invalid: data: unknown; an instance is created with its `links` only, in the machine's initial state

    PUT /api/v1/machines/rollout/web
    422 invalid: links.thing: must be the name of an instance, or an object with `name` and `visit`

    PUT /api/v1/machines/rollout/web
    422 invalid: links.thing: missing field `name`

    PUT /api/v1/machines/board/b2
    409 is_board: boards are at /api/v1/devices

    DELETE /api/v1/machines/board/b1
    409 is_board: boards are at /api/v1/devices

    PUT /api/v1/machines/board/b1/state?event=rq-reboot
    409 is_board: boards are at /api/v1/devices

    GET /api/v1/machines/nothing/x/state?state=a
    404 no_machine: there is no machine nothing; `PUT /api/v1/machines/nothing` defines one

    GET /api/v1/machines/rollout/instances?after=%00
    422 invalid: after="\0": no instance has such a name

    POST /api/v1/machines/board/b1/events/rq-reboot
    409 is_board: boards are at /api/v1/devices

    POST /api/v1/machines/rollout/web/events/approve
    404 no_instance: there is no rollout "web"

    POST /api/v1/machines/rollout/web/events/aprove
    422 no_event: rollout has no event "aprove" that can be sent; did you mean `approve`?
    {"events":["approve","done","stop"]}

    POST /api/v1/machines/rollout/web/events/poll-ok
    422 no_event: rollout has no event "poll-ok" that can be sent; known: approve, done, stop
    {"events":["approve","done","stop"]}

    POST /api/v1/machines/rollout/web/events/stop?visit=one
    422 invalid: query: visit: this is not a whole number

    POST /api/v1/machines/rollout/web/force
    422 invalid: `reason` must say why the move is forced

    DELETE /api/v1/machines/rollout/web
    404 no_instance: there is no rollout "web"

    GET /api/v1/machines/rollout/web/history
    404 no_instance: there is no rollout "web"

    GET /api/v1/machines/rollout/web/why
    404 no_instance: there is no rollout "web"

    GET /api/v1/machines/rollout/web/state?state=Over
    404 no_instance: there is no rollout "web"

    PUT /api/v1/machines/rollout/web/state?event=stop
    404 no_instance: there is no rollout "web"

    GET /api/v1/machines/rollout/instances?limit=0
    422 invalid: limit=0: from 1 to 1000 instances can be asked for

    GET /api/v1/machines/rollout/instances?limit=1001
    422 invalid: limit=1001: from 1 to 1000 instances can be asked for

    GET /api/v1/machines/rollout/web?wait=never
    422 invalid: wait="never": that is not numbers with units; say `30s`, 10m at most

    GET /api/v1/machines/rollout/web?wait=601s
    422 invalid: wait="601s": that is too long; say `30s`, 10m at most

    GET /api/v1/machines/rollout/%00
    404 no_instance: there is no rollout "\0"
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_and_why_are_available_for_any_instance() {
    let world = with_rollout().await;
    for line in ["PUT /api/v1/machines/rollout/web", "PUT /api/v1/machines/rollout/web/events/stop"] {
        assert!(send(&world, line, "").await.status < 300, "{line}");
    }
    let why = world.get("/api/v1/machines/rollout/web/why").await;
    assert_snapshot!(why["sentences"], @r#"["Finished since 12:00:00 UTC (0 s): the end; an operator may only move it by force.","It came from Proposed at 12:00:00 UTC, when an operator (127.0.0.1) asked for stop.","No dwell statistics yet: no samples since 2026-01-01."]"#);
    assert_eq!(world.get("/api/v1/machines/board/instances").await["instances"], json!([]));
    let history = world.get("/api/v1/machines/rollout/web/history?limit=1").await;
    assert_eq!((&history["history"][0]["to"], history["next"].is_i64()), (&json!("Over"), true));
    let replayed = send(&world, "POST /api/v1/machines/rollout/replay", "").await.json();
    assert_eq!((&replayed["instances"], &replayed["difference"]), (&json!(1), &json!(null)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_updates_of_the_same_version_only_one_succeeds() {
    let world = World::with_state_service(&waits_for(1000)).await.unwrap();
    let other = world.second_server().await;
    for round in 0..5 {
        let seen = send(&world, "GET /api/v1/machines/states/shared", "").await;
        let tag = seen.header("etag").to_owned();
        assert_eq!(seen.json()["counters"]["a"].as_i64().unwrap_or_default(), round);
        let put = async |number: usize| {
            let server = if number.is_multiple_of(2) { world.server.http } else { other.server.http };
            send_to(server, "PUT /state?state=a", &[("if-match", &tag)], "").await.status
        };
        let mut statuses = join_all((0..8).map(put)).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    }
    let any = [("if-match", "*")];
    assert_eq!(send_to(world.server.http, "PUT /state?state=a", &any, "").await.status, 200);
    for wrong in ["\"1-1\"", "W/\"1-1\"", "1-1", "\"\""] {
        let answer = send_to(other.server.http, "PUT /state?state=a", &[("if-match", wrong)], "").await;
        assert_eq!(answer.status, 412, "{wrong}");
    }
    assert_eq!(world.get("/api/v1/machines/states/shared").await["counters"]["a"], 6);
    let again = [("if-none-match", "*")];
    let created = send_to(world.server.http, "PUT /api/v1/machines/states/shared", &again, "").await;
    assert_eq!(created.status, 412);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_is_answered_when_a_change_comes() {
    let world = with_rollout().await;
    let first = send(&world, "PUT /api/v1/machines/rollout/web", "").await;
    let tag = first.header("etag").to_owned();
    let known = [("if-none-match", tag.as_str())];
    let show = "GET /api/v1/machines/rollout/web?wait=5m";
    let (shown, _) = await_within_timeout("a change", async {
        tokio::join!(
            send_to(world.server.http, show, &known, ""),
            send(&world, "PUT /api/v1/machines/rollout/web/events/stop", "")
        )
    })
    .await;
    assert_eq!((shown.status, &shown.json()["state"]), (200, &json!("Over")));
    let known = [("if-none-match", shown.header("etag"))];
    let same = send_to(world.server.http, "GET /api/v1/machines/rollout/web?wait=10ms", &known, "").await;
    assert_eq!((same.status, same.text.as_str()), (304, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_share_an_instance_each_by_the_same_definition() {
    let world = World::with_state_service(&waits_for(2)).await.unwrap();
    let at = |group: &str, query: &str| format!("/api/v1/machines/states/{group}/state?{query}");
    let call = async |method: Method, path: String| world.call(method, &path, None).await.0;
    for group in ["web", "db"] {
        assert_eq!(call(Method::PUT, format!("/api/v1/machines/states/{group}")).await, StatusCode::CREATED);
    }
    for group in ["web", "web", "db"] {
        assert_eq!(call(Method::PUT, at(group, "state=a")).await, StatusCode::OK);
    }
    assert_eq!(call(Method::GET, at("web", "state=b")).await, StatusCode::OK);
    assert_eq!(call(Method::GET, at("db", "state=b")).await, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(call(Method::OPTIONS, at("db", "state=a")).await, StatusCode::OK);
    assert_eq!(call(Method::GET, at("shared", "state=a")).await, StatusCode::OK);
    assert_eq!(call(Method::PUT, at("web", "state=a")).await, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(call(Method::PUT, at("web", "")).await, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_built_in_definition_can_be_shared_too() {
    let world = World::with_state_service(ROLLOUT).await.unwrap();
    world.until_current("/state?state=Proposed").await;
    let put = async |query: &str| world.call(Method::PUT, &format!("/state?{query}"), None).await.0;
    assert_eq!(put("event=approve").await, StatusCode::INTERNAL_SERVER_ERROR, "an argument is missing");
    assert_eq!(put("state=Proposed").await, StatusCode::INTERNAL_SERVER_ERROR, "that is no event");
    assert_eq!(put("state=stop").await, StatusCode::INTERNAL_SERVER_ERROR, "that is no state");
    let approved = world.call(Method::PUT, "/state?event=approve", Some(json!({ "by": "ann" }))).await;
    assert_eq!(approved.0, StatusCode::OK);
    world.until_current("/state?state=under%20way").await;
    let by_name = world.call(Method::GET, "//state?state=Underway", None).await;
    assert_eq!(by_name.0, StatusCode::OK, "a state with a label can be asked for by its name");
    assert_eq!(put("event=stop").await, StatusCode::OK);
    world.until_current("//state?state=Over").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_definition_changes_the_answer_and_wakes_long_polls() {
    let world = with_rollout().await;
    let shown = send(&world, "PUT /api/v1/machines/rollout/web", "").await;
    let tag = shown.header("etag").to_owned();
    let waits = send(&world, "GET /api/v1/machines/rollout/web/state?state=proposed&wait=5m", "");
    let changed = ROLLOUT.replace("  Proposed:\n", "  Proposed:\n    label: proposed\n");
    let (waited, ()) = await_within_timeout("the new label", async {
        tokio::join!(waits, async {
            assert_eq!(send(&world, "PUT /api/v1/machines/rollout", changed).await.status, 200);
        })
    })
    .await;
    assert_eq!((waited.status, waited.text.as_str()), (200, "proposed"));
    let known = [("if-none-match", tag.as_str())];
    let again = send_to(world.server.http, "GET /api/v1/machines/rollout/web", &known, "").await;
    assert_eq!((again.status, &again.json()["label"]), (200, &json!("proposed")));
    let seen = [("if-match", tag.as_str())];
    for line in ["PUT /api/v1/machines/rollout/web/events/stop", "DELETE /api/v1/machines/rollout/web"] {
        assert_eq!(send_to(world.server.http, line, &seen, "").await.status, 412, "{line}");
    }
    let seen = [("if-match", again.header("etag"))];
    assert_eq!(
        send_to(world.server.http, "DELETE /api/v1/machines/rollout/web", &seen, "").await.status,
        204
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_move_is_recorded_with_its_reason_and_shared_instances_cannot_be_removed() {
    let world = World::with_state_service(&waits_for(2)).await.unwrap();
    let body = r#"{"from": "a", "to": "b", "reason": "enough"}"#;
    assert_eq!(send(&world, "POST /api/v1/machines/states/shared/force", body).await.status, 200);
    let history = world.get("/api/v1/machines/states/shared/history").await;
    assert_eq!(history["history"][0]["reason"], "forced: enough");
    let removed = send(&world, "DELETE /api/v1/machines/states/shared", "").await;
    assert_snapshot!(removed.status_and_body(), @r"409 is_shared: this server shares the instance at /state");
}
