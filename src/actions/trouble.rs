//! Trouble of our own that stands in the way of an action: no descriptor, no route, no resolver, no disk.
//!
//! It says nothing about the board, so an action that meets it is suspended, not failed. Here is the one place where
//! errors are told apart, by the system's codes and never by their text. An answer, a refusal and the silence of a
//! device are evidence about that device; so is `EHOSTUNREACH`: our network reached the place where the device should be.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::errno::Errno;

use super::resolver::{self, Unresolved};
use crate::boot_tree::{CONFIGS, LINKS};

/// How many descriptors must be free before a shortage counts as over.
const FREE_DESCRIPTORS: usize = 16;

/// What stands in the way, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trouble {
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
    /// The power that was taken away at that outlet could not be given back; whether it can be shows only when it is tried.
    Power(String),
    /// That boot root takes no links: its disk is full, read-only, failing, silent or not mounted.
    Storage(PathBuf),
    /// This program has no driver for that action, or the driver broke down.
    Program(String),
    /// There is nothing to learn yet; the action is begun anew.
    Renewal,
}

impl Trouble {
    /// What an error of a socket to `address` says about ourselves; nothing where it speaks of the device.
    #[must_use]
    pub fn of_socket(error: &io::Error, address: IpAddr) -> Option<Self> {
        Self::within(error, address)
    }

    /// The same where the socket's error is the cause of another one.
    pub(super) fn within(error: &(dyn Error + 'static), address: IpAddr) -> Option<Self> {
        let code = code(error)?;
        shortage(code).or_else(|| is_of_our_network(code).then_some(Self::Network(address)))
    }

    /// What an error at a file in `folder` says about ourselves; nothing where it speaks of the file.
    #[must_use]
    pub fn of_file(error: &io::Error, folder: &Path) -> Option<Self> {
        let code = code(error)?;
        shortage(code).or_else(|| is_of_disk(code).then(|| Self::Storage(folder.to_owned())))
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
            Self::Power(_) => "power",
            Self::Storage(_) => "storage",
            Self::Program(_) => "program",
            Self::Renewal => "renewal",
        }
    }

    /// What tells it from other troubles: actions with the same key wait for the same thing.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = self.kind();
        match self {
            // Whichever name was asked for, it is the same resolver.
            Self::Descriptors | Self::Memory | Self::Resolver(_) | Self::Renewal => kind.to_owned(),
            Self::Network(address) => format!("{kind} {address}"),
            Self::Name(host) => format!("{kind} {host}"),
            Self::Power(outlet) => format!("{kind} {outlet}"),
            Self::Storage(folder) => format!("{kind} {}", folder.display()),
            Self::Program(action) => format!("{kind} {action}"),
        }
    }

    /// Whether it is over, as far as this process can tell without touching any device; what cannot be told counts as over:
    /// then the action itself shows.
    pub async fn is_over(&self) -> bool {
        match self {
            Self::Descriptors => has_descriptors(),
            Self::Memory | Self::Power(_) | Self::Program(_) | Self::Renewal => true,
            Self::Network(address) => has_way_to(*address),
            Self::Resolver(host) => !matches!(resolver::resolve(host, 0).await, Err(Unresolved::Ours(_))),
            Self::Name(host) => resolver::resolve(host, 0).await.is_ok(),
            Self::Storage(folder) => {
                let folder = folder.clone();
                tokio::task::spawn_blocking(move || takes_files(&folder)).await.unwrap_or(false)
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptors => f.write_str("no file descriptor is left on this machine or in this process"),
            Self::Memory => f.write_str("no memory is left on this machine"),
            Self::Network(address) => write!(f, "this machine has no way to {address}"),
            Self::Resolver(host) => write!(f, "the resolver gives no answer (asked for {host})"),
            Self::Name(host) => write!(f, "the name {host} does not resolve"),
            Self::Power(outlet) => write!(f, "the power at {outlet} could not be given back"),
            Self::Storage(folder) => write!(f, "{} takes no files", folder.display()),
            Self::Program(action) => write!(f, "this program cannot carry out {action}"),
            Self::Renewal => f.write_str("nothing was found out in its time, so it is begun anew"),
        }
    }
}

