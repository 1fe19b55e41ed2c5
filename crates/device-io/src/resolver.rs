//! Names to addresses, by the system's resolver, with its codes: a name that does not exist and a resolver that gives no
//! answer are two things.
//!
//! A lookup takes one of the runtime's blocking threads, for as long as the resolver pleases. Few may be under way, so that
//! a resolver that is away takes no threads from those who read and write files.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType};
use fs_err as fs;
use tokio::sync::Semaphore;

use crate::trouble::LocalTrouble;

/// How many lookups may be under way at a time.
const MAX_LOOKUPS: usize = 64;

pub(crate) static LOOKUPS: LazyLock<DnsLookups> = LazyLock::new(|| DnsLookups::new(MAX_LOOKUPS));

/// The lookups that are under way.
pub(crate) struct DnsLookups(pub(crate) Arc<Semaphore>);

impl DnsLookups {
    fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// Runs a lookup when it is its turn; nothing where it broke down.
    async fn run<T: Send + 'static>(&self, look_up: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let lookup = tokio::task::spawn_blocking(move || {
            // Whoever asked may give up; the thread is taken until the resolver has answered.
            let _permit = permit;
            look_up()
        });
        lookup.await.ok()
    }
}

/// Why a name gave no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no such name, or it has no address.
    #[error("the name {0} does not resolve")]
    NoSuchName(String),
    /// It could not be asked for, which says nothing about the name.
    #[error("{0}")]
    Local(LocalTrouble),
}

/// Resolves `host`; an address is one already.
///
/// # Errors
///
/// [`ResolveError`], which says nothing about what bears the name.
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
    let none = || ResolveError::NoSuchName(host.to_owned());
    let no_answer = || ResolveError::Local(LocalTrouble::Resolver(host.to_owned()));
    match dns_lookup::getaddrinfo(Some(host), None, Some(hints)) {
        Ok(found) => {
            let found: Vec<SocketAddr> = found.flatten().map(|info| info.sockaddr).collect();
            if found.is_empty() { Err(none()) } else { Ok(found) }
        }
        Err(error) => Err(match error.kind() {
            // The resolver says so too where it could not open its own files and sockets.
            LookupErrorKind::NoName | LookupErrorKind::NoData => {
                shortage(fs::File::open("/dev/null")).map_or_else(none, ResolveError::Local)
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

/// The shortage of our own that `result` shows, if any.
fn shortage<T>(result: io::Result<T>) -> Option<LocalTrouble> {
    LocalTrouble::of_shortage(&result.err()?)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn lookups_that_hang_take_so_many_threads_and_no_more_though_nobody_waits_for_them() {
        let lookups = DnsLookups::new(2);
        let mut hung = Vec::new();
        for _ in 0..2 {
            let (goes_on, waits) = mpsc::channel::<()>();
            assert!(lookups.run(move || waits.recv()).now_or_never().is_none());
            hung.push(goes_on);
        }
        let mut third = Box::pin(lookups.run(|| 7));
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(lookups.0.available_permits(), 0, "it waits for its turn");
        drop(hung.pop());
        assert_eq!(third.await, Some(7));
    }

    #[tokio::test]
    async fn an_address_is_taken_as_it_is_and_a_name_is_looked_up() {
        let found = resolve("192.0.2.7", 502).await;
        assert_eq!(found, Ok(vec!["192.0.2.7:502".parse().unwrap()]));
        let found = resolve("::1", 22).await;
        assert_eq!(found, Ok(vec!["[::1]:22".parse().unwrap()]));
        let found = resolve("localhost", 502).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 502), "{found:?}");
    }

    #[tokio::test]
    async fn a_name_that_cannot_exist_gives_no_address() {
        assert!(resolve("board-1.invalid", 22).await.is_err());
    }
}
