//! The TFTP server over the boot tree, and the client that simulated boards use.
//!
//! Read-only, as boards need it: octet and netascii, `blksize`, `tsize`, `timeout`, `windowsize`. It tells an
//! [`Observer`] who asked for what and how that ended, which is how a board's history can say "asked for its boot config
//! 12 s after power-on". It does not know boards, databases or which file is whose, and it never writes.
//!
//! ```text
//! listener ─► Server::run ─► transfer (one task, one channel each) ─► body, boot tree
//!                                │
//!                                └─► Observer
//! ```
//!
//! Source: RFC 1350, RFC 1123 §4.2, RFC 2347, RFC 2348, RFC 2349, RFC 7440.

mod body;
mod channel;
pub mod client;
mod limits;
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

use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use channel::Ports;
use channel::{Channel, INBOX};
pub use limits::Limits;
use limits::{Room, Slot, room};
use listener::{Datagram, Listener};
pub use observer::{Abort, DropReason, End, Fetch, Observer, Refusal};
use options::MAX_WINDOW_BLOCKS;
use packet::{ErrorCode, Packet, Request};
use transfer::{Dismissal, Progress, Transfer};

use boot_tree::BootTree;

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

/// How long there has to be room for all before the log says so.
const CALM: Duration = Duration::from_secs(10);

/// A server whose port is bound; [`Server::run`] makes it answer.
pub struct Server {
    listener: Arc<Listener>,
    tree: Arc<BootTree>,
    observer: Arc<dyn Observer>,
    limits: Limits,
    ports: Ports,
    tasks: JoinSet<()>,
    running: HashMap<SocketAddr, Running>,
    requests: u64,
    crowd: Option<Crowd>,
}

/// What is known of a client's transfer while it lasts.
struct Running {
    task: Id,
    request: Request,
    since: Instant,
    progress: Arc<Progress>,
    /// Where its packets go that come to the listening port.
    inbox: Option<mpsc::Sender<Vec<u8>>>,
}

