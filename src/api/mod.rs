//! HTTP: one file a resource.
//!
//! Handlers translate: they read a request, ask the engine, and say what came of it. Errors are RFC 9457 problems.
//!
//! | who | where |
//! |---|---|
//! | boards | `/api/v1/devices/NAME/events/EVENT`, `/api/v1/devices/NAME/boot-config` |
//! | operators | `/api/v1/devices/NAME/requests/REQUEST`, `/api/v1/devices/NAME/force` |
//! | inventory | `/api/v1/devices`, `/api/v1/images` |
//! | administrators | `/api/v1/machines/MACHINE` |
//! | configuration management | `/state`, `/api/v1/machines/MACHINE/INSTANCE` |
//! | readers | `/api/v1/devices`, `/api/v1/states`, `/api/v1/devices/NAME`, `/api/v1/devices/NAME/history`, `/api/v1/devices/NAME/why` |
//! | whoever asks models | `/api/v1/models`, `/state` |
//! | editors | `/api/v1/machines/check` |
//! | supervisors | `/healthz`, `/readyz`, `/metrics` |

mod body;
mod connections;
mod devices;
mod events;
mod fair;
mod front;
mod health;
mod history;
mod images;
mod instances;
mod large;
mod list;
mod machines;
mod metrics;
mod models;
mod names;
mod problem;
mod report_pace;
mod requests;
mod reserved;
mod state_service;
mod wait;
mod why;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, get, post, put};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::machine::MachineName;
use crate::store::Connections;

use connections::Client;
use fair::{FairPermit, FairSemaphore};

pub use connections::{HttpOptions, Limits, serve};
pub use list::Patience;
pub use names::ServerNames;
pub use problem::Problem;
pub use report_pace::ReportPace;
pub use wait::Room as Waiting;

/// The largest request body, in bytes: a board's report is a few lines.
pub const MAX_BODY: usize = 64 * 1024;

/// How long a list waits for others, in real time.
const LONGEST_SNAPSHOT_WAIT: Duration = Duration::from_secs(5);

/// What handlers work with.
pub struct Api {
    /// The engine.
    pub engine: Engine,
    /// The machine whose instances the boards are.
    pub machine: MachineName,
    /// The instance that StateService's `/state` is about, if there is one.
    pub shared: Option<(MachineName, String)>,
    /// Cancelled when nobody is to wait any longer.
    pub stopping: CancellationToken,
    /// Those who wait.
    pub waiting: Waiting,
    /// How long a list may take.
    pub patience: Patience,
    /// How often boards report what changes nothing.
    pub reports: ReportPace,
    /// Who reads snapshots of the database.
    pub snapshots: SnapshotPermits,
}

/// Permits for the few snapshots of the database that there are at once: half of them for one client.
#[derive(Debug)]
pub struct SnapshotPermits(FairSemaphore);

impl SnapshotPermits {
    /// Permits for as many as `connections` has.
    #[must_use]
    pub fn of(connections: Connections) -> Self {
        Self(FairSemaphore::new(connections.snapshots.try_into().unwrap_or(usize::MAX)))
    }
}

impl Api {
    /// Waits for a permit to take a snapshot, but not for long.
    async fn snapshot_permit(&self, client: Client) -> Result<FairPermit, Problem> {
        self.snapshots.0.acquire(client, LONGEST_SNAPSHOT_WAIT, "lists").await
    }
}

/// Makes the routes.
pub fn router(api: Api) -> Router {
    let add = |router: Router<Arc<Api>>, (path, methods)| router.route(path, methods);
    routes().into_iter().fold(Router::new(), add).with_state(Arc::new(api))
}

/// Each path with its methods. A path's fixed words are not free for what others have a parameter in that place for:
/// [`reserved`] knows which those are.
fn routes() -> Vec<(&'static str, MethodRouter<Arc<Api>>)> {
    vec![
        ("/api/v1/devices", get(list::list).post(devices::register)),
        ("/api/v1/devices/{name}", get(devices::show).patch(devices::change).delete(devices::remove)),
        ("/api/v1/devices/{name}/boot-config", get(events::boot_config)),
        ("/api/v1/devices/{name}/events/{event}", events::routes()),
        ("/api/v1/devices/{name}/requests/{request}", post(requests::request)),
        ("/api/v1/devices/{name}/force", post(requests::force)),
        ("/api/v1/devices/{name}/history", get(history::of_device)),
        ("/api/v1/devices/{name}/why", get(why::show)),
        ("/api/v1/states", get(list::states)),
        ("/api/v1/machines", get(machines::list)),
        ("/api/v1/machines/{machine}", get(machines::show).put(machines::put)),
        ("/api/v1/machines/{machine}/diagram.svg", get(machines::diagram)),
        ("/api/v1/machines/{machine}/replay", post(machines::replay)),
        ("/api/v1/machines/{machine}/definitions/{number}", get(machines::text)),
        ("/api/v1/machines/{machine}/instances", get(instances::list)),
        ("/api/v1/machines/{machine}/{instance}", instances::routes()),
        (
            "/api/v1/machines/{machine}/{instance}/events/{event}",
            put(instances::events::send).post(instances::events::send),
        ),
        ("/api/v1/machines/{machine}/{instance}/force", post(instances::events::force)),
        ("/api/v1/machines/{machine}/{instance}/history", get(instances::history)),
        ("/api/v1/machines/{machine}/{instance}/state", state_service::of_instance()),
        ("/api/v1/machines/{machine}/{instance}/why", get(instances::why)),
        ("/state", state_service::routes()),
        ("/api/v1/images", get(images::list)),
        ("/api/v1/images/{name}", put(images::put).delete(images::remove)),
        // A machine may be called so.
        ("/api/v1/machines/check", machines::of_check()),
        ("/api/v1/models", get(models::list)),
        ("/api/v1/models/{name}", get(models::show)),
        ("/api/v1/models/{name}/load", post(models::load)),
        ("/api/v1/models/{name}/predictions", post(models::predict)),
        ("/metrics", get(metrics::show)),
        ("/healthz", get(health::alive)),
        ("/readyz", get(health::ready)),
    ]
}
