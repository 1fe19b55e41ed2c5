//! The TFTP server over the boot tree, and the client that simulated boards use.
//!
//! Read-only, as boards need it: octet and netascii, `blksize`, `tsize`, `timeout`, `windowsize`. It tells an
//! [`TftpObserver`] who asked for what and how that ended, which is how a board's history can say "asked for its boot config
//! 12 s after power-on". It does not know boards, databases or which file is whose, and it never writes.
//!
//! ```text
//! listener ─► Server::run ─► transfer (one task, one channel each) ─► body, boot tree
//!                                │
//!                                └─► Observer
//! ```
//!
//! Source: RFC 1350, RFC 1123 §4.2, RFC 2347, RFC 2348, RFC 2349, RFC 7440.

mod block_reader;
mod channel;
pub mod client;
mod client_reply;
mod limits;
mod listener;
mod observer;
mod options;
pub mod packet;
mod transfer;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use channel::PortMode;
use channel::{ClientChannel, INBOX_PACKETS};
pub use limits::TftpLimits;
use limits::{TransferAdmission, TransferSlot, decide_admission};
use listener::{Datagram, TftpListener};
pub use observer::{ClientAbort, TftpFetch, TftpObserver, TftpRefusal, TransferDropReason, TransferEnd};
use options::MAX_WINDOW_BLOCKS;
use packet::{TftpErrorCode, TftpPacket, TftpRequest};
use transfer::{CancelReason, Transfer, TransferProgress};

use boot_tree::BootTree;

/// Says why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum TftpError {
    /// The address is taken, is not this machine's, or needs a right that the process has not.
    #[error("cannot listen for TFTP on {listen}{}", permission_hint(source))]
    Bind {
        /// The address that was given.
        listen: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn permission_hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        " (ports below 1024 need root or CAP_NET_BIND_SERVICE; a port above needs neither)"
    } else {
        ""
    }
}

/// How long there has to be room for all before the log says so.
const OVERLOAD_CLEARED_AFTER: Duration = Duration::from_secs(10);

/// A server whose port is bound; [`TftpServer::run`] makes it answer.
pub struct TftpServer {
    listener: Arc<TftpListener>,
    tree: Arc<BootTree>,
    observer: Arc<dyn TftpObserver>,
    limits: TftpLimits,
    ports: PortMode,
    tasks: JoinSet<()>,
    running: HashMap<SocketAddr, RunningTransfer>,
    requests: u64,
    overload: Option<TransferOverload>,
}

/// What is known of a client's transfer while it lasts.
struct RunningTransfer {
    task: Id,
    request: TftpRequest,
    requested_at: Instant,
    progress: Arc<TransferProgress>,
    /// Where its packets go that come to the listening port.
    inbox: Option<mpsc::Sender<Vec<u8>>>,
}

/// A time in which requests are dropped for want of room.
struct TransferOverload {
    dropped_requests: u64,
    last_dropped_at: Instant,
}

