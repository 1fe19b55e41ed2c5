//! TFTP server for the boot tree, and the client of simulated boards.
//!
//! Read-only: octet and netascii, `blksize`, `tsize`, `timeout`, `windowsize`. A [`TftpObserver`] receives each request
//! and its result, for the boot log in a board's history. Boards and databases are unknown to the crate, and it never
//! writes files.
//!
//! ```text
//! listener ─► TftpServer::run ─► transfer (one task, one channel each) ─► block reader, boot tree
//!                  │
//!                  └─► TftpObserver
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

use formatting::with_causes;
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

/// Error of starting the server.
#[derive(Debug, thiserror::Error)]
pub enum TftpError {
    /// The address is in use, not local, or needs a privilege that the process lacks.
    #[error("cannot listen for TFTP on {listen}{}", permission_hint(source))]
    Bind {
        /// The configured address.
        listen: SocketAddr,
        /// The system's error.
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

/// How long no request may have been dropped before the log reports the end of an overload.
const OVERLOAD_CLEARED_AFTER: Duration = Duration::from_secs(10);

/// A server with a bound port; [`TftpServer::run`] serves requests.
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

/// A client's running transfer.
struct RunningTransfer {
    task: Id,
    request: TftpRequest,
    requested_at: Instant,
    progress: Arc<TransferProgress>,
    /// Inbox for its packets that arrive at the listening port.
    inbox: Option<mpsc::Sender<Vec<u8>>>,
}

/// A period in which requests are dropped for lack of capacity.
struct TransferOverload {
    dropped_requests: u64,
    last_dropped_at: Instant,
}

impl TftpServer {
    /// Binds `listen` for the tree below `root`; `[::]` includes IPv4, and port 0 selects a free port.
    ///
    /// While the root cannot be read, requests are not answered: clients retry.
    ///
    /// # Errors
    ///
    /// [`TftpError::Bind`].
    #[expect(clippy::unused_async, reason = "a socket can be bound only within its runtime")]
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

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: TftpLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the port that answers are sent from.
    #[must_use]
    pub fn with_port_mode(mut self, ports: PortMode) -> Self {
        self.ports = ports;
        self
    }

    /// Returns the bound address, with the actual port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves requests until `stop`; running transfers are then dropped.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let received = tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.tasks.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(error = %with_causes(&error), "TFTP transfer failed");
                            error.id()
                        }
                    };
                    self.running.retain(|_, transfer| transfer.task != id);
                    continue;
                }
                received = self.listener.receive() => received,
            };
            match received {
                Ok(datagram) => self.dispatch(datagram),
                Err(error) => {
                    tracing::warn!(error = %with_causes(&error), "cannot receive TFTP requests");
                    #[expect(clippy::disallowed_methods, reason = "a fault of this machine, in real time")]
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
            // Without a transfer there is no answer: forged packets must not make the server send to others.
            Ok(
                TftpPacket::Data { .. }
                | TftpPacket::Ack { .. }
                | TftpPacket::Error { .. }
                | TftpPacket::OptionsAck(_),
            ) => {
                if let Some(inbox) = self.running.get(&peer).and_then(|transfer| transfer.inbox.as_ref()) {
                    // A full inbox counts as packet loss.
                    inbox.try_send(bytes).ok();
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "not a TFTP request"),
        }
    }

    /// Starts a transfer, unless the request repeats the one being answered.
    fn read(&mut self, peer: SocketAddr, local: SocketAddr, request: TftpRequest) {
        let mut is_replacement = false;
        if let Some(transfer) = self.running.get(&peer) {
            if transfer.request == request && !transfer.progress.is_replaceable() {
                transfer.progress.record_repeated_request();
                return;
            }
            // Otherwise a client that alternates between two names would start a transfer and open a file with each
            // packet.
            let is_young = transfer.requested_at.elapsed() < self.limits.first_retransmit_after;
            if is_young && !transfer.progress.is_answered() && !transfer.progress.is_replaceable() {
                tracing::debug!(%peer, "TFTP request dropped, previous one unanswered");
                return;
            }
            // A client fetches one file at a time per port: the previous transfer is obsolete.
            transfer.progress.cancel(CancelReason::NewRequest);
            is_replacement = true;
        }
        self.requests += 1;
        let fetch = TftpFetch { number: self.requests, peer, file: file_name_text(&request.file) };
        if !is_replacement && !self.admit_transfer(peer) {
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
        let transfer =
            RunningTransfer { task: task.id(), request, requested_at: Instant::now(), progress, inbox };
        self.running.insert(peer, transfer);
    }

    /// Whether one more transfer may start; an unanswered one may be cancelled for it.
    fn admit_transfer(&mut self, peer: SocketAddr) -> bool {
        let slots = self.running.iter().map(|(peer, transfer)| TransferSlot {
            peer: *peer,
            requested_at: transfer.requested_at,
            is_answered: transfer.progress.is_answered(),
        });
        let now = Instant::now();
        let is_admitted = match decide_admission(&self.limits, slots, peer.ip(), now) {
            TransferAdmission::Admit => true,
            TransferAdmission::Replace(replaced) => {
                if let Some(replaced) = self.running.remove(&replaced) {
                    replaced.progress.cancel(CancelReason::Overload);
                }
                true
            }
            TransferAdmission::Refuse => false,
        };
        if is_admitted {
            if let Some(overload) =
                self.overload.take_if(|overload| now - overload.last_dropped_at >= OVERLOAD_CLEARED_AFTER)
            {
                tracing::info!(dropped = overload.dropped_requests, "TFTP capacity available again");
            }
        } else {
            let overload = self.overload.get_or_insert_with(|| {
                let (limit, client_limit) = (self.limits.max_transfers, self.limits.max_transfers_per_client);
                tracing::warn!(%peer, limit, client_limit, "TFTP transfers exhausted, requests are dropped");
                TransferOverload { dropped_requests: 0, last_dropped_at: now }
            });
            (overload.dropped_requests, overload.last_dropped_at) = (overload.dropped_requests + 1, now);
        }
        is_admitted
    }

    /// Refuses a write request.
    fn write(&mut self, peer: SocketAddr, local: SocketAddr, request: &TftpRequest) {
        tracing::debug!(%peer, file = file_name_text(&request.file), "TFTP write refused");
        // Running and ending transfers count; above the limit no refusal is sent.
        if self.tasks.len() >= 2 * self.limits.max_transfers {
            return;
        }
        let listener = Arc::clone(&self.listener);
        let (ports, message) = (self.ports, "write not supported");
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

/// Returns a file's name for logs and history.
fn file_name_text(file: &[u8]) -> String {
    let begin = file.iter().position(|byte| *byte != b'/').unwrap_or(file.len());
    let (_, file) = file.split_at(begin);
    str::from_utf8(file).map_or_else(|_| file.escape_ascii().to_string(), str::to_owned)
}

/// Runs one transfer until it ends or is cancelled, over its own socket unless a channel is given.
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
