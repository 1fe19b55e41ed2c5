//! A semaphore of which one client can have at most half, so that no client can lock out the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client::ClientKey;
use super::problem::{Problem, internal_error};
use crate::clock::sleep_real_time;
use crate::formatting::duration;

/// A semaphore with a share for each client.
///
/// A client waits for a permit of its own share first. So it never has more than its share in the common queue, and other
/// clients wait for no more than that.
#[derive(Debug)]
pub(super) struct FairSemaphore {
    all: Arc<Semaphore>,
    /// The maximum number of permits of one client.
    share: usize,
    /// The clients that have a permit or wait for one.
    clients: Mutex<HashMap<ClientKey, Weak<Semaphore>>>,
}

/// A permit, which is released when this is dropped.
#[derive(Debug)]
pub(super) struct FairPermit {
    // Dropped in this order: otherwise the client's next request could wait for the permit that this one still has.
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl FairSemaphore {
    /// A semaphore with this many permits, half of which one client may have; a single permit is shared by
    /// all.
    pub(super) fn new(permits: usize) -> Self {
        let share = (permits / 2).max(1);
        Self { all: Arc::new(Semaphore::new(permits)), share, clients: Mutex::default() }
    }

    /// Waits for a permit, at most for `timeout` of real time; `others` names the holders of permits, in the plural.
    pub(super) async fn acquire(
        &self,
        client: ClientKey,
        timeout: Duration,
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
            () = sleep_real_time(timeout) => {
                let detail = format!("other {others} take longer than {}; try again shortly", duration(timeout));
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
        let semaphore = FairSemaphore::new(4);
        let acquire = |number| semaphore.acquire(client(number), LONG, "tests");
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
        assert_eq!(semaphore.clients.lock().unwrap().len(), 2, "clients without permits are removed");
    }

    #[tokio::test]
    async fn a_client_that_waits_for_the_only_permit_waits_for_one_request_of_another_client() {
        let semaphore = FairSemaphore::new(1);
        let acquire = |number| semaphore.acquire(client(number), LONG, "tests");
        let held = acquire(1).await.unwrap();
        let mut queued: Vec<_> = (0..10).map(|_| Box::pin(acquire(1))).collect();
        assert!(queued.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        let mut other = Box::pin(acquire(2));
        assert!(other.as_mut().now_or_never().is_none());
        drop(held);
        assert!(
            queued.iter_mut().all(|waiting| waiting.now_or_never().is_none()),
            "the other client comes first"
        );
        assert!(other.now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn waiting_for_a_permit_is_bounded() {
        let semaphore = FairSemaphore::new(1);
        let short = Duration::from_millis(10);
        let held = semaphore.acquire(client(1), short, "tests").await.unwrap();
        for number in [1, 2] {
            let refused =
                semaphore.acquire(client(number), short, "tests").await.unwrap_err().into_response();
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        drop(held);
        assert!(semaphore.acquire(client(2), short, "tests").await.is_ok());
    }
}
