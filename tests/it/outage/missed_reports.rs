//! Tests of boards that could not report because no server was running.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::rack::Rack;
use crate::world::{World, pass_time_during, wait_until};

/// Sets the stop of the last server, which was stopped in order, to `span` earlier.
async fn ended_earlier(pool: &sqlx::PgPool, span: &str) {
    let sql = "UPDATE worker SET lease_until = lease_until - $1::text::interval,
                      heard_until = heard_until - $1::text::interval, deadlines_held_until = NULL
                WHERE lease_until <= clock_timestamp() AND clock_offset_s IS NULL";
    let ended = sqlx::query(sql).bind(span).execute(pool).await.unwrap();
    assert_eq!(ended.rows_affected(), 1, "the last one leaves word of when it ended, and no time of day");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_hour_without_a_server_reports_are_accepted_before_deadlines_fire() {
    let world = World::new().await;
    for name in ["late", "silent"] {
        world.register(name, json!({})).await;
        world.force(name, "RebootComplete").await;
        world.until(name, "a deadline is armed", |device| device["deadline"].is_string()).await;
    }
    let world = world.restart_when(async |clock, database| {
        ended_earlier(&database.pool().await, "1 h").await;
        clock.advance(Duration::from_hours(1));
    });
    let world = world.await.unwrap();
    // Other servers that start meanwhile also know of the downtime.
    let other = world.second_server().await;
    let pool = world.database.pool().await;
    let at_work = "SELECT count(*) FROM worker
                    WHERE deadlines_held_until - clock_timestamp() BETWEEN interval '4 min' AND interval '5 min'";
    wait_until("both hold deadlines", async || {
        sqlx::query_scalar::<_, i64>(at_work).fetch_one(&pool).await.unwrap() == 2
    })
    .await;
    assert_eq!(other.report("late", "image-running").await.0, 200);
    world.until_state("late", "Ready").await;
    assert_eq!(world.state("silent").await, "RebootComplete");
    // If a server was running all the time, the next one does not wait.
    other.server.stop().await.unwrap();
    wait_until("the other one is forgotten", async || {
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM worker").fetch_one(&pool).await.unwrap() == 1
    })
    .await;
    let world = world.restart_when(async |_, database| ended_earlier(&database.pool().await, "0 s").await);
    let world = world.await.unwrap();
    world.until("silent", "its deadline has passed", |device| device["state"] != "RebootComplete").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_fires_no_deadlines_and_the_next_one_knows_the_downtime() {
    let world = World::new().await;
    let rack = Rack::new(&world, 1);
    world.register("cycles", rack.slow_power_facts(0)).await;
    world.register("installs", json!({})).await;
    world.force("installs", "ReimageBooted").await;
    world.until("installs", "a deadline is armed", |device| device["deadline"].is_string()).await;
    assert_eq!(world.request("cycles", "rq-reboot", json!({})).await.0, 200);
    rack.until(0, false).await;

    let World { server, clock, database, .. } = world;
    let (pool, url) = (database.pool().await, format!("http://{}/healthz", server.http));
    let mut stop = JoinSet::new();
    stop.spawn(async move { server.stop().await.map_err(|error| error.to_string()) });
    wait_until("the port is closed", async || reqwest::get(&url).await.is_err()).await;
    let unheard = async |span: &str| {
        let sql = "SELECT lease_until - heard_until > $1::text::interval FROM worker";
        sqlx::query_scalar::<_, bool>(sql).bind(span).fetch_one(&pool).await.unwrap()
    };
    wait_until("it tells since when", async || unheard("2 s").await).await;
    // Its power cycle ends; the other board's deadline fires.
    clock.advance(Duration::from_mins(3));
    pass_time_during("the end of the server", &clock, stop.join_next()).await.unwrap().unwrap().unwrap();
    assert!(rack.is_on(0));
    let state = "SELECT state FROM instance WHERE name = 'installs'";
    let state: String = sqlx::query_scalar(state).fetch_one(&pool).await.unwrap();
    assert_eq!(state, "ReimageBooted");
    assert!(unheard("0.3 s").await, "its row has the time when it stopped listening, not its exit");
}
