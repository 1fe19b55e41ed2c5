//! Which connections are open, and who may open another.
//!
//! Where there is no room, a connection that waits for its client gives way: the oldest of the client that has most, or of
//! the one who comes. So a client that opens connections and asks nothing shuts nobody out, not even itself. Requests under
//! way are never given up; of the last eighth of the connections each client gets only its first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection_watch::ConnectionWatch;
use super::limits::HttpLimits;
use crate::api::client::ClientKey;

/// Whether a connection is accepted.
#[derive(Debug)]
pub(super) enum Admission {
    /// There is room.
    Admitted(OpenConnection),
    /// There is none, and another connection was closed for it.
    AdmittedAfterClosing(OpenConnection),
    /// There is none.
    Refused(ConnectionLimit),
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionLimit {
    /// The client has as many connections as one may have.
    Client,
    /// The server has as many as it may have.
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
    /// The oldest first.
    by_client: HashMap<ClientKey, Vec<Arc<ConnectionWatch>>>,
    total: usize,
}

/// An open connection, which is forgotten when this is dropped.
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

    /// Lets `client` in, where there is room or can be made.
    pub(super) fn admit(self: &Arc<Self>, client: ClientKey) -> Admission {
        let mut open = self.open();
        let own = open.by_client.get(&client).map_or(0, Vec::len);
        let reserved = if own == 0 { 0 } else { self.limits.reserved_connections() };
        let is_clients = own >= self.limits.max_connections_per_client;
        let is_full = is_clients || open.total + reserved >= self.limits.max_connections;
        if is_full {
            let closed = (!is_clients && open.close_greediest(own)) || open.close_waiting(client);
            if !closed {
                return Admission::Refused(if is_clients {
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

    /// Asks all connections to end.
    pub(super) fn end_all(&self) {
        self.open().by_client.values().flatten().for_each(|watch| watch.request_end());
    }
}

impl OpenConnections {
    /// Closes the oldest connection that waits for its client, of the one who has most and more than `than`.
    fn close_greediest(&mut self, than: usize) -> bool {
        let waits = |own: &Vec<Arc<ConnectionWatch>>| own.iter().any(|watch| watch.is_idle());
        let others = self.by_client.iter().filter(|(_, own)| own.len() > than && waits(own));
        let greediest = others.max_by_key(|(_, own)| own.len()).map(|(client, _)| *client);
        greediest.is_some_and(|client| self.close_waiting(client))
    }

    /// Closes the oldest connection of `client` that waits for it.
    fn close_waiting(&mut self, client: ClientKey) -> bool {
        let Some(own) = self.by_client.get_mut(&client) else { return false };
        let Some(at) = own.iter().position(|watch| watch.is_idle()) else { return false };
        own.remove(at).request_end();
        self.total -= 1;
        true
    }

    /// Forgets a connection, unless it has given way already.
    fn forget(&mut self, client: ClientKey, watch: &Arc<ConnectionWatch>) {
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
        self.registry.open().forget(self.client, &self.watch);
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

    /// Lets so many in, each with a request under way or none.
    fn fill(
        registry: &Arc<ConnectionRegistry>,
        of: ClientKey,
        count: usize,
        is_busy: bool,
    ) -> Vec<OpenConnection> {
        let admitted = (0..count).map(|_| match registry.admit(of) {
            Admission::Admitted(place) => {
                if is_busy {
                    place.watch.begin_request();
                }
                place
            }
            other @ (Admission::AdmittedAfterClosing(_) | Admission::Refused(_)) => panic!("{other:?}"),
        });
        admitted.collect()
    }

    #[test]
    fn of_the_last_eighth_each_client_gets_its_first_connection_only() {
        let registry = registry(16, 16);
        let mut places = fill(&registry, client(1), 14, true);
        assert!(matches!(registry.admit(client(1)), Admission::Refused(ConnectionLimit::Server)));
        places.extend(fill(&registry, client(2), 1, true));
        assert!(matches!(registry.admit(client(2)), Admission::Refused(ConnectionLimit::Server)));
        places.extend(fill(&registry, client(3), 1, true));
        assert!(matches!(registry.admit(client(4)), Admission::Refused(ConnectionLimit::Server)));
        places.truncate(13);
        assert!(matches!(registry.admit(client(1)), Admission::Admitted(_)));
    }

    #[test]
    fn a_client_has_at_most_its_share_and_its_own_idle_connections_give_way_first() {
        let registry = registry(16, 4);
        let _idle_elsewhere = fill(&registry, client(2), 3, false);
        let busy = fill(&registry, client(1), 3, true);
        let idle = fill(&registry, client(1), 1, false);
        let Admission::AdmittedAfterClosing(newest) = registry.admit(client(1)) else {
            panic!("it is its own turn")
        };
        assert!(idle[0].watch.is_end_requested() && !busy[0].watch.is_end_requested());
        newest.watch.begin_request();
        assert!(matches!(registry.admit(client(1)), Admission::Refused(ConnectionLimit::Client)));
    }

    #[test]
    fn where_there_is_no_room_the_oldest_idle_connection_of_the_greediest_gives_way() {
        let registry = registry(8, 8);
        let few = fill(&registry, client(1), 2, false);
        let busy = fill(&registry, client(2), 1, true);
        let many = fill(&registry, client(2), 4, false);
        let one = fill(&registry, client(3), 1, false);
        // The newcomer has fewer than the greediest, so it takes its place; who has most takes its own.
        assert!(matches!(registry.admit(client(4)), Admission::AdmittedAfterClosing(_)));
        assert!(
            many[0].watch.is_end_requested()
                && !many[1].watch.is_end_requested()
                && !busy[0].watch.is_end_requested()
        );
        assert!(matches!(registry.admit(client(2)), Admission::AdmittedAfterClosing(_)));
        assert!(many[1].watch.is_end_requested() && !many[2].watch.is_end_requested());
        assert!(few.iter().chain(&one).all(|place| !place.watch.is_end_requested()));
    }
}
