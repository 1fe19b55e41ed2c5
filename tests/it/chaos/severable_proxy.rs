//! A proxy between the servers and PostgreSQL that can be cut.

use std::path::{Path, PathBuf};

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections from one socket to another.
pub(super) struct SeverableProxy {
    cut: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

impl SeverableProxy {
    /// Forwards from the socket `here`, which it creates, to the socket `there`.
    pub(super) fn new(here: &Path, there: PathBuf) -> Self {
        let listener = UnixListener::bind(here).unwrap();
        let (cut, is_cut) = watch::channel(());
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_on(listener, there, is_cut));
        Self { cut, _tasks: tasks }
    }

    /// Closes all connections at once. PostgreSQL still executes what it has received, without anybody getting the
    /// result.
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
                // When one side closes, the other side's connection is closed too.
                _ = copy_bidirectional(&mut server, &mut postgres) => {}
                _ = is_cut.changed() => {}
            }
        });
    }
}
