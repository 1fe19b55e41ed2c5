//! Pictures of definitions: laid out once, and written for whoever asks.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::EngineError;
use crate::clock::pause;
use crate::diagram::{Marks, Picture};
use crate::machine::Definition;

/// How many pictures are kept; the one that was asked for least recently goes first.
const MAX_KEPT: usize = 16;
/// How long whoever asks waits for others' pictures, in real time: one is drawn at a time, or else they would take the
/// processors from the events.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// A picture, once it is drawn.
type Cell = Arc<OnceLock<Picture>>;

/// The pictures of definitions that were asked for.
#[derive(Debug)]
pub(super) struct Pictures {
    /// The least recently used first. A definition that is kept here is the same as long as its place in memory is.
    kept: Mutex<Vec<(Arc<Definition>, Cell)>>,
    turn: Arc<Semaphore>,
    longest_wait: Duration,
}

impl Default for Pictures {
    fn default() -> Self {
        Self { kept: Mutex::default(), turn: Arc::new(Semaphore::new(1)), longest_wait: LONGEST_WAIT }
    }
}

impl Pictures {
    fn cell(&self, definition: &Arc<Definition>) -> Cell {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().position(|(known, _)| Arc::ptr_eq(known, definition));
        let one = known.map_or_else(|| (Arc::clone(definition), Cell::default()), |at| kept.remove(at));
        if kept.len() >= MAX_KEPT {
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
        marks: Marks,
    ) -> Result<String, EngineError> {
        let cell = self.cell(&definition);
        let turn = tokio::select! {
            turn = Arc::clone(&self.turn).acquire_owned() => turn.map_err(|_| EngineError::Stopping)?,
            () = pause(self.longest_wait) => return Err(EngineError::Busy),
        };
        let drawn = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            cell.get_or_init(|| Picture::new(&definition)).svg(&marks)
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
        let pictures = Pictures::default();
        let first = definition("first");
        let cell = pictures.cell(&first);
        for count in [1, 2] {
            let counts = first.states.keys().map(|state| (state.clone(), count)).collect();
            let drawn = pictures.draw(Arc::clone(&first), Marks { present: None, counts }).await.unwrap();
            assert!(drawn.contains("class=\"count\""), "{drawn}");
            assert!(Arc::ptr_eq(&cell, &pictures.cell(&first)) && cell.get().is_some());
        }
        for number in 0..15 {
            pictures.cell(&definition(&format!("other-{number}")));
        }
        assert_eq!(pictures.kept.lock().unwrap().len(), 16);
        // The least asked for is not the first any more.
        assert!(Arc::ptr_eq(&cell, &pictures.cell(&first)));
        for number in 0..16 {
            pictures.cell(&definition(&format!("another-{number}")));
        }
        assert_eq!(pictures.kept.lock().unwrap().len(), 16);
        assert!(!Arc::ptr_eq(&cell, &pictures.cell(&first)));
    }

    #[tokio::test]
    async fn one_picture_is_drawn_at_a_time_and_nobody_waits_for_ever() {
        assert_eq!(Pictures::default().longest_wait, Duration::from_secs(20));
        let pictures = Pictures { longest_wait: Duration::from_millis(10), ..Pictures::default() };
        let first = definition("first");
        let turn = Arc::clone(&pictures.turn).acquire_owned().await.unwrap();
        let refused = pictures.draw(Arc::clone(&first), Marks::default()).await;
        assert!(matches!(refused, Err(EngineError::Busy)), "{refused:?}");
        drop(turn);
        pictures.draw(first, Marks::default()).await.unwrap();
    }
}
