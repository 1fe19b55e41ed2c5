//! Access to devices: URLs, name lookups, TCP connections, datagrams and requests, programs, local faults, and errors of runs.
//!
//! The crate uses sockets and processes; boards, actions and databases are unknown to it. Callers check a [`ProcessLease`] before
//! each write to a device. Faults of this machine ([`LocalTrouble`]) are distinguished from those of a device.

pub mod address;
mod authentication;
mod certificate;
mod connect;
mod connection;
mod credential;
mod datagram;
pub mod http;
mod lease;
mod probe;
pub mod program;
mod recording;
pub mod resolver;
mod run_error;
mod secret;
pub mod tls;
mod trouble;

pub use self::address::DeviceUrlError;
pub use self::authentication::Authorization;
pub use self::certificate::{CertificateCheck, CertificateFingerprint};
pub use self::connect::{ConnectError, connect, resolve};
pub use self::connection::DeviceConnection;
pub use self::credential::{
    Credential, CredentialName, CredentialSource, Credentials, HostPattern, Secret, SecretSource,
};
pub use self::datagram::{DatagramSocket, SendError};
pub use self::lease::ProcessLease;
pub use self::probe::is_trouble_over;
pub use self::run_error::{Evidence, RunError, RunErrorKind};
pub use self::secret::{SecretError, SecretFile};
pub use self::trouble::{LocalTrouble, system_code};
