//! How many requests may wait for a change at once, in all and of one client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::client::ClientKey;
use super::problem::Problem;

/// How many of them read from the database at once, when something has changed for all of them: others need it too.
const MAX_CONCURRENT_READS: usize = 4;

/// The requests that wait.
#[derive(Clone)]
pub struct LongPolls {
    /// How many may wait at once; each holds a connection.
    max_long_polls: usize,
    waiting: Arc<Mutex<LongPollCounts>>,
    readers: Arc<Semaphore>,
}

/// How many wait.
#[derive(Debug, Default)]
struct LongPollCounts {
    all: usize,
    by_client: HashMap<ClientKey, usize>,
}

/// A request that waits, and counts until this is dropped.
#[derive(Debug)]
pub(super) struct WaitingLongPoll {
    waiting: Arc<Mutex<LongPollCounts>>,
    client: ClientKey,
}

impl LongPolls {
    /// At most so many at once.
    #[must_use]
    pub fn new(max_waits: usize) -> Self {
        Self {
            max_long_polls: max_waits,
            waiting: Arc::default(),
            readers: Arc::new(Semaphore::new(MAX_CONCURRENT_READS)),
        }
    }

    /// How many may wait of one client: of one IPv4 address, or of one IPv6 network (/64).
    fn max_long_polls_per_client(&self) -> usize {
        self.max_long_polls.div_ceil(2)
    }

    /// Waits for a turn to read from the database.
    pub(super) async fn read_permit(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.readers.acquire().await
    }

    /// Counts a request of `client` that is to wait; one more than may wait is refused.
    pub(super) fn begin(&self, client: ClientKey) -> Result<WaitingLongPoll, Problem> {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.by_client.get(&client).copied().unwrap_or(0);
        let who = if counts.all >= self.max_long_polls {
            format!("{} clients wait", self.max_long_polls)
        } else if own >= self.max_long_polls_per_client() {
            format!("{} requests of this client wait", self.max_long_polls_per_client())
        } else {
            counts.all += 1;
            counts.by_client.insert(client, own + 1);
            return Ok(WaitingLongPoll { waiting: Arc::clone(&self.waiting), client });
        };
        let detail = format!("{who} already; ask again without `wait`");
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail))
    }
}

impl Drop for WaitingLongPoll {
    fn drop(&mut self) {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(own) = counts.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_room_for_others_to_wait() {
        let of = |text: &str| ClientKey::of(text.parse().unwrap());
        let polls = LongPolls::new(5);
        let own = |number: usize| of(&format!("2001:db8::{number:x}"));
        let mut waiting: Vec<WaitingLongPoll> =
            (0..3).map(|number| polls.begin(own(number)).unwrap()).collect();
        assert!(polls.begin(own(3)).is_err(), "its network has many addresses");
        let other = |number: usize| of(&format!("2001:db8:0:{:x}::1", number + 1));
        waiting.extend((0..2).map(|number| polls.begin(other(number)).unwrap()));
        assert!(polls.begin(of("192.0.2.2")).is_err());
        drop(waiting);
        let counts = polls.waiting.lock().unwrap();
        assert_eq!((counts.all, counts.by_client.len()), (0, 0));
    }
}
