//! Power outlets: switching and reading them, independent of the device behind them.
//!
//! ```text
//! PowerUrl ── drivers (scheme → parse, open) ──▶ dyn Outlet: read, set
//!     └────── operate: on, off, cycle ── above all drivers ──┘
//! ```
//!
//! Where the outlet can be read, an operation succeeds only if the state was read back. A power cycle that has begun to
//! switch off restores the power before it ends, also when it is cancelled. If restoring fails, the error is
//! [`PowerRunErrorKind::Unrestored`]; the caller then retries the restore independently of the request that started the
//! cycle.
//!
//! The crate uses sockets; boards, actions and databases are unknown to it. `docs/adding-a-driver.md` describes how to
//! add a driver.

mod client;
mod cycle;
mod drivers;
mod endpoint;
mod error;
mod http;
mod login;
mod operate;
mod outlet;
mod parameters;
mod scheme;
mod session;
mod switching;
mod url;
mod wiring;

pub use device_io::Evidence;

pub use self::error::{OutletError, OutletErrorKind};
pub use self::operate::{
    DEFAULT_CALL_TIMEOUT, PowerContext, PowerOperation, PowerRunError, PowerRunErrorKind, max_operation_time,
    operate, probe,
};
pub use self::outlet::{
    ClientCapacity, CycleTiming, Outlet, OutletCapabilities, OutletReading, PowerState, Readback,
};
pub use self::scheme::{OutletAccess, PowerScheme};
pub use self::url::{MAX_OFF_TIME, PowerUrl, schemes};
