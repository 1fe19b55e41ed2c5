//! Forwarder from the boards to any server that accepts their connection; it records the messages.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use lifeguard::clock::{Clock, SystemClock};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::record::{Moment, SentMessage};

/// How much of an answer is recorded.
const MAX_ANSWER: usize = 16 * 1024;

/// Forwards connections to servers in turn; to the next if one does not accept.
pub(super) struct Forwarder {
    addr: SocketAddr,
    messages: Arc<Mutex<Vec<SentMessage>>>,
    _tasks: JoinSet<()>,
}

impl Forwarder {
    pub(super) async fn new(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, messages) = (listener.local_addr().unwrap(), Arc::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, servers, Arc::clone(&messages)));
        Self { addr, messages, _tasks: tasks }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The messages of boards and their answers.
    pub(super) fn messages(&self) -> Vec<SentMessage> {
        self.messages.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, servers: Vec<SocketAddr>, messages: Arc<Mutex<Vec<SentMessage>>>) {
    let mut connections = JoinSet::new();
    for first in (0..servers.len()).cycle() {
        while connections.try_join_next().is_some() {}
        let (client, _) = listener.accept().await.unwrap();
        let mut order: Vec<usize> = (0..servers.len()).collect();
        order.rotate_left(first);
        let (servers, messages) = (servers.clone(), Arc::clone(&messages));
        connections.spawn(async move {
            for server in order {
                if let Ok(there) = TcpStream::connect(servers[server]).await {
                    let sent = SystemClock.now();
                    let forwarded = pass_on(client, there).await;
                    messages.lock().unwrap().extend(forwarded.read(server, sent));
                    return;
                }
            }
        });
    }
}

/// The beginnings of request and answer; boards use each connection for one request.
#[derive(Default)]
struct ForwardedBytes {
    request: Vec<u8>,
    answer: Vec<u8>,
    answered: Option<Moment>,
}

async fn pass_on(client: TcpStream, server: TcpStream) -> ForwardedBytes {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut forwarded = ForwardedBytes::default();
    let mut buffers = [vec![0_u8; 4096], vec![0_u8; 4096]];
    let [request, answer] = &mut buffers;
    loop {
        tokio::select! {
            read = from_client.read(request) => {
                let Ok(read @ 1..) = read else { return forwarded };
                forwarded.request.extend_from_slice(&request[..read]);
                if to_server.write_all(&request[..read]).await.is_err() {
                    return forwarded;
                }
            }
            read = from_server.read(answer) => {
                let Ok(read @ 1..) = read else { return forwarded };
                if forwarded.answer.len() < MAX_ANSWER {
                    forwarded.answer.extend_from_slice(&answer[..read]);
                }
                forwarded.answered = Some(SystemClock.now());
                if to_client.write_all(&answer[..read]).await.is_err() {
                    return forwarded;
                }
            }
        }
    }
}

impl ForwardedBytes {
    fn read(&self, server: usize, sent: Moment) -> Option<SentMessage> {
        let request = String::from_utf8_lossy(&self.request);
        let path = request.lines().next()?.split(' ').nth(1)?;
        let (board, event) = path.strip_prefix("/api/v1/devices/")?.split_once("/events/")?;
        let event = event.split('?').next()?;
        let mut message = SentMessage {
            board: board.to_owned(),
            event: event.to_owned(),
            server,
            sent,
            ..SentMessage::default()
        };
        let answer = String::from_utf8_lossy(&self.answer);
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        message.answer = self.answered.zip(status);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        message.outcome = outcome(&serde_json::from_str(body).unwrap_or_default());
        Some(message)
    }
}

/// The outcome of an event in an answer.
pub(super) fn outcome(body: &Value) -> Option<(String, i64)> {
    Some((body["outcome"].as_str()?.to_owned(), body["visit"].as_i64()?))
}
