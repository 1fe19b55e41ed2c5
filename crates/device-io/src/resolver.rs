//! Name lookups by the system's resolver. Its error codes distinguish a name that does not exist from a resolver that
//! does not answer.
//!
//! A lookup occupies one of the runtime's blocking threads for as long as the resolver takes. Their number is limited,
//! so that an unreachable resolver leaves threads for file access.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType};
use fs_err as fs;
use tokio::sync::Semaphore;

use crate::trouble::LocalTrouble;

/// The largest number of concurrent lookups.
const MAX_LOOKUPS: usize = 64;

pub(crate) static LOOKUPS: LazyLock<DnsLookups> = LazyLock::new(|| DnsLookups::new(MAX_LOOKUPS));

/// Limits concurrent lookups.
pub(crate) struct DnsLookups(pub(crate) Arc<Semaphore>);

impl DnsLookups {
    fn new(max_lookups: usize) -> Self {
        Self(Arc::new(Semaphore::new(max_lookups)))
    }

    /// Waits for a permit and runs a lookup; returns `None` if it panicked.
    async fn run<T: Send + 'static>(&self, look_up: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let lookup = tokio::task::spawn_blocking(move || {
            // The caller may give up; the thread stays occupied until the resolver answers.
            let _permit = permit;
            look_up()
        });
        lookup.await.ok()
    }
}

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist, or has no address.
    #[error("the name {0} does not resolve")]
    NoSuchName(String),
    /// A local fault prevented the lookup; it says nothing about the name.
    #[error("{0}")]
    Local(LocalTrouble),
}

/// Resolves `host`; addresses are returned as they are.
///
/// # Errors
///
/// [`ResolveError`], which says nothing about the device with this name.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let no_answer = || ResolveError::Local(LocalTrouble::Resolver(host.to_owned()));
    let name = host.to_owned();
    let mut found = LOOKUPS.run(move || look_up(&name)).await.ok_or_else(no_answer)??;
    for address in &mut found {
        address.set_port(port);
    }
    Ok(found)
}

fn look_up(host: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let no_such_name = || ResolveError::NoSuchName(host.to_owned());
    let no_answer = || ResolveError::Local(LocalTrouble::Resolver(host.to_owned()));
    match dns_lookup::getaddrinfo(Some(host), None, Some(hints)) {
        Ok(found) => {
            let found: Vec<SocketAddr> = found.flatten().map(|info| info.sockaddr).collect();
            if found.is_empty() { Err(no_such_name()) } else { Ok(found) }
        }
        Err(error) => Err(match error.kind() {
            // The resolver also reports this when it cannot open its files and sockets.
            LookupErrorKind::NoName | LookupErrorKind::NoData => {
                shortage(fs::File::open("/dev/null")).map_or_else(no_such_name, ResolveError::Local)
            }
            LookupErrorKind::Memory => ResolveError::Local(LocalTrouble::Memory),
            LookupErrorKind::System => {
                shortage(Err::<(), _>(error.into())).map_or_else(no_answer, ResolveError::Local)
            }
            LookupErrorKind::Again
            | LookupErrorKind::Fail
            | LookupErrorKind::Badflags
            | LookupErrorKind::Family
            | LookupErrorKind::Socktype
            | LookupErrorKind::Service
            | LookupErrorKind::Unknown
            | LookupErrorKind::IO => {
                shortage(fs::File::open("/dev/null")).map_or_else(no_answer, ResolveError::Local)
            }
        }),
    }
}

/// Returns the local shortage that `result` shows, if any.
fn shortage<T>(result: io::Result<T>) -> Option<LocalTrouble> {
    LocalTrouble::of_shortage(&result.err()?)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn hanging_lookups_are_limited_even_if_their_callers_gave_up() {
        let lookups = DnsLookups::new(2);
        let mut hung = Vec::new();
        for _ in 0..2 {
            let (release, released) = mpsc::channel::<()>();
            assert!(lookups.run(move || released.recv()).now_or_never().is_none());
            hung.push(release);
        }
        let mut third = Box::pin(lookups.run(|| 7));
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(lookups.0.available_permits(), 0, "it waits for a permit");
        drop(hung.pop());
        assert_eq!(third.await, Some(7));
    }

    #[tokio::test]
    async fn addresses_are_returned_unchanged_and_names_are_resolved() {
        let found = resolve("192.0.2.7", 502).await;
        assert_eq!(found, Ok(vec!["192.0.2.7:502".parse().unwrap()]));
        let found = resolve("::1", 22).await;
        assert_eq!(found, Ok(vec!["[::1]:22".parse().unwrap()]));
        let found = resolve("localhost", 502).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 502), "{found:?}");
    }

    #[tokio::test]
    async fn a_name_that_cannot_exist_is_not_resolved() {
        // The resolver says so without asking a server.
        let name = "board..lab".to_owned();
        assert_eq!(resolve(&name, 22).await, Err(ResolveError::NoSuchName(name)));
    }
}
