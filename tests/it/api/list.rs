use insta::assert_snapshot;
use serde_json::json;

use super::{contract, laid_out, send, send_to};
use crate::world::World;

/// The names of a list.
async fn names(world: &World, query: &str) -> String {
    let list = world.get(&format!("/api/v1/devices{query}")).await;
    let names = list["devices"].as_array().unwrap().iter().map(|device| device["name"].as_str().unwrap());
    format!("{query} {}", names.collect::<Vec<_>>().join(" "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_are_listed_as_asked() {
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
    let mut told = Vec::new();
    for query in [
        "",
        "?state=New",
        "?state=Failed*",
        "?state=FailedBadImage,%20LockedOut",
        "?state=failed*",
        "?state=N_w",
        "?state=%25",
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
        "?image=none",
        "?limit=2",
        "?limit=1000000000000",
        "?after=b1",
    ] {
        told.push(names(&world, query).await);
    }
    assert_snapshot!(told.join("\n"), @r"
     B2 a-1 a_1 b1 b10
    ?state=New B2 a_1
    ?state=Failed* b1 b10
    ?state=FailedBadImage,%20LockedOut a-1 b10
    ?state=failed* 
    ?state=N_w 
    ?state=%25 
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
    ?image=none 
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
        ("GET /api/v1/devices?name=%ff&limit=1", ""),
    ];
    assert_snapshot!(contract(&world, requests).await, @r#"
    GET /api/v1/devices?limit=0
    422 invalid: limit must be 1 or more

    GET /api/v1/devices?limit=-1
    422 invalid: limit must be 1 or more

    GET /api/v1/devices?limit=ten
    422 invalid: query: limit: invalid digit found in string

    GET /api/v1/devices?sate=New
    422 invalid: query: sate: unknown field `sate`, expected one of `state`, `hardware`, `environment`, `image`, `name`, `after`, `limit`

    GET /api/v1/devices?name=%00
    422 invalid: a query parameter holds the character U+0000

    GET /api/v1/devices?name=%ff&limit=1
    200 {"devices":[],"next":null}
    "#);
    let one = world.get("/api/v1/devices?limit=1&state=FailedBadBoard").await;
    assert_snapshot!(laid_out(&one), @r#"
    {
      "devices": [
        {
          "comments": "",
          "deadline": null,
          "environment": "",
          "fqdn": "b1",
          "hardware": "panda",
          "image": null,
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
async fn what_has_not_changed_is_not_sent_again() {
    let world = World::new().await;
    world.register("b1", json!({})).await;
    for path in ["/api/v1/devices", "/api/v1/devices/b1", "/api/v1/images"] {
        let line = format!("GET {path}");
        let tag = send(&world, &line, "").await.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{path}: {tag}");
        for has in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let answer = send_to(world.server.http, &line, &[("if-none-match", &has)], "").await;
            assert_eq!((answer.status, answer.header("etag"), &*answer.text), (304, &*tag, ""), "{path}");
        }
        let answer = send_to(world.server.http, &line, &[("if-none-match", "\"other\"")], "").await;
        assert_eq!((answer.status, answer.header("etag")), (200, &*tag), "{path}");
        let image = json!({ "about": path, "boot_configs": { "panda": "p.cfg" } });
        assert!(send(&world, "PUT /api/v1/images/base", image.to_string()).await.status < 300);
        let to = if path == "/api/v1/devices" { "LockedOut" } else { "New" };
        world.force("b1", to).await;
        let answer = send_to(world.server.http, &line, &[("if-none-match", &tag)], "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_ne!(answer.header("etag"), tag, "{path}");
    }
}
