//! Drives instances: what happens to them becomes transitions, by one path.
//!
//! ```text
//! HTTP ──────────┐
//! deadlines ─────┼─▶ queue ─▶ pipeline: read, decide, write and commit ─▶ answer, hint
//! ends of actions┘                                                            │
//!        ▲                                                                    ▼
//!        └───────── worker ◀────────────────────────────────────────────── dispatch
//! ```
//!
//! What a guard asks a hosted model is asked before that, and comes with the event: the pipeline waits for no model.
//!
//! Everything that is to be done is a row: a process that dies leaves nothing behind but a lease that runs out. Several
//! processes may drive the same database; the rows' versions and visits keep them apart.

mod carry;
mod deadlines;
mod dispatch;
mod draft;
mod face;
mod facts;
mod feed;
mod findings;
mod housekeeping;
mod instances;
mod kept;
mod lease;
mod pictures;
mod pipeline;
mod predictions;
mod queue;
mod recent;
mod refusal;
mod repeats;
pub mod replay;
mod retries;
mod rules;
mod running;
mod tell;
mod timekeeping;
mod troubles;
mod usual;
mod why;
mod work;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::actions::Registry;
use crate::clock::{self, Clock};
use crate::machine::{Instance, MachineName, Visit, Vocabulary};
use crate::model::Models;
use crate::store::actions::Startable;
use crate::store::changes::{self, Changed, Cursor, Logged, Now, Origin};
use crate::store::instances::{InstanceId, Target};
use crate::store::{Cause, Life, StartupWait, Store, StoreError, instances as stored};
use crate::worker::Worker;

pub use face::{Account, ChangedFacts, Face, Faces, FactChange, LearnedFact, NewFacts, Removal};
pub use feed::{Follower, News};
pub use housekeeping::Retention;
pub use kept::{Counts, Kept, Reading};
pub use predictions::Predictions;
pub use refusal::Refusal;
pub use retries::Retries;
pub use rules::{CarriedOver, InForce, Loaded, Replacement};
pub use tell::{values, what_happened};
pub use troubles::OpenTrouble;
pub use why::{LastEvidence, UsualStay, Why};
pub use work::{Committed, Note, Submission};

pub use crate::store::definitions::{Adopted, Provenance};
pub use crate::store::instances::Stranded;

use housekeeping::Confirmation;
use lease::Identity;
use queue::{Queue, Refused};
use recent::Recent;
use work::{Answer, Ended, Heard, Started, Work};

/// Why the engine could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// There is no such instance; nothing was written.
    #[error("there is no {}", named(.0))]
    NoInstance(Target),
    /// No definition of the machine is in force, or none that this program understands; nothing was written.
    #[error("no definition of the machine {0} is in force")]
    NoMachine(MachineName),
    /// The instance is not any more as whoever asked has seen it; nothing was written.
    #[error("it has changed since")]
    Changed,
    /// There is an instance of this name already; nothing was written.
    #[error("`{0}` exists already")]
    Exists(String),
    /// The face of the instance does not let it be done; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What an action of the instance left undone is still to be made up for; nothing was written.
    #[error("what an action of {0} left undone is still to be made up for")]
    RescueOwed(String),
    /// A definition would strand instances that are in states which it does not have; nothing was written.
    #[error("the definition of {machine} lacks states that instances are in: {}", strandeds(.stranded))]
    Strands {
        /// The machine.
        machine: MachineName,
        /// The instances.
        stranded: Vec<Stranded>,
    },
    /// More waits to be decided on than this process takes; nothing was written, and trying again soon helps.
    #[error("too much waits to be decided on")]
    Busy,
    /// This process stops; nothing was written, and another one may serve.
    #[error("this process stops")]
    Stopping,
    /// The store failed; [`StoreError`] says what may have been written.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

fn named(target: &Target) -> String {
    match target {
        Target::Id(id) => format!("instance {}", id.0),
        Target::Name(machine, name) => format!("{machine} {name}"),
    }
}

fn strandeds(stranded: &[Stranded]) -> String {
    stranded.iter().map(|one| format!("{} in {}", one.name, one.state)).collect::<Vec<_>>().join(", ")
}

/// Drives the instances of the machines that it was given.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What an engine is made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The farm's clock.
    pub clock: Arc<dyn Clock>,
    /// Who carries actions out.
    pub worker: Worker,
    /// The models that this process hosts.
    pub models: Models,
    /// What definitions may name.
    pub vocabulary: Arc<Vocabulary>,
    /// What is known of what instances stand for.
    pub faces: Faces,
}

