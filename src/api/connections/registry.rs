//! The open connections, and the admission of new ones.
//!
//! Where the limit is reached, an idle connection is closed for the new one: the oldest idle one of the client with the most
//! connections, or of the new connection's client. So a client that opens connections without sending requests locks nobody
//! out, not even itself. Connections with a request in progress are never closed. The last eighth of the connections is
//! reserved for clients without any.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection_watch::ConnectionWatch;
use super::limits::HttpLimits;
use crate::api::client::ClientKey;

/// The result of admitting a connection.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is admitted.
    Admitted(OpenConnection),
    /// It is admitted, and an idle connection was closed for it.
    AdmittedAfterClosing(OpenConnection),
    /// It is refused.
    Refused(ConnectionLimit),
}

/// The limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionLimit {
    /// That of the client.
    Client,
    /// That of the server.
    Server,
}

/// The open connections.
#[derive(Debug)]
pub(super) struct ConnectionRegistry {
    limits: HttpLimits,
    open: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    /// Oldest first.
    by_client: HashMap<ClientKey, Vec<Arc<ConnectionWatch>>>,
    total: usize,
}

/// An open connection, which is removed from the registry when this is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    registry: Arc<ConnectionRegistry>,
    pub(super) client: ClientKey,
    pub(super) watch: Arc<ConnectionWatch>,
}

impl ConnectionRegistry {
    pub(super) fn new(limits: HttpLimits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection of `client`, if necessary by closing an idle one.
    pub(super) fn admit(self: &Arc<Self>, client: ClientKey) -> Admission {
        let mut open = self.open();
        let own = open.by_client.get(&client).map_or(0, Vec::len);
        let reserved = if own == 0 { 0 } else { self.limits.reserved_connections() };
        let is_client_full = own >= self.limits.max_connections_per_client;
        let is_full = is_client_full || open.total + reserved >= self.limits.max_connections;
        if is_full {
            let closed = (!is_client_full && open.close_idle_of_largest(own)) || open.close_idle(client);
            if !closed {
                return Admission::Refused(if is_client_full {
                    ConnectionLimit::Client
                } else {
                    ConnectionLimit::Server
                });
            }
        }
        let watch = Arc::new(ConnectionWatch::new(self.limits));
        open.by_client.entry(client).or_default().push(Arc::clone(&watch));
        open.total += 1;
        let admitted = OpenConnection { registry: Arc::clone(self), client, watch };
        if is_full { Admission::AdmittedAfterClosing(admitted) } else { Admission::Admitted(admitted) }
    }

    /// Requests the end of all connections.
    pub(super) fn end_all(&self) {
        self.open().by_client.values().flatten().for_each(|watch| watch.request_end());
    }
}

impl OpenConnections {
    /// Closes the oldest idle connection of the client that has the most connections, if it has more than
    /// `than`.
    fn close_idle_of_largest(&mut self, than: usize) -> bool {
        let has_idle = |own: &Vec<Arc<ConnectionWatch>>| own.iter().any(|watch| watch.is_idle());
        let others = self.by_client.iter().filter(|(_, own)| own.len() > than && has_idle(own));
        let largest = others.max_by_key(|(_, own)| own.len()).map(|(client, _)| *client);
        largest.is_some_and(|client| self.close_idle(client))
    }

    /// Closes the oldest idle connection of `client`.
    fn close_idle(&mut self, client: ClientKey) -> bool {
        let Some(own) = self.by_client.get_mut(&client) else { return false };
        let Some(at) = own.iter().position(|watch| watch.is_idle()) else { return false };
        own.remove(at).request_end();
        self.total -= 1;
        true
    }

    /// Removes a connection, unless it was closed for another one already.
    fn remove(&mut self, client: ClientKey, watch: &Arc<ConnectionWatch>) {
        let Some(own) = self.by_client.get_mut(&client) else { return };
        if let Some(at) = own.iter().position(|known| Arc::ptr_eq(known, watch)) {
            own.remove(at);
            self.total -= 1;
        }
        if own.is_empty() {
            self.by_client.remove(&client);
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.registry.open().remove(self.client, &self.watch);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(number: u8) -> ClientKey {
        ClientKey::of(IpAddr::from([192, 0, 2, number]))
    }

    fn registry(connections: usize, per_client: usize) -> Arc<ConnectionRegistry> {
        Arc::new(ConnectionRegistry::new(HttpLimits {
            max_connections: connections,
            max_connections_per_client: per_client,
            ..HttpLimits::default()
        }))
    }

    /// Admits `count` connections, busy ones or idle ones.
    fn fill(
        registry: &Arc<ConnectionRegistry>,
        of: ClientKey,
        count: usize,
        is_busy: bool,
    ) -> Vec<OpenConnection> {
        let admitted = (0..count).map(|_| match registry.admit(of) {
            Admission::Admitted(connection) => {
                if is_busy {
                    connection.watch.begin_request();
                }
                connection
            }
            other @ (Admission::AdmittedAfterClosing(_) | Admission::Refused(_)) => panic!("{other:?}"),
        });
        admitted.collect()
    }

    #[test]
    fn the_last_eighth_is_reserved_for_clients_without_connections() {
        let registry = registry(16, 16);
        let mut connections = fill(&registry, client(1), 14, true);
        assert!(matches!(registry.admit(client(1)), Admission::Refused(ConnectionLimit::Server)));
        connections.extend(fill(&registry, client(2), 1, true));
        assert!(matches!(registry.admit(client(2)), Admission::Refused(ConnectionLimit::Server)));
        connections.extend(fill(&registry, client(3), 1, true));
        assert!(matches!(registry.admit(client(4)), Admission::Refused(ConnectionLimit::Server)));
        connections.truncate(13);
        assert!(matches!(registry.admit(client(1)), Admission::Admitted(_)));
    }

    #[test]
    fn at_the_limit_of_a_client_its_own_idle_connection_is_closed() {
        let registry = registry(16, 4);
        let _idle_elsewhere = fill(&registry, client(2), 3, false);
        let busy = fill(&registry, client(1), 3, true);
        let idle = fill(&registry, client(1), 1, false);
        let Admission::AdmittedAfterClosing(newest) = registry.admit(client(1)) else {
            panic!("an idle connection is closed")
        };
        assert!(idle[0].watch.is_end_requested() && !busy[0].watch.is_end_requested());
        newest.watch.begin_request();
        assert!(matches!(registry.admit(client(1)), Admission::Refused(ConnectionLimit::Client)));
    }

    #[test]
    fn at_the_limit_of_the_server_the_oldest_idle_connection_of_the_largest_client_is_closed() {
        let registry = registry(8, 8);
        let few = fill(&registry, client(1), 2, false);
        let busy = fill(&registry, client(2), 1, true);
        let many = fill(&registry, client(2), 4, false);
        let one = fill(&registry, client(3), 1, false);
        // The new client replaces one of the largest client; the largest client replaces one of its own.
        assert!(matches!(registry.admit(client(4)), Admission::AdmittedAfterClosing(_)));
        assert!(
            many[0].watch.is_end_requested()
                && !many[1].watch.is_end_requested()
                && !busy[0].watch.is_end_requested()
        );
        assert!(matches!(registry.admit(client(2)), Admission::AdmittedAfterClosing(_)));
        assert!(many[1].watch.is_end_requested() && !many[2].watch.is_end_requested());
        assert!(few.iter().chain(&one).all(|connection| !connection.watch.is_end_requested()));
    }
}
