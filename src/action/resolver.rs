//! Names to addresses, by the system's resolver, with its codes: a name that does not exist and a resolver that gives no
//! answer are two things.
//!
//! A lookup takes one of the runtime's blocking threads, for as long as the resolver pleases. Few may be under way, so that
//! a resolver that is away takes no threads from those who read and write files.

use std::io;
use std::net::{IpAddr, SocketAddr};

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType};
use fs_err as fs;
use tokio::sync::Semaphore;

use super::Trouble;

/// How many lookups may be under way at a time.
const MAX_LOOKUPS: usize = 64;

static LOOKUPS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// Why a name gave no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    /// There is no such name, or it has no address.
    #[error("the name {0} does not resolve")]
    NoSuchName(String),
    /// It could not be asked for, which says nothing about the name.
    #[error("{0}")]
    Ours(Trouble),
}

/// Resolves `host`; an address is one already.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Unresolved> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let no_answer = || Unresolved::Ours(Trouble::Resolver(host.to_owned()));
    let permit = LOOKUPS.acquire().await.map_err(|_| no_answer())?;
    let name = host.to_owned();
    let lookup = tokio::task::spawn_blocking(move || {
        // Whoever asked may give up; the thread is taken until the resolver has answered.
        let _permit = permit;
        look_up(&name)
    });
    let mut found = lookup.await.map_err(|_| no_answer())??;
    for address in &mut found {
        address.set_port(port);
    }
    Ok(found)
}

fn look_up(host: &str) -> Result<Vec<SocketAddr>, Unresolved> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let none = || Unresolved::NoSuchName(host.to_owned());
    let no_answer = || Unresolved::Ours(Trouble::Resolver(host.to_owned()));
    match dns_lookup::getaddrinfo(Some(host), None, Some(hints)) {
        Ok(found) => {
            let found: Vec<SocketAddr> = found.flatten().map(|info| info.sockaddr).collect();
            if found.is_empty() { Err(none()) } else { Ok(found) }
        }
        Err(error) => Err(match error.kind() {
            // The resolver says so too where it could not open its own files and sockets.
            LookupErrorKind::NoName | LookupErrorKind::NoData => {
                shortage(fs::File::open("/dev/null")).map_or_else(none, Unresolved::Ours)
            }
            LookupErrorKind::Memory => Unresolved::Ours(Trouble::Memory),
            LookupErrorKind::System => {
                shortage(Err::<(), _>(error.into())).map_or_else(no_answer, Unresolved::Ours)
            }
            LookupErrorKind::Again
            | LookupErrorKind::Fail
            | LookupErrorKind::Badflags
            | LookupErrorKind::Family
            | LookupErrorKind::Socktype
            | LookupErrorKind::Service
            | LookupErrorKind::Unknown
            | LookupErrorKind::IO => {
                shortage(fs::File::open("/dev/null")).map_or_else(no_answer, Unresolved::Ours)
            }
        }),
    }
}

/// The shortage of our own that `result` shows, if any.
fn shortage<T>(result: io::Result<T>) -> Option<Trouble> {
    let error = result.err()?;
    Trouble::of_file(&error, "/dev".as_ref()).filter(|trouble| !matches!(trouble, Trouble::Storage(_)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use futures_util::FutureExt as _;

    use super::super::connect::{self, Unreached};
    use super::*;
    use crate::clock::ManualClock;

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

    #[tokio::test]
    async fn a_resolver_that_fails_or_is_silent_is_trouble_of_our_own() {
        let (clock, limit) = (ManualClock::new(DateTime::UNIX_EPOCH), Duration::from_secs(5));
        // A lookup that cannot be made.
        let failed = connect::resolve(&clock, "board\0", 22, limit).await;
        // As many as may be under way have no answer.
        let all = LOOKUPS.acquire_many(u32::try_from(MAX_LOOKUPS).unwrap()).await.unwrap();
        let mut asked = Box::pin(connect::resolve(&clock, "localhost", 22, limit));
        assert!(asked.as_mut().now_or_never().is_none());
        clock.advance(limit);
        let silent = asked.await;
        drop(all);
        for found in [failed, silent] {
            let is_ours = matches!(&found, Err(Unreached::Ours { trouble: Trouble::Resolver(_), .. }));
            assert!(is_ours, "{found:?}");
        }
    }
}
