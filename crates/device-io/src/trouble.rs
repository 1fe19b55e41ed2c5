//! Trouble of this machine that stands in the way of reaching a device: no descriptor, no route, no resolver.
//!
//! It says nothing about the device. Errors are told apart by the system's codes and never by their text. An answer, a
//! refusal and the silence of a device are evidence about that device; so is `EHOSTUNREACH`: our network reached the place
//! where the device should be.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

/// What stands in the way, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalTrouble {
    /// This process, or the system, has no file descriptor left.
    Descriptors,
    /// The system has no memory left for it.
    Memory,
    /// This machine has no way to that address: no route, no free port, an interface that is down, a firewall of its own.
    Network(IpAddr),
    /// The resolver gives no answer; it was asked for that name.
    Resolver(String),
    /// That name does not resolve.
    Name(String),
}

impl LocalTrouble {
    /// What an error of a socket to `address` says about ourselves, also where it is the cause of another one; nothing
    /// where it speaks of the device.
    #[must_use]
    pub fn of_socket(error: &(dyn Error + 'static), address: IpAddr) -> Option<Self> {
        let code = system_code(error)?;
        shortage(code).or_else(|| is_of_our_network(code).then_some(Self::Network(address)))
    }

    /// The shortage of this process or machine that an error shows, whatever was asked for.
    #[must_use]
    pub fn of_shortage(error: &(dyn Error + 'static)) -> Option<Self> {
        shortage(system_code(error)?)
    }

    /// One word for its kind, for logs and for whoever reads `/readyz`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::Network(_) => "network",
            Self::Resolver(_) => "resolver",
            Self::Name(_) => "name",
        }
    }

    /// What tells it from other troubles: who has the same key waits for the same thing.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = self.kind();
        match self {
            // Whichever name was asked for, it is the same resolver.
            Self::Descriptors | Self::Memory | Self::Resolver(_) => kind.to_owned(),
            Self::Network(address) => format!("{kind} {address}"),
            Self::Name(host) => format!("{kind} {host}"),
        }
    }
}

impl fmt::Display for LocalTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptors => f.write_str("no file descriptor is left on this machine or in this process"),
            Self::Memory => f.write_str("no memory is left on this machine"),
            Self::Network(address) => write!(f, "this machine has no way to {address}"),
            Self::Resolver(host) => write!(f, "the resolver gives no answer (asked for {host})"),
            Self::Name(host) => write!(f, "the name {host} does not resolve"),
        }
    }
}

/// The system's code, also where somebody has wrapped the error to say more about it.
#[must_use]
pub fn system_code(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut within = Some(error);
    while let Some(error) = within {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(Errno::from_raw(code));
        }
        within = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
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
    fn what_our_own_machine_lacks_is_told_from_what_a_device_does() {
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
