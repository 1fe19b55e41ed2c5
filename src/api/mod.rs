//! The HTTP API: one file per endpoint, each with its `routes()`; `router.rs` merges them.
//!
//! Handlers parse a request, call the engine and answer with the outcome. Errors are RFC 9457 problems.
//!
//! | client | paths |
//! |---|---|
//! | boards | `/api/v1/devices/NAME/events/EVENT`, `/api/v1/devices/NAME/boot-config` |
//! | operators | `/api/v1/devices/NAME/requests/REQUEST`, `/api/v1/devices/NAME/force` |
//! | operators, for outlets by hand | `/api/v1/power` |
//! | inventory | `/api/v1/devices`, `/api/v1/images`, `/api/v1/resources` |
//! | administrators | `/api/v1/machines/MACHINE` |
//! | configuration management | `/state`, `/api/v1/machines/MACHINE/INSTANCE` |
//! | readers | `/api/v1/devices`, `/api/v1/states`, `/api/v1/devices/NAME`, `/api/v1/devices/NAME/history`, `/api/v1/devices/NAME/why` |
//! | clients of models | `/api/v1/models`, `/state` |
//! | editors | `/api/v1/machines/check` |
//! | supervisors | `/healthz`, `/readyz`, `/metrics`, `/api/v1/version` |

mod body;
mod check_name;
mod client;
mod connections;
mod context;
mod definition_text;
mod device_lookup;
mod device_why;
mod devices;
mod etag;
mod event_outcome;
mod events;
mod faces;
mod fair_semaphore;
mod forced_move;
mod frontend;
mod health;
mod history;
mod images;
mod incidents;
mod instances;
mod json_body;
mod large_requests;
mod list;
mod long_polls;
mod machines;
mod metrics;
mod models;
mod not_accepted;
mod power;
mod problem;
mod query_parameters;
mod report_rate;
mod requests;
mod reserved_names;
mod resource_file;
mod resources;
mod router;
mod server_names;
mod snapshot_permits;
mod version;
mod wait;

pub use self::connections::{HttpLimits, HttpOptions, serve};
pub use self::context::ApiContext;
pub use self::list::timeouts::ListTimeouts;
pub use self::long_polls::LongPolls;
pub use self::problem::Problem;
pub use self::report_rate::ReportRateLimiter;
pub use self::router::router;
pub use self::server_names::ServerNames;
pub use self::snapshot_permits::SnapshotPermits;
