//! What clients say to a board, and what they are told.

use lifeguard::farm::Random;
use serde_json::{Value, json};

/// The states that a forced move may lead to.
const STATES: [&str; 7] = ["New", "North", "East", "South", "West", "Hurried", "Clearing"];

/// What clients last heard of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownState {
    pub(super) state: String,
    pub(super) visit: i64,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientRequest {
    /// By the board, perhaps of a visit.
    Event(&'static str, Option<i64>),
    /// By an operator.
    Request(&'static str),
    /// By an operator, who believes the board to be in `from`.
    Force { from: String, to: &'static str },
}

/// What a client is told.
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
    /// Operators are told no visit.
    Ignored {
        state: String,
        visit: Option<i64>,
    },
    /// That nobody can say: what was said may have been written down or not.
    Nothing,
    /// What no client should be told.
    Nonsense(String),
}

/// Something that a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchange {
    /// Tells it apart from all others.
    pub(super) mark: String,
    pub(super) board: String,
    pub(super) said: ClientRequest,
    pub(super) told: ClientAnswer,
    /// When it was sent and when it was answered, as all clients count.
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// Whether it was seen to be written once it was answered, if somebody looked.
    pub(super) is_seen: Option<bool>,
}

impl ClientRequest {
    /// Chooses something to say to a board of which `known` was last heard.
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

    /// Where it is posted, below the board's path.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Event(event, None) => format!("events/{event}"),
            Self::Event(event, Some(visit)) => format!("events/{event}?visit={visit}"),
            Self::Request(request) => format!("requests/{request}"),
            Self::Force { .. } => "force".to_owned(),
        }
    }

    /// What is posted there.
    pub(super) fn body(&self, mark: &str) -> Value {
        match self {
            Self::Event(..) | Self::Request(_) => json!({ "mark": mark }),
            Self::Force { from, to } => json!({ "from": from, "to": to, "reason": mark }),
        }
    }
}

impl ClientAnswer {
    /// Understands an answer.
    pub(super) fn read(status: u16, answer: &Value) -> Self {
        let nonsense = || Self::Nonsense(format!("{status} {answer}"));
        let text = |key: &str| answer[key].as_str().map(str::to_owned).ok_or_else(nonsense);
        let visit = answer["visit"].as_i64();
        let told = match (status, answer["outcome"].as_str(), visit) {
            (503, None, None) => Ok(Self::Nothing),
            (200, Some("moved"), Some(visit)) => {
                text("from").and_then(|from| Ok(Self::Moved { from, to: text("to")?, visit }))
            }
            (200, Some("stayed"), Some(visit)) => text("state").map(|state| Self::Stayed { state, visit }),
            (200, Some("ignored"), Some(_)) | (409, None, None) => {
                text("state").map(|state| Self::Ignored { state, visit })
            }
            _ => Err(nonsense()),
        };
        told.unwrap_or_else(|nonsense| nonsense)
    }

    /// What is now known of the board.
    pub(super) fn known(&self) -> Option<KnownState> {
        match self {
            Self::Moved { to: state, visit, .. }
            | Self::Stayed { state, visit }
            | Self::Ignored { state, visit: Some(visit) } => {
                Some(KnownState { state: state.clone(), visit: *visit })
            }
            Self::Ignored { visit: None, .. } | Self::Nothing | Self::Nonsense(_) => None,
        }
    }
}
