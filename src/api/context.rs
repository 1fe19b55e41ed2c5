//! The state that handlers share, and the type of routes.

use std::sync::Arc;

use axum::routing::MethodRouter;
use tokio_util::sync::CancellationToken;

use super::list::timeouts::ListTimeouts;
use super::long_polls::LongPolls;
use super::report_rate::ReportRateLimiter;
use super::snapshot_permits::SnapshotPermits;
use crate::boards::BoardService;
use crate::engine::Engine;
use crate::machine::MachineName;
use crate::outlets::OutletService;

/// Paths, and the methods that each takes.
pub(super) type ApiRoutes = Vec<(&'static str, MethodRouter<Arc<ApiContext>>)>;

/// The state that handlers share.
pub struct ApiContext {
    /// The engine.
    pub engine: Engine,
    /// The boards.
    pub boards: BoardService,
    /// The outlets that are switched by hand.
    pub outlets: OutletService,
    /// The machine whose instances the boards are.
    pub machine: MachineName,
    /// The instance behind StateService's `/state`, if there is one.
    pub shared_instance: Option<(MachineName, String)>,
    /// Cancelled when the server stops, so that long polls end.
    pub stopping: CancellationToken,
    /// The long polls in progress.
    pub long_polls: LongPolls,
    /// The timeouts of lists.
    pub list_timeouts: ListTimeouts,
    /// Limits the reports of boards that change nothing.
    pub report_rates: ReportRateLimiter,
    /// The permits to read snapshots of the database.
    pub snapshot_permits: SnapshotPermits,
}
