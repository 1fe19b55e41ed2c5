//! The checker: whether the stored rows agree with each other, with the lifecycle, and with the answers to clients.
//!
//! It shares nothing with the kernel and the store; it knows rows, messages and the [`ReferenceModel`].

use std::collections::BTreeMap;
use std::fmt;

use super::exchange::{ClientAnswer, ClientRequest, Exchange};
use super::model::ReferenceModel;
use super::rows::{StoredBoard, StoredEntry};

/// The checked rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CheckedRule {
    /// A board is created first, and once.
    Created,
    /// An entry continues from the state of the previous one.
    Chain,
    /// Entering a state starts the next visit; nothing else does.
    Visit,
    /// An effective entry with a visit is of the current visit.
    Fence,
    /// A deadline fires only when it is due.
    Due,
    /// The outcome is the one of the lifecycle.
    Lifecycle,
    /// The instance is the result of its history.
    Instance,
    /// Acknowledged messages are stored.
    Durable,
    /// No message is stored twice.
    Once,
    /// Stored messages were sent with this content.
    Sent,
    /// Answers to clients agree with the rows.
    AnswerAgrees,
    /// A message answered before another was sent is stored before it.
    Order,
    /// Answered messages are visible to others.
    Visible,
    /// Each answer is a valid one.
    ValidAnswer,
}

/// Violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleViolation {
    pub(super) rule: CheckedRule,
    pub(super) board: String,
    pub(super) what: String,
}

impl fmt::Display for RuleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}: {}", self.rule, self.board, self.what)
    }
}

/// Finds all violations.
pub(super) fn check(boards: &BTreeMap<String, StoredBoard>, messages: &[Exchange]) -> Vec<RuleViolation> {
    let by_mark: BTreeMap<&str, &Exchange> =
        messages.iter().map(|message| (message.mark.as_str(), message)).collect();
    assert_eq!(by_mark.len(), messages.len(), "each message has a mark of its own");
    let mut checker = HistoryChecker { by_mark, found: BTreeMap::new(), board: "", faults: Vec::new() };
    for (board, written) in boards {
        checker.board = board;
        checker.check_board(written);
    }
    for message in messages {
        checker.board = &message.board;
        checker.check_message(message);
    }
    checker.faults
}

struct HistoryChecker<'a> {
    by_mark: BTreeMap<&'a str, &'a Exchange>,
    /// How often each mark was found.
    found: BTreeMap<&'a str, usize>,
    board: &'a str,
    faults: Vec<RuleViolation>,
}

