//! Refuses connections: answers their clients, and logs the shortage.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::registry::ConnectionLimit;
use crate::api::problem::Problem;
use crate::clock::sleep_real_time;

/// How many refused clients are answered at once; others are disconnected without an answer.
const MAX_CONCURRENT_REFUSALS: usize = 64;
/// How long a client may take to read the answer, in real time. Its request is read meanwhile: a client that sends into a
/// closed connection does not see the answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long connections must have been available for the shortage to be over, in real time.
const SHORTAGE_END_DELAY: Duration = Duration::from_secs(10);

/// The refusals of one shortage.
struct ConnectionShortage {
    last_at: Instant,
    refused: u64,
    closed: u64,
}

/// Refuses clients, and logs the beginning and the end of a shortage.
pub(super) struct ConnectionRefusals {
    /// [`REFUSAL_TIMEOUT`], except in tests.
    refusal_timeout: Duration,
    answering: JoinSet<()>,
    shortage: Option<ConnectionShortage>,
}

impl Default for ConnectionRefusals {
    fn default() -> Self {
        Self { refusal_timeout: REFUSAL_TIMEOUT, answering: JoinSet::new(), shortage: None }
    }
}

impl ConnectionRefusals {
    /// Notes that an idle connection was closed for that of `peer`.
    pub(super) fn note_closed(&mut self, peer: IpAddr) {
        self.shortage(peer, "all connections are in use; idle ones are closed").closed += 1;
    }

    /// Answers a client that the limit is reached, and closes its connection.
    pub(super) fn refuse(&mut self, stream: TcpStream, peer: IpAddr, limit: ConnectionLimit) {
        let (reason, detail) = match limit {
            ConnectionLimit::Client => {
                ("too many connections from one client", "too many connections from this client; close some")
            }
            ConnectionLimit::Server => {
                ("all connections are in use", "too many connections to this server; try again shortly")
            }
        };
        self.shortage(peer, reason).refused += 1;
        while self.answering.try_join_next().is_some() {}
        if self.answering.len() < MAX_CONCURRENT_REFUSALS {
            let time = self.refusal_timeout;
            self.answering.spawn(async move {
                tokio::select! {
                    // On a busy machine the time may have passed before the answer was sent.
                    biased;
                    // The client may have disconnected.
                    _ = answer(stream, detail) => {}
                    () = sleep_real_time(time) => {}
                }
            });
        }
    }

    fn shortage(&mut self, peer: IpAddr, reason: &'static str) -> &mut ConnectionShortage {
        let shortage = self.shortage.get_or_insert_with(|| {
            tracing::warn!(%peer, reason, "HTTP connections exhausted");
            ConnectionShortage { last_at: Instant::now(), refused: 0, closed: 0 }
        });
        shortage.last_at = Instant::now();
        shortage
    }

    /// Waits until the shortage is over, and logs that; never returns if there is none.
    pub(super) async fn shortage_ended(&mut self) {
        let Some(shortage) = &self.shortage else { return std::future::pending().await };
        sleep_real_time((shortage.last_at + SHORTAGE_END_DELAY).saturating_duration_since(Instant::now()))
            .await;
        let (refused, closed) = (shortage.refused, shortage.closed);
        tracing::info!(refused, idle_closed = closed, "HTTP connections available again");
        self.shortage = None;
    }
}

/// Sends the answer, regardless of the request.
async fn answer(mut stream: TcpStream, detail: &str) -> io::Result<()> {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).document().to_string();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        problem.len()
    );
    stream.write_all(format!("{head}{problem}").as_bytes()).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_limited_number_of_clients_is_answered_at_once_and_others_are_disconnected() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut clients, mut accepted) = (Vec::new(), Vec::new());
        for _ in 0..65 {
            clients.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
            accepted.push(listener.accept().await.unwrap().0);
        }
        let (default, short) = (ConnectionRefusals::default(), Duration::from_millis(100));
        assert_eq!((MAX_CONCURRENT_REFUSALS, default.refusal_timeout), (64, Duration::from_secs(1)));
        let mut refusals = ConnectionRefusals { refusal_timeout: short, ..default };
        let started = Instant::now();
        for stream in accepted {
            refusals.refuse(stream, Ipv4Addr::LOCALHOST.into(), ConnectionLimit::Server);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            if number < 64 {
                assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\"busy\""), "{text}");
            } else {
                assert_eq!(text, "");
            }
        }
        // No client closes its connection.
        tokio::select! {
            () = async { while refusals.answering.join_next().await.is_some() {} } => {}
            () = sleep_real_time(Duration::from_secs(9)) => panic!("refusals do not end"),
        }
        assert!(started.elapsed() >= short, "{:?}", started.elapsed());
    }
}
