use serde_json::json;

use super::list::fill;
use super::send;
use crate::rack::Rack;
use crate::world::{World, unreachable_power};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_lists_boards_by_state_with_those_needing_attention_first() {
    let world = World::new().await;
    let empty = send(&world, "GET /", "").await;
    assert_eq!((empty.status, empty.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(
        empty.text.contains("No boards yet") && empty.text.contains("Lifeguard: 0 boards"),
        "{}",
        empty.text
    );

    for name in ["b1", "b2", "b3"] {
        world.register(name, json!({ "comments": "<script>alert(1)</script>" })).await;
    }
    world.force("b2", "ReimageBooted").await;
    world.force("b3", "ReimageBooted").await;
    let failed = json!({ "fault": "image", "reason": "<img src=x onerror=\"alert('1')\"> & so on" });
    let path = "POST /api/v1/devices/b3/events/image-failed";
    assert_eq!(send(&world, path, failed.to_string()).await.status, 200);

    let page = send(&world, "GET /", "").await;
    assert_eq!((page.status, page.header("cache-control")), (200, "no-store"));
    let order = ["Lifeguard: 3 boards", "FailedBadImage", "b3", "ReimageBooted", "b2", "New", "b1"];
    let places: Vec<usize> = order
        .iter()
        .map(|part| page.text.find(&format!(">{part}")).unwrap_or_else(|| panic!("{part}: {}", page.text)))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.text.contains("<meta http-equiv=\"refresh\" content=\"2\">"));
    assert!(!page.text.contains("<script") && !page.text.contains("<img"), "{}", page.text);
    assert!(page.text.contains("&#60;img src=x onerror=&#34;alert(&#39;1&#39;)&#34;&#62; &#38; so on"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_a_large_farm_the_page_shows_boards_needing_attention_and_counts_the_rest() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    fill(&pool, 2000, 0).await;
    sqlx::query("UPDATE instance SET state = 'LockedOut' WHERE name <= 'b000900'")
        .execute(&pool)
        .await
        .unwrap();
    for name in ["b000007", "b001999"] {
        world.force(name, "FailedBadBoard").await;
    }
    let page = send(&world, "GET /", "").await.text;
    assert!(
        page.contains("Lifeguard: 2000 boards") && page.contains("FailedBadBoard <small>2</small>"),
        "{page:.2000}"
    );
    for shown in ["b000007", "b001999", "b000001", "b000900"] {
        assert!(page.contains(&format!(">{shown}<")), "{shown}: {page:.2000}");
    }
    assert!(!page.contains("b000901"), "{page:.2000}");
    assert!(page.contains("New <small>1099</small></h2><p>Too many to show here."), "{page:.2000}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_s_page_explains_its_current_state() {
    let world = World::new().await;
    world.register("b1", unreachable_power(0)).await;
    world.force("b1", "ReimageBooted").await;
    let failed = json!({ "fault": "image", "reason": "<img src=x onerror=\"alert('1')\"> & so on" });
    let path = "POST /api/v1/devices/b1/events/image-failed";
    assert_eq!(send(&world, path, failed.to_string()).await.status, 200);
    assert!(send(&world, "GET /", "").await.text.contains("<a href=\"/devices/b1\">b1</a>"));

    let page = send(&world, "GET /devices/b1", "").await;
    assert_eq!((page.status, page.header("cache-control")), (200, "no-store"));
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    for part in [
        "<title>Lifeguard: b1: FailedBadImage</title>",
        "<h2>b1 <small>FailedBadImage</small></h2>",
        "Needs an operator since 12:00:00 UTC (0 s): the board says that the image is bad: try another image",
        "It came from ReimageBooted at 12:00:00 UTC, when it reported image-failed",
        "<code>rq-reboot</code>",
        "refused now: the self-test image has no boot config",
        "moved it to ReimageBooted by force: the test wants it there",
        "&#60;img src=x onerror=&#34;alert(&#39;1&#39;)&#34;&#62; &#38; so on",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!page.text.contains("<img"), "{}", page.text);

    for path in ["/devices/none", "/devices/%3Cimg%3E", "/devices/%00"] {
        let none = send(&world, &format!("GET {path}"), "").await;
        assert_eq!((none.status, none.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
        assert!(none.text.contains("There is no board") && !none.text.contains("<img>"), "{}", none.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_resources_shows_who_holds_them_and_when_who_waits_may_start() {
    let world = World::new().await;
    let empty = send(&world, "GET /resources", "").await;
    assert_eq!((empty.status, empty.header("cache-control")), (200, "no-store"));
    assert!(empty.text.contains("Nothing waits."), "{}", empty.text);

    let rack = Rack::new(&world, 4);
    for (coil, name) in (0..4).zip(["b1", "b2", "b3", "b4"]) {
        world.register(name, rack.slow_power_facts(coil)).await;
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
        if name == "b1" {
            let runs = |device: &serde_json::Value| device["actions"][0]["status"] == "RUNNING";
            world.until(name, "its power is being cycled", runs).await;
        }
    }
    let row = |page: &str, start: &str| {
        let rest = page.split_once(start).unwrap_or_else(|| panic!("{start}: {page}")).1;
        rest.split_once("</tr>").unwrap().0.to_owned()
    };
    let last = "<tr><td><a href=\"/devices/b4\">b4</a></td>";
    let page = send(&world, "GET /resources", "").await.text;
    let relay = row(&page, &format!("<tr><td><code>{}</code>", rack.resource()));
    assert_eq!(relay, "</td><td>1 of 1</td><td></td><td></td><td>b1</td><td>3</td>");
    assert!(page.contains("3 actions wait; when the last of them starts is not known yet."), "{page}");
    let waits = row(&page, last);
    assert!(waits.starts_with("<td>clear-pxe</td>") && waits.contains("<td>2</td>"), "{waits}");
    assert!(waits.ends_with("<td>not known yet</td>"), "{waits}");
    let boards = send(&world, "GET /", "").await.text;
    let board = |name: &str| {
        let rest = boards.split_once(&format!(">{name}</a>")).unwrap().1;
        rest.split_once("</li>").unwrap().0.to_owned()
    };
    let waits = ["b1", "b2", "b3"].map(|name| board(name).contains("waits in the queue"));
    assert_eq!(waits, [false, true, true], "{boards}");

    // Two cycles were seen, so the next ones are predicted.
    for name in ["b1", "b2"] {
        world.pass_time_until(name, "its power is back", |device| device["state"] == "RebootComplete").await;
    }
    let runs = |device: &serde_json::Value| device["actions"][0]["status"] == "RUNNING";
    world.until("b3", "its power is being cycled", runs).await;
    let page = send(&world, "GET /resources", "").await.text;
    assert!(page.contains("1 action waits; it is expected to have started in "), "{page}");
    let waits = row(&page, last);
    assert!(waits.contains("<td>in "), "{waits}");
}
