//! A server that runs, and how it is stopped.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::boards::BoardService;
use crate::engine::Engine;
use crate::store::private::PrivatePostgres;

/// A server that runs.
pub struct LifeguardServer {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where TFTP is served.
    pub tftp: Option<SocketAddr>,
    /// The engine.
    pub engine: Engine,
    /// The boards.
    pub boards: BoardService,
    /// The boot tree.
    pub boot_root: PathBuf,
    /// What others speak to: HTTP and TFTP.
    pub(super) faces: JoinSet<()>,
    pub(super) driver: JoinSet<()>,
    pub(super) stop_faces: CancellationToken,
    pub(super) stop_driver: CancellationToken,
    pub(super) postgres: Option<PrivatePostgres>,
}

impl LifeguardServer {
    /// Waits until `signal` ends, then stops the parts in turn: nothing new is taken, what runs is ended or handed back.
    ///
    /// # Errors
    ///
    /// When a part ended by itself, and when the private Postgres could not be stopped in order; what was committed is
    /// kept.
    pub async fn run(mut self, signal: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
        let ended = tokio::select! {
            () = signal => None,
            ended = self.faces.join_next() => Some(ended),
            ended = self.driver.join_next() => Some(ended),
        };
        self.stop().await?;
        match ended {
            None => Ok(()),
            Some(Some(Err(fault))) => Err(Box::new(fault)),
            Some(_) => Err("a part of the server ended by itself; the log says which".into()),
        }
    }

    /// Stops the parts in turn.
    ///
    /// # Errors
    ///
    /// When the private Postgres could not be stopped in order; what was committed is kept.
    pub async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        // Before boards find nobody: what they could not report is not held against them.
        self.engine.hold_deadlines();
        // Whoever asked for something while we still listened is answered, which takes the engine.
        self.stop_faces.cancel();
        while self.faces.join_next().await.is_some() {}
        self.stop_driver.cancel();
        while self.driver.join_next().await.is_some() {}
        self.engine.store().close().await;
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await?;
        }
        Ok(())
    }
}
