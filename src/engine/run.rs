//! An engine runs: its parts side by side, until it is to stop.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::handle::Engine;
use super::{
    clock_sync, deadline_feed, dispatch, feed_reader, finding_writer, hints, housekeeping, pipeline,
    trouble_watch, work_queue,
};

impl Engine {
    /// Drives until `stop`, then lets what holds a place end, hands the rest back, and returns.
    pub async fn run(&self, stop: CancellationToken) {
        let mut lanes = JoinSet::new();
        for _ in 0..work_queue::LANES {
            lanes.spawn(pipeline::run(self.clone()));
        }
        // What this process is told and tells of goes on until it has let go of its actions.
        let told = CancellationToken::new();
        let mut loops = JoinSet::new();
        loops.spawn(deadline_feed::run(self.clone(), told.clone()));
        loops.spawn(hints::send(self.clone(), told.clone()));
        loops.spawn(feed_reader::run(self.clone(), told.clone()));
        loops.spawn(watch_database(self.clone(), told.clone()));
        loops.spawn(hints::receive(self.clone(), told.clone()));
        loops.spawn(housekeeping::run(self.clone(), stop.clone()));
        loops.spawn(clock_sync::run(self.clone(), told.clone()));
        loops.spawn(trouble_watch::run(self.clone(), told.clone()));
        loops.spawn(finding_writer::run(self.clone(), told.clone()));
        let mut work = JoinSet::new();
        work.spawn(dispatch::run(self.clone(), stop.clone()));
        tokio::select! {
            () = join(&mut work) => {}
            // None of these ends before it is told to, unless it broke down: then the rest stops in order, and whoever
            // runs this sees that it ended.
            () = join_one(&mut lanes) => stop.cancel(),
            () = join_one(&mut loops), if !stop.is_cancelled() => stop.cancel(),
        }
        join(&mut work).await;
        told.cancel();
        join(&mut loops).await;
        // The ends of the last actions went through the pipeline; what still waits there is done before it ends.
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
        tracing::error!(error = &fault as &dyn std::error::Error, "a part of the engine broke down");
    }
}

/// Asks again and again whether the database serves, and which one it is.
async fn watch_database(engine: Engine, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = engine.store().watch() => {}
    }
}
