//! Local faults that prevent reaching a device: no file descriptor, no route, no resolver.
//!
//! A local fault says nothing about the device. Errors are classified by the system's codes, never by their text. An
//! answer, a refusal and a missing answer are evidence about the device; so is `EHOSTUNREACH`, because the packet
//! reached the device's network.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

/// A local fault and what it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalTrouble {
    /// This process or the system is out of file descriptors.
    Descriptors,
    /// The system is out of memory.
    Memory,
    /// This process, its user or the system may start no further process.
    Processes,
    /// This machine cannot reach that address: no route, no free port, an interface that is down, or a local firewall.
    Network(IpAddr),
    /// The resolver does not answer; that name was looked up.
    Resolver(String),
    /// This name does not resolve.
    Name(String),
}

impl LocalTrouble {
    /// Returns the local fault shown by an error of a socket to `address`, or by its cause; `None` if the error
    /// concerns the device.
    #[must_use]
    pub fn of_socket(error: &(dyn Error + 'static), address: IpAddr) -> Option<Self> {
        let code = system_code(error)?;
        shortage(code).or_else(|| is_of_our_network(code).then_some(Self::Network(address)))
    }

    /// Returns the shortage of this process or machine shown by any error.
    #[must_use]
    pub fn of_shortage(error: &(dyn Error + 'static)) -> Option<Self> {
        shortage(system_code(error)?)
    }

    /// Returns one word for its kind, for logs and `/readyz`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Network(_) => "network",
            Self::Resolver(_) => "resolver",
            Self::Name(_) => "name",
        }
    }

    /// Returns the key of the fault: actions with the same key wait for the same fault.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = self.kind();
        match self {
            // The resolver is the same for every name.
            Self::Descriptors | Self::Memory | Self::Processes | Self::Resolver(_) => kind.to_owned(),
            Self::Network(address) => format!("{kind} {address}"),
            Self::Name(host) => format!("{kind} {host}"),
        }
    }
}

impl fmt::Display for LocalTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptors => f.write_str("out of file descriptors"),
            Self::Memory => f.write_str("out of memory"),
            Self::Processes => f.write_str("no further process can be started"),
            Self::Network(address) => write!(f, "no route to {address} from this machine"),
            Self::Resolver(host) => write!(f, "DNS resolver does not answer (for {host})"),
            Self::Name(host) => write!(f, "the name {host} does not resolve"),
        }
    }
}

/// Returns the system's error code, also of a wrapped error.
#[must_use]
pub fn system_code(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(Errno::from_raw(code));
        }
        current = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn shortage(code: Errno) -> Option<LocalTrouble> {
    if matches!(code, Errno::EMFILE | Errno::ENFILE) {
        return Some(LocalTrouble::Descriptors);
    }
    matches!(code, Errno::ENOMEM | Errno::ENOBUFS).then_some(LocalTrouble::Memory)
}

fn is_of_our_network(code: Errno) -> bool {
    matches!(
        code,
        Errno::ENETUNREACH
            | Errno::ENETDOWN
            | Errno::ENONET
            | Errno::EADDRNOTAVAIL
            | Errno::EADDRINUSE
            | Errno::EACCES
            | Errno::EPERM
            | Errno::EAFNOSUPPORT
            | Errno::ENODEV
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn local_faults_are_distinguished_from_errors_of_the_device() {
        for (code, expected) in [
            (Errno::EMFILE, Some(LocalTrouble::Descriptors)),
            (Errno::ENFILE, Some(LocalTrouble::Descriptors)),
            (Errno::ENOMEM, Some(LocalTrouble::Memory)),
            (Errno::ENOBUFS, Some(LocalTrouble::Memory)),
            (Errno::ENETUNREACH, Some(LocalTrouble::Network(DEVICE))),
            (Errno::EADDRNOTAVAIL, Some(LocalTrouble::Network(DEVICE))),
            (Errno::EPERM, Some(LocalTrouble::Network(DEVICE))),
            (Errno::ECONNREFUSED, None),
            (Errno::EHOSTUNREACH, None),
            (Errno::ETIMEDOUT, None),
            (Errno::ECONNRESET, None),
        ] {
            let error = io::Error::from_raw_os_error(code as i32);
            assert_eq!(LocalTrouble::of_socket(&error, DEVICE), expected, "{code}");
        }
        // Only the code counts, never the text.
        let text = io::Error::other("Too many open files (os error 24)");
        assert_eq!(LocalTrouble::of_socket(&text, DEVICE), None);
        let wrapped = io::Error::other(io::Error::from_raw_os_error(Errno::EMFILE as i32));
        assert_eq!(LocalTrouble::of_socket(&wrapped, DEVICE), Some(LocalTrouble::Descriptors));
    }
}
