//! Which connections are open, and who may open another.
//!
//! Where there is no room, a connection that waits for its client gives way: the oldest of the client that has most, or of
//! the one who comes. So a client that opens connections and asks nothing shuts nobody out, not even itself. Requests under
//! way are never given up; of the last eighth of the connections each client gets only its first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::Limits;
use super::watch::Watch;
use crate::api::client::Client;

/// Whether a connection is accepted.
#[derive(Debug)]
pub(super) enum Admission {
    /// There is room.
    Free(OpenConnection),
    /// There is none, and another connection was closed for it.
    Instead(OpenConnection),
    /// There is none.
    Refused(Full),
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The client has as many connections as one may have.
    Client,
    /// The server has as many as it may have.
    Server,
}

/// The open connections.
#[derive(Debug)]
pub(super) struct Registry {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// The oldest first.
    by_client: HashMap<Client, Vec<Arc<Watch>>>,
    total: usize,
}

/// An open connection, which is forgotten when this is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    registry: Arc<Registry>,
    pub(super) client: Client,
    pub(super) watch: Arc<Watch>,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `client` in, where there is room or can be made.
    pub(super) fn admit(self: &Arc<Self>, client: Client) -> Admission {
        let mut open = self.open();
        let own = open.by_client.get(&client).map_or(0, Vec::len);
        let reserved = if own == 0 { 0 } else { self.limits.reserved() };
        let is_clients = own >= self.limits.per_client;
        let is_full = is_clients || open.total + reserved >= self.limits.connections;
        if is_full {
            let closed = (!is_clients && open.close_greediest(own)) || open.close_waiting(client);
            if !closed {
                return Admission::Refused(if is_clients { Full::Client } else { Full::Server });
            }
        }
        let watch = Arc::new(Watch::new(self.limits));
        open.by_client.entry(client).or_default().push(Arc::clone(&watch));
        open.total += 1;
        let admitted = OpenConnection { registry: Arc::clone(self), client, watch };
        if is_full { Admission::Instead(admitted) } else { Admission::Free(admitted) }
    }

    /// Asks all connections to end.
    pub(super) fn end_all(&self) {
        self.open().by_client.values().flatten().for_each(|watch| watch.end());
    }
}

impl Open {
    /// Closes the oldest connection that waits for its client, of the one who has most and more than `than`.
    fn close_greediest(&mut self, than: usize) -> bool {
        let waits = |own: &Vec<Arc<Watch>>| own.iter().any(|watch| watch.waits());
        let others = self.by_client.iter().filter(|(_, own)| own.len() > than && waits(own));
        let greediest = others.max_by_key(|(_, own)| own.len()).map(|(client, _)| *client);
        greediest.is_some_and(|client| self.close_waiting(client))
    }

    /// Closes the oldest connection of `client` that waits for it.
    fn close_waiting(&mut self, client: Client) -> bool {
        let Some(own) = self.by_client.get_mut(&client) else { return false };
        let Some(at) = own.iter().position(|watch| watch.waits()) else { return false };
        own.remove(at).end();
        self.total -= 1;
        true
    }

    /// Forgets a connection, unless it has given way already.
    fn forget(&mut self, client: Client, watch: &Arc<Watch>) {
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

    fn client(number: u8) -> Client {
        Client::of(IpAddr::from([192, 0, 2, number]))
    }

    fn registry(connections: usize, per_client: usize) -> Arc<Registry> {
        Arc::new(Registry::new(Limits { connections, per_client, ..Limits::default() }))
    }

    /// Lets so many in, each with a request under way or none.
    fn fill(registry: &Arc<Registry>, of: Client, count: usize, is_busy: bool) -> Vec<OpenConnection> {
        let admitted = (0..count).map(|_| match registry.admit(of) {
            Admission::Free(place) => {
                if is_busy {
                    place.watch.begin_request();
                }
                place
            }
            other @ (Admission::Instead(_) | Admission::Refused(_)) => panic!("{other:?}"),
        });
        admitted.collect()
    }

    #[test]
    fn of_the_last_eighth_each_client_gets_its_first_connection_only() {
        let registry = registry(16, 16);
        let mut places = fill(&registry, client(1), 14, true);
        assert!(matches!(registry.admit(client(1)), Admission::Refused(Full::Server)));
        places.extend(fill(&registry, client(2), 1, true));
        assert!(matches!(registry.admit(client(2)), Admission::Refused(Full::Server)));
        places.extend(fill(&registry, client(3), 1, true));
        assert!(matches!(registry.admit(client(4)), Admission::Refused(Full::Server)));
        places.truncate(13);
        assert!(matches!(registry.admit(client(1)), Admission::Free(_)));
    }

    #[test]
    fn a_client_has_at_most_its_share_and_its_own_idle_connections_give_way_first() {
        let registry = registry(16, 4);
        let _idle_elsewhere = fill(&registry, client(2), 3, false);
        let busy = fill(&registry, client(1), 3, true);
        let idle = fill(&registry, client(1), 1, false);
        let Admission::Instead(newest) = registry.admit(client(1)) else { panic!("it is its own turn") };
        assert!(idle[0].watch.is_to_end() && !busy[0].watch.is_to_end());
        newest.watch.begin_request();
        assert!(matches!(registry.admit(client(1)), Admission::Refused(Full::Client)));
    }

    #[test]
    fn where_there_is_no_room_the_oldest_idle_connection_of_the_greediest_gives_way() {
        let registry = registry(8, 8);
        let few = fill(&registry, client(1), 2, false);
        let busy = fill(&registry, client(2), 1, true);
        let many = fill(&registry, client(2), 4, false);
        let one = fill(&registry, client(3), 1, false);
        // The newcomer has fewer than the greediest, so it takes its place; who has most takes its own.
        assert!(matches!(registry.admit(client(4)), Admission::Instead(_)));
        assert!(many[0].watch.is_to_end() && !many[1].watch.is_to_end() && !busy[0].watch.is_to_end());
        assert!(matches!(registry.admit(client(2)), Admission::Instead(_)));
        assert!(many[1].watch.is_to_end() && !many[2].watch.is_to_end());
        assert!(few.iter().chain(&one).all(|place| !place.watch.is_to_end()));
    }
}
