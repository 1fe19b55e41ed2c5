//! Time limits for work with the database, in the machine's time.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::error::{StoreError, UnavailableCause};

/// Aborts work that takes longer than `limit`.
///
/// If this process itself was stopped meanwhile, the limit runs a second time.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    in_time(limit, work).await.unwrap_or_else(|| Err(UnavailableCause::Silent(limit).into()))
}

/// Like [`within`] for any future; `None` if it took longer.
pub(super) async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    for _ in 0..2 {
        let begun = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "this is about a connection, not about the farm")]
        match tokio::time::timeout(limit, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if begun.elapsed() > limit + limit / 2 => {}
            Err(_) => break,
        }
    }
    None
}

/// Waits before the database is tried again.
pub(super) async fn pause(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the database runs on the machine's time")]
    tokio::time::sleep(span).await;
}
