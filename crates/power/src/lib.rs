//! Power outlets: what they are told and read, whatever the device is that switches them.
//!
//! ```text
//! PowerUrl ── drivers (scheme → parse, open) ──▶ dyn Outlet: read, set
//!     └────── operate: on, off, cycle ── above all drivers ──┘
//! ```
//!
//! An operation succeeds by what was read back, where the outlet can be read. Whatever becomes of a power cycle once it
//! began to take the power away, it gives it back before it ends: when it is cancelled, too. Where that fails it says so
//! ([`PowerRunErrorKind::Unrestored`]), so that it is tried again whatever becomes of whoever asked for it.
//!
//! It knows sockets, and neither boards nor actions nor databases. How a driver is added: `docs/adding-a-driver.md`.

mod cycle;
mod drivers;
mod error;
mod operate;
mod outlet;
mod parameters;
mod scheme;
mod session;
mod switching;
mod url;

pub use device_io::Evidence;

pub use self::error::{OutletError, OutletErrorKind};
pub use self::operate::{
    DEFAULT_CALL_TIMEOUT, PowerContext, PowerOperation, PowerRunError, PowerRunErrorKind, max_operation_time,
    operate,
};
pub use self::outlet::{
    ClientCapacity, CycleTiming, Outlet, OutletCapabilities, OutletReading, PowerState, Readback,
};
pub use self::scheme::{OutletAccess, PowerScheme};
pub use self::url::{MAX_OFF_TIME, PowerUrl, schemes};
