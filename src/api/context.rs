//! What handlers work with, and the form in which each file of endpoints gives its routes.

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

/// Paths, and the methods that each takes.
pub(super) type ApiRoutes = Vec<(&'static str, MethodRouter<Arc<ApiContext>>)>;

/// What handlers work with.
pub struct ApiContext {
    /// The engine.
    pub engine: Engine,
    /// The boards.
    pub boards: BoardService,
    /// The machine whose instances the boards are.
    pub machine: MachineName,
    /// The instance that StateService's `/state` is about, if there is one.
    pub shared_instance: Option<(MachineName, String)>,
    /// Cancelled when nobody is to wait any longer.
    pub stopping: CancellationToken,
    /// Requests that wait for a change.
    pub long_polls: LongPolls,
    /// How long a list may take.
    pub list_timeouts: ListTimeouts,
    /// How often boards report what changes nothing.
    pub report_rates: ReportRateLimiter,
    /// Who reads snapshots of the database.
    pub snapshot_permits: SnapshotPermits,
}
