//! What handlers work with, and the form in which each file of endpoints gives its routes.

use std::sync::Arc;

use axum::routing::MethodRouter;
use tokio_util::sync::CancellationToken;

use super::list::timeouts::ListTimeouts;
use super::long_polls::LongPolls;
use super::report_pace::ReportPace;
use super::snapshots::SnapshotPermits;
use crate::boards::Boards;
use crate::engine::Engine;
use crate::machine::MachineName;

/// Paths, and the methods that each takes.
pub(super) type Routes = Vec<(&'static str, MethodRouter<Arc<Api>>)>;

/// What handlers work with.
pub struct Api {
    /// The engine.
    pub engine: Engine,
    /// The boards.
    pub boards: Boards,
    /// The machine whose instances the boards are.
    pub machine: MachineName,
    /// The instance that StateService's `/state` is about, if there is one.
    pub shared: Option<(MachineName, String)>,
    /// Cancelled when nobody is to wait any longer.
    pub stopping: CancellationToken,
    /// Requests that wait for a change.
    pub long_polls: LongPolls,
    /// How long a list may take.
    pub list_timeouts: ListTimeouts,
    /// How often boards report what changes nothing.
    pub reports: ReportPace,
    /// Who reads snapshots of the database.
    pub snapshots: SnapshotPermits,
}
