//! A running server, and how it is stopped.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::boards::BoardService;
use crate::engine::Engine;
use crate::store::private::PrivatePostgres;

/// A running server.
pub struct LifeguardServer {
    /// The address of the HTTP server.
    pub http: SocketAddr,
    /// The address of the TFTP server, if there is one.
    pub tftp: Option<SocketAddr>,
    /// The engine.
    pub engine: Engine,
    /// The boards.
    pub boards: BoardService,
    /// The boot tree.
    pub boot_root: PathBuf,
    /// The tasks that serve clients: HTTP and TFTP.
    pub(super) faces: JoinSet<()>,
    pub(super) driver: JoinSet<()>,
    pub(super) stop_faces: CancellationToken,
    pub(super) stop_driver: CancellationToken,
    pub(super) postgres: Option<PrivatePostgres>,
}

impl LifeguardServer {
    /// Waits until `signal` completes, then stops the parts in order: new requests are refused, running actions end or are
    /// released.
    ///
    /// # Errors
    ///
    /// When a part ended by itself, or the private Postgres could not be stopped in order. Committed data is safe.
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
            Some(_) => Err("a part of the server ended unexpectedly; see the log".into()),
        }
    }

    /// Stops the parts in order.
    ///
    /// # Errors
    ///
    /// When the private Postgres could not be stopped in order. Committed data is safe.
    pub async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        // Deadlines stop first: boards must not be charged for reports that the server no longer accepts.
        self.engine.hold_deadlines();
        // Accepted requests are answered, which needs the engine.
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
