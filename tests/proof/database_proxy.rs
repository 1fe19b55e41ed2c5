//! A TCP proxy between two programs, which can be cut, become unresponsive, close connections, or change its target.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::pause;

/// How connections are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyMode {
    /// They are forwarded.
    Pass,
    /// They are accepted, and nothing is forwarded in either direction, also on open ones.
    Silent,
    /// They are accepted and closed, like by a proxy without a backend.
    Closing,
    /// They are refused.
    Refusing,
}

/// A proxy, stopped on drop.
pub(crate) struct DatabaseProxy {
    addr: SocketAddr,
    mode: watch::Sender<ProxyMode>,
    leads_to: watch::Sender<SocketAddr>,
    cut: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

impl DatabaseProxy {
    /// Forwards from `addr` to `leads_to`.
    pub(crate) async fn new(addr: SocketAddr, leads_to: SocketAddr) -> Self {
        let (mode, leads_to, cut) =
            (watch::Sender::new(ProxyMode::Pass), watch::Sender::new(leads_to), watch::Sender::new(()));
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, mode.subscribe(), leads_to.subscribe(), cut.subscribe()));
        Self { addr, mode, leads_to, cut, _tasks: tasks }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes all connections at once.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Forwards to another target from the next connection on.
    pub(crate) fn lead_to(&self, leads_to: SocketAddr) {
        self.leads_to.send_replace(leads_to);
    }

    /// Waits until connections are accepted again after [`ProxyMode::Refusing`].
    pub(crate) async fn until_open(&self) {
        while TcpStream::connect(self.addr).await.is_err() {
            pause(Duration::from_millis(10)).await;
        }
    }

    /// Sets the mode; modes other than forwarding close or freeze open connections.
    pub(crate) fn set(&self, mode: ProxyMode) {
        self.mode.send_replace(mode);
        if matches!(mode, ProxyMode::Closing | ProxyMode::Refusing) {
            self.cut();
        }
    }
}

async fn serve(
    listener: TcpListener,
    mut mode: watch::Receiver<ProxyMode>,
    leads_to: watch::Receiver<SocketAddr>,
    cut: watch::Receiver<()>,
) {
    let addr = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let now = *mode.borrow_and_update();
        if now == ProxyMode::Refusing {
            listener = None;
            if mode.changed().await.is_err() {
                return;
            }
            continue;
        }
        let listening = match listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(addr).await.unwrap(),
        };
        let accepted = tokio::select! {
            accepted = listening.accept() => Some(accepted),
            changed = mode.changed() => if changed.is_err() { return } else { None },
            Some(_) = connections.join_next() => None,
        };
        listener = Some(listening);
        let Some(Ok((client, _))) = accepted else { continue };
        if now == ProxyMode::Closing {
            continue;
        }
        let (mode, there, mut cut) = (mode.clone(), *leads_to.borrow(), cut.clone());
        cut.mark_unchanged();
        connections.spawn(async move {
            tokio::select! {
                () = pass_on(client, there, mode) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn pass_on(client: TcpStream, there: SocketAddr, mut mode: watch::Receiver<ProxyMode>) {
    if mode.wait_for(|mode| *mode != ProxyMode::Silent).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(there).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(copy(from_client, to_server, mode.clone()), copy(from_server, to_client, mode));
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<ProxyMode>) {
    let mut buffer = vec![0_u8; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer).await
        && read > 0
    {
        if mode.wait_for(|mode| *mode != ProxyMode::Silent).await.is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}
