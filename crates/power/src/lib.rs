//! Power outlets: switching and reading them, independent of the device behind them.
//!
//! ```text
//! PowerUrl ── drivers (scheme → parse, open) ──▶ dyn Outlet: read, set
//!     └────── operate: on, off, cycle, read ── above all drivers ──┘
//! ScanUrl  ── scan: which outlets a device has ──────────────┘
//! ```
//!
//! Where the outlet can be read, an operation succeeds only if the state was read back. A power cycle that has begun to
//! switch off restores the power before it ends, also when it is cancelled. If restoring fails, the error is
//! [`PowerRunErrorKind::Unrestored`]; the caller then retries the restore independently of the request that started the
//! cycle.
//!
//! The crate uses sockets and programs; boards, actions and databases are unknown to it. `docs/adding-a-driver.md` describes how to
//! add a driver.

mod client;
mod commands;
mod credential;
mod cycle;
mod drivers;
mod effect;
mod endpoint;
mod error;
mod evidence;
mod http;
mod operate;
mod outlet;
mod outlet_reader;
mod parameters;
mod pending_order;
mod program;
mod scan;
mod scheme;
mod session;
mod settings;
mod state_match;
mod switching;
mod url;
mod wiring;

pub use device_io::Evidence;

pub use self::commands::{
    CommandFault, PowerCommandTable, PowerCommandTexts, PowerCommands, check_commands_name,
};
pub use self::error::{OutletError, OutletErrorKind};
pub use self::operate::{
    DEFAULT_CALL_TIMEOUT, PowerContext, PowerOperation, PowerRunError, PowerRunErrorKind, max_operation_time,
    operate, probe,
};
pub use self::outlet::{
    ClientCapacity, CycleTiming, MAX_OFF_TIME, Outlet, OutletCapabilities, OutletReading, PowerState,
    Readback,
};
pub use self::scan::{MAX_SCAN_TIME, ScanUrl, scan};
pub use self::scheme::{OutletAccess, PowerScheme};
pub use self::settings::PowerSettings;
pub use self::url::{PowerUrl, schemes};
