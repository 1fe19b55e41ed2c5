//! One action to carry out, and for what.

use std::fmt;
use std::sync::Arc;

use device_io::ProcessLease;
use serde_json::{Map, Value};

use super::finding::FindingReporter;
use crate::clock::{Clock, SystemClock};
use crate::machine::{ActionName, MachineName, StateName, Visit};

/// What is known of an instance from outside, by name. The face that the instance belongs to says what there is.
pub type Facts = Map<String, Value>;

/// The instance that an action is carried out for, as it stood when the action began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSubject {
    /// Its machine.
    pub machine: MachineName,
    /// Its name.
    pub name: String,
    /// The state that it is in.
    pub state: StateName,
    /// The visit that the action was asked for in.
    pub visit: Visit,
}

impl fmt::Display for JobSubject {
    /// As people are told of it: `board b1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.machine, self.name)
    }
}

/// One action to carry out.
#[derive(Clone)]
pub struct Job {
    /// The number of this request: the same in each run of it, and no other's in the same database.
    pub id: i64,
    /// Which action.
    pub action: ActionName,
    /// For which instance.
    pub subject: JobSubject,
    /// What is known of that instance.
    pub facts: Facts,
    /// The settings in the machine definition.
    pub settings: Map<String, Value>,
    /// How often it was begun before without being seen to end: this process or an earlier one died or lost its lease in
    /// the middle, or the action was suspended after it may have acted. 0 in its first run.
    pub attempts: u32,
    /// Until when it may write to devices: it asks immediately before each write.
    pub lease: ProcessLease,
    /// Where it reports what it finds while it runs.
    pub findings: FindingReporter,
    /// By which it measures time.
    pub clock: Arc<dyn Clock>,
}

impl Job {
    /// The first run of `action` for `subject`, by a process that may always act, on the system's clock.
    #[must_use]
    pub fn new(id: i64, action: ActionName, subject: JobSubject, facts: Facts) -> Self {
        Self {
            id,
            action,
            subject,
            facts,
            settings: Map::new(),
            attempts: 0,
            lease: ProcessLease::default(),
            findings: FindingReporter::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// The fact `name`, where it is known and a text.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).and_then(Value::as_str)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Facts and settings may be secret.
        let Self { id, action, subject, attempts, .. } = self;
        f.debug_struct("Job")
            .field("id", id)
            .field("action", action)
            .field("subject", subject)
            .field("attempts", attempts)
            .finish_non_exhaustive()
    }
}
