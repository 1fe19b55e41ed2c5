//! Cached diagrams of definitions: the layout is computed once.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::EngineError;
use crate::clock::sleep_real_time;
use crate::diagram::{DiagramPicture, InstanceOverlay};
use crate::machine::Definition;

/// The maximum number of cached diagrams; the least recently used one is dropped.
const MAX_CACHED_DIAGRAMS: usize = 16;
/// How long a request waits for other diagrams, in real time. One diagram is drawn at a time, so that the processors are left
/// to events.
const DIAGRAM_WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// A diagram, once its layout is computed.
type DiagramCell = Arc<OnceLock<DiagramPicture>>;

/// The cache of diagrams.
#[derive(Debug)]
pub(super) struct DiagramCache {
    /// The least recently used first. Entries keep their definitions alive, so a pointer identifies a definition.
    cached: Mutex<Vec<(Arc<Definition>, DiagramCell)>>,
    draw_permit: Arc<Semaphore>,
    wait_timeout: Duration,
}

impl Default for DiagramCache {
    fn default() -> Self {
        Self {
            cached: Mutex::default(),
            draw_permit: Arc::new(Semaphore::new(1)),
            wait_timeout: DIAGRAM_WAIT_TIMEOUT,
        }
    }
}

impl DiagramCache {
    fn cell(&self, definition: &Arc<Definition>) -> DiagramCell {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cached.iter().position(|(known, _)| Arc::ptr_eq(known, definition));
        let entry =
            known.map_or_else(|| (Arc::clone(definition), DiagramCell::default()), |at| cached.remove(at));
        if cached.len() >= MAX_CACHED_DIAGRAMS {
            cached.remove(0);
        }
        let cell = Arc::clone(&entry.1);
        cached.push(entry);
        cell
    }

    /// Draws `definition` with `overlay` on a blocking thread, because a large diagram takes a while. A cancelled request keeps
    /// its permit until the diagram is drawn and cached.
    pub(super) async fn draw(
        &self,
        definition: Arc<Definition>,
        overlay: InstanceOverlay,
    ) -> Result<String, EngineError> {
        let cell = self.cell(&definition);
        let permit = tokio::select! {
            permit = Arc::clone(&self.draw_permit).acquire_owned() => permit.map_err(|_| EngineError::Stopping)?,
            () = sleep_real_time(self.wait_timeout) => return Err(EngineError::Busy),
        };
        let drawn = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            cell.get_or_init(|| DiagramPicture::new(&definition)).svg(&overlay)
        });
        drawn.await.map_err(|_| EngineError::Stopping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{self, NamedActions, Vocabulary};

    fn definition(name: &str) -> Arc<Definition> {
        let text = format!("machine: {name}\ninitial: A\nevents: {{}}\nstates:\n  A: {{ resting: true }}\n");
        Arc::new(machine::load(&text, &Vocabulary::new(Arc::new(NamedActions::default()))).unwrap())
    }

    #[tokio::test]
    async fn a_layout_is_computed_once_for_all_overlays_and_the_least_recently_used_one_is_dropped() {
        let cache = DiagramCache::default();
        let first = definition("first");
        let cell = cache.cell(&first);
        for count in [1, 2] {
            let counts = first.states.keys().map(|state| (state.clone(), count)).collect();
            let drawn =
                cache.draw(Arc::clone(&first), InstanceOverlay { present: None, counts }).await.unwrap();
            assert!(drawn.contains("class=\"count\""), "{drawn}");
            assert!(Arc::ptr_eq(&cell, &cache.cell(&first)) && cell.get().is_some());
        }
        for number in 0..15 {
            cache.cell(&definition(&format!("other-{number}")));
        }
        assert_eq!(cache.cached.lock().unwrap().len(), 16);
        // The first one is no longer the least recently used.
        assert!(Arc::ptr_eq(&cell, &cache.cell(&first)));
        for number in 0..16 {
            cache.cell(&definition(&format!("another-{number}")));
        }
        assert_eq!(cache.cached.lock().unwrap().len(), 16);
        assert!(!Arc::ptr_eq(&cell, &cache.cell(&first)));
    }

    #[tokio::test]
    async fn one_diagram_is_drawn_at_a_time_and_waiting_requests_time_out() {
        assert_eq!(DiagramCache::default().wait_timeout, Duration::from_secs(20));
        let cache = DiagramCache { wait_timeout: Duration::from_millis(10), ..DiagramCache::default() };
        let first = definition("first");
        let permit = Arc::clone(&cache.draw_permit).acquire_owned().await.unwrap();
        let refused = cache.draw(Arc::clone(&first), InstanceOverlay::default()).await;
        assert!(matches!(refused, Err(EngineError::Busy)), "{refused:?}");
        drop(permit);
        cache.draw(first, InstanceOverlay::default()).await.unwrap();
    }
}
