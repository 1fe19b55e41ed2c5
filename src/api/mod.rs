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
mod health;
mod history;
mod images;
mod instances;
mod large;
mod list;
mod machines;
mod metrics;
mod models;
mod problem;
mod requests;
mod state_service;
mod wait;
mod why;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::machine::MachineName;

pub use connections::serve;
pub use list::Patience;
pub use problem::Problem;
pub use wait::Room as Waiting;

/// The largest request body, in bytes: a board's report is a few lines.
pub const MAX_BODY: usize = 64 * 1024;

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
}

/// Makes the routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/devices", get(list::list).post(devices::register))
        .route("/api/v1/devices/{name}", get(devices::show).patch(devices::change).delete(devices::remove))
        .route("/api/v1/devices/{name}/boot-config", get(events::boot_config))
        .route("/api/v1/devices/{name}/events/{event}", events::routes())
        .route("/api/v1/devices/{name}/requests/{request}", post(requests::request))
        .route("/api/v1/devices/{name}/force", post(requests::force))
        .route("/api/v1/devices/{name}/history", get(history::of_device))
        .route("/api/v1/devices/{name}/why", get(why::show))
        .route("/api/v1/states", get(list::states))
        .route("/api/v1/machines", get(machines::list))
        .route("/api/v1/machines/{machine}", get(machines::show).put(machines::put))
        .route("/api/v1/machines/{machine}/diagram.svg", get(machines::diagram))
        .route("/api/v1/machines/{machine}/replay", post(machines::replay))
        .route("/api/v1/machines/{machine}/definitions/{number}", get(machines::text))
        .route("/api/v1/machines/{machine}/instances", get(instances::list))
        .route("/api/v1/machines/{machine}/{instance}", instances::routes())
        .route(
            "/api/v1/machines/{machine}/{instance}/events/{event}",
            put(instances::events::send).post(instances::events::send),
        )
        .route("/api/v1/machines/{machine}/{instance}/force", post(instances::events::force))
        .route("/api/v1/machines/{machine}/{instance}/history", get(instances::history))
        .route("/api/v1/machines/{machine}/{instance}/state", state_service::of_instance())
        .route("/api/v1/machines/{machine}/{instance}/why", get(instances::why))
        .route("/state", state_service::routes())
        // What a base URL that ends in a slash makes of it.
        .route("//state", state_service::routes())
        .route("/api/v1/images", get(images::list))
        .route("/api/v1/images/{name}", put(images::put).delete(images::remove))
        .route("/api/v1/machines/check", post(machines::check))
        .route("/api/v1/models", get(models::list))
        .route("/api/v1/models/{name}", get(models::show))
        .route("/api/v1/models/{name}/load", post(models::load))
        .route("/api/v1/models/{name}/predictions", post(models::predict))
        .route("/metrics", get(metrics::show))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(Arc::new(api))
}
