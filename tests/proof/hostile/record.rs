//! What was seen of a run, from outside: by relay boards, boards, clients, and in the database afterwards.
//!
//! All times are those of the test process, whose clock is never touched, but for [`StoredEntry::at_url`].

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// A moment by the test's clock.
pub(super) type Moment = DateTime<Utc>;

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeSpan {
    pub(super) from: Moment,
    pub(super) to: Moment,
}

impl TimeSpan {
    /// Whether it has a moment in common with another one.
    pub(super) fn meets(&self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

/// What the relay board of a board is like, for the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelayHealth {
    /// It can be worked with.
    Works,
    /// It cannot; the failure must say one of these words.
    Broken(&'static [&'static str]),
}

/// What was struck by a fault of the plan.
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
    /// When its power went (`false`) and came (`true`).
    pub(super) power: Vec<(Moment, bool)>,
    /// What was written to its coil, be it a change or not.
    pub(super) writes: Vec<(Moment, bool)>,
    /// When it began (`true`) and ceased (`false`) to answer polls.
    pub(super) answers: Vec<(Moment, bool)>,
    /// How often it hung or crashed.
    pub(super) silences: usize,
}

/// What a client said to a server, and what it was told.
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
    /// When the server said that it would keep this.
    pub(super) fn acknowledged(&self) -> Option<Moment> {
        self.answer.filter(|(_, status)| *status == 200).map(|(at, _)| at)
    }
}

/// A row of a board's history, in the order of its numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredEntry {
    /// By the clock of whichever server wrote it, which may have been stepped.
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
    /// Whether its reason may be why the board is where it is: not what was noted on the way, nor what the board said in vain.
    pub(super) fn is_cause(&self) -> bool {
        match self.kind.as_str() {
            "event" => self.outcome != "ignored" || self.source.as_deref() == Some("action"),
            kind => kind == "deadline",
        }
    }
}

/// Where the observer saw a board: it asked at `asked` and was answered at `seen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observation {
    pub(super) asked: Moment,
    pub(super) seen: Moment,
    pub(super) state: String,
    pub(super) visit: i64,
}

/// Where a board is.
pub(super) type StateAndVisit = (String, i64);

/// How a board stands at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FinalState {
    pub(super) state: String,
    pub(super) visit: i64,
    /// What the board's page says of its failure: the last reason that an action or the board gave.
    pub(super) reason: String,
}

impl FinalState {
    /// Whether nothing is under way.
    pub(super) fn rests(&self) -> bool {
        self.state.starts_with("Failed") || matches!(self.state.as_str(), "Ready" | "New")
    }
}

/// What a server takes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerUsage {
    pub(super) resident_kb: u64,
    pub(super) descriptors: u64,
}

/// All that was seen.
#[derive(Debug, Clone)]
pub(super) struct RunRecord {
    pub(super) boards: Vec<BoardRecord>,
    pub(super) strikes: Vec<InjectedFault>,
    pub(super) messages: Vec<SentMessage>,
    /// Between these moments a standby that was promoted had been cut off.
    pub(super) lost: Vec<TimeSpan>,
    pub(super) sightings: BTreeMap<String, Vec<Observation>>,
    /// Boards as the observer of changes had them at the end, and as they were.
    pub(super) mirror: BTreeMap<String, StateAndVisit>,
    pub(super) history: BTreeMap<String, Vec<StoredEntry>>,
    /// How boards stood when they had come to rest after the last fault.
    pub(super) rested: BTreeMap<String, FinalState>,
    /// How they stood after the operator's last round, in which those that had failed were reimaged.
    pub(super) ends: BTreeMap<String, FinalState>,
    /// What replay found not to agree.
    pub(super) difference: Option<String>,
    /// What each server took before the first fault and after the last one.
    pub(super) usage: Vec<(ServerUsage, ServerUsage)>,
    /// What must not be in a server's log, nor happen to a server.
    pub(super) accidents: Vec<String>,
    pub(super) ended_at: Moment,
}

/// How much of `span` none of `spans` covers.
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