impl<'a> HistoryChecker<'a> {
    fn expect(&mut self, holds: bool, rule: CheckedRule, what: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(RuleViolation { rule, board: self.board.to_owned(), what: what() });
        }
    }

    fn check_board(&mut self, written: &'a StoredBoard) {
        let mut rows = written.history.iter();
        let created = rows.next();
        let is_created = created.is_some_and(|row| {
            (row.kind.as_str(), row.outcome.as_str(), row.to.as_str(), row.visit)
                == ("created", "moved", "New", 1)
        });
        self.expect(is_created, CheckedRule::Created, || format!("{created:?}"));
        let mut model = ReferenceModel::new();
        let mut latest_sent = None;
        for row in rows {
            self.check_row(row, &mut model);
            if let Some(mark) = row.mark() {
                *self.found.entry(mark).or_default() += 1;
                self.check_mark(row, mark, &mut latest_sent);
            }
        }
        let (is, must) = (&written.instance, model.instance());
        self.expect(*is == must, CheckedRule::Instance, || format!("is {is:?}, must be {must:?}"));
    }

    /// Compares a row with the model's state, and continues from the row's state.
    fn check_row(&mut self, row: &'a StoredEntry, model: &mut ReferenceModel) {
        let before = model.clone();
        self.expect(row.kind != "created", CheckedRule::Created, || format!("again: {row}"));
        self.expect(row.from == before.state, CheckedRule::Chain, || {
            format!("it was in {}: {row}", before.state)
        });
        let is_moved = row.outcome == "moved";
        let visit = before.visit + i64::from(is_moved);
        self.expect(row.visit == visit, CheckedRule::Visit, || format!("must be visit {visit}: {row}"));
        let has_effect = is_moved || row.outcome == "stayed";
        let speaks_of_now = row.spoken_visit.is_none_or(|spoken| spoken == before.visit);
        self.expect(!has_effect || speaks_of_now, CheckedRule::Fence, || {
            format!("it was visit {}: {row}", before.visit)
        });
        let is_due = row.kind != "deadline" || before.due.is_some_and(|due| due <= row.at);
        self.expect(is_due, CheckedRule::Due, || format!("due at {:?}: {row}", before.due));
        let outcome = model.follow(row);
        let is_right = (outcome, &model.state) == (row.outcome.as_str(), &row.to);
        self.expect(is_right, CheckedRule::Lifecycle, || {
            format!("must be {outcome} to {}; it was {before:?}: {row}", model.state)
        });
        // So that one fault is not reported again for each later row.
        (model.state, model.visit) = (row.to.clone(), row.visit);
    }

    /// Compares a row with its message.
    fn check_mark(&mut self, row: &'a StoredEntry, mark: &str, latest_sent: &mut Option<u64>) {
        let Some(message) = self.by_mark.get(mark).copied() else {
            return self.expect(false, CheckedRule::Sent, || format!("never sent: {row}"));
        };
        let matches_request = message.board == self.board && matches_request(row, &message.request);
        self.expect(matches_request, CheckedRule::Sent, || {
            format!("{:?} was sent to {}: {row}", message.request, message.board)
        });
        self.expect(matches_answer(row, &message.answer), CheckedRule::AnswerAgrees, || {
            format!("{:?} was answered: {row}", message.answer)
        });
        let is_known = !matches!(message.answer, ClientAnswer::Unknown | ClientAnswer::Invalid(_));
        let is_in_order = !is_known || latest_sent.is_none_or(|sent| sent < message.answered);
        self.expect(is_in_order, CheckedRule::Order, || {
            format!("a message sent after its answer is stored before it: {row}")
        });
        *latest_sent = (*latest_sent).max(Some(message.sent));
    }

    fn check_message(&mut self, message: &'a Exchange) {
        let times = self.found.get(message.mark.as_str()).copied().unwrap_or_default();
        let is_acknowledged = !matches!(message.answer, ClientAnswer::Unknown | ClientAnswer::Invalid(_));
        self.expect(times <= 1, CheckedRule::Once, || format!("{times} times: {message:?}"));
        self.expect(!is_acknowledged || times >= 1, CheckedRule::Durable, || format!("{message:?}"));
        self.expect(message.is_seen != Some(false), CheckedRule::Visible, || format!("{message:?}"));
        let is_answer = !matches!(message.answer, ClientAnswer::Invalid(_));
        self.expect(is_answer, CheckedRule::ValidAnswer, || format!("{message:?}"));
    }
}

/// Whether `row` belongs to the request.
fn matches_request(row: &StoredEntry, request: &ClientRequest) -> bool {
    let event = row.event.as_deref();
    match request {
        ClientRequest::Event(name, visit) => {
            row.kind == "event" && event == Some(name) && row.spoken_visit == *visit
        }
        ClientRequest::Request(name) => {
            row.kind == "event" && event == Some(name) && row.spoken_visit.is_none()
        }
        ClientRequest::Force { from, to } => {
            let (expected, target) = (row.argument("expected"), row.argument("to"));
            row.kind == "force" && expected == Some(from) && target == Some(to)
        }
    }
}

/// Whether the answer agrees with `row`.
fn matches_answer(row: &StoredEntry, answer: &ClientAnswer) -> bool {
    match answer {
        ClientAnswer::Moved { from, to, visit } => {
            (row.outcome.as_str(), &row.from, &row.to, row.visit) == ("moved", from, to, *visit)
        }
        ClientAnswer::Stayed { state, visit } => {
            (row.outcome.as_str(), &row.to, row.visit) == ("stayed", state, *visit)
        }
        ClientAnswer::Ignored { state, visit } => {
            (row.outcome.as_str(), &row.to) == ("ignored", state)
                && visit.is_none_or(|visit| visit == row.visit)
        }
        ClientAnswer::Unknown | ClientAnswer::Invalid(_) => true,
    }
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