/// How an engine is to work.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long history is kept.
    pub retention: Retention,
    /// How long an event may wait for its answer.
    pub event_timeout: Duration,
}

struct Inner {
    store: Store,
    rules: rules::Rules,
    clock: Arc<dyn Clock>,
    worker: Worker,
    models: Models,
    faces: Faces,
    /// By what this process knows its own changes in the log.
    origin: Origin,
    retention: Retention,
    began: Instant,
    /// How long an event may wait for its answer.
    event_timeout: Duration,
    running: running::Running,
    troubles: troubles::Troubles,
    findings: findings::Pending,
    queue: Queue,
    recent: Recent,
    retries: Retries,
    /// There may be actions to begin.
    actions_changed: Notify,
    /// Something was written that other processes may want to know of.
    written: Notify,
    feed: feed::Feed,
    counts: kept::ByMachine,
    usual: usual::ByMachine,
    farm_time: timekeeping::FarmTime,
    pictures: pictures::Pictures,
}

impl Engine {
    /// How long an event waits for its answer, if nothing else is said: longer than models may take to answer what a
    /// condition asks, and than the database may take for one statement.
    pub const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

    /// Makes an engine that follows the definitions in force, with `loaded` among them, and sees to it that history has
    /// room for today.
    ///
    /// # Errors
    ///
    /// [`EngineError::Strands`] when an instance is in a state that its definition does not have.
    pub async fn new(parts: Parts, loaded: Vec<Loaded>, options: Options) -> Result<Self, EngineError> {
        let Parts { store, clock, worker, models, vocabulary, faces } = parts;
        let Options { retention, event_timeout } = options;
        let origin = changes::new_origin();
        let mut waiting = StartupWait::default();
        let (rules, seen) = loop {
            match look_around(&store, origin, (&vocabulary, &loaded), &*clock).await {
                Ok(found) => break found,
                // It went away since it was connected to.
                Err(EngineError::Store(error)) => waiting.wait(error).await?,
                Err(error) => return Err(error),
            }
        };
        let queue = Queue::new(Arc::clone(&clock));
        let inner = Inner {
            store,
            rules,
            clock,
            worker,
            models,
            faces,
            origin,
            retention,
            began: Instant::now(),
            event_timeout,
            running: running::Running::default(),
            troubles: troubles::Troubles::default(),
            findings: findings::Pending::default(),
            queue,
            recent: Recent::default(),
            retries: Retries::default(),
            actions_changed: Notify::new(),
            written: Notify::new(),
            feed: feed::Feed::new(seen),
            counts: kept::ByMachine::default(),
            usual: usual::ByMachine::default(),
            farm_time: timekeeping::FarmTime::default(),
            pictures: pictures::Pictures::default(),
        };
        let engine = Self { inner: Arc::new(inner) };
        match housekeeping::round(&engine, &mut Confirmation::default()).await {
            // It is tried again while we serve, and the default partition takes what comes meanwhile.
            Err(error) if error.is_passing() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "history could not be tidied yet");
            }
            result => result?,
        }
        Ok(engine)
    }

    /// The kinds of action that there are.
    #[must_use]
    pub fn kinds(&self) -> &Arc<Registry> {
        self.inner.worker.kinds()
    }

    /// Drives until `stop`, then lets what holds a place end, hands the rest back, and returns.
    pub async fn run(&self, stop: CancellationToken) {
        let mut lanes = JoinSet::new();
        for _ in 0..queue::LANES {
            lanes.spawn(pipeline::run(self.clone()));
        }
        // What this process is told and tells of goes on until it has let go of its actions.
        let told = CancellationToken::new();
        let mut loops = JoinSet::new();
        loops.spawn(learn_deadlines(self.clone(), told.clone()));
        loops.spawn(give_hints(self.clone(), told.clone()));
        loops.spawn(feed::run(self.clone(), told.clone()));
        loops.spawn(watch_database(self.clone(), told.clone()));
        loops.spawn(hear_hints(self.clone(), told.clone()));
        loops.spawn(housekeeping::run(self.clone(), stop.clone()));
        loops.spawn(timekeeping::run(self.clone(), told.clone()));
        loops.spawn(troubles::run(self.clone(), told.clone()));
        loops.spawn(findings::run(self.clone(), told.clone()));
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

    /// Decides on `submission` and answers once the result is durable.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`], [`EngineError::NoMachine`], [`EngineError::Busy`] and [`EngineError::Stopping`], with
    /// nothing written; [`EngineError::Store`] when the database fails.
    ///
    /// Where that takes longer than the engine's limit it is answered as unavailable, and may have been done.
    #[tracing::instrument(name = "engine.submit", level = "debug", skip_all)]
    pub async fn submit(&self, submission: Submission) -> Result<Committed, EngineError> {
        let limit = self.inner.event_timeout;
        tokio::select! {
            biased;
            committed = self.submit_patiently(submission) => committed,
            () = clock::pause(limit) => Err(StoreError::from(Cause::Silent(limit)).into()),
        }
    }

    async fn submit_patiently(&self, submission: Submission) -> Result<Committed, EngineError> {
        let mut submission = Box::new(submission);
        loop {
            match self.through(|since, answer| Work::Happened { submission, since, answer }).await? {
                Heard::Committed(committed) => return Ok(committed),
                // It reports because its action ended: its report must not overtake that, as it does where the end waits for
                // a database that was away.
                Heard::TooEarly(id, again) => {
                    submission = again;
                    // In a box, as what is seldom and large: each request would have to carry room for it.
                    Box::pin(self.inner.running.wait_for_ends(id)).await;
                }
                // What conditions want to know, also those of a definition that has come into force meanwhile.
                Heard::Unasked(questions, again) => {
                    submission = again;
                    Box::pin(self.ask(&mut submission, questions)).await;
                }
            }
        }
    }

    /// Lets an action begin, if it is still to be done.
    async fn begin(&self, action: Startable, by: Identity) -> Result<Option<Box<Started>>, EngineError> {
        self.through(|since, answer| Work::Begin { action, by, since, answer }).await
    }

    /// Makes the end of an action durable, and lets the next of its visit begin.
    async fn report_end(&self, ended: Arc<Ended>) -> Result<Option<Box<Started>>, EngineError> {
        self.through(|since, answer| Work::End { ended, since, answer }).await
    }

    /// Writes down something that was noticed about an instance, without deciding anything.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoInstance`] when there is no such instance; [`EngineError::Busy`] and [`EngineError::Stopping`], with
    /// nothing written; [`EngineError::Store`] when the database fails.
    pub async fn note(&self, id: InstanceId, note: Note) -> Result<(), EngineError> {
        let note = Box::new(note);
        self.through(|since, answer| Work::Noted { id, note, since, answer }).await
    }

    /// Sends something through the pipeline and waits until it is durable.
    async fn through<T>(&self, work: impl FnOnce(Instant, Answer<T>) -> Work) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        self.inner.queue.push(work(Instant::now(), answer)).map_err(|refused| match refused {
            Refused::Full => EngineError::Busy,
            Refused::Closed => EngineError::Stopping,
        })?;
        // A pipeline that broke down answers nobody.
        answered.await.unwrap_or(Err(EngineError::Stopping))
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The farm's clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// Lets no deadline pass any more, because from now on boards cannot report anything to this process: to be called before
    /// it stops to listen. Other processes let those pass that fall to it.
    pub fn hold_deadlines(&self) {
        self.inner.queue.deadlines().hold();
    }

    /// For how long it has been running, in real time.
    fn uptime(&self) -> Duration {
        self.inner.began.elapsed()
    }

    /// The models that this process hosts.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.inner.models
    }

    /// What had to be tried again since the engine was made.
    #[must_use]
    pub fn retries(&self) -> &Retries {
        &self.inner.retries
    }

    /// Learns that an instance was written outside the pipeline.
    fn learn(&self, life: Life, id: InstanceId, instance: &Instance) {
        if self.inner.queue.deadlines().learn(life, id, instance.visit, instance.deadline_at) {
            self.inner.queue.wake();
        }
        self.inner.actions_changed.notify_one();
        self.inner.written.notify_one();
        self.inner.feed.wake_for_own();
    }
}

