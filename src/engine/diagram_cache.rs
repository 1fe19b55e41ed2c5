//! Pictures of definitions: laid out once, and written for whoever asks.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::EngineError;
use crate::clock::sleep_real_time;
use crate::diagram::{DiagramPicture, InstanceOverlay};
use crate::machine::Definition;

/// How many pictures are kept; the one that was asked for least recently goes first.
const MAX_CACHED_DIAGRAMS: usize = 16;
/// How long whoever asks waits for others' pictures, in real time: one is drawn at a time, or else they would take the
/// processors from the events.
const DIAGRAM_WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// A picture, once it is drawn.
type DiagramCell = Arc<OnceLock<DiagramPicture>>;

/// The pictures of definitions that were asked for.
#[derive(Debug)]
pub(super) struct DiagramCache {
    /// The least recently used first. A definition that is kept here is the same as long as its place in memory is.
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
        let mut kept = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().position(|(known, _)| Arc::ptr_eq(known, definition));
        let one =
            known.map_or_else(|| (Arc::clone(definition), DiagramCell::default()), |at| kept.remove(at));
        if kept.len() >= MAX_CACHED_DIAGRAMS {
            kept.remove(0);
        }
        let cell = Arc::clone(&one.1);
        kept.push(one);
        cell
    }

    /// Draws `definition` with `marks`, aside: a large one takes a while, and what is reported is not to wait for it.
    /// Whoever asked may go away meanwhile: the turn is taken until it is drawn, and it is kept.
    pub(super) async fn draw(
        &self,
        definition: Arc<Definition>,
        marks: InstanceOverlay,
    ) -> Result<String, EngineError> {
        let cell = self.cell(&definition);
        let turn = tokio::select! {
            turn = Arc::clone(&self.draw_permit).acquire_owned() => turn.map_err(|_| EngineError::Stopping)?,
            () = sleep_real_time(self.wait_timeout) => return Err(EngineError::Busy),
        };
        let drawn = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            cell.get_or_init(|| DiagramPicture::new(&definition)).svg(&marks)
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
    async fn a_definition_is_laid_out_once_however_its_instances_stand_and_the_least_asked_for_is_forgotten()
    {
        let pictures = DiagramCache::default();
        let first = definition("first");
        let cell = pictures.cell(&first);
        for count in [1, 2] {
            let counts = first.states.keys().map(|state| (state.clone(), count)).collect();
            let drawn =
                pictures.draw(Arc::clone(&first), InstanceOverlay { present: None, counts }).await.unwrap();
            assert!(drawn.contains("class=\"count\""), "{drawn}");
            assert!(Arc::ptr_eq(&cell, &pictures.cell(&first)) && cell.get().is_some());
        }
        for number in 0..15 {
            pictures.cell(&definition(&format!("other-{number}")));
        }
        assert_eq!(pictures.cached.lock().unwrap().len(), 16);
        // The least asked for is not the first any more.
        assert!(Arc::ptr_eq(&cell, &pictures.cell(&first)));
        for number in 0..16 {
            pictures.cell(&definition(&format!("another-{number}")));
        }
        assert_eq!(pictures.cached.lock().unwrap().len(), 16);
        assert!(!Arc::ptr_eq(&cell, &pictures.cell(&first)));
    }

    #[tokio::test]
    async fn one_picture_is_drawn_at_a_time_and_nobody_waits_for_ever() {
        assert_eq!(DiagramCache::default().wait_timeout, Duration::from_secs(20));
        let pictures = DiagramCache { wait_timeout: Duration::from_millis(10), ..DiagramCache::default() };
        let first = definition("first");
        let turn = Arc::clone(&pictures.draw_permit).acquire_owned().await.unwrap();
        let refused = pictures.draw(Arc::clone(&first), InstanceOverlay::default()).await;
        assert!(matches!(refused, Err(EngineError::Busy)), "{refused:?}");
        drop(turn);
        pictures.draw(first, InstanceOverlay::default()).await.unwrap();
    }
}
