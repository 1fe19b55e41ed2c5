//! How devices are named and reached: URLs, name look-ups, TCP connections and requests on them, what stands in the way, and
//! how a run at one ends.
//!
//! It knows sockets, and neither boards nor actions nor databases. Whoever writes to a device asks a [`ProcessLease`] first, and
//! what this machine lacks ([`LocalTrouble`]) is told apart from what a device does.

pub mod address;
mod connect;
mod connection;
pub mod http;
mod lease;
mod probe;
pub mod resolver;
mod run_error;
mod secret;
mod trouble;

pub use self::address::DeviceUrlError;
pub use self::connect::{ConnectError, connect, resolve};
pub use self::connection::DeviceConnection;
pub use self::lease::ProcessLease;
pub use self::probe::is_trouble_over;
pub use self::run_error::{Evidence, RunError, RunErrorKind};
pub use self::secret::{SecretError, SecretFile};
pub use self::trouble::{LocalTrouble, system_code};