/// How many deadlines are taken at once where all are read.
const ARMED_AT_ONCE: usize = 512;

/// Takes the time of the servers that run, puts `loaded` in force, and gives what is in force then and what has been told.
async fn look_around(
    store: &Store,
    origin: Origin,
    (vocabulary, loaded): (&Arc<Vocabulary>, &[Loaded]),
    clock: &dyn Clock,
) -> Result<(rules::Rules, Cursor), EngineError> {
    timekeeping::join(&mut *store.reader().await?, clock).await?;
    let adopting = rules::Adopting { vocabulary, origin, sender: None, now: clock.now() };
    let rules = rules::begin(store, loaded, adopting).await?;
    let seen = changes::state(&mut *store.reader().await?).await?;
    Ok((rules, seen))
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

/// Waits a moment before the database is asked again.
async fn rest() {
    clock::pause(Duration::from_millis(100)).await;
}

/// Asks again and again whether the database serves, and which one it is.
async fn watch_database(engine: Engine, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = engine.store().watch() => {}
    }
}

/// Learns all deadlines that are armed, and then what becomes of them: from other processes, and from this one where a
/// connection broke before the commit was confirmed.
async fn learn_deadlines(engine: Engine, stop: CancellationToken) {
    let mut follower = engine.follow();
    // Followed as well: the log of changes may be read over a connection that is not known yet to speak to another life.
    let mut life = engine.store().follow_life();
    let learn = async {
        let mut news = Some(News::Anew);
        while let Some(latest) = news {
            match latest {
                News::Anew => {
                    while let Err(error) = learn_all(&engine).await {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "deadlines cannot be read yet"
                        );
                        rest().await;
                    }
                }
                News::Changed(changed, cursor) => learn_changed(&engine, &changed, &cursor),
            }
            news = tokio::select! {
                biased;
                Ok(()) = life.changed() => Some(News::Anew),
                news = follower.next() => news,
            };
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = learn => {}
    }
}

