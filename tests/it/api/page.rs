use serde_json::json;

use super::list::fill;
use super::send;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_lists_the_boards_by_state_those_that_need_hands_first() {
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
    assert!(page.text.contains("&lt;img src=x onerror=&quot;alert('1')&quot;&gt; &amp; so on"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_large_farm_the_page_shows_those_that_need_hands_and_counts_the_rest() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    fill(&pool, 2000, 0).await;
    for name in ["b000007", "b001999"] {
        world.force(name, "FailedBadBoard").await;
    }
    let page = send(&world, "GET /", "").await.text;
    assert!(
        page.contains("Lifeguard: 2000 boards") && page.contains("FailedBadBoard <small>2</small>"),
        "{page:.2000}"
    );
    assert!(
        page.contains(">b000007<") && page.contains(">b001999<") && !page.contains("b000008"),
        "{page:.2000}"
    );
    assert!(page.contains("New <small>1998</small></h2><p>Too many to show here."), "{page:.2000}");
}
