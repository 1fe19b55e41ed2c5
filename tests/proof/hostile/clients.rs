//! The clients besides boards: operators, mark writers, and a follower of changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifeguard::clock::{Clock, SystemClock};
use lifeguard::farm::{self, Random};
use serde_json::{Value, json};

use super::forwarder::outcome;
use super::record::{Observation, SentMessage, StateAndVisit};
use super::servers::{SERVERS, Servers};
use crate::cluster::pause;

/// How long a client waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a mark is written, changes are fetched, or a request is sent.
const MARK_EVERY: Duration = Duration::from_millis(60);
const LOOK_EVERY: Duration = Duration::from_millis(150);
const ASK_EVERY: Duration = Duration::from_millis(400);

/// State shared by the clients of a run.
pub(super) struct TestClients {
    pub(super) seed: u64,
    pub(super) servers: Arc<Servers>,
    pub(super) boards: Vec<String>,
    pub(super) http: reqwest::Client,
    messages: Mutex<Vec<SentMessage>>,
    mirror: Mutex<ObservedStates>,
}

/// Boards as known to the follower of changes.
#[derive(Default)]
struct ObservedStates {
    cursor: Option<String>,
    states: BTreeMap<String, StateAndVisit>,
    sightings: BTreeMap<String, Vec<Observation>>,
    /// How often a cursor was invalid.
    voided: usize,
}

impl TestClients {
    pub(super) fn new(
        seed: u64,
        servers: Arc<Servers>,
        boards: Vec<String>,
        http: reqwest::Client,
    ) -> Arc<Self> {
        let (messages, mirror) = (Mutex::default(), Mutex::default());
        Arc::new(Self { seed, servers, boards, http, messages, mirror })
    }

