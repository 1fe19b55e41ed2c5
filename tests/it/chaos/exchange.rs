//! Messages of clients to a board, and their answers.

use lifeguard::farm::Random;
use serde_json::{Value, json};

/// The targets of forced moves.
const STATES: [&str; 7] = ["New", "North", "East", "South", "West", "Hurried", "Clearing"];

/// A board's state as clients last knew it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownState {
    pub(super) state: String,
    pub(super) visit: i64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientRequest {
    /// An event of the board, perhaps with a visit.
    Event(&'static str, Option<i64>),
    /// A request of an operator.
    Request(&'static str),
    /// A forced move by an operator, who expects the board in `from`.
    Force { from: String, to: &'static str },
}

/// An answer to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientAnswer {
    Moved {
        from: String,
        to: String,
        visit: i64,
    },
    Stayed {
        state: String,
        visit: i64,
    },
    /// Answers to operators contain no visit.
    Ignored {
        state: String,
        visit: Option<i64>,
    },
    /// Unknown: the message may have been stored or not.
    Unknown,
    /// An invalid answer.
    Invalid(String),
}

/// A client's message with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchange {
    /// Its unique mark.
    pub(super) mark: String,
    pub(super) board: String,
    pub(super) request: ClientRequest,
    pub(super) answer: ClientAnswer,
    /// When it was sent and answered, in the clients' common count.
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// Whether it was visible in the database once it was answered, if this was checked.
    pub(super) is_seen: Option<bool>,
}

impl ClientRequest {
    /// Chooses a message to a board last known as `known`.
    pub(super) fn choose(random: &mut Random, known: &KnownState) -> Self {
        let visit = match random.next_below(10) {
            0..4 => None,
            4..9 => Some(known.visit),
            _ => Some(known.visit - 1),
        };
        match random.next_below(100) {
            0..34 => Self::Event("hit", visit),
            34..56 => Self::Event("go", visit),
            56..68 => Self::Event("spend", visit),
            68..73 => Self::Event("hurry", visit),
            73..81 => Self::Request("rq-hit"),
            81..88 => Self::Request("rq-go"),
            88..91 => Self::Request("rq-clear"),
            _ => Self::Force { from: known.state.clone(), to: STATES[random.next_below(STATES.len())] },
        }
    }

    /// Its path below the board's.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Event(event, None) => format!("events/{event}"),
            Self::Event(event, Some(visit)) => format!("events/{event}?visit={visit}"),
            Self::Request(request) => format!("requests/{request}"),
            Self::Force { .. } => "force".to_owned(),
        }
    }

    /// Its body.
    pub(super) fn body(&self, mark: &str) -> Value {
        match self {
            Self::Event(..) | Self::Request(_) => json!({ "mark": mark }),
            Self::Force { from, to } => json!({ "from": from, "to": to, "reason": mark }),
        }
    }
}

impl ClientAnswer {
    /// Parses an answer.
    pub(super) fn read(status: u16, answer: &Value) -> Self {
        let invalid = || Self::Invalid(format!("{status} {answer}"));
        let text = |key: &str| answer[key].as_str().map(str::to_owned).ok_or_else(invalid);
        let visit = answer["visit"].as_i64();
        let parsed = match (status, answer["outcome"].as_str(), visit) {
            (503, None, None) => Ok(Self::Unknown),
            (200, Some("moved"), Some(visit)) => {
                text("from").and_then(|from| Ok(Self::Moved { from, to: text("to")?, visit }))
            }
            (200, Some("stayed"), Some(visit)) => text("state").map(|state| Self::Stayed { state, visit }),
            (200, Some("ignored"), Some(_)) | (409, None, None) => {
                text("state").map(|state| Self::Ignored { state, visit })
            }
            _ => Err(invalid()),
        };
        parsed.unwrap_or_else(|invalid| invalid)
    }

    /// The board's state known from this answer.
    pub(super) fn known(&self) -> Option<KnownState> {
        match self {
            Self::Moved { to: state, visit, .. }
            | Self::Stayed { state, visit }
            | Self::Ignored { state, visit: Some(visit) } => {
                Some(KnownState { state: state.clone(), visit: *visit })
            }
            Self::Ignored { visit: None, .. } | Self::Unknown | Self::Invalid(_) => None,
        }
    }
}