fn learn_changed(engine: &Engine, changed: &[Logged], cursor: &Cursor) {
    let deadlines = engine.inner.queue.deadlines();
    let life = engine.store().life();
    if !cursor.is_of(life) {
        // All is read anew when the change of life is seen, within a second.
        return;
    }
    let mut is_earlier = false;
    for Logged { changed: Changed { id, now }, .. } in changed {
        is_earlier |= match now {
            Now::Is { visit, deadline_at } => deadlines.learn(life, *id, *visit, *deadline_at),
            Now::Removed { .. } => deadlines.learn(life, *id, Visit(i64::MAX), None),
        };
    }
    if is_earlier {
        engine.inner.queue.wake();
    }
}

async fn learn_all(engine: &Engine) -> Result<(), StoreError> {
    let store = engine.store();
    let mut db = store.reader().await?;
    let life = db.life();
    engine.inner.queue.deadlines().enter(life);
    // However many there are, none of them may be waited for without end.
    let mut read = std::pin::pin!(stored::stream_deadlines(&mut db).ready_chunks(ARMED_AT_ONCE));
    while let Some(armed) =
        store.within(Store::LONGEST, async { Ok::<_, StoreError>(read.next().await) }).await?
    {
        for armed in armed {
            let armed = armed?;
            if engine.inner.queue.deadlines().learn(life, armed.id, armed.visit, Some(armed.at)) {
                engine.inner.queue.wake();
            }
        }
    }
    Ok(())
}

/// Tells other processes that something was written: after the commit, for what is to be done is in rows, and one for
/// all that were written meanwhile. (A notification within a transaction takes a lock that all commits share.)
async fn give_hints(engine: Engine, stop: CancellationToken) {
    let give = async {
        loop {
            engine.inner.written.notified().await;
            if engine.inner.queue.deadlines().is_alone() {
                // Whoever is just starting looks by itself.
                continue;
            }
            // Whoever misses a hint looks by itself before long.
            let store = engine.store();
            if let Err(error) = store.within(Store::LONGEST, store.hint(engine.inner.origin)).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a hint could not be given");
            }
            clock::pause(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = give => {}
    }
}

/// Looks at what another process has written as soon as it says so.
async fn hear_hints(engine: Engine, stop: CancellationToken) {
    let hear = async {
        loop {
            match engine.inner.store.listen().await {
                Ok(mut hints) => {
                    let mut is_heard = true;
                    while is_heard {
                        engine.inner.feed.wake();
                        engine.inner.actions_changed.notify_one();
                        is_heard = hints.next(engine.inner.origin).await.is_ok();
                    }
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "cannot listen for hints");
                }
            }
            rest().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = hear => {}
    }
}
