//! Limits the number of long polls, in total and per client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::client::ClientKey;
use super::problem::Problem;

/// How many long polls read from the database at once, after a change that concerns all of them.
const MAX_CONCURRENT_READS: usize = 4;

/// The long polls in progress.
#[derive(Clone)]
pub struct LongPolls {
    /// The limit in total; each long poll holds a connection.
    max_total: usize,
    waiting: Arc<Mutex<LongPollCounts>>,
    readers: Arc<Semaphore>,
}

/// The number of long polls.
#[derive(Debug, Default)]
struct LongPollCounts {
    all: usize,
    by_client: HashMap<ClientKey, usize>,
}

/// A long poll, which counts until this is dropped.
#[derive(Debug)]
pub(super) struct WaitingLongPoll {
    waiting: Arc<Mutex<LongPollCounts>>,
    client: ClientKey,
}

impl LongPolls {
    /// Creates the limits; `max_long_polls` is the one in total.
    #[must_use]
    pub fn new(max_long_polls: usize) -> Self {
        Self {
            max_total: max_long_polls,
            waiting: Arc::default(),
            readers: Arc::new(Semaphore::new(MAX_CONCURRENT_READS)),
        }
    }

    /// The limit of one client: one IPv4 address or one IPv6 network (/64).
    fn max_long_polls_per_client(&self) -> usize {
        self.max_total.div_ceil(2)
    }

    /// Waits for a permit to read from the database.
    pub(super) async fn read_permit(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.readers.acquire().await
    }

    /// Counts a long poll of `client`, or refuses it.
    pub(super) fn begin(&self, client: ClientKey) -> Result<WaitingLongPoll, Problem> {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.by_client.get(&client).copied().unwrap_or(0);
        let waiting = if counts.all >= self.max_total {
            format!("{} requests are waiting", self.max_total)
        } else if own >= self.max_long_polls_per_client() {
            format!("{} requests of this client are waiting", self.max_long_polls_per_client())
        } else {
            counts.all += 1;
            counts.by_client.insert(client, own + 1);
            return Ok(WaitingLongPoll { waiting: Arc::clone(&self.waiting), client });
        };
        let detail = format!("{waiting} already; ask again without `wait`");
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
    fn one_client_can_have_half_of_the_long_polls() {
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
