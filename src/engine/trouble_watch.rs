//! Checks the open local faults of this process.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handle::Engine;
use super::troubles::OpenTrouble;
use crate::clock::sleep_real_time;

/// Checks open local faults until `stop`.
pub(super) async fn run(engine: Engine, stop: CancellationToken) {
    let troubles = &engine.inner.troubles;
    while !stop.is_cancelled() {
        let next = async {
            match troubles.next_check_at() {
                Some(at) => sleep_real_time(at.saturating_duration_since(Instant::now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = troubles.wait_for_opened() => continue,
            () = next => {}
        }
        let is_cleared = tokio::select! {
            () = stop.cancelled() => return,
            is_cleared = troubles.check_due() => is_cleared,
        };
        if is_cleared {
            engine.inner.actions_changed.notify_one();
        }
    }
}

impl Engine {
    /// Lists the open local faults of this process.
    #[must_use]
    pub fn troubles(&self) -> Vec<OpenTrouble> {
        self.inner.troubles.list()
    }
}
