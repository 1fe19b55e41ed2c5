//! Looks at the troubles of this process until they are over.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handle::Engine;
use super::troubles::OpenTrouble;
use crate::clock::sleep_real_time;

/// Looks at the troubles of this process until `stop`.
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
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = troubles.check_due() => looked,
        };
        if looked {
            engine.inner.actions_changed.notify_one();
        }
    }
}

impl Engine {
    /// What stands in the way of this process's actions.
    #[must_use]
    pub fn troubles(&self) -> Vec<OpenTrouble> {
        self.inner.troubles.list()
    }
}
