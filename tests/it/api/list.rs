use std::net::IpAddr;
use std::time::Duration;

use futures_util::TryStreamExt;
use insta::assert_snapshot;
use lifeguard::api::{ApiContext, ListTimeouts};
use lifeguard::boards::store::lists::{self, BoardFilter};
use lifeguard::engine::FeedUpdate;
use lifeguard::machine::MachineName;
use lifeguard::store::changes::{self, ChangeCursor, InstanceChangeKind};
use lifeguard::store::{ConnectionBudget, Snapshot};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::{api_over, contract, pretty_json, send, send_to, serve};
use crate::links::THING;
use crate::versions::changed;
use crate::world::{World, await_within_timeout, unreachable_power, wait_until};

/// The names in a list.
async fn names(world: &World, query: &str) -> String {
    let list = world.get(&format!("/api/v1/devices{query}")).await;
    let names = list["devices"].as_array().unwrap().iter().map(|device| device["name"].as_str().unwrap());
    format!("{query} {}", names.collect::<Vec<_>>().join(" "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_are_filtered_sorted_and_paged() {
    let world = World::new().await;
    for (name, hardware, environment) in [
        ("a_1", "panda", "lab"),
        ("a-1", "beagle", "lab"),
        ("b1", "panda", ""),
        ("b10", "panda", "field"),
        ("B2", "panda", "lab"),
    ] {
        world.register(name, json!({ "hardware": hardware, "environment": environment })).await;
    }
    world.force("b1", "FailedBadBoard").await;
    world.force("b10", "FailedBadImage").await;
    world.force("a-1", "LockedOut").await;
    let mut answers = Vec::new();
    for query in [
        "",
        "?state=New",
        "?state=Failed*",
        "?state=FailedBadImage,%20LockedOut",
        "?state=*",
        "?hardware=panda",
        "?environment=",
        "?environment=lab&hardware=panda",
        "?environment=lab&hardware=panda&state=Failed*",
        "?name=1",
        "?name=_",
        "?name=%25",
        "?name=*",
        "?name=%5c",
        "?limit=2",
        "?limit=1000000000000",
        "?after=b1",
    ] {
        answers.push(names(&world, query).await);
    }
    assert_snapshot!(answers.join("\n"), @r"
     B2 a-1 a_1 b1 b10
    ?state=New B2 a_1
    ?state=Failed* b1 b10
    ?state=FailedBadImage,%20LockedOut a-1 b10
    ?state=* B2 a-1 a_1 b1 b10
    ?hardware=panda B2 a_1 b1 b10
    ?environment= b1
    ?environment=lab&hardware=panda B2 a_1
    ?environment=lab&hardware=panda&state=Failed* 
    ?name=1 a-1 a_1 b1 b10
    ?name=_ a_1
    ?name=%25 
    ?name=* 
    ?name=%5c 
    ?limit=2 B2 a-1
    ?limit=1000000000000 B2 a-1 a_1 b1 b10
    ?after=b1 b10
    ");

    for limit in 1..=6 {
        let (mut after, mut all, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let page = world.get(&format!("/api/v1/devices?limit={limit}{after}")).await;
            let devices = page["devices"].as_array().unwrap();
            assert!(!devices.is_empty() && devices.len() <= limit, "{page}");
            all.extend(devices.iter().map(|device| device["name"].as_str().unwrap().to_owned()));
            pages += 1;
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(format!("{}", all.join(" ")), names(&world, "").await.trim_start());
        assert_eq!(pages, 5_usize.div_ceil(limit));
    }

    let requests = [
        ("GET /api/v1/devices?limit=0", ""),
        ("GET /api/v1/devices?limit=-1", ""),
        ("GET /api/v1/devices?limit=ten", ""),
        ("GET /api/v1/devices?sate=New", ""),
        ("GET /api/v1/devices?name=%00", ""),
        ("GET /api/v1/devices?since=", ""),
        ("GET /api/v1/devices?since=yesterday", ""),
        ("GET /api/v1/devices?since=0.0-0&limit=1", ""),
        ("GET /api/v1/devices?since=0.0-0&after=b1", ""),
        ("GET /api/v1/devices?since=0.0-0", ""),
        ("GET /api/v1/devices?since=0-0", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    GET /api/v1/devices?limit=0
    422 invalid: limit must be 1 or more

    GET /api/v1/devices?limit=-1
    422 invalid: limit must be 1 or more

    GET /api/v1/devices?limit=ten
    422 invalid: query: limit: this is not a whole number

    GET /api/v1/devices?sate=New
    422 invalid: query: sate: unknown field `sate`, expected one of `state`, `hardware`, `environment`, `labels`, `image`, `name`, `after`, `limit`, `since`

    GET /api/v1/devices?name=%00
    422 invalid: a query parameter holds the character U+0000

    GET /api/v1/devices?since=
    422 invalid: since: "" is not a cursor: take the `cursor` of an earlier answer

    GET /api/v1/devices?since=yesterday
    422 invalid: since: "yesterday" is not a cursor: take the `cursor` of an earlier answer

    GET /api/v1/devices?since=0.0-0&limit=1
    422 invalid: since lists all changes: it cannot be combined with after or limit

    GET /api/v1/devices?since=0.0-0&after=b1
    422 invalid: since lists all changes: it cannot be combined with after or limit

    GET /api/v1/devices?since=0.0-0
    410 cursor_gone: too many changes since this cursor, or it has expired, or another definition is active: list again without since, and continue from the cursor of that answer

    GET /api/v1/devices?since=0-0
    410 cursor_gone: too many changes since this cursor, or it has expired, or another definition is active: list again without since, and continue from the cursor of that answer
    "#);
    assert_eq!(names(&world, "?name=%ff&limit=1").await, "?name=%ff&limit=1 ");
    let mut one = world.get("/api/v1/devices?limit=1&state=FailedBadBoard").await;
    let cursor = one.as_object_mut().unwrap().remove("cursor").unwrap();
    let (_, changes) = cursor.as_str().unwrap().split_once('.').unwrap();
    assert!(changes.parse::<ChangeCursor>().is_ok(), "{cursor}");
    assert_snapshot!(pretty_json(&one), @r#"
    {
      "devices": [
        {
          "comments": "",
          "deadline": null,
          "environment": "",
          "fqdn": "b1",
          "hardware": "panda",
          "image": null,
          "labels": [],
          "mac": "02:00:00:00:0c:0f",
          "name": "b1",
          "next_image": null,
          "since": "2026-01-01T12:00:00Z",
          "state": "FailedBadBoard",
          "visit": 2
        }
      ],
      "next": null
    }
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_list_is_answered_with_304() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    for path in [
        "/api/v1/devices",
        "/api/v1/devices?state=*",
        "/api/v1/states",
        "/api/v1/devices/b1",
        "/api/v1/images",
    ] {
        let line = format!("GET {path}");
        let tag = send(&world, &line, "").await.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{path}: {tag}");
        for has in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
            let answer = send_to(world.server.http, &line, &[("if-none-match", &has)], "").await;
            assert_eq!((answer.status, answer.header("etag"), &*answer.text), (304, &*tag, ""), "{path}");
        }
        let answer = send_to(world.server.http, &line, &[("if-none-match", "*")], "").await;
        assert_eq!((answer.status, &*answer.text), (304, ""), "{path}");
        for other in ["\"other\"", "\"0000000000000000.0-0\"", &format!("\"0{}", &tag[1..])] {
            let answer = send_to(world.server.http, &line, &[("if-none-match", other)], "").await;
            assert_eq!(answer.status, 200, "{path}: {other}");
        }
        let image = json!({ "about": path, "boot_configs": { "panda": "p.cfg" } });
        assert!(send(&world, "PUT /api/v1/images/base", image.to_string()).await.status < 300);
        let to = if path == "/api/v1/devices" { "LockedOut" } else { "New" };
        world.force("b1", to).await;
        let answer = send_to(world.server.http, &line, &[("if-none-match", &tag)], "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_ne!(answer.header("etag"), tag, "{path}");
    }
    // A tag belongs to one query.
    let tag = send(&world, "GET /api/v1/devices?state=New", "").await.header("etag").to_owned();
    let answer = send_to(world.server.http, "GET /api/v1/devices", &[("if-none-match", &tag)], "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_list_is_answered_without_reading_any_board() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let mut tags = Vec::new();
    for path in ["/api/v1/devices", "/api/v1/devices?state=New&limit=5", "/api/v1/states"] {
        let answer = send(&world, &format!("GET {path}"), "").await;
        tags.push((
            path,
            answer.header("etag").to_owned(),
            answer.json()["cursor"].as_str().unwrap().to_owned(),
        ));
    }
    let pool = world.database.pool().await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE instance, device, history IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await
        .unwrap();
    for (path, tag, cursor) in tags {
        let (line, has) = (format!("GET {path}"), [("if-none-match", &*tag)]);
        let answer = send_to(world.server.http, &line, &has, "");
        assert_eq!(await_within_timeout(path, answer).await.status, 304, "{path}");
        assert_eq!(await_within_timeout(path, since(&world, "", &mut cursor.clone())).await, "", "{path}");
        let counts = await_within_timeout("counts", world.get("/api/v1/states")).await;
        assert_eq!(counts["states"], json!({ "New": 1 }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_change_changes_the_entity_tag() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    let changes = [
        ("POST /api/v1/devices", r#"{"name": "b2", "mac": "02:00:00:00:00:02", "hardware": "panda"}"#),
        ("PATCH /api/v1/devices/b2", r#"{"comments": "squeaks"}"#),
        ("POST /api/v1/devices/b2/force", r#"{"from": "New", "to": "LockedOut", "reason": "it squeaks"}"#),
        ("DELETE /api/v1/devices/b2", ""),
    ];
    for (line, body) in changes {
        let tag = send(&world, "GET /api/v1/devices", "").await.header("etag").to_owned();
        let answer = send(&world, line, body).await;
        assert!(answer.status < 300, "{line}: {}", answer.text);
        let answer = send_to(world.server.http, "GET /api/v1/devices", &[("if-none-match", &tag)], "").await;
        assert_eq!(answer.status, 200, "{line}");
    }
    // An event that changes nothing does not change the list.
    let tag = send(&world, "GET /api/v1/devices", "").await.header("etag").to_owned();
    assert_eq!(world.report("b1", "image-installed").await.1["outcome"], "ignored");
    let answer = send_to(world.server.http, "GET /api/v1/devices", &[("if-none-match", &tag)], "").await;
    assert_eq!(answer.status, 304);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farm_at_rest_changes_no_list() {
    let world = World::new().await;
    let other = world.second_server().await;
    for name in ["b1", "b2", "b3"] {
        world.register(name, json!({})).await;
        world.force(name, "Ready").await;
        // The start of its poll is a change.
        world.until(name, "it is polled", |device| device["actions"][0]["started_at"].is_string()).await;
    }
    let paths = ["/api/v1/devices", "/api/v1/devices?state=Ready", "/api/v1/states"];
    let mut tags = Vec::new();
    for path in paths {
        tags.push(send(&world, &format!("GET {path}"), "").await.header("etag").to_owned());
    }
    let mut cursor = world.get("/api/v1/devices").await["cursor"].as_str().unwrap().to_owned();
    let mut followers = [world.server.engine.follow(), other.server.engine.follow()];
    let visit = world.get("/api/v1/devices/b1").await["visit"].as_i64().unwrap();
    // Half an hour: each board re-enters its state six times.
    for turn in 1..=6 {
        world.pass_deadline("b1").await;
        for name in ["b1", "b2", "b3"] {
            let entered_anew = |board: &Value| board["visit"] == visit + turn;
            let board = world.until(name, "it is entered anew", entered_anew).await;
            assert_eq!(board["since"], "2026-01-01T12:00:00Z");
        }
        for (path, tag) in paths.iter().zip(&tags) {
            let answer =
                send_to(world.server.http, &format!("GET {path}"), &[("if-none-match", tag)], "").await;
            assert_eq!(answer.status, 304, "{path}");
        }
        assert_eq!(since(&other, "", &mut cursor).await, "");
    }
    let list = world.get("/api/v1/devices").await;
    assert_eq!(list["devices"][0]["since"], "2026-01-01T12:00:00Z");
    world.force("b2", "LockedOut").await;
    for follower in &mut followers {
        let mut visits = Vec::new();
        while visits.last() != Some(&(visit + 7)) {
            let Some(FeedUpdate::Changed(changed, _)) = await_within_timeout("news", follower.next()).await
            else {
                panic!()
            };
            for logged in changed.iter() {
                let InstanceChangeKind::Written { visit, .. } = logged.change.kind else { panic!() };
                visits.push(visit.0);
            }
        }
        assert!(visits.iter().all(|answers| !(visit + 1..visit + 7).contains(answers)), "{visits:?}");
    }
    assert_eq!(since(&other, "", &mut cursor).await, "b2 LockedOut");
    let answers = "SELECT count(*), count(DISTINCT d) FROM deadline_change, unnest(instances) d";
    let answers: (i64, i64) = sqlx::query_as(answers).fetch_one(&world.database.pool().await).await.unwrap();
    assert_eq!(answers, (18, 3), "other processes learn the deadlines");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_re_entry_is_listed_only_if_it_changed_what_is_shown() {
    let unset = "      - unset: [next_image, next_boot_config, failure, is_running]\n    invoke: [poll]\n";
    let takes = "      rq-take: { do: { link: { thing: $args.thing } } }\n";
    let notes = "      rq-note: { do: { set: { failure: noted } } }\n";
    let world = World::with_definition(&changed(&[
        ("initial: New\n", "initial: New\nlinks: { thing: thing }\n"),
        (
            "\nevents:\n",
            "\nevents:\n  rq-take: { from: operator, args: [thing] }\n  rq-note: { from: operator }\n",
        ),
        (unset, &format!("      - unlink: thing\n{unset}")),
        (
            "      poll-failed: RebootRebooting\n",
            &format!("      poll-failed: RebootRebooting\n{takes}{notes}"),
        ),
    ]))
    .await;
    assert_eq!(send(&world, "PUT /api/v1/machines/thing", THING).await.status, 200);
    assert_eq!(send(&world, "PUT /api/v1/machines/thing/t1", "").await.status, 201);
    world.register("b1", json!({})).await;
    world.force("b1", "Ready").await;
    world.until("b1", "it is polled", |device| device["actions"][0]["started_at"].is_string()).await;
    let shown = async || {
        let board = world.get("/api/v1/devices/b1").await;
        (board["data"]["failure"].is_string(), board.get("links").is_some())
    };
    for (request, body, before) in
        [("rq-note", json!({}), (true, false)), ("rq-take", json!({ "thing": "t1" }), (false, true))]
    {
        let (status, answer) = world.request("b1", request, body).await;
        assert_eq!((status.as_u16(), shown().await), (200, before), "{answer}");
        let mut cursor = world.get("/api/v1/devices").await["cursor"].as_str().unwrap().to_owned();
        assert_eq!(since(&world, "", &mut cursor).await, "");
        world.pass_deadline("b1").await;
        assert_eq!(since(&world, "", &mut cursor).await, "b1 Ready", "{request}");
        assert_eq!(shown().await, (false, false));
    }
}

/// Requests the changes since the cursor and advances it: the boards with their states, and the removed ones.
async fn since(world: &World, query: &str, cursor: &mut String) -> String {
    let answer = world.get(&format!("/api/v1/devices?{query}since={cursor}")).await;
    answer["cursor"].as_str().unwrap().clone_into(cursor);
    let devices = answer["devices"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let devices = devices.map(|device| format!("{} {}", text(&device["name"]), text(&device["state"])));
    let removed = answer["removed"].as_array().unwrap().iter().map(|name| format!("-{}", text(name)));
    devices.chain(removed).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_client_gets_only_the_changes() {
    let world = World::new().await;
    for name in ["b1", "b2", "b3"] {
        world.register(name, json!({})).await;
    }
    let begin = world.get("/api/v1/devices?state=New").await["cursor"].as_str().unwrap().to_owned();
    let (mut all, mut new) = (begin.clone(), begin.clone());
    assert_eq!(since(&world, "", &mut all).await, "");

    world.force("b2", "LockedOut").await;
    world.force("b2", "Maintenance").await;
    assert_eq!(since(&world, "", &mut all).await, "b2 Maintenance");
    assert_eq!(since(&world, "state=New&", &mut new).await, "-b2", "it is not in this list any more");
    assert_eq!(since(&world, "", &mut all).await, "");
    assert_eq!(since(&world, "state=New&", &mut new).await, "");

    world.register("b4", json!({})).await;
    let (status, _) = world.call(Method::PATCH, "/api/v1/devices/b1", Some(json!({ "comments": "x" }))).await;
    assert_eq!(status, StatusCode::OK);
    for name in ["b2", "b3"] {
        let (status, _) = world.call(Method::DELETE, &format!("/api/v1/devices/{name}"), None).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    world.register("b3", json!({})).await;
    assert_eq!(since(&world, "", &mut all).await, "b1 New, b3 New, b4 New, -b2");
    assert_eq!(since(&world, "state=New&", &mut new).await, "b1 New, b3 New, b4 New, -b2");
    assert_eq!(since(&world, "", &mut begin.clone()).await, "b1 New, b3 New, b4 New, -b2");

    // Open transactions on other databases of this server delay removing old entries.
    wait_until("the cursor is gone", async || {
        let mut tx = world.server.engine.store().begin().await.unwrap();
        changes::prune(&mut tx, 1).await.unwrap();
        tx.commit().await.unwrap();
        let answer = send(&world, &format!("GET /api/v1/devices?since={begin}"), "").await;
        answer.status == 410 && answer.json()["code"] == "cursor_gone"
    })
    .await;
    let fresh = world.get("/api/v1/devices").await["cursor"].as_str().unwrap().to_owned();
    assert_eq!(since(&world, "", &mut fresh.clone()).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_changes_require_a_new_list() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    for (entries, boards_each, status) in [(4096, 1, 200), (4097, 1, 410), (100, 100, 200), (73, 137, 410)] {
        let cursor = world.get("/api/v1/devices").await["cursor"].as_str().unwrap().to_owned();
        // Many entries of the log, each of other boards.
        let sql = "INSERT INTO change (xact, instances, visits, deadlines)
                   SELECT pg_current_xact_id()::text::bigint, array_agg(1000000 + entry * $2 + board),
                          array_agg(1), array_agg(NULL::timestamptz)
                     FROM generate_series(1, $1) entry, generate_series(1, $2) board GROUP BY entry";
        sqlx::query(sql).bind(entries).bind(boards_each).execute(&pool).await.unwrap();
        let answer = send(&world, &format!("GET /api/v1/devices?since={cursor}"), "").await;
        assert_eq!(answer.status, status, "{entries} entries of {boards_each} boards: {:.200}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_are_counted_by_state() {
    let world = World::new().await;
    let counts = async || {
        let mut counts = world.get("/api/v1/states").await;
        counts.as_object_mut().unwrap().remove("cursor").unwrap();
        counts
    };
    assert_eq!(counts().await, json!({ "total": 0, "states": {} }));
    for name in ["b1", "b2", "b3"] {
        world.register(name, json!({})).await;
    }
    world.force("b3", "LockedOut").await;
    let answers = futures_util::future::join_all((0..10).map(|_| counts())).await;
    for counts in answers {
        assert_eq!(counts, json!({ "total": 3, "states": { "LockedOut": 1, "New": 2 } }));
    }
    // The cursor is valid for continuing.
    let mut cursor = world.get("/api/v1/states").await["cursor"].as_str().unwrap().to_owned();
    world.force("b1", "LockedOut").await;
    assert_eq!(since(&world, "", &mut cursor).await, "b1 LockedOut");
    assert_eq!(counts().await, json!({ "total": 3, "states": { "LockedOut": 2, "New": 1 } }));
}

/// Inserts boards into the database, faster than by HTTP, each with this many bytes of comments.
pub(super) async fn fill(pool: &PgPool, boards: i32, bytes: i32) {
    sqlx::query(
        "WITH made AS (
             INSERT INTO instance (machine, name, state, visit, entered_at, counters, data)
             SELECT 'board', 'b' || lpad(n::text, 6, '0'), 'New', 1, '2026-01-01T12:00:00Z', '{}', '{}'
               FROM generate_series(1, $1) n RETURNING instance_id, name)
         INSERT INTO device (instance_id, fqdn, mac, hardware, environment, comments, registered_at)
         SELECT instance_id, name, name, 'panda', '', repeat('x', $2), '2026-01-01T12:00:00Z' FROM made",
    )
    .bind(boards)
    .bind(bytes)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_is_complete_and_consistent() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    // More than one read fetches.
    fill(&pool, 12_000, 0).await;
    let expected: Vec<String> = (1..=12_000).map(|n| format!("b{n:06}")).collect();
    for (query, begin, most) in [
        ("", 0, 12_000),
        ("?limit=1500", 0, 1500),
        ("?limit=1500&after=b001000", 1000, 1500),
        ("?limit=10000", 0, 10_000),
        ("?limit=10001", 0, 10_001),
        ("?limit=10000&after=b002000", 2000, 10_000),
        ("?after=b011999", 11_999, 1),
        ("?after=b012000", 12_000, 0),
    ] {
        let list = world.get(&format!("/api/v1/devices{query}")).await;
        let devices = list["devices"].as_array().unwrap();
        let names: Vec<&str> = devices.iter().map(|device| device["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected[begin..begin + most], "{query}");
        let next = (begin + most < 12_000).then(|| expected[begin + most - 1].clone());
        assert_eq!(list["next"], json!(next), "{query}");
    }
    // Boards added while a list is read are not in it, and removed ones still are.
    fill_comments(&pool, 2000).await;
    let mut answer = begin_list(&world).await;
    sqlx::query("DELETE FROM instance WHERE name = 'b012000'").execute(&pool).await.unwrap();
    sqlx::query(
        "INSERT INTO instance (machine, name, state, visit, entered_at, counters, data)
                 VALUES ('board', 'b900000', 'New', 1, now(), '{}', '{}')",
    )
    .execute(&pool)
    .await
    .unwrap();
    let mut text = Vec::new();
    while let Some(chunk) = await_within_timeout("the list", answer.chunk()).await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    let list: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(list["devices"].as_array().unwrap().len(), 12_000);
    assert_eq!(list["devices"][11_999]["name"], "b012000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_field_of_a_listed_board_has_its_value() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    let data = json!({ "image": "on it", "next_image": "to come", "failure": "no hands" });
    sqlx::query(
        "WITH made AS (
             INSERT INTO instance (machine, name, state, visit, entered_at, deadline_at, counters, data)
             VALUES ('board', 'b1', 'Failed', 7, '2026-01-01T12:00:00Z', '2026-01-01T12:00:00.5Z', '{}', $1)
             RETURNING instance_id)
         INSERT INTO device (instance_id, fqdn, mac, hardware, environment, comments, registered_at)
         SELECT instance_id, 'b1.lab', '00:00:00:00:00:01', 'panda', 'field', 'so so', now() FROM made",
    )
    .bind(&data)
    .execute(&pool)
    .await
    .unwrap();
    let expected = json!([{
        "name": "b1", "state": "Failed", "since": "2026-01-01T12:00:00Z", "visit": 7,
        "deadline": "2026-01-01T12:00:00.500Z", "fqdn": "b1.lab", "mac": "00:00:00:00:00:01", "hardware": "panda",
        "environment": "field", "labels": [], "image": "on it", "next_image": "to come", "comments": "so so",
        "failure": "no hands", "problem": "no hands",
    }]);
    assert_eq!(world.get("/api/v1/devices").await["devices"], expected);
    let mut snapshot = world.server.engine.store().snapshot().await.unwrap();
    let machine = MachineName::new("board").unwrap();
    let mut listed =
        std::pin::pin!(lists::read(&mut snapshot, &machine, &BoardFilter::default(), "", 1).unwrap());
    let board = listed.try_next().await.unwrap().unwrap();
    assert_eq!(board.read().unwrap().failure, Some("no hands"));
}

/// Gives all boards comments larger than any socket buffer.
async fn fill_comments(pool: &PgPool, bytes: i32) {
    sqlx::query("UPDATE device SET comments = repeat('x', $1)").bind(bytes).execute(pool).await.unwrap();
}

/// Requests all boards; returns when the answer begins.
async fn begin_list(world: &World) -> reqwest::Response {
    let answer = reqwest::get(format!("http://{}/api/v1/devices", world.server.http)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_list_is_detected_as_truncated() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    fill(&pool, 5000, 10_000).await;
    let mut answer = begin_list(&world).await;
    // The server has filled the socket buffers and waits.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event = 'ClientWrite'
                  AND query LIKE '%JOIN device%'";
    wait_until("the list's connection is cut", async || {
        sqlx::query_scalar::<_, i64>(end).fetch_one(&pool).await.unwrap() > 0
    })
    .await;
    let end = loop {
        match await_within_timeout("the end of the answer", answer.chunk()).await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "a part is not taken for the whole");
    // The next one is complete.
    assert_eq!(world.get("/api/v1/devices").await["devices"].as_array().unwrap().len(), 5000);
}

/// A server on the same engine with shorter timeouts for lists.
struct ShortTimeoutServer {
    url: String,
    _server: JoinSet<()>,
}

impl ShortTimeoutServer {
    async fn serve(world: &World, timeouts: ListTimeouts) -> Self {
        let api = ApiContext { list_timeouts: timeouts, ..api_over(world.server.engine.clone()) };
        let (server, serving) = serve(api).await;
        Self { url: format!("http://{server}/api/v1/devices"), _server: serving }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_too_slow_reader_of_a_list_is_disconnected_and_blocks_no_other() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    fill(&pool, 5000, 10_000).await;
    let ListTimeouts { first_part_timeout: _, whole_timeout, stall_timeout } = ListTimeouts::default();
    assert_eq!((whole_timeout, stall_timeout), (Duration::from_mins(1), Duration::from_secs(10)));
    let short = Duration::from_millis(200);
    for timeouts in [
        ListTimeouts { whole_timeout: short, ..ListTimeouts::default() },
        ListTimeouts { stall_timeout: short, ..ListTimeouts::default() },
    ] {
        let server = ShortTimeoutServer::serve(&world, timeouts).await;
        // Each reads the beginning and then pauses; there are as many as allowed at once.
        let mut answers = Vec::new();
        for _ in 0..ConnectionBudget::default().snapshots {
            answers.push(reqwest::get(&server.url).await.unwrap());
        }
        let list = await_within_timeout("a list for another", world.get("/api/v1/devices?limit=1")).await;
        assert_eq!(list["devices"].as_array().unwrap().len(), 1);
        let sending = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND state = 'active' AND query LIKE '%JOIN device%'
                          AND pid <> pg_backend_pid()";
        wait_until("all are cut off", async || {
            sqlx::query_scalar::<_, i64>(sending).fetch_one(&pool).await.unwrap() == 0
        })
        .await;
        for mut answer in answers {
            let end = loop {
                match await_within_timeout("the end of the answer", answer.chunk()).await {
                    Ok(Some(_)) => {}
                    end => break end,
                }
            };
            assert!(end.is_err(), "a part is not taken for the whole");
        }
    }
    // A client that disconnects does not block either.
    for _ in 0..2 * ConnectionBudget::default().snapshots {
        drop(begin_list(&world).await);
    }
    let list = await_within_timeout("a list for another", world.get("/api/v1/devices?limit=1")).await;
    assert_eq!(list["devices"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_at_one_address_are_limited_and_then_refused() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    fill(&pool, 5000, 10_000).await;
    // So slow that nothing ends by itself.
    let long = Duration::from_mins(2);
    let server = ShortTimeoutServer::serve(
        &world,
        ListTimeouts { first_part_timeout: long, whole_timeout: long, stall_timeout: long },
    )
    .await;
    let client = |number| {
        let address = IpAddr::from([127, 0, 0, number]);
        reqwest::Client::builder().local_address(address).build().unwrap()
    };
    let slow = client(2);
    let mut started_lists = Vec::new();
    for _ in 0..ConnectionBudget::default().snapshots / 2 {
        started_lists.push(
            await_within_timeout("the beginning of a list", slow.get(&server.url).send()).await.unwrap(),
        );
    }
    let more = slow.get(&server.url).send();
    let others = async {
        let url = format!("{}?limit=1", server.url);
        let list = await_within_timeout("a list for another", client(3).get(url).send()).await.unwrap();
        assert_eq!(list.status(), StatusCode::OK);
        let page = format!("http://{}/", world.server.http);
        let page = await_within_timeout("the page", client(3).get(page).send()).await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
    };
    let (refused, ()) = tokio::join!(await_within_timeout("a refusal", more), others);
    let refused = refused.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["detail"], "other lists take longer than 5s; try again shortly");
    drop(started_lists);
    let list =
        await_within_timeout("a list once the others are gone", slow.get(&server.url).send()).await.unwrap();
    assert_eq!(list.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_cannot_start_is_answered_with_a_problem() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    world.register("b1", json!({})).await;
    let list = async |url: &str| {
        let answer = await_within_timeout("the answer", reqwest::get(url)).await.unwrap();
        let retry_after = answer.headers().contains_key("retry-after");
        let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let (status, problem) = (answer.status(), answer.json::<Value>().await.unwrap());
        format!("{status} {media_type} {retry_after} {} {}", problem["code"], problem["detail"])
    };
    let mut locked = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE device IN ACCESS EXCLUSIVE MODE").execute(&mut *locked).await.unwrap();
    let (short, mut answers) = (Duration::from_millis(200), Vec::new());
    for timeouts in [
        ListTimeouts { first_part_timeout: short, ..ListTimeouts::default() },
        ListTimeouts { whole_timeout: short, ..ListTimeouts::default() },
    ] {
        let server = ShortTimeoutServer::serve(&world, timeouts).await;
        answers.push(list(&server.url).await);
    }
    locked.rollback().await.unwrap();
    sqlx::query("ALTER TABLE device RENAME comments TO remarks").execute(&pool).await.unwrap();
    let server = ShortTimeoutServer::serve(&world, ListTimeouts::default()).await;
    answers.push(list(&server.url).await);
    assert_snapshot!(answers.join("\n"), @r#"
    503 Service Unavailable application/problem+json true "unavailable" "the list took longer than 200ms; try again shortly, or ask for fewer boards"
    503 Service Unavailable application/problem+json true "unavailable" "the list took longer than 200ms; try again shortly, or ask for fewer boards"
    503 Service Unavailable application/problem+json true "unavailable" "the schema of the database is incomplete, as while a dump is restored; try again shortly"
    "#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_snapshot_is_slow_and_the_next_one_is_not() {
    let world = World::new().await;
    let store = world.server.engine.store();
    let limits = async |snapshot: &mut Snapshot| -> (String, String) {
        let ask = "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')";
        sqlx::query_as(ask).fetch_one(&mut **snapshot).await.unwrap()
    };
    for _ in 0..2 {
        let mut snapshot = store.snapshot().await.unwrap();
        assert_eq!(limits(&mut snapshot).await, ("20s".to_owned(), "10s".to_owned()));
        snapshot.take_time(Duration::from_secs(65)).await.unwrap();
        assert_eq!(limits(&mut snapshot).await, ("65s".to_owned(), "65s".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_filter_values_are_refused_instead_of_giving_an_empty_list() {
    let world = World::new().await;
    let none = send(&world, "GET /api/v1/devices?hardware=panda&environment=lab", "").await;
    assert_eq!((none.status, &none.json()["devices"]), (200, &json!([])), "of no boards nothing is known");
    world.register("b1", json!({ "environment": "lab" })).await;
    let early = send(&world, "GET /api/v1/devices?image=base", "").await;
    assert_eq!(early.status_and_body(), "422 invalid: there is no image `base`");
    world.image("base").await;
    let mut answers = Vec::new();
    for query in [
        "state=Reday",
        "state=New,Reday",
        "state=",
        "state=New,",
        "state=N_w",
        "state=failed*",
        "state=Fialed*&since=0.0-0",
        "hardware=pnada",
        "hardware=",
        "environment=lba",
        "labels=foo",
        "image=bsae",
        "state=Failed*&hardware=panda&environment=lab&image=base",
        "name=none&hardware=panda",
    ] {
        let answer = send(&world, &format!("GET /api/v1/devices?{query}"), "").await;
        let answer = answer.status_and_body();
        answers.push(format!("{query}: {}", answer.lines().next().unwrap()));
    }
    // Cursors differ from run to run.
    let answers = answers.iter().map(|line| line.split("\"cursor\"").next().unwrap()).collect::<Vec<_>>();
    assert_snapshot!(answers.join("\n"), @"
    state=Reday: 422 no_state: no state `Reday`; did you mean `Ready`?
    state=New,Reday: 422 no_state: no state `Reday`; did you mean `Ready`?
    state=: 422 no_state: state: the name of a state is empty
    state=New,: 422 no_state: state: the name of a state is empty
    state=N_w: 422 no_state: no state `N_w`; did you mean `New`?
    state=failed*: 422 no_state: no state `failed*`
    state=Fialed*&since=0.0-0: 422 no_state: no state `Fialed*`
    hardware=pnada: 422 invalid: no board has hardware `pnada`; did you mean `panda`?
    hardware=: 422 invalid: hardware: the value is empty; known: panda
    environment=lba: 422 invalid: no board is in the environment `lba`; did you mean `lab`?
    labels=foo: 422 invalid: no board has the label `foo`
    image=bsae: 422 invalid: there is no image `bsae`; did you mean `base`?
    state=Failed*&hardware=panda&environment=lab&image=base: 200 {
    name=none&hardware=panda: 200 {
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_the_page_show_the_last_failure_and_its_count() {
    let world = World::new().await;
    for (coil, name) in [(0, "b1"), (1, "b2"), (2, "b3")] {
        world.register(name, unreachable_power(coil)).await;
    }
    world.force("b1", "RebootRebooting").await;
    let has_failed = |device: &Value| device["data"]["failure"].is_string();
    world.pass_time_until("b1", "its power cycle has failed", has_failed).await;
    let pool = world.database.pool().await;
    sqlx::query("UPDATE instance SET counters = '{\"RebootRebooting\": 6}' WHERE name = 'b1'")
        .execute(&pool)
        .await
        .unwrap();
    world.force("b1", "New").await;
    world.force("b1", "RebootRebooting").await;
    let lock = json!({ "reason": "<smells>", "by": "ann" });
    assert_eq!(world.request("b2", "rq-lock-out", lock).await.0, 200);
    let is_told = |device: &Value| device["failure"].is_string();
    crate::world::wait_until("the failure is listed", async || {
        is_told(&world.get("/api/v1/devices").await["devices"][0])
    })
    .await;
    let listed = world.get("/api/v1/devices").await;
    let answers = listed["devices"].as_array().unwrap().iter().map(|device| {
        let keys = ["name", "state", "failed_tries", "failure", "lock_reason"];
        keys.map(|key| device[key].to_string()).join(" ")
    });
    assert_snapshot!(answers.collect::<Vec<_>>().join("\n"), @r#"
    "b1" "RebootRebooting" 6 "no connection to 127.0.0.1:1: Connection refused" null
    "b2" "LockedOut" null null "<smells>"
    "b3" "New" null null null
    "#);
    let page = send(&world, "GET /", "").await.text;
    for part in
        ["<span>try 7</span> <em>no connection to 127.0.0.1:1", "<em>locked out: &#60;smells&#62;</em>"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
}
