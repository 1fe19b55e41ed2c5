use insta::assert_snapshot;

use super::{contract, send};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_checked() {
    let world = World::new().await;
    let clean = "machine: m\ninitial: A\nstates: { A: { resting: true, about: nothing is under way } }";
    let odd = "machine: m\ninitial: A\nstates: { A: { resting: true } }";
    let wrong = "machine: m\ninitial: A\nstates: { A: { about: hangs } }";
    let requests = [
        ("POST /api/v1/machines/check", clean),
        ("POST /api/v1/machines/check", odd),
        ("POST /api/v1/machines/check", wrong),
        ("POST /api/v1/machines/check", ""),
        ("GET /api/v1/machines/check", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    POST /api/v1/machines/check
    200 {"faults":[],"machine":"m","ok":true}

    POST /api/v1/machines/check
    200 {
      "faults": [
        {
          "column": 11,
          "line": 3,
          "message": "`A` has no `about`: describe in a line what it waits for or what an operator should do",
          "rule": "no-about",
          "severity": "warning"
        }
      ],
      "machine": "m",
      "ok": true
    }

    POST /api/v1/machines/check
    200 {
      "faults": [
        {
          "column": 11,
          "line": 3,
          "message": "nothing leads out of `A`: give it a `timeout` or an event; or declare `resting: true` if an instance may stay, or `final: true` if its life ends there",
          "rule": "no-way-out",
          "severity": "error"
        }
      ],
      "machine": null,
      "ok": false
    }

    POST /api/v1/machines/check
    200 {
      "faults": [
        {
          "column": 1,
          "line": 1,
          "message": "`initial` is missing",
          "rule": "form",
          "severity": "error"
        },
        {
          "column": 1,
          "line": 1,
          "message": "`machine` is missing",
          "rule": "form",
          "severity": "error"
        },
        {
          "column": 1,
          "line": 1,
          "message": "`states` is missing",
          "rule": "form",
          "severity": "error"
        }
      ],
      "machine": null,
      "ok": false
    }

    GET /api/v1/machines/check
    404 no_machine: there is no machine "check"
    "#);
    let answer = send(&world, "POST /api/v1/machines/check", vec![0xff]).await;
    assert_snapshot!(answer.status_and_body(), @"400 bad_text: the body is not UTF-8 text: invalid byte at 0");
    let answer = send(&world, "POST /api/v1/machines/check", " ".repeat(5 << 20)).await;
    assert_snapshot!(answer.status_and_body(), @"413 too_large: a body may have at most 4194304 bytes");
    let most = format!("{clean}\n{}", "#".repeat((4 << 20) - clean.len() - 1));
    let answer = send(&world, "POST /api/v1/machines/check", most).await;
    assert!(answer.status == 200 && answer.json()["ok"] == true, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_named_like_a_path_segment_is_reachable() {
    let world = World::new().await;
    let text = "machine: check\ninitial: A\nstates: { A: { resting: true, about: nothing is under way } }";
    let put = send(&world, "PUT /api/v1/machines/check", text).await;
    assert_eq!((put.status, &put.json()["definition"]), (200, &serde_json::json!(1)), "{}", put.text);
    let shown = send(&world, "GET /api/v1/machines/check", "").await;
    assert_eq!((shown.status, &shown.json()["active"]["machine"]), (200, &serde_json::json!("check")));
    assert_eq!(send(&world, "PUT /api/v1/machines/check/one", "").await.status, 201);
    assert_eq!(send(&world, "GET /api/v1/machines/check/one", "").await.json()["state"], "A");
    assert_eq!(send(&world, "GET /api/v1/machines/check/definitions/1", "").await.text, text);
    assert_eq!(send(&world, "POST /api/v1/machines/check", text).await.json()["ok"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_names_are_client_errors() {
    let world = World::new().await;
    let requests = [
        ("GET /api/v1/machines/board/diagram.svg?instance=%00", ""),
        ("POST /api/v1/machines/board/replay?instance=%00", ""),
        ("POST /api/v1/machines/board/replay?since=yesterday", ""),
        ("GET /api/v1/machines/board/definitions/first", ""),
        ("POST /api/v1/machines/bord/replay", ""),
        ("POST /api/v1/machines/board/replay", ""),
        ("GET /api/v1/machines/bord/diagram.svg", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    GET /api/v1/machines/board/diagram.svg?instance=%00
    404 no_device: there is no board "\0"

    POST /api/v1/machines/board/replay?instance=%00
    422 invalid: instance: a name has no character U+0000

    POST /api/v1/machines/board/replay?since=yesterday
    422 invalid: query: since: this is not a time such as 2026-01-01T00:00:00Z

    GET /api/v1/machines/board/definitions/first
    404 no_definition: the machine "board" has no definition "first"

    POST /api/v1/machines/bord/replay
    404 no_machine: there is no machine "bord"; did you mean `board`?

    POST /api/v1/machines/board/replay
    404 no_instance: board has no instance

    GET /api/v1/machines/bord/diagram.svg
    404 no_machine: there is no machine "bord"; did you mean `board`?
    "#);
}
