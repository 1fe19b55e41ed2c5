//! The clients: each sends one message after the other, to any server that answers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lifeguard::farm::Random;
use serde_json::{Value, json};
use sqlx::postgres::PgPool;
use tokio::task::JoinSet;

use super::disasters::Disasters;
use super::exchange::{ClientAnswer, ClientRequest, Exchange, KnownState};
use super::http::HttpConnection;
use super::rows;
use super::servers::{SERVERS, Servers};
use crate::world::yield_briefly;

/// Number of clients.
const CLIENTS: u64 = 8;

/// State shared by the clients of a run.
pub(super) struct ClientLoad {
    pub(super) seed: u64,
    pub(super) servers: Arc<Servers>,
    pub(super) boards: Vec<String>,
    pub(super) disasters: Disasters,
    pub(super) pool: PgPool,
    known: Vec<Mutex<KnownState>>,
    /// Counts what is sent and what is answered.
    moments: AtomicU64,
    answers: AtomicUsize,
    /// The run ends after this many answers.
    max_answers: usize,
}

impl ClientLoad {
    pub(super) fn new(
        seed: u64,
        servers: Arc<Servers>,
        boards: Vec<String>,
        disasters: Disasters,
        pool: PgPool,
        max_answers: usize,
    ) -> Self {
        let new = || Mutex::new(KnownState { state: "New".to_owned(), visit: 1 });
        let known = boards.iter().map(|_| new()).collect();
        let (moments, answers) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self { seed, servers, boards, disasters, pool, known, moments, answers, max_answers }
    }

    /// Registers the boards.
    pub(super) async fn register(&self) {
        let mut lines = ClientConnections::default();
        for (number, board) in self.boards.iter().enumerate() {
            let mac = format!("02:00:{:02x}:{:02x}:00:{number:02x}", self.seed >> 8 & 0xff, self.seed & 0xff);
            let body = json!({ "name": board, "mac": mac, "hardware": "panda" });
            loop {
                match lines.post(&self.servers, 0, "/api/v1/devices", &body).await {
                    // Without an answer it is unknown whether it was done.
                    Some((_, Some((201 | 409, _)))) => break,
                    Some((_, Some((503, _)) | None)) | None => yield_briefly().await,
                    Some((_, Some(answer))) => panic!("{board}: {answer:?}"),
                }
            }
        }
    }

    /// Runs all clients until there are enough answers; returns all exchanges.
    pub(super) async fn run(self: &Arc<Self>) -> Vec<Exchange> {
        let clients = (0..CLIENTS).map(|client| Arc::clone(self).run_client(client));
        clients.collect::<JoinSet<_>>().join_all().await.concat()
    }

    async fn run_client(self: Arc<Self>, client: u64) -> Vec<Exchange> {
        let mut random = Random::stream(self.seed, 1 + client);
        let mut lines = ClientConnections::default();
        let mut messages = Vec::new();
        while self.answers.load(Ordering::Relaxed) < self.max_answers {
            // The smaller of two, so that some boards get many messages.
            let board = random.next_below(self.boards.len()).min(random.next_below(self.boards.len()));
            let request = ClientRequest::choose(&mut random, &self.known[board].lock().unwrap());
            let mark = format!("{}-{client}-{}", self.seed, messages.len());
            let path = format!("/api/v1/devices/{}/{}", self.boards[board], request.path());
            let wanted = random.next_below(SERVERS);
            let sent = self.moments.fetch_add(1, Ordering::SeqCst);
            let Some((server, answer)) = lines.post(&self.servers, wanted, &path, &request.body(&mark)).await
            else {
                yield_briefly().await;
                continue;
            };
            let answered = self.moments.fetch_add(1, Ordering::SeqCst);
            let answer =
                answer.map_or(ClientAnswer::Unknown, |(status, answer)| ClientAnswer::read(status, &answer));
            let mut is_seen = None;
            if answer == ClientAnswer::Unknown {
                yield_briefly().await;
            } else {
                let answers = 1 + self.answers.fetch_add(1, Ordering::Relaxed);
                self.disasters.strike(answers, server, &self.servers);
                self.learn(board, &answer);
                if random.next_below(4) == 0 {
                    is_seen = rows::is_seen(&self.pool, &self.boards[board], &mark).await;
                }
            }
            messages.push(Exchange {
                mark,
                board: self.boards[board].clone(),
                request,
                answer,
                sent,
                answered,
                is_seen,
            });
        }
        messages
    }

    fn learn(&self, board: usize, answer: &ClientAnswer) {
        let mut known = self.known[board].lock().unwrap();
        if let Some(update) = answer.known().filter(|update| update.visit >= known.visit) {
            *known = update;
        }
    }
}

/// A client's connections, one to each server.
#[derive(Default)]
struct ClientConnections([Option<HttpConnection>; SERVERS]);

impl ClientConnections {
    /// Posts to the requested server, or to the next reachable one; returns the server and its answer. If none is
    /// reachable, nothing was sent.
    async fn post(
        &mut self,
        servers: &Servers,
        wanted: usize,
        path: &str,
        body: &Value,
    ) -> Option<(usize, Option<(u16, Value)>)> {
        for server in (wanted..wanted + SERVERS).map(|server| server % SERVERS) {
            let Some(address) = servers.address(server) else { continue };
            let line = &mut self.0[server];
            if line.as_ref().is_none_or(|line| line.server != address) {
                *line = HttpConnection::open(address).await.ok();
            }
            let Some(connection) = line else { continue };
            let answer = connection.post(path, body).await.ok();
            if answer.is_none() {
                *line = None;
            }
            return Some((server, answer));
        }
        None
    }
}
