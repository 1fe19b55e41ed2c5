//! Test of a server killed while linked instances move.

use std::time::Duration;

use lifeguard::store::Store;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{LEASE, THING, assert_replay_is_exact};
use crate::database::database;
use crate::server_process::ServerProcess;
use crate::world::yield_briefly;

const LEASES: usize = 8;

async fn ask(http: &reqwest::Client, method: Method, url: String, body: Value) -> Option<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = http.request(method, url).body(body).send().await.ok()?;
    answer.status().is_success().then_some(())?;
    answer.json().await.ok()
}

/// Sends events to one lease until the server is gone; returns the number of answers.
async fn send(url: String) -> usize {
    let http = reqwest::Client::new();
    let mut answered = 0;
    while ask(&http, Method::POST, url.clone(), Value::Null).await.is_some() {
        answered += 1;
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_raised_while_a_server_is_killed_are_delivered_exactly_once() {
    let database = database().await;
    let options = || vec!["--database-url".to_owned(), database.url()];
    let mut server = ServerProcess::start(&options());
    let http = reqwest::Client::new();
    let base = format!("http://{}/api/v1/machines", server.http());
    for (machine, text) in [("thing", THING), ("lease", LEASE)] {
        let answer = http.put(format!("{base}/{machine}")).body(text).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    for number in 0..LEASES {
        let links = json!({ "links": { "thing": format!("t{number}") } });
        ask(&http, Method::PUT, format!("{base}/thing/t{number}"), Value::Null).await.unwrap();
        ask(&http, Method::PUT, format!("{base}/lease/l{number}"), links).await.unwrap();
        ask(&http, Method::POST, format!("{base}/thing/t{number}/events/rq-boot"), Value::Null)
            .await
            .unwrap();
    }
    let mut answered = [0; LEASES];
    for round in 0..4_u64 {
        let base = format!("http://{}/api/v1/machines", server.http());
        let mut senders = JoinSet::new();
        for number in 0..LEASES {
            let url = format!("{base}/lease/l{number}/events/rq-tell");
            senders.spawn(async move { (number, send(url).await) });
        }
        #[expect(clippy::disallowed_methods, reason = "the server is to be in the middle of something")]
        tokio::time::sleep(Duration::from_millis(200 + 37 * round)).await;
        server.kill();
        while let Some(sent) = senders.join_next().await {
            let (number, count) = sent.unwrap();
            answered[number] += count;
        }
        yield_briefly().await;
        server = ServerProcess::start(&options());
    }
    server.terminate();
    let pool = database.pool().await;
    for (number, answered) in answered.into_iter().enumerate() {
        let count = async |name: String, event: &str| {
            let sql = "SELECT count(*) FROM history JOIN instance USING (instance_id) WHERE name = $1 AND event = $2";
            let count: i64 = sqlx::query_scalar(sql).bind(name).bind(event).fetch_one(&pool).await.unwrap();
            usize::try_from(count).unwrap()
        };
        let sent = count(format!("l{number}"), "rq-tell").await;
        assert!(answered > 0 && (answered..=answered + 4).contains(&sent), "{number}: {answered}, {sent}");
        for event in ["tell-one", "tell-two"] {
            assert_eq!(count(format!("t{number}"), event).await, sent, "{number}: {event}");
        }
    }
    let store = Store::open(database.connect_options()).await.unwrap();
    assert_replay_is_exact(&store, &["lease", "thing"]).await;
}
