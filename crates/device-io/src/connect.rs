//! TCP connections to devices. Errors distinguish a local fault, an unknown name, and the device.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clock::{Clock, time_after};
use tokio::net::TcpStream;

use crate::resolver::{self, ResolveError};
use crate::trouble::LocalTrouble;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A local fault prevented the attempt; it says nothing about the device.
    #[error("{reason}")]
    Local {
        /// The local fault.
        trouble: LocalTrouble,
        /// The local fault with the system's error.
        reason: String,
    },
    /// The name does not exist.
    #[error("the name {0} does not resolve")]
    NoSuchName(String),
    /// The device, or the network before it, refused the connection.
    #[error("{0}")]
    Refused(io::Error),
    /// The device did not answer in time.
    #[error("no answer within {}", formatting::duration(*.0))]
    TimedOut(Duration),
}

/// Connects to `host`, an address or a name, within `limit`.
///
/// # Errors
///
/// [`ConnectError`]: nothing was sent.
pub async fn connect(
    clock: &dyn Clock,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<TcpStream, ConnectError> {
    let deadline = time_after(clock.now(), limit);
    let addresses = resolve(clock, host, port, limit).await?;
    let remaining = (deadline - clock.now()).to_std().unwrap_or_default();
    let connecting = clock.timeout(remaining, async {
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => match (LocalTrouble::of_socket(&error, address.ip()), &last) {
                    // A refusal at another of its addresses is more informative than a missing route to this one.
                    (Some(_), Some(ConnectError::Refused(_))) => {}
                    (Some(trouble), _) => last = Some(local_error(trouble, Some(&error))),
                    (None, _) => last = Some(ConnectError::Refused(error)),
                },
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::NoSuchName(host.to_owned())))
    });
    connecting.await.unwrap_or(Err(ConnectError::TimedOut(limit)))
}

/// Resolves `host` within `limit`. The device itself is not contacted.
///
/// # Errors
///
/// [`ConnectError::Local`] or [`ConnectError::NoSuchName`].
pub async fn resolve(
    clock: &dyn Clock,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    match clock.timeout(limit, resolver::resolve(host, port)).await {
        Some(Ok(addresses)) => Ok(addresses),
        Some(Err(ResolveError::NoSuchName(host))) => Err(ConnectError::NoSuchName(host)),
        Some(Err(ResolveError::Local(trouble))) => Err(local_error(trouble, None)),
        None => Err(local_error(LocalTrouble::Resolver(host.to_owned()), None)),
    }
}

pub(crate) fn local_error(trouble: LocalTrouble, error: Option<&io::Error>) -> ConnectError {
    let reason = error.map_or_else(|| trouble.to_string(), |error| format!("{trouble}: {error}"));
    ConnectError::Local { trouble, reason }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use clock::{ManualClock, SystemClock};
    use futures_util::FutureExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::resolver::LOOKUPS;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn errors_distinguish_refusal_unknown_name_and_local_fault() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        connect(&SystemClock, "localhost", port, LIMIT).await.unwrap();
        drop(listener);
        let refused = connect(&SystemClock, "127.0.0.1", port, LIMIT).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Refused(_)), "{refused:?}");
        // Not a name at all: the resolver says so without asking a server.
        let unknown = connect(&SystemClock, "board..lab", port, LIMIT).await.unwrap_err();
        assert!(matches!(&unknown, ConnectError::NoSuchName(name) if name == "board..lab"), "{unknown:?}");
        // Connecting to a broadcast address is always refused locally.
        let broadcast = connect(&SystemClock, "255.255.255.255", port, LIMIT).await.unwrap_err();
        assert!(
            matches!(broadcast, ConnectError::Local { trouble: LocalTrouble::Network(_), .. }),
            "{broadcast:?}"
        );
    }

    #[tokio::test]
    async fn a_lookup_that_times_out_is_a_local_fault() {
        let (clock, limit) = (ManualClock::new(DateTime::UNIX_EPOCH), Duration::from_secs(5));
        let all = LOOKUPS.0.acquire_many(64).await.unwrap();
        let mut resolved = Box::pin(resolve(&clock, "localhost", 22, limit));
        assert!(resolved.as_mut().now_or_never().is_none());
        clock.advance(limit);
        let error = resolved.await.unwrap_err();
        assert!(matches!(error, ConnectError::Local { trouble: LocalTrouble::Resolver(_), .. }), "{error:?}");
        assert_eq!(LOOKUPS.0.available_permits(), 0, "all lookups are taken");
        drop(all);
    }

    #[tokio::test]
    async fn a_failing_resolver_is_a_local_fault() {
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let error = resolve(&clock, "board\0", 22, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Local { trouble: LocalTrouble::Resolver(_), .. }), "{error:?}");
    }
}
