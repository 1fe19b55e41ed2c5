//! Boards that could not report anything because no server was at work.

use std::time::Duration;

use serde_json::json;

use crate::world::{World, ask};

/// Makes as if the last server, which was stopped in order, had ended `span` earlier than it did.
async fn ended_earlier(pool: &sqlx::PgPool, span: &str) {
    let sql = "UPDATE worker SET lease_until = lease_until - $1::text::interval, deadlines_held_until = NULL
                WHERE lease_until <= clock_timestamp() AND clock_offset_s IS NULL";
    let ended = sqlx::query(sql).bind(span).execute(pool).await.unwrap();
    assert_eq!(ended.rows_affected(), 1, "the last one leaves word of when it ended, and no time of day");
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
        ended_earlier(&database.pool().await, "1 h").await;
        clock.advance(Duration::from_hours(1));
    });
    let world = world.await.unwrap();
    // Others that start meanwhile know as well that nobody was there.
    let other = world.beside().await;
    let pool = world.database.pool().await;
    let at_work = "SELECT count(*) FROM worker
                    WHERE deadlines_held_until - clock_timestamp() BETWEEN interval '4 min' AND interval '5 min'";
    ask("both hold deadlines", async || {
        sqlx::query_scalar::<_, i64>(at_work).fetch_one(&pool).await.unwrap() == 2
    })
    .await;
    assert_eq!(other.report("late", "image-running").await.0, 200);
    world.until_state("late", "Ready").await;
    assert_eq!(world.state("silent").await, "RebootComplete");
    // Where somebody was there all the time, the next one waits for nobody.
    other.server.stop().await.unwrap();
    ask("the other one is forgotten", async || {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM worker").fetch_one(&pool).await.unwrap() == 1
    })
    .await;
    let world = world.again_when(async |_, database| ended_earlier(&database.pool().await, "0 s").await);
    let world = world.await.unwrap();
    world.until("silent", "its deadline has passed", |device| device["state"] != "RebootComplete").await;
}
