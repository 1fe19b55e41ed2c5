//! An action to run, with its instance.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use device_io::ProcessLease;
use serde_json::{Map, Value};

use super::finding::FindingReporter;
use crate::clock::{Clock, SystemClock};
use crate::machine::{ActionName, MachineName, StateName, Visit};

/// The facts of an instance, by name. The face of its machine provides them.
pub type Facts = Map<String, Value>;

/// The instance that an action runs for, as it was when the action started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSubject {
    /// Its machine.
    pub machine: MachineName,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: StateName,
    /// The visit that requested the action.
    pub visit: Visit,
}

impl fmt::Display for JobSubject {
    /// `board b1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.machine, self.name)
    }
}

/// An action to run.
#[derive(Clone)]
pub struct Job {
    /// The number of the action: the same in each of its runs, and unique in the database.
    pub id: i64,
    /// Its name.
    pub action: ActionName,
    /// The instance.
    pub subject: JobSubject,
    /// The facts of the instance.
    pub facts: Facts,
    /// The settings in the machine definition.
    pub settings: Map<String, Value>,
    /// How often it was started before without being seen to end: a process died or lost its lease meanwhile, or the action
    /// was suspended after it may have acted. 0 in its first run.
    pub attempts: u32,
    /// The least time for which a cycle keeps off what it switches, as set for the resources that it holds.
    pub min_off: Duration,
    /// The lease of the process: it is checked immediately before each write to a device.
    pub lease: ProcessLease,
    /// The reporter of its findings.
    pub findings: FindingReporter,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
}

impl Job {
    /// The first run of `action` for `subject`, with a lease that does not end, on the clock of the system.
    #[must_use]
    pub fn new(id: i64, action: ActionName, subject: JobSubject, facts: Facts) -> Self {
        Self {
            id,
            action,
            subject,
            facts,
            settings: Map::new(),
            attempts: 0,
            min_off: Duration::ZERO,
            lease: ProcessLease::default(),
            findings: FindingReporter::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Returns the fact `name`, where it is known and a text.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).and_then(Value::as_str)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Facts and settings can be secret.
        let Self { id, action, subject, attempts, .. } = self;
        f.debug_struct("Job")
            .field("id", id)
            .field("action", action)
            .field("subject", subject)
            .field("attempts", attempts)
            .finish_non_exhaustive()
    }
}
