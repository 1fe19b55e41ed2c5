//! Runs the tasks of an engine until it is stopped.

use crate::formatting::with_causes;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::handle::Engine;
use super::{
    clock_sync, deadline_feed, dispatch, feed_reader, finding_writer, hints, housekeeping, pipeline,
    trouble_watch, work_queue,
};

impl Engine {
    /// Runs until `stop`, then waits for short actions, releases the others, and returns.
    pub async fn run(&self, stop: CancellationToken) {
        let mut lanes = JoinSet::new();
        for _ in 0..work_queue::LANES {
            lanes.spawn(pipeline::run(self.clone()));
        }
        // Background tasks run until the actions are released.
        let stop_background = CancellationToken::new();
        let mut loops = JoinSet::new();
        loops.spawn(deadline_feed::run(self.clone(), stop_background.clone()));
        loops.spawn(hints::send(self.clone(), stop_background.clone()));
        loops.spawn(feed_reader::run(self.clone(), stop_background.clone()));
        loops.spawn(watch_database(self.clone(), stop_background.clone()));
        loops.spawn(hints::receive(self.clone(), stop_background.clone()));
        loops.spawn(housekeeping::run(self.clone(), stop.clone()));
        loops.spawn(clock_sync::run(self.clone(), stop_background.clone()));
        loops.spawn(trouble_watch::run(self.clone(), stop_background.clone()));
        loops.spawn(finding_writer::run(self.clone(), stop_background.clone()));
        let mut work = JoinSet::new();
        work.spawn(dispatch::run(self.clone(), stop.clone()));
        tokio::select! {
            () = join(&mut work) => {}
            // A task that ends before `stop` has panicked: the others are stopped in order, and the caller sees that the
            // engine ended.
            () = join_one(&mut lanes) => stop.cancel(),
            () = join_one(&mut loops), if !stop.is_cancelled() => stop.cancel(),
        }
        join(&mut work).await;
        stop_background.cancel();
        join(&mut loops).await;
        // The results of the last actions are in the queue; the lanes end when it is empty.
        self.inner.queue.close();
        join(&mut lanes).await;
    }
}

async fn join(tasks: &mut JoinSet<()>) {
    while !tasks.is_empty() {
        join_one(tasks).await;
    }
}

async fn join_one(tasks: &mut JoinSet<()>) {
    if let Some(Err(fault)) = tasks.join_next().await {
        tracing::error!(error = %with_causes(&fault), "engine task panicked");
    }
}

/// Monitors the database and its life.
async fn watch_database(engine: Engine, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = engine.store().watch() => {}
    }
}
