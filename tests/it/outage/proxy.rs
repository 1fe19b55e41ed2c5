//! A proxy in front of a database that can become unresponsive, or accept and close.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does with connections, including open ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProxyMode {
    /// Forwards them to this socket.
    Carry(PathBuf),
    /// Accepts them and sends nothing, as if the machine behind it were gone.
    Silent,
    /// Keeps open ones silent forever and forwards new ones to this socket, like a middlebox that lost the open ones.
    Forget(PathBuf),
    /// Accepts and closes them, like a proxy without a backend.
    Close,
    /// Accepts them, sends data of another protocol, and closes them.
    Foreign,
}

/// A proxy, stopped on drop.
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

    /// Its address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the mode from now on.
    pub(super) fn set(&self, mode: ProxyMode) {
        self.mode.send_replace(mode);
    }

    /// The database `name` behind it.
    pub(super) fn url(&self, name: &str) -> String {
        format!("postgresql://lifeguard@{}/{name}?sslmode=disable", self.address)
    }
}

/// Forwards a connection. Once silent, it forwards nothing any more, and is closed when the mode changes.
async fn carry(mut near: TcpStream, mut mode: watch::Receiver<ProxyMode>) {
    let present = mode.borrow_and_update().clone();
    if present == ProxyMode::Foreign {
        // The client may have disconnected.
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
