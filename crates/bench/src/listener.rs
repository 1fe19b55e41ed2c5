//! Boards that answer polls: one listener for all boards, each with its own loopback address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

/// A listener for the polls of all boards.
#[derive(Debug)]
pub(crate) struct PollListener {
    /// Its port, at every loopback address.
    pub(crate) port: u16,
    polls: UnboundedReceiver<(u64, Instant)>,
    _task: JoinSet<()>,
}

impl PollListener {
    /// Starts listening.
    pub(crate) async fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let port = listener.local_addr()?.port();
        let (sender, polls) = unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                // Connections closed before they were accepted are ignored.
                let Ok((stream, _)) = listener.accept().await else { continue };
                let at = Instant::now();
                if let Some(board) = stream.local_addr().ok().and_then(board_of)
                    && sender.send((board, at)).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { port, polls, _task: task })
    }

    /// The next poll of any board: its number and time.
    pub(crate) async fn next(&mut self) -> io::Result<(u64, Instant)> {
        self.polls.recv().await.ok_or_else(|| io::Error::other("the listener for polls has ended"))
    }

    /// The time of the next poll of `board`; polls of others are discarded.
    pub(crate) async fn next_of(&mut self, board: u64) -> io::Result<Instant> {
        loop {
            let (polled, at) = self.next().await?;
            if polled == board {
                return Ok(at);
            }
        }
    }

    /// Discards the polls received so far.
    pub(crate) fn discard(&mut self) {
        while self.polls.try_recv().is_ok() {}
    }
}

/// The board at an address: 127.1.0.12 is board 12.
fn board_of(address: SocketAddr) -> Option<u64> {
    match address.ip() {
        IpAddr::V4(ip) => {
            u64::from(u32::from(ip)).checked_sub(u64::from(u32::from(Ipv4Addr::new(127, 1, 0, 0))))
        }
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_identified_by_their_addresses() {
        let board = |text: &str| board_of(text.parse().unwrap());
        assert_eq!(board("127.1.0.12:9"), Some(12));
        assert_eq!(board("127.2.1.2:9"), Some(65536 + 258));
        assert_eq!(board("127.0.0.1:9"), None);
        assert_eq!(board("[::1]:9"), None);
    }
}