impl TftpServer {
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
        observer: Arc<dyn TftpObserver>,
    ) -> Result<Self, TftpError> {
        let listener = TftpListener::bind(listen).map_err(|source| TftpError::Bind { listen, source })?;
        Ok(Self {
            listener: Arc::new(listener),
            tree: Arc::new(BootTree::new(root)),
            observer,
            limits: TftpLimits::default(),
            ports: PortMode::default(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            requests: 0,
            overload: None,
        })
    }

    /// The same server with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: TftpLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same server with its answers coming from other ports.
    #[must_use]
    pub fn with_port_mode(mut self, ports: PortMode) -> Self {
        self.ports = ports;
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
                            tracing::error!(error = &error as &dyn std::error::Error, "TFTP transfer failed");
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
        match TftpPacket::parse(&bytes) {
            Ok(TftpPacket::Read(request)) => self.read(peer, local, request),
            Ok(TftpPacket::Write(request)) => self.write(peer, local, &request),
            // Without a transfer there is no answer: forged, these would make us knock at doors for somebody else.
            Ok(
                TftpPacket::Data { .. }
                | TftpPacket::Ack { .. }
                | TftpPacket::Error { .. }
                | TftpPacket::OptionsAck(_),
            ) => {
                if let Some(inbox) = self.running.get(&peer).and_then(|running| running.inbox.as_ref()) {
                    // A full inbox is a lossy network.
                    inbox.try_send(bytes).ok();
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "not a TFTP request"),
        }
    }

    /// Begins a transfer, unless this is a repetition of the request that one is already answering.
    fn read(&mut self, peer: SocketAddr, local: SocketAddr, request: TftpRequest) {
        let mut is_anew = false;
        if let Some(running) = self.running.get(&peer) {
            if running.request == request && !running.progress.is_replaceable() {
                running.progress.record_repeated_request();
                return;
            }
            // Or else one port that asks for two names in turn would have a transfer, and a file opened, for each packet.
            let is_young = running.requested_at.elapsed() < self.limits.first_retransmit_after;
            if is_young && !running.progress.is_answered() && !running.progress.is_replaceable() {
                tracing::debug!(%peer, "TFTP request dropped: the one before has not been answered yet");
                return;
            }
            // The client has one port and one file at a time: it has forgotten the other one.
            running.progress.cancel(CancelReason::NewRequest);
            is_anew = true;
        }
        self.requests += 1;
        let fetch = TftpFetch { number: self.requests, peer, file: file_name_text(&request.file) };
        if !is_anew && !self.admit_transfer(peer) {
            self.observer.on_drop(&fetch);
            return;
        }
        self.observer.on_request(&fetch);
        let progress = Arc::new(TransferProgress::default());
        let (channel, inbox, max_window_blocks) = match self.ports {
            PortMode::OnePerTransfer => (None, None, MAX_WINDOW_BLOCKS),
            PortMode::Single => {
                let (sender, inbox) = mpsc::channel(INBOX_PACKETS);
                let listener = Arc::clone(&self.listener);
                (Some(ClientChannel::Shared { listener, peer, local, inbox }), Some(sender), 1)
            }
        };
        let transfer = Transfer {
            tree: Arc::clone(&self.tree),
            request: request.clone(),
            limits: self.limits,
            progress: Arc::clone(&progress),
            max_window_blocks,
        };
        let observer = Arc::clone(&self.observer);
        let task = self.tasks.spawn(async move {
            let end = run_transfer(channel, local, peer, transfer).await;
            tracing::debug!(peer = %fetch.peer, file = fetch.file, ?end, "TFTP fetch ended");
            observer.on_end(&fetch, end);
        });
        let running =
            RunningTransfer { task: task.id(), request, requested_at: Instant::now(), progress, inbox };
        self.running.insert(peer, running);
    }

    /// Whether one more transfer may begin; one that nobody has answered may have to end for it.
    fn admit_transfer(&mut self, peer: SocketAddr) -> bool {
        let slots = self.running.iter().map(|(peer, running)| TransferSlot {
            peer: *peer,
            requested_at: running.requested_at,
            is_answered: running.progress.is_answered(),
        });
        let now = Instant::now();
        let has_room = match decide_admission(&self.limits, slots, peer.ip(), now) {
            TransferAdmission::Admit => true,
            TransferAdmission::Replace(other) => {
                if let Some(other) = self.running.remove(&other) {
                    other.progress.cancel(CancelReason::Overload);
                }
                true
            }
            TransferAdmission::Refuse => false,
        };
        if has_room {
            if let Some(crowd) =
                self.overload.take_if(|crowd| now - crowd.last_dropped_at >= OVERLOAD_CLEARED_AFTER)
            {
                tracing::info!(dropped = crowd.dropped_requests, "TFTP capacity available again");
            }
        } else {
            let crowd = self.overload.get_or_insert_with(|| {
                let (all, per_client) = (self.limits.max_transfers, self.limits.max_transfers_per_client);
                tracing::warn!(%peer, all, per_client, "TFTP transfers exhausted, requests are dropped");
                TransferOverload { dropped_requests: 0, last_dropped_at: now }
            });
            (crowd.dropped_requests, crowd.last_dropped_at) = (crowd.dropped_requests + 1, now);
        }
        has_room
    }

    /// Refuses to store a file.
    fn write(&mut self, peer: SocketAddr, local: SocketAddr, request: &TftpRequest) {
        tracing::debug!(%peer, file = file_name_text(&request.file), "refused to store a file by TFTP");
        // What is running and what is ending; beyond that nobody is told.
        if self.tasks.len() >= 2 * self.limits.max_transfers {
            return;
        }
        let listener = Arc::clone(&self.listener);
        let (ports, message) = (self.ports, "this server stores no files");
        self.tasks.spawn(async move {
            let channel = match ports {
                PortMode::OnePerTransfer => ClientChannel::connect(local, peer).await,
                PortMode::Single => {
                    Ok(ClientChannel::Shared { listener, peer, local, inbox: mpsc::channel(INBOX_PACKETS).1 })
                }
            };
            if let Ok(channel) = channel {
                client_reply::send_error(&channel, TftpErrorCode::ACCESS, message).await;
            }
        });
    }
}

/// A file's name for people.
fn file_name_text(file: &[u8]) -> String {
    let begin = file.iter().position(|byte| *byte != b'/').unwrap_or(file.len());
    let (_, file) = file.split_at(begin);
    str::from_utf8(file).map_or_else(|_| file.escape_ascii().to_string(), str::to_owned)
}

/// Carries one transfer out, until it ends or is dismissed; over a socket of its own unless a channel is given.
async fn run_transfer(
    channel: Option<ClientChannel>,
    local: SocketAddr,
    peer: SocketAddr,
    transfer: Transfer,
) -> TransferEnd {
    let progress = Arc::clone(&transfer.progress);
    let end = tokio::select! {
        end = progress.cancelled() => end,
        end = async {
            let channel = match channel {
                Some(channel) => Ok(channel),
                None => ClientChannel::connect(local, peer).await,
            };
            match channel {
                Ok(mut channel) => transfer.run(&mut channel).await,
                Err(error) => TransferEnd::ServerError { reason: format!("cannot answer from {}: {error}", local.ip()) },
            }
        } => end,
    };
    progress.finish();
    end
}
