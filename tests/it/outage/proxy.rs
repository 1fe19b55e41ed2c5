//! A proxy before a database, which can fall silent, or accept and close.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does with connections, those that are open included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProxyMode {
    /// Carries them to this socket.
    Carry(PathBuf),
    /// Accepts them and says nothing, as where the machine behind is gone.
    Silent,
    /// Keeps those that are open without a word for ever, and carries new ones to this socket, as where a middlebox forgot
    /// the open ones.
    Forget(PathBuf),
    /// Accepts them and closes them, as where there is nobody behind.
    Close,
    /// Accepts them, says something that is not of this protocol, and closes them.
    Foreign,
}

/// A proxy; it goes with this value.
pub(super) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<ProxyMode>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start(mode: ProxyMode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, seen) = watch::channel(mode);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                open.spawn(carry(near, seen.clone()));
            }
        });
        Self { address, mode, _task: task }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub(super) fn set(&self, mode: ProxyMode) {
        self.mode.send_replace(mode);
    }

    /// The database `name` behind it.
    pub(super) fn url(&self, name: &str) -> String {
        format!("postgresql://lifeguard@{}/{name}?sslmode=disable", self.address)
    }
}

/// Carries a connection. Once it was silent it carries nothing any more, and is closed as soon as there is another mode.
async fn carry(mut near: TcpStream, mut mode: watch::Receiver<ProxyMode>) {
    let present = mode.borrow_and_update().clone();
    if present == ProxyMode::Foreign {
        // Whoever connected may have gone.
        let _ = near.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        return;
    }
    let mut far = None;
    if let ProxyMode::Carry(socket) | ProxyMode::Forget(socket) = present {
        let Ok(mut stream) = UnixStream::connect(socket).await else { return };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut stream) => return,
            _ = mode.changed() => {}
        }
        far = Some(stream);
    }
    while matches!(*mode.borrow_and_update(), ProxyMode::Silent | ProxyMode::Forget(_)) {
        if mode.changed().await.is_err() {
            return;
        }
    }
    drop((near, far));
}