    pub(super) fn url(&self, server: usize, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.servers.http(server))
    }

    /// Sends one message, and records the result.
    async fn say(&self, mut message: SentMessage, path: &str, body: &Value) -> Option<u16> {
        let url = self.url(message.server, &format!("devices/{}/{path}", message.board));
        message.sent = SystemClock.now();
        // Recorded before it is sent, because the sender may be interrupted.
        let index = {
            let mut messages = self.messages.lock().unwrap();
            messages.push(message.clone());
            messages.len() - 1
        };
        let answer = self.http.post(url).json(body).timeout(REQUEST_TIMEOUT).send().await;
        if let Ok(answer) = answer {
            let status = answer.status().as_u16();
            // A truncated answer promises nothing.
            if let Ok(text) = answer.text().await {
                message.answer = Some((SystemClock.now(), status));
                message.outcome = outcome(&serde_json::from_str(&text).unwrap_or_default());
            }
        }
        let status = message.answer.map(|(_, status)| status);
        self.messages.lock().unwrap()[index] = message;
        status
    }

    /// Writes marks on boards, endlessly.
    pub(super) async fn leave_marks(self: Arc<Self>, who: u64) {
        let mut random = Random::stream(self.seed, 1000 + who);
        for number in 0_u64.. {
            let board = self.boards[random.next_below(self.boards.len())].clone();
            let mark = format!("{who}-{number}");
            let message = SentMessage {
                board,
                event: "mark".to_owned(),
                mark: Some(mark.clone()),
                server: random.next_below(SERVERS),
                ..SentMessage::default()
            };
            self.say(message, "events/mark", &json!({ "mark": mark })).await;
            pause(MARK_EVERY).await;
        }
    }

    /// Requests reboots, sometimes a new image or a self-test, and cancels running ones, endlessly.
    pub(super) async fn ask(self: Arc<Self>) {
        let mut random = Random::stream(self.seed, 2000);
        loop {
            let board = self.boards[random.next_below(self.boards.len())].clone();
            let image = farm::IMAGES[random.next_below(2)];
            let (request, body) = match random.next_below(10) {
                0..6 => ("rq-reboot", json!({})),
                6..8 => ("rq-reimage", json!({ "image": image })),
                8 => ("rq-self-test", json!({})),
                // In any state.
                _ => ("rq-cancel", json!({})),
            };
            self.request(&board, random.next_below(SERVERS), request, &body).await;
            pause(ASK_EVERY).await;
        }
    }

    /// Sends one request.
    pub(super) async fn request(
        &self,
        board: &str,
        server: usize,
        request: &str,
        body: &Value,
    ) -> Option<u16> {
        let (board, event) = (board.to_owned(), request.to_owned());
        let message = SentMessage { board, event, server, ..SentMessage::default() };
        self.say(message, &format!("requests/{request}"), body).await
    }

    /// Moves a board by force once; returns whether that was acknowledged.
    pub(super) async fn force(&self, board: &str, server: usize, from: &str, to: &str) -> bool {
        let message = SentMessage {
            board: board.to_owned(),
            event: "force".to_owned(),
            server,
            ..SentMessage::default()
        };
        let body = json!({ "from": from, "to": to, "reason": "it bears witness" });
        self.say(message, "force", &body).await == Some(200)
    }

    /// Follows the changes endlessly, from alternating servers.
    pub(super) async fn follow(self: Arc<Self>) {
        for server in (0..SERVERS).cycle() {
            self.look(server).await;
            pause(LOOK_EVERY).await;
        }
    }

    /// Requests the changes once, or the whole list.
    pub(super) async fn look(&self, server: usize) -> Option<()> {
        let cursor = self.mirror.lock().unwrap().cursor.clone();
        let path = cursor.as_ref().map_or("devices".to_owned(), |cursor| format!("devices?since={cursor}"));
        let asked = SystemClock.now();
        let answer =
            self.http.get(self.url(server, &path)).timeout(Duration::from_secs(5)).send().await.ok()?;
        let mirror = &self.mirror;
        if answer.status().as_u16() == 410 {
            let mut mirror = mirror.lock().unwrap();
            (mirror.cursor, mirror.voided) = (None, mirror.voided + 1);
            return None;
        }
        let list: Value = answer.error_for_status().ok()?.json().await.ok()?;
        let seen = SystemClock.now();
        let mut mirror = mirror.lock().unwrap();
        if cursor.is_none() {
            mirror.states.clear();
        }
        for device in list["devices"].as_array()? {
            let name = device["name"].as_str()?.to_owned();
            let state_and_visit = (device["state"].as_str()?.to_owned(), device["visit"].as_i64()?);
            mirror.states.insert(name, state_and_visit);
        }
        for removed in list["removed"].as_array().into_iter().flatten() {
            mirror.states.remove(removed.as_str()?);
        }
        mirror.cursor = Some(list["cursor"].as_str()?.to_owned());
        // Unchanged boards are recorded in their state.
        let ObservedStates { states, sightings, .. } = &mut *mirror;
        for (name, (state, visit)) in states {
            let of = sightings.entry(name.clone()).or_default();
            // For a long stay the first and the last observation are sufficient.
            if let [.., before, last] = of.as_mut_slice()
                && before.visit == *visit
                && last.visit == *visit
                && before.state == *state
                && last.state == *state
            {
                (last.asked, last.seen) = (asked, seen);
                continue;
            }
            of.push(Observation { asked, seen, state: state.clone(), visit: *visit });
        }
        Some(())
    }

    /// All messages.
    pub(super) fn messages(&self) -> Vec<SentMessage> {
        self.messages.lock().unwrap().clone()
    }

    /// The follower's final state, its observations, and the number of invalid cursors.
    pub(super) fn mirror(
        &self,
    ) -> (BTreeMap<String, StateAndVisit>, BTreeMap<String, Vec<Observation>>, usize) {
        let mirror = self.mirror.lock().unwrap();
        (mirror.states.clone(), mirror.sightings.clone(), mirror.voided)
    }

    /// The JSON of the first server that answers; `None` if none does.
    pub(super) async fn get(&self, path: &str) -> Option<Value> {
        for server in 0..SERVERS {
            let answer = self.http.get(self.url(server, path)).timeout(REQUEST_TIMEOUT).send().await;
            let answer = answer.ok().and_then(|answer| answer.error_for_status().ok());
            if let Some(answer) = answer
                && let Ok(value) = answer.json().await
            {
                return Some(value);
            }
        }
        None
    }
}
