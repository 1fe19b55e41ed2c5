//! A TCP wire between two programs, which can be cut, fall silent, be closed, or lead elsewhere.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyMode {
    /// It is passed on.
    Pass,
    /// It is taken, and not a byte is passed on in either direction, also on connections that there are.
    Silent,
    /// It is taken and closed, as by a proxy without a backend.
    Closing,
    /// Nobody listens.
    Refusing,
}

/// A wire that lasts until it is dropped.
pub(crate) struct DatabaseProxy {
    addr: SocketAddr,
    mode: watch::Sender<ProxyMode>,
    leads_to: watch::Sender<SocketAddr>,
    cut: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

impl DatabaseProxy {
    /// Lays a wire from `addr` to `leads_to`.
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

    /// Ends all connections at once.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Leads to another program from the next connection on.
    pub(crate) fn lead_to(&self, leads_to: SocketAddr) {
        self.leads_to.send_replace(leads_to);
    }

    /// Behaves so; whatever does not pass ends or stops the connections that there are.
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
