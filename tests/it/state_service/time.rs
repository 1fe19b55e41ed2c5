//! Tests of states that end only by time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::world::World;

/// Ten states, each ending a second after the previous one, and the final state.
fn chain() -> String {
    let at = |second: i64| World::noon() + TimeDelta::seconds(second);
    let states = (1..=10).map(|second| {
        format!(
            "- {{name: s{second}, func: time, target: {{name: s{}, when: {{key: clock, value: '{}'}}}}}}\n",
            second + 1,
            at(second).to_rfc3339()
        )
    });
    format!("current_state: s1\nstates:\n{}- {{name: s11}}\n", states.collect::<String>())
}

async fn moves(world: &World) -> Vec<(String, DateTime<Utc>, DateTime<Utc>)> {
    let history = world.get("/api/v1/machines/states/shared/history?limit=1000").await;
    let time = |value: &Value| value.as_str().unwrap().parse().unwrap();
    let entries = history["history"].as_array().unwrap().iter().rev();
    let deadlines = entries.filter(|entry| entry["kind"] == "deadline");
    deadlines
        .map(|entry| {
            let to = entry["to"].as_str().unwrap().to_owned();
            (to, time(&entry["at"]), time(&entry["evidence"]["due_at"]))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_state_of_a_chain_ends_at_its_time_and_not_a_microsecond_before() {
    let world = World::with_state_service(&chain()).await.unwrap();
    for second in 1..=10 {
        world.clock.advance(Duration::from_secs(1) - Duration::from_micros(1));
        world.until_current(&format!("/state?state=s{second}")).await;
        world.clock.advance(Duration::from_micros(1));
        world.until_current(&format!("/state?state=s{}", second + 1)).await;
    }
    let noon = World::noon();
    let expected: Vec<_> = (1..=10)
        .map(|second| {
            let at = noon + TimeDelta::seconds(second);
            (format!("s{}", second + 1), at, at)
        })
        .collect();
    assert_eq!(moves(&world).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts_during_a_downtime_are_processed_at_once() {
    let world = World::with_state_service(&chain()).await.unwrap();
    world.clock.advance(Duration::from_secs(2));
    world.until_current("/state?state=s3").await;
    let world = world.restart_after(Duration::from_secs(5)).await.unwrap();
    world.until_current("/state?state=s8").await;
    let noon = World::noon();
    let seconds = |at: DateTime<Utc>| (at - noon).num_seconds();
    let caught_up: Vec<_> =
        moves(&world).await.into_iter().map(|(to, at, due)| (to, seconds(at), seconds(due))).collect();
    let caught_up: Vec<(&str, i64, i64)> =
        caught_up.iter().map(|(to, at, due)| (to.as_str(), *at, *due)).collect();
    // The clock advanced two seconds in one step.
    let expected =
        [("s2", 2, 1), ("s3", 2, 2), ("s4", 7, 3), ("s5", 7, 4), ("s6", 7, 5), ("s7", 7, 6), ("s8", 7, 7)];
    assert_eq!(caught_up, expected);
    world.clock.advance(Duration::from_mins(1));
    world.until_current("/state?state=s11").await;
}