/// A time in which requests are dropped for want of room.
struct Crowd {
    dropped: u64,
    last: Instant,
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
            listener: Arc::new(listener),
            tree: Arc::new(BootTree::new(root)),
            observer,
            limits: Limits::default(),
            ports: Ports::default(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            requests: 0,
            crowd: None,
        })
    }

    /// The same server with other limits.
    #[must_use]
    pub fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same server with its answers coming from other ports.
    #[must_use]
    pub fn answering_from(mut self, ports: Ports) -> Self {
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
        match Packet::parse(&bytes) {
            Ok(Packet::Read(request)) => self.read(peer, local, request),
            Ok(Packet::Write(request)) => self.write(peer, local, &request),
            // Without a transfer there is no answer: forged, these would make us knock at doors for somebody else.
            Ok(Packet::Data { .. } | Packet::Ack { .. } | Packet::Error { .. } | Packet::OptionsAck(_)) => {
                if let Some(inbox) = self.running.get(&peer).and_then(|running| running.inbox.as_ref()) {
                    // A full inbox is a lossy network.
                    inbox.try_send(bytes).ok();
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "not a TFTP request"),
        }
    }

    /// Begins a transfer, unless this is a repetition of the request that one is already answering.
    fn read(&mut self, peer: SocketAddr, local: SocketAddr, request: Request) {
        let mut is_anew = false;
        if let Some(running) = self.running.get(&peer) {
            if running.request == request && !running.progress.is_yielding() {
                running.progress.ask_again();
                return;
            }
            // Or else one port that asks for two names in turn would have a transfer, and a file opened, for each packet.
            let is_young = running.since.elapsed() < self.limits.first_wait;
            if is_young && !running.progress.is_answered() && !running.progress.is_yielding() {
                tracing::debug!(%peer, "TFTP request dropped: the one before has not been answered yet");
                return;
            }
            // The client has one port and one file at a time: it has forgotten the other one.
            running.progress.dismiss(Dismissal::AskedAnew);
            is_anew = true;
        }
        self.requests += 1;
        let fetch = Fetch { number: self.requests, peer, file: shown(&request.file) };
        if !is_anew && !self.make_room(peer) {
            self.observer.dropped(&fetch);
            return;
        }
        self.observer.asked(&fetch);
        let progress = Arc::new(Progress::default());
        let (channel, inbox, max_window_blocks) = match self.ports {
            Ports::OnePerTransfer => (None, None, MAX_WINDOW_BLOCKS),
            Ports::Single => {
                let (sender, inbox) = mpsc::channel(INBOX);
                let listener = Arc::clone(&self.listener);
                (Some(Channel::Shared { listener, peer, local, inbox }), Some(sender), 1)
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
            let end = work(channel, local, peer, transfer).await;
            tracing::debug!(peer = %fetch.peer, file = fetch.file, ?end, "TFTP fetch ended");
            observer.ended(&fetch, end);
        });
        let running = Running { task: task.id(), request, since: Instant::now(), progress, inbox };
        self.running.insert(peer, running);
    }

    /// Whether one more transfer may begin; one that nobody has answered may have to end for it.
    fn make_room(&mut self, peer: SocketAddr) -> bool {
        let slots = self.running.iter().map(|(peer, running)| Slot {
            peer: *peer,
            since: running.since,
            is_answered: running.progress.is_answered(),
        });
        let now = Instant::now();
        let has_room = match room(&self.limits, slots, peer.ip(), now) {
            Room::Free => true,
            Room::InPlaceOf(other) => {
                if let Some(other) = self.running.remove(&other) {
                    other.progress.dismiss(Dismissal::Room);
                }
                true
            }
            Room::None => false,
        };
        if has_room {
            if let Some(crowd) = self.crowd.take_if(|crowd| now - crowd.last >= CALM) {
                tracing::info!(dropped = crowd.dropped, "TFTP capacity available again");
            }
        } else {
            let crowd = self.crowd.get_or_insert_with(|| {
                let (all, per_client) = (self.limits.transfers, self.limits.transfers_per_client);
                tracing::warn!(%peer, all, per_client, "TFTP transfers exhausted, requests are dropped");
                Crowd { dropped: 0, last: now }
            });
            (crowd.dropped, crowd.last) = (crowd.dropped + 1, now);
        }
        has_room
    }

    /// Refuses to store a file.
    fn write(&mut self, peer: SocketAddr, local: SocketAddr, request: &Request) {
        tracing::debug!(%peer, file = shown(&request.file), "refused to store a file by TFTP");
        // What is running and what is ending; beyond that nobody is told.
        if self.tasks.len() >= 2 * self.limits.transfers {
            return;
        }
        let listener = Arc::clone(&self.listener);
        let (ports, message) = (self.ports, "this server stores no files");
        self.tasks.spawn(async move {
            let channel = match ports {
                Ports::OnePerTransfer => Channel::own(local, peer).await,
                Ports::Single => Ok(Channel::Shared { listener, peer, local, inbox: mpsc::channel(INBOX).1 }),
            };
            if let Ok(channel) = channel {
                talk::refuse(&channel, ErrorCode::ACCESS, message).await;
            }
        });
    }
}

/// A file's name for people.
fn shown(file: &[u8]) -> String {
    let begin = file.iter().position(|byte| *byte != b'/').unwrap_or(file.len());
    let (_, file) = file.split_at(begin);
    str::from_utf8(file).map_or_else(|_| file.escape_ascii().to_string(), str::to_owned)
}

/// Carries one transfer out, until it ends or is dismissed; over a socket of its own unless a channel is given.
async fn work(channel: Option<Channel>, local: SocketAddr, peer: SocketAddr, transfer: Transfer) -> End {
    let progress = Arc::clone(&transfer.progress);
    let end = tokio::select! {
        end = progress.dismissed() => end,
        end = async {
            let channel = match channel {
                Some(channel) => Ok(channel),
                None => Channel::own(local, peer).await,
            };
            match channel {
                Ok(mut channel) => transfer.run(&mut channel).await,
                Err(error) => End::Broken { reason: format!("cannot answer from {}: {error}", local.ip()) },
            }
        } => end,
    };
    progress.finish();
    end
}
