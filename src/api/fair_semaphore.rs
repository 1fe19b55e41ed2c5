//! A semaphore of which one client can have half at most, so that the others are served however much that one asks for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client::ClientKey;
use super::problem::{Problem, internal_error};
use crate::clock::sleep_real_time;

/// A semaphore with a share for each client.
///
/// A client waits for a permit of its own share first. So it never has more than its share in the queue of all, and whoever
/// else comes waits for no more than that.
#[derive(Debug)]
pub(super) struct FairSemaphore {
    all: Arc<Semaphore>,
    /// How many permits one client may have.
    share: usize,
    /// Those who have a permit or wait for one.
    clients: Mutex<HashMap<ClientKey, Weak<Semaphore>>>,
}

/// A permit, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct FairPermit {
    // In this order, or else the client's next request could wait for what this one still has.
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl FairSemaphore {
    /// A semaphore of so many permits, half of which one client may have; the only one is for everybody.
    pub(super) fn new(permits: usize) -> Self {
        let share = (permits / 2).max(1);
        Self { all: Arc::new(Semaphore::new(permits)), share, clients: Mutex::default() }
    }

    /// Waits for a permit, but not longer than `longest`, in real time; `others` says in the plural who has the permits.
    pub(super) async fn acquire(
        &self,
        client: ClientKey,
        longest: Duration,
        others: &str,
    ) -> Result<FairPermit, Problem> {
        let own = self.share_of(client);
        let permit = async {
            let own = own.acquire_owned().await?;
            let all = Arc::clone(&self.all).acquire_owned().await?;
            Ok(FairPermit { _all: all, _own: own })
        };
        tokio::select! {
            biased;
            permit = permit => permit.map_err(|error: tokio::sync::AcquireError| internal_error(&error)),
            () = sleep_real_time(longest) => {
                let detail =
                    format!("other {others} take longer than {} s; try again shortly", longest.as_secs());
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail))
            }
        }
    }

    fn share_of(&self, client: ClientKey) -> Arc<Semaphore> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = clients.get(&client).and_then(Weak::upgrade) {
            return own;
        }
        clients.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.share));
        clients.insert(client, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use futures_util::FutureExt;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn client(number: u8) -> ClientKey {
        ClientKey::of([192, 0, 2, number].into())
    }

    #[tokio::test]
    async fn one_client_has_half_of_the_permits_at_most_and_others_do_not_wait_behind_it() {
        let four = FairSemaphore::new(4);
        let acquire = |number| four.acquire(client(number), LONG, "tests");
        let first = acquire(1).await.unwrap();
        let _second = acquire(1).await.unwrap();
        let mut third = Box::pin(acquire(1));
        assert!(third.as_mut().now_or_never().is_none(), "it has its half");
        let others = [acquire(2).now_or_never(), acquire(3).now_or_never()];
        assert!(others.iter().all(Option::is_some), "the other half is for others");
        assert!(acquire(4).now_or_never().is_none(), "all are taken");
        drop(others);
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.now_or_never().unwrap().is_ok());
        drop(acquire(5).await);
        assert_eq!(four.clients.lock().unwrap().len(), 2, "who has none and waits for none is forgotten");
    }

    #[tokio::test]
    async fn whoever_waits_for_the_only_permit_waits_for_one_request_of_another_client() {
        let one = FairSemaphore::new(1);
        let acquire = |number| one.acquire(client(number), LONG, "tests");
        let held = acquire(1).await.unwrap();
        let mut queued: Vec<_> = (0..10).map(|_| Box::pin(acquire(1))).collect();
        assert!(queued.iter_mut().all(|one| one.now_or_never().is_none()));
        let mut other = Box::pin(acquire(2));
        assert!(other.as_mut().now_or_never().is_none());
        drop(held);
        assert!(
            queued.iter_mut().all(|one| one.now_or_never().is_none()),
            "its turn comes after the other's"
        );
        assert!(other.now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let one = FairSemaphore::new(1);
        let short = Duration::from_millis(10);
        let held = one.acquire(client(1), short, "tests").await.unwrap();
        for number in [1, 2] {
            let refused = one.acquire(client(number), short, "tests").await.unwrap_err().into_response();
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        drop(held);
        assert!(one.acquire(client(2), short, "tests").await.is_ok());
    }
}
