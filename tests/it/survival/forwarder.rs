//! Forwarder from the boards to the current server: an address that stays while servers are replaced.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Forwards connections to servers in turn; to the next if one does not answer.
pub(super) struct Forwarder {
    address: SocketAddr,
    ends: Arc<Mutex<Vec<SocketAddr>>>,
    _tasks: JoinSet<()>,
}

impl Forwarder {
    pub(super) async fn to(end: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ends = Arc::new(Mutex::new(vec![end]));
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_on(listener, Arc::clone(&ends)));
        Self { address, ends, _tasks: tasks }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn lead_to(&self, ends: &[SocketAddr]) {
        *self.ends.lock().unwrap() = ends.to_vec();
    }
}

async fn pass_on(listener: TcpListener, ends: Arc<Mutex<Vec<SocketAddr>>>) {
    let turn = AtomicUsize::new(0);
    let mut connections = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut ends = ends.lock().unwrap().clone();
        let first = turn.fetch_add(1, Ordering::Relaxed) % ends.len();
        ends.rotate_left(first);
        connections.spawn(async move {
            for end in ends {
                if let Ok(mut server) = TcpStream::connect(end).await {
                    // When one side closes, the other side's connection is closed too.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
            }
        });
    }
}
