//! Refused connections: what their clients are answered, and what is logged.

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

/// How many refused clients are answered at once; more are cut off without an answer.
const MAX_CONCURRENT_REFUSALS: usize = 64;
/// How long a client may take to read that, in real time: what it sends meanwhile is read, for it would not see the answer
/// if it sent into a closed connection.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// For how long there must have been room for the shortage to be over, in real time.
const SHORTAGE_END_DELAY: Duration = Duration::from_secs(10);

/// The refusals of one shortage.
struct ConnectionShortage {
    last_at: Instant,
    refused: u64,
    closed: u64,
}

/// Refuses clients, and logs when that begins and when it is over.
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
    /// There was no room, and an idle connection was closed for that of `peer`.
    pub(super) fn note_closed(&mut self, peer: IpAddr) {
        self.shortage(peer, "idle ones are closed").closed += 1;
    }

    /// Tells a client that there is no room.
    pub(super) fn refuse(&mut self, stream: TcpStream, peer: IpAddr, full: ConnectionLimit) {
        let (why, detail) = match full {
            ConnectionLimit::Client => (
                "one client has as many as one may have",
                "this client has as many connections as one may have; close some",
            ),
            ConnectionLimit::Server => {
                ("all are in use", "the server has as many connections as it may have; try again shortly")
            }
        };
        self.shortage(peer, why).refused += 1;
        while self.answering.try_join_next().is_some() {}
        if self.answering.len() < MAX_CONCURRENT_REFUSALS {
            let time = self.refusal_timeout;
            self.answering.spawn(async move {
                tokio::select! {
                    // On a busy machine the time may be over before the answer was sent.
                    biased;
                    // The client may have gone.
                    _ = answer(stream, detail) => {}
                    () = sleep_real_time(time) => {}
                }
            });
        }
    }

    fn shortage(&mut self, peer: IpAddr, why: &'static str) -> &mut ConnectionShortage {
        let shortage = self.shortage.get_or_insert_with(|| {
            tracing::warn!(%peer, why, "HTTP connections exhausted");
            ConnectionShortage { last_at: Instant::now(), refused: 0, closed: 0 }
        });
        shortage.last_at = Instant::now();
        shortage
    }

    /// Ends when there has been room for a while, and logs that. Without a shortage it does not end.
    pub(super) async fn shortage_ended(&mut self) {
        let Some(shortage) = &self.shortage else { return std::future::pending().await };
        sleep_real_time((shortage.last_at + SHORTAGE_END_DELAY).saturating_duration_since(Instant::now()))
            .await;
        let (refused, closed) = (shortage.refused, shortage.closed);
        tracing::info!(refused, idle_closed = closed, "HTTP connections available again");
        self.shortage = None;
    }
}

/// Answers whatever is asked.
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
    async fn so_many_are_told_at_once_each_for_a_second_and_others_are_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut clients, mut accepted) = (Vec::new(), Vec::new());
        for _ in 0..65 {
            clients.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
            accepted.push(listener.accept().await.unwrap().0);
        }
        let (usual, short) = (ConnectionRefusals::default(), Duration::from_millis(100));
        assert_eq!((MAX_CONCURRENT_REFUSALS, usual.refusal_timeout), (64, Duration::from_secs(1)));
        let mut refusals = ConnectionRefusals { refusal_timeout: short, ..usual };
        let begun = Instant::now();
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
        // None of them closes its connection.
        tokio::select! {
            () = async { while refusals.answering.join_next().await.is_some() {} } => {}
            () = sleep_real_time(Duration::from_secs(9)) => panic!("they are waited for on and on"),
        }
        assert!(begun.elapsed() >= short, "{:?}", begun.elapsed());
    }
}
