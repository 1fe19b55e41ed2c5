//! HTTP: one file an endpoint, each with its `routes()`; `router.rs` merges them.
//!
//! Handlers translate: they read a request, ask the engine, and say what came of it. Errors are RFC 9457 problems.
//!
//! | who | where |
//! |---|---|
//! | boards | `/api/v1/devices/NAME/events/EVENT`, `/api/v1/devices/NAME/boot-config` |
//! | operators | `/api/v1/devices/NAME/requests/REQUEST`, `/api/v1/devices/NAME/force` |
//! | inventory | `/api/v1/devices`, `/api/v1/images`, `/api/v1/resources` |
//! | administrators | `/api/v1/machines/MACHINE` |
//! | configuration management | `/state`, `/api/v1/machines/MACHINE/INSTANCE` |
//! | readers | `/api/v1/devices`, `/api/v1/states`, `/api/v1/devices/NAME`, `/api/v1/devices/NAME/history`, `/api/v1/devices/NAME/why` |
//! | whoever asks models | `/api/v1/models`, `/state` |
//! | editors | `/api/v1/machines/check` |
//! | supervisors | `/healthz`, `/readyz`, `/metrics`, `/api/v1/version` |

mod answer;
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
mod events;
mod faces;
mod fair_semaphore;
mod forced_move;
mod front;
mod health;
mod history;
mod images;
mod instances;
mod json_body;
mod large_requests;
mod list;
mod long_polls;
mod machines;
mod metrics;
mod models;
mod names;
mod not_accepted;
mod problem;
mod query;
mod report_pace;
mod requests;
mod reserved;
mod resources;
mod router;
mod snapshots;
mod version;
mod wait;

pub use self::connections::{HttpOptions, HttpLimits, serve};
pub use self::context::ApiContext;
pub use self::list::timeouts::ListTimeouts;
pub use self::long_polls::LongPolls;
pub use self::names::ServerNames;
pub use self::problem::Problem;
pub use self::report_pace::ReportRateLimiter;
pub use self::router::router;
pub use self::snapshots::SnapshotPermits;
