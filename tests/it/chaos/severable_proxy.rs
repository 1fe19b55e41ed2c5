//! The wire between the servers and Postgres, which can be cut.

use std::path::{Path, PathBuf};

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes connections on from one socket to another.
pub(super) struct SeverableProxy {
    cut: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

impl SeverableProxy {
    /// Lays a wire from the socket `here`, which it makes, to the socket `there`.
    pub(super) fn new(here: &Path, there: PathBuf) -> Self {
        let listener = UnixListener::bind(here).unwrap();
        let (cut, is_cut) = watch::channel(());
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_on(listener, there, is_cut));
        Self { cut, _tasks: tasks }
    }

    /// Ends all connections at once. What Postgres has been told it still does, and nobody hears what came of it.
    pub(super) fn cut(&self) {
        self.cut.send_replace(());
    }
}

async fn pass_on(listener: UnixListener, there: PathBuf, is_cut: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut server, _) = listener.accept().await.unwrap();
        let (there, mut is_cut) = (there.clone(), is_cut.clone());
        is_cut.mark_unchanged();
        connections.spawn(async move {
            let Ok(mut postgres) = UnixStream::connect(there).await else { return };
            tokio::select! {
                // Whichever side falls silent, the other sees its connection end.
                _ = copy_bidirectional(&mut server, &mut postgres) => {}
                _ = is_cut.changed() => {}
            }
        });
    }
}
