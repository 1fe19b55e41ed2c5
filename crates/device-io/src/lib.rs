//! How devices are named and reached: URLs, name look-ups, TCP connections and requests on them, what stands in the way, and
//! how a run at one ends.
//!
//! It knows sockets, and neither boards nor actions nor databases. Whoever writes to a device asks a [`Lease`] first, and
//! what this machine lacks ([`LocalTrouble`]) is told apart from what a device does.

pub mod address;
mod connect;
mod connection;
mod ending;
pub mod http;
mod lease;
mod probe;
pub mod resolver;
mod secret;
mod trouble;

pub use self::address::BadUrl;
pub use self::connect::{Unreached, connect, resolve};
pub use self::connection::Connection;
pub use self::ending::{Ending, Evidence, Unfinished};
pub use self::lease::Lease;
pub use self::probe::is_over;
pub use self::secret::{NoSecret, SecretFile};
pub use self::trouble::{LocalTrouble, system_code};
