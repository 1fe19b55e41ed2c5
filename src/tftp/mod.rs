//! The TFTP server over the boot tree, and the client that simulated boards use.
//!
//! Read-only, as boards need it: octet and netascii, `blksize`, `tsize`, `timeout`, `windowsize`. It tells an
//! [`Observer`] who asked for what and how that ended, which is how a board's history can say "asked for its boot config
//! 12 s after power-on". It does not know boards, databases or which file is whose, and it never writes.
//!
//! ```text
//! listener ─► Server::run ─► transfer (one task, one socket each) ─► body, boot tree
//!                                │
//!                                └─► Observer
//! ```
//!
//! Source: RFC 1350, RFC 1123 §4.2, RFC 2347, RFC 2348, RFC 2349, RFC 7440.

mod body;
pub mod client;
mod listener;
mod observer;
mod options;
pub mod packet;
mod talk;
mod transfer;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use listener::{Datagram, Listener};
pub use observer::{Abort, End, Fetch, Observer, Refusal};
use packet::{ErrorCode, Packet, Request};
use transfer::{Progress, Transfer};

use crate::boot_tree::BootTree;

/// Says why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum TftpError {
    /// The address is taken, is not this machine's, or needs a right that the process has not.
    #[error("cannot listen for TFTP on {listen}{}", hint(source))]
    Bind {
        /// The address that was given.
        listen: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        " (ports below 1024 need root or CAP_NET_BIND_SERVICE; a port above needs neither)"
    } else {
        ""
    }
}

/// How patient and how busy a server may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The wait before the first retransmission; each further one waits twice as long. A client's `timeout` option
    /// replaces these waits.
    pub first_wait: Duration,
    /// The longest wait between two retransmissions.
    pub longest_wait: Duration,
    /// How often one window is sent again before its client is taken for silent.
    pub retries: u32,
    /// The most requests that are answered at the same time. One more is dropped without an answer: the client asks
    /// again after a second or so by itself, whereas an ERROR would make a boot loader give up.
    pub transfers: usize,
}

impl Default for Limits {
    /// 1, 2, 4, 4, 4 and 4 seconds; 512 transfers.
    fn default() -> Self {
        Self {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(4),
            retries: 5,
            transfers: 512,
        }
    }
}

/// A server whose port is bound; [`Server::run`] makes it answer.
pub struct Server {
    listener: Listener,
    tree: Arc<BootTree>,
    observer: Arc<dyn Observer>,
    limits: Limits,
    tasks: JoinSet<()>,
    running: HashMap<SocketAddr, Running>,
}

/// What is known of a client's transfer while it lasts.
struct Running {
    task: Id,
    request: Request,
    progress: Arc<Progress>,
    abandon: CancellationToken,
}

impl Server {
    /// Binds `listen` for the tree below `root`; `[::]` takes IPv4 as well, and port 0 any free port.
    ///
    /// While the root cannot be read, no request is answered: clients ask again.
    ///
    /// # Errors
    ///
    /// [`TftpError::Bind`].
    #[expect(
        clippy::unused_async,
        reason = "a socket can be bound only within the runtime that will serve it"
    )]
    pub async fn bind(
        listen: SocketAddr,
        root: PathBuf,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, TftpError> {
        let listener = Listener::bind(listen).map_err(|source| TftpError::Bind { listen, source })?;
        Ok(Self {
            listener,
            tree: Arc::new(BootTree::new(root)),
            observer,
            limits: Limits::default(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
        })
    }

    /// The same server with other limits.
    #[must_use]
    pub fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The address that is bound, with the port where any was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Answers requests until `stop`; transfers that are running then are dropped.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let received = tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.tasks.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(error = &error as &dyn std::error::Error, "a TFTP transfer failed");
                            error.id()
                        }
                    };
                    self.running.retain(|_, running| running.task != id);
                    continue;
                }
                received = self.listener.receive() => received,
            };
            match received {
                Ok(datagram) => self.dispatch(datagram),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot receive TFTP requests");
                    #[expect(clippy::disallowed_methods, reason = "the machine's trouble, not the farm's")]
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        self.tasks.shutdown().await;
    }

    fn dispatch(&mut self, datagram: Datagram) {
        let Datagram { peer, local, bytes } = datagram;
        if self.tasks.len() >= self.limits.transfers {
            tracing::debug!(%peer, "too many TFTP transfers: the client is to ask again");
            return;
        }
        match Packet::parse(&bytes) {
            Ok(Packet::Read(request)) => self.read(peer, local, request),
            Ok(Packet::Write(request)) => {
                tracing::debug!(%peer, file = shown(&request.file), "refused to store a file by TFTP");
                self.tasks.spawn(async move {
                    if let Ok(socket) = connect(local, peer).await {
                        talk::refuse(&socket, ErrorCode::ACCESS, "this server stores no files").await;
                    }
                });
            }
            // No answer: forged, these would make us knock at doors for somebody else.
            Ok(Packet::Data { .. } | Packet::Ack { .. } | Packet::Error { .. } | Packet::OptionsAck(_)) => {}
            Err(error) => tracing::debug!(%peer, %error, "not a TFTP request"),
        }
    }
    /// Begins a transfer, unless this is a repetition of the request that one is already answering.
    fn read(&mut self, peer: SocketAddr, local: SocketAddr, request: Request) {
        if let Some(running) = self.running.get(&peer) {
            if running.request == request && !running.progress.is_yielding() {
                return;
            }
            // The client has one port and one file at a time: it has forgotten the other one.
            running.abandon.cancel();
        }
        let progress = Arc::new(Progress::default());
        let abandon = CancellationToken::new();
        let fetch = Fetch { peer, file: shown(&request.file) };
        let observer = Arc::clone(&self.observer);
        let work = work(
            local,
            peer,
            Transfer {
                tree: Arc::clone(&self.tree),
                request: request.clone(),
                limits: self.limits,
                progress: Arc::clone(&progress),
            },
            abandon.clone(),
        );
        let task = self.tasks.spawn(async move {
            let (end, ()) = tokio::join!(work, observer.asked(&fetch));
            tracing::debug!(peer = %fetch.peer, file = fetch.file, ?end, "TFTP fetch ended");
            observer.ended(&fetch, end).await;
        });
        self.running.insert(peer, Running { task: task.id(), request, progress, abandon });
    }
}

/// A file's name for people.
fn shown(file: &[u8]) -> String {
    let begin = file.iter().position(|byte| *byte != b'/').unwrap_or(file.len());
    let (_, file) = file.split_at(begin);
    str::from_utf8(file).map_or_else(|_| file.escape_ascii().to_string(), str::to_owned)
}

/// Carries one transfer out, until it ends or is abandoned.
async fn work(local: SocketAddr, peer: SocketAddr, transfer: Transfer, abandon: CancellationToken) -> End {
    let progress = Arc::clone(&transfer.progress);
    let end = tokio::select! {
        () = abandon.cancelled() => End::Aborted { bytes_acked: progress.bytes_acked(), by: Abort::AskedAnew },
        end = async {
            match connect(local, peer).await {
                Ok(socket) => transfer.run(&socket).await,
                Err(error) => End::Broken { reason: format!("cannot answer from {}: {error}", local.ip()) },
            }
        } => end,
    };
    progress.finish();
    end
}

/// Makes the socket for one client: it sends from the address that was asked and hears nobody else.
async fn connect(local: SocketAddr, peer: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(local).await?;
    socket.connect(peer).await?;
    Ok(socket)
}
