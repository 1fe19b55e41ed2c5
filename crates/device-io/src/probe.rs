//! Probes whether a local fault is over, without contacting a device.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use fs_err as fs;

use crate::resolver::{self, ResolveError};
use crate::trouble::LocalTrouble;

/// How many file descriptors must be free before a shortage counts as over.
const MIN_FREE_DESCRIPTORS: usize = 16;

/// Whether `trouble` is over. If this cannot be determined, it counts as over, and the next attempt decides.
pub async fn is_trouble_over(trouble: &LocalTrouble) -> bool {
    match trouble {
        LocalTrouble::Descriptors => has_descriptors(),
        LocalTrouble::Memory | LocalTrouble::Processes => true,
        LocalTrouble::Network(address) => has_route_to(*address),
        LocalTrouble::Resolver(host) => {
            !matches!(resolver::resolve(host, 0).await, Err(ResolveError::Local(_)))
        }
        LocalTrouble::Name(host) => resolver::resolve(host, 0).await.is_ok(),
    }
}

fn has_descriptors() -> bool {
    let opened: Result<Vec<_>, _> = (0..MIN_FREE_DESCRIPTORS).map(|_| fs::File::open("/dev/null")).collect();
    opened.is_ok()
}

/// Whether there is a route: connecting a datagram socket needs one and sends nothing.
fn has_route_to(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let connected = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(SocketAddr::new(address, 9)));
    connected.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_local_fault_that_is_over_is_detected() {
        for trouble in [
            LocalTrouble::Descriptors,
            LocalTrouble::Memory,
            LocalTrouble::Network(Ipv4Addr::LOCALHOST.into()),
            LocalTrouble::Name("localhost".to_owned()),
        ] {
            assert!(is_trouble_over(&trouble).await, "{trouble}");
        }
        let name = LocalTrouble::Name("board-1.invalid".to_owned());
        assert!(!is_trouble_over(&name).await, "{name}");
    }
}
