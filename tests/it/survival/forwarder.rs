//! The road from the boards to whichever server serves them now: an address that stays while servers come and go.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Passes connections on to servers in turn; to the next where one does not answer.
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
                    // Whichever side falls silent, the other sees its connection end.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
            }
        });
    }
}
