//! The record of a run from outside: by relay boards, boards, clients, and from the database afterwards.
//!
//! All times are those of the test process, whose clock is never changed, except [`StoredEntry::at`].

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// A time by the test's clock.
pub(super) type Moment = DateTime<Utc>;

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeSpan {
    pub(super) from: Moment,
    pub(super) to: Moment,
}

impl TimeSpan {
    /// Whether it overlaps another one.
    pub(super) fn meets(&self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

/// Health of a board's relay board during the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelayHealth {
    /// It works.
    Works,
    /// It does not; the failure must contain one of these words.
    Broken(&'static [&'static str]),
}

/// The target of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FaultTarget {
    Database,
    Server(usize),
    Relay(usize),
    Board(String),
    BootTree,
}

/// A fault, and how long it lasted.
#[derive(Debug, Clone)]
pub(super) struct InjectedFault {
    pub(super) struck: FaultTarget,
    pub(super) span: TimeSpan,
}

/// One board and its hardware.
#[derive(Debug, Clone)]
pub(super) struct BoardRecord {
    pub(super) name: String,
    pub(super) relay: usize,
    pub(super) habit: RelayHealth,
    /// When its power was switched off (`false`) and on (`true`).
    pub(super) power: Vec<(Moment, bool)>,
    /// All writes to its coil, changes or not.
    pub(super) writes: Vec<(Moment, bool)>,
    /// When it started (`true`) and stopped (`false`) answering polls.
    pub(super) answers: Vec<(Moment, bool)>,
    /// How often it hung or crashed.
    pub(super) silences: usize,
}

/// A client's message to a server, and the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct SentMessage {
    pub(super) board: String,
    pub(super) event: String,
    pub(super) mark: Option<String>,
    pub(super) server: usize,
    pub(super) sent: Moment,
    /// When it was answered, and with which status.
    pub(super) answer: Option<(Moment, u16)>,
    /// `moved`, `stayed` or `ignored`, and the visit after it.
    pub(super) outcome: Option<(String, i64)>,
}

impl SentMessage {
    /// When the server acknowledged it.
    pub(super) fn acknowledged(&self) -> Option<Moment> {
        self.answer.filter(|(_, status)| *status == 200).map(|(at, _)| at)
    }
}

/// A row of a board's history, in the order of IDs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredEntry {
    /// By the clock of the server that wrote it, which may have been stepped.
    pub(super) at: Moment,
    pub(super) kind: String,
    pub(super) event: Option<String>,
    pub(super) source: Option<String>,
    pub(super) mark: Option<String>,
    pub(super) outcome: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) visit: i64,
    pub(super) reason: Option<String>,
}

impl StoredEntry {
    /// Whether its reason may be the cause of the board's state; not for notes and ignored reports.
    pub(super) fn is_cause(&self) -> bool {
        match self.kind.as_str() {
            "event" => self.outcome != "ignored" || self.source.as_deref() == Some("action"),
            kind => kind == "deadline",
        }
    }
}

/// An observation of a board's state: requested at `asked` and answered at `seen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observation {
    pub(super) asked: Moment,
    pub(super) seen: Moment,
    pub(super) state: String,
    pub(super) visit: i64,
}

/// A board's state and visit.
pub(super) type StateAndVisit = (String, i64);

/// A board's final state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FinalState {
    pub(super) state: String,
    pub(super) visit: i64,
    /// The reason on the board's page: the last one of an action or the board.
    pub(super) reason: String,
}

impl FinalState {
    /// Whether nothing is running.
    pub(super) fn rests(&self) -> bool {
        self.state.starts_with("Failed") || matches!(self.state.as_str(), "Ready" | "New")
    }
}

/// Resource usage of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerUsage {
    pub(super) resident_kb: u64,
    pub(super) descriptors: u64,
}

/// The complete record.
#[derive(Debug, Clone)]
pub(super) struct RunRecord {
    pub(super) boards: Vec<BoardRecord>,
    pub(super) strikes: Vec<InjectedFault>,
    pub(super) messages: Vec<SentMessage>,
    /// Between these times a standby that was promoted had been cut off.
    pub(super) lost: Vec<TimeSpan>,
    pub(super) sightings: BTreeMap<String, Vec<Observation>>,
    /// Boards as known to the follower of changes at the end, and as stored.
    pub(super) mirror: BTreeMap<String, StateAndVisit>,
    pub(super) history: BTreeMap<String, Vec<StoredEntry>>,
    /// States of the boards at rest after the last fault.
    pub(super) rested: BTreeMap<String, FinalState>,
    /// States after the operator's last round, in which failed boards were reimaged.
    pub(super) ends: BTreeMap<String, FinalState>,
    /// The differences found by replay.
    pub(super) difference: Option<String>,
    /// Resource usage of each server before the first fault and after the last one.
    pub(super) usage: Vec<(ServerUsage, ServerUsage)>,
    /// Errors in a server's log, and unexpected events of a server.
    pub(super) accidents: Vec<String>,
    pub(super) ended_at: Moment,
}

/// How much of `span` is covered by none of `spans`.
pub(super) fn uncovered(span: TimeSpan, spans: impl IntoIterator<Item = TimeSpan>) -> TimeDelta {
    let mut spans: Vec<TimeSpan> = spans.into_iter().filter(|other| other.meets(span)).collect();
    spans.sort_by_key(|other| other.from);
    let (mut left, mut at) = (TimeDelta::zero(), span.from);
    for other in spans {
        left += (other.from.min(span.to) - at).max(TimeDelta::zero());
        at = at.max(other.to);
    }
    left + (span.to - at).max(TimeDelta::zero())
}
