//! Drives instances: what happens to them becomes transitions, by one path.
//!
//! ```text
//! HTTP ──────────┐
//! deadlines ─────┼─▶ commit: lock, decide, write, commit ─▶ answer, hint
//! ends of actions┘                                              │
//!        ▲                                                      ▼
//!        └───────── worker ◀──────────────────────────────── dispatch
//! ```
//!
//! Everything that is to be done is a row: a process that dies leaves nothing behind but a lease that runs out. Several
//! processes may drive the same database; row locks and visits keep them apart.

mod carry;
mod commit;
mod deadlines;
mod devices;
mod dispatch;
mod fetches;
mod housekeeping;
mod images;
mod lease;
mod running;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::machine::{Definition, MachineName};
use crate::store::instances::{Stranded, Target};
use crate::store::{Store, StoreError, definitions, instances};
use crate::worker::Worker;

pub use commit::{Committed, Submission};
pub use devices::DeviceChange;
pub use fetches::{Fetch, describe_boot};
pub use housekeeping::Retention;

/// Why the engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such instance; nothing was written.
    #[error("there is no {}", named(.0))]
    NoInstance(Target),
    /// The instance's machine is not among those that this process drives; nothing was written.
    #[error("no definition of the machine {0} is loaded")]
    NoMachine(MachineName),
    /// Another instance has the name, or another board the network address; nothing was written.
    #[error("another board has this {0} already")]
    Taken(&'static str),
    /// The board may have a boot link, which is known by its network address; nothing was written.
    #[error(
        "{name} may have a boot link for {image}; a reboot removes it, by force if need be (to RebootRebooting)"
    )]
    Linked {
        /// The board.
        name: String,
        /// What it would boot.
        image: String,
    },
    /// A definition would strand instances that are in states which it does not have; nothing was written.
    #[error("the definition of {machine} lacks states that instances are in: {}", strandeds(.stranded))]
    Strands {
        /// The machine.
        machine: MachineName,
        /// The instances.
        stranded: Vec<Stranded>,
    },
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

/// A definition as it was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its text.
    pub source: String,
    /// What the check made of it.
    pub definition: Arc<Definition>,
}

/// Drives the instances of the machines that it was given.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    definitions: BTreeMap<MachineName, Arc<Definition>>,
    clock: Arc<dyn Clock>,
    worker: Worker,
    retention: Retention,
    running: running::Running,
    deadlines_changed: Notify,
    actions_changed: Notify,
}

impl Engine {
    /// Makes an engine for `definitions`, remembers their texts, and sees to it that history has room for today.
    ///
    /// # Errors
    ///
    /// [`EngineError::Strands`] when an instance is in a state that its definition does not have.
    pub async fn new(
        store: Store,
        loaded: Vec<Loaded>,
        clock: Arc<dyn Clock>,
        worker: Worker,
        retention: Retention,
    ) -> Result<Self, EngineError> {
        let mut definitions = BTreeMap::new();
        let mut tx = store.begin().await?;
        for Loaded { source, definition } in loaded {
            let machine = definition.machine.clone();
            let states: Vec<String> = definition.states.keys().map(ToString::to_string).collect();
            let stranded = instances::list_stranded(&mut tx, &machine, &states).await?;
            if !stranded.is_empty() {
                return Err(EngineError::Strands { machine, stranded });
            }
            definitions::adopt(&mut tx, &machine, &source, clock.now()).await?;
            definitions.insert(machine, definition);
        }
        tx.commit().await?;
        let inner = Inner {
            store,
            definitions,
            clock,
            worker,
            retention,
            running: running::Running::default(),
            deadlines_changed: Notify::new(),
            actions_changed: Notify::new(),
        };
        let engine = Self { inner: Arc::new(inner) };
        match housekeeping::round(&engine).await {
            // It is tried again while we serve, and the default partition takes what comes meanwhile.
            Err(error) if error.is_passing() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "history could not be tidied yet");
            }
            result => result?,
        }
        Ok(engine)
    }

    /// Drives until `stop`, then lets what holds a place end, hands the rest back, and returns.
    pub async fn run(&self, stop: CancellationToken) {
        let mut loops = JoinSet::new();
        loops.spawn(deadlines::run(self.clone(), stop.clone()));
        loops.spawn(dispatch::run(self.clone(), stop.clone()));
        loops.spawn(housekeeping::run(self.clone(), stop.clone()));
        loops.spawn(hear_hints(self.clone(), stop));
        while let Some(ended) = loops.join_next().await {
            if let Err(fault) = ended {
                tracing::error!(error = &fault as &dyn std::error::Error, "a loop of the engine broke down");
            }
        }
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

    /// The definition of `machine`.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoMachine`] when none is loaded.
    pub fn definition(&self, machine: &MachineName) -> Result<&Arc<Definition>, EngineError> {
        self.inner.definitions.get(machine).ok_or_else(|| EngineError::NoMachine(machine.clone()))
    }

    fn machines(&self) -> Vec<String> {
        self.inner.definitions.keys().map(ToString::to_string).collect()
    }

    fn wake(&self) {
        self.inner.deadlines_changed.notify_one();
        self.inner.actions_changed.notify_one();
    }
}

/// Waits a moment before the database is asked again.
async fn rest() {
    clock::pause(Duration::from_millis(100)).await;
}

/// Wakes this process's loops when another process has written something.
async fn hear_hints(engine: Engine, stop: CancellationToken) {
    let hear = async {
        loop {
            match engine.inner.store.listen().await {
                Ok(mut hints) => {
                    engine.wake();
                    while hints.next().await.is_ok() {
                        engine.wake();
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