/// The system's code, also where somebody has wrapped the error to say more about it.
fn code(error: &(dyn Error + 'static)) -> Option<Errno> {
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

/// Shortages of this process or machine, whatever was asked for.
fn shortage(code: Errno) -> Option<Trouble> {
    if matches!(code, Errno::EMFILE | Errno::ENFILE) {
        return Some(Trouble::Descriptors);
    }
    matches!(code, Errno::ENOMEM | Errno::ENOBUFS).then_some(Trouble::Memory)
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

fn is_of_disk(code: Errno) -> bool {
    matches!(
        code,
        Errno::ENOSPC
            | Errno::EDQUOT
            | Errno::EROFS
            | Errno::EIO
            | Errno::EACCES
            | Errno::EPERM
            | Errno::ESTALE
            | Errno::ETIMEDOUT
            | Errno::EHOSTDOWN
            | Errno::ENODEV
            | Errno::ENXIO
    )
}

fn has_descriptors() -> bool {
    let opened: Result<Vec<_>, _> = (0..FREE_DESCRIPTORS).map(|_| fs::File::open("/dev/null")).collect();
    opened.is_ok()
}

/// Whether there is a route: connecting a datagram socket asks for one and sends nothing.
fn has_way_to(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let connected = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(SocketAddr::new(address, 9)));
    connected.is_ok_and(|()| true)
}

/// Whether a file can be made and written in the boot tree at `root`, where links are made; it is gone afterwards.
///
/// A tree without its folder of configs is a share that is not mounted, whose mount point is empty.
fn takes_files(root: &Path) -> bool {
    let links = root.join(LINKS);
    let folder = if links.is_dir() { &links } else { root };
    let file = folder.join(format!(".lifeguard-probe-{}", std::process::id()));
    let written = fs::write(&file, [0; 4096]).and_then(|()| fs::File::open(&file)?.sync_all());
    // Where it could not be made there is nothing to remove.
    let removed = fs::remove_file(&file);
    written.is_ok() && removed.is_ok() && root.join(CONFIGS).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARD: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn what_our_own_machine_lacks_is_told_from_what_a_device_does() {
        for (code, expected) in [
            (Errno::EMFILE, Some(Trouble::Descriptors)),
            (Errno::ENFILE, Some(Trouble::Descriptors)),
            (Errno::ENOMEM, Some(Trouble::Memory)),
            (Errno::ENOBUFS, Some(Trouble::Memory)),
            (Errno::ENETUNREACH, Some(Trouble::Network(BOARD))),
            (Errno::EADDRNOTAVAIL, Some(Trouble::Network(BOARD))),
            (Errno::EPERM, Some(Trouble::Network(BOARD))),
            (Errno::ECONNREFUSED, None),
            (Errno::EHOSTUNREACH, None),
            (Errno::ETIMEDOUT, None),
            (Errno::ECONNRESET, None),
        ] {
            let error = io::Error::from_raw_os_error(code as i32);
            assert_eq!(Trouble::of_socket(&error, BOARD), expected, "{code}");
        }
        // Only the code counts, never the text.
        let text = io::Error::other("Too many open files (os error 24)");
        assert_eq!(Trouble::of_socket(&text, BOARD), None);
        let wrapped = io::Error::other(io::Error::from_raw_os_error(Errno::EMFILE as i32));
        assert_eq!(Trouble::of_socket(&wrapped, BOARD), Some(Trouble::Descriptors));
    }

    #[test]
    fn what_the_disk_lacks_is_told_from_what_a_file_is() {
        let folder = Path::new("/boot");
        for (code, expected) in [
            (Errno::ENOSPC, Some(Trouble::Storage(folder.to_owned()))),
            (Errno::EROFS, Some(Trouble::Storage(folder.to_owned()))),
            (Errno::EDQUOT, Some(Trouble::Storage(folder.to_owned()))),
            (Errno::EIO, Some(Trouble::Storage(folder.to_owned()))),
            (Errno::EMFILE, Some(Trouble::Descriptors)),
            (Errno::ENOENT, None),
            (Errno::ENOTDIR, None),
            (Errno::EEXIST, None),
        ] {
            let error = io::Error::from_raw_os_error(code as i32);
            assert_eq!(Trouble::of_file(&error, folder), expected, "{code}");
        }
    }

    #[tokio::test]
    async fn trouble_that_is_over_is_seen_to_be_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(CONFIGS)).unwrap();
        for trouble in [
            Trouble::Descriptors,
            Trouble::Memory,
            Trouble::Network(Ipv4Addr::LOCALHOST.into()),
            Trouble::Name("localhost".to_owned()),
            Trouble::Storage(folder.path().to_owned()),
        ] {
            assert!(trouble.is_over().await, "{trouble}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let (gone, empty) = (folder.path().join("gone"), tempfile::tempdir().unwrap());
        for trouble in [
            Trouble::Name("board-1.invalid".to_owned()),
            Trouble::Storage(gone),
            Trouble::Storage(empty.path().to_owned()),
        ] {
            assert!(!trouble.is_over().await, "{trouble}");
        }
        // Links are made in their own folder, which may be elsewhere: here, where nobody makes files, whoever asks.
        std::os::unix::fs::symlink("/proc/self", folder.path().join(LINKS)).unwrap();
        assert!(!Trouble::Storage(folder.path().to_owned()).is_over().await);
    }
}
