//! Boards that could not report anything because no server was at work.

use std::time::Duration;

use serde_json::json;

use crate::world::{World, ask};

/// Leaves behind what a server leaves that was killed `ago`.
async fn a_server_that_was_killed(pool: &sqlx::PgPool, ago: &str) {
    let sql =
        "INSERT INTO worker (name, lease_until) VALUES ('killed', clock_timestamp() - $1::text::interval)";
    sqlx::query(sql).bind(ago).execute(pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_hour_without_a_server_boards_are_heard_before_their_deadlines_pass() {
    let world = World::new().await;
    for name in ["late", "silent"] {
        world.register(name, json!({})).await;
        world.force(name, "RebootComplete").await;
        world.until(name, "a deadline is armed", |device| device["deadline"].is_string()).await;
    }
    let world = world.again_when(async |clock, database| {
        a_server_that_was_killed(&database.pool().await, "1 h").await;
        clock.advance(Duration::from_hours(1));
    });
    let world = world.await.unwrap();
    // Others that start meanwhile know as well that nobody was there.
    let other = world.beside().await;
    let pool = world.database.pool().await;
    let at_work =
        "SELECT count(*) FROM worker WHERE deadlines_held_until > clock_timestamp() + interval '4 min'";
    ask("both hold deadlines", async || {
        sqlx::query_scalar::<_, i64>(at_work).fetch_one(&pool).await.unwrap() == 2
    })
    .await;
    assert_eq!(other.report("late", "image-running").await.0, 200);
    world.until_state("late", "Ready").await;
    assert_eq!(world.state("silent").await, "RebootComplete");
    // Of two that stop in order nothing is left, and the next one waits for nobody.
    other.server.stop().await.unwrap();
    let world = world.again_after(Duration::ZERO).await.unwrap();
    world.until("silent", "its deadline has passed", |device| device["state"] != "RebootComplete").await;
}
