//! Refused connections: what their clients are answered, and what is logged.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::registry::Full;
use crate::api::problem::Problem;
use crate::clock::pause;

/// How many refused clients are answered at once; more are cut off without an answer.
const MAX_ANSWERED: usize = 64;
/// How long a client may take to read that, in real time: what it sends meanwhile is read, for it would not see the answer
/// if it sent into a closed connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// For how long there must have been room for the shortage to be over, in real time.
const RECOVERY_TIME: Duration = Duration::from_secs(10);

/// The refusals of one shortage.
struct Shortage {
    last: Instant,
    refused: u64,
    closed: u64,
}

/// Refuses clients, and logs when that begins and when it is over.
pub(super) struct Refusals {
    /// [`ANSWER_TIMEOUT`], except in tests.
    answer_timeout: Duration,
    answering: JoinSet<()>,
    shortage: Option<Shortage>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { answer_timeout: ANSWER_TIMEOUT, answering: JoinSet::new(), shortage: None }
    }
}

impl Refusals {
    /// There was no room, and an idle connection was closed for that of `peer`.
    pub(super) fn note_closed(&mut self, peer: IpAddr) {
        self.shortage(peer, "idle ones are closed").closed += 1;
    }

    /// Tells a client that there is no room.
    pub(super) fn refuse(&mut self, stream: TcpStream, peer: IpAddr, full: Full) {
        let (why, detail) = match full {
            Full::Client => (
                "one client has as many as one may have",
                "this client has as many connections as one may have; close some",
            ),
            Full::Server => {
                ("all are in use", "the server has as many connections as it may have; try again shortly")
            }
        };
        self.shortage(peer, why).refused += 1;
        while self.answering.try_join_next().is_some() {}
        if self.answering.len() < MAX_ANSWERED {
            let time = self.answer_timeout;
            self.answering.spawn(async move {
                tokio::select! {
                    // On a busy machine the time may be over before the answer was sent.
                    biased;
                    // The client may have gone.
                    _ = answer(stream, detail) => {}
                    () = pause(time) => {}
                }
            });
        }
    }

    fn shortage(&mut self, peer: IpAddr, why: &'static str) -> &mut Shortage {
        let shortage = self.shortage.get_or_insert_with(|| {
            tracing::warn!(%peer, why, "HTTP connections exhausted");
            Shortage { last: Instant::now(), refused: 0, closed: 0 }
        });
        shortage.last = Instant::now();
        shortage
    }

    /// Ends when there has been room for a while, and logs that. Without a shortage it does not end.
    pub(super) async fn over(&mut self) {
        let Some(shortage) = &self.shortage else { return std::future::pending().await };
        pause((shortage.last + RECOVERY_TIME).saturating_duration_since(Instant::now())).await;
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
        let (usual, short) = (Refusals::default(), Duration::from_millis(100));
        assert_eq!((MAX_ANSWERED, usual.answer_timeout), (64, Duration::from_secs(1)));
        let mut refusals = Refusals { answer_timeout: short, ..usual };
        let begun = Instant::now();
        for stream in accepted {
            refusals.refuse(stream, Ipv4Addr::LOCALHOST.into(), Full::Server);
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
            () = pause(Duration::from_secs(9)) => panic!("they are waited for on and on"),
        }
        assert!(begun.elapsed() >= short, "{:?}", begun.elapsed());
    }
}
