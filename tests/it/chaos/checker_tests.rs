//! The checker finds every fault injected into a correct history.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::rows::FinalInstance;
use super::*;

const BOARD: &str = "b1";

/// A board's history, and its messages.
struct ExampleHistory {
    written: StoredBoard,
    messages: Vec<Exchange>,
}

fn at(ms: i64) -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::milliseconds(ms)
}

impl ExampleHistory {
    /// Each event happens once: the board is hit, goes on, hurries until its time runs out, is forced, and is cleared.
    fn new() -> Self {
        let created = StoredEntry {
            id: 1,
            at: at(0),
            kind: "created".to_owned(),
            event: None,
            spoken_visit: None,
            args: Value::Null,
            outcome: "moved".to_owned(),
            from: "New".to_owned(),
            to: "New".to_owned(),
            visit: 1,
        };
        let instance = FinalInstance {
            state: "Clearing".to_owned(),
            visit: 6,
            deadline_at: None,
            counters: BTreeMap::new(),
            last: Some("hit-2".to_owned()),
        };
        let mut history =
            Self { written: StoredBoard { history: vec![created], instance }, messages: Vec::new() };
        history.say("hit-1", ClientRequest::Event("hit", None), "stayed", "New", 1);
        history.say("go-1", ClientRequest::Event("go", Some(1)), "moved", "North", 2);
        history.say("go-2", ClientRequest::Event("go", Some(1)), "ignored", "North", 2);
        history.say("hit-2", ClientRequest::Request("rq-hit"), "stayed", "North", 2);
        history.say("hurry-1", ClientRequest::Event("hurry", Some(2)), "moved", "Hurried", 3);
        history.add("deadline", Some(3), Value::Null, "moved", "Hurried", 4).at +=
            TimeDelta::milliseconds(50);
        let force = |from: &str| ClientRequest::Force { from: from.to_owned(), to: "West" };
        history.say("force-1", force("Hurried"), "moved", "West", 5);
        history.say("force-2", force("Hurried"), "ignored", "West", 5);
        history.say("clear-1", ClientRequest::Request("rq-clear"), "moved", "Clearing", 6);
        let began = history.add("began", Some(6), Value::Null, "stayed", "Clearing", 6).at;
        history.written.instance.deadline_at = Some(began + TimeDelta::milliseconds(400));
        history
    }

    /// Adds a row, 100 ms after the last.
    fn add(
        &mut self,
        kind: &str,
        sent_visit: Option<i64>,
        args: Value,
        outcome: &str,
        to: &str,
        visit: i64,
    ) -> &mut StoredEntry {
        let number = i64::try_from(self.written.history.len()).unwrap();
        let from = self.written.history.last().unwrap().to.clone();
        let (kind, outcome, to) = (kind.to_owned(), outcome.to_owned(), to.to_owned());
        let (id, at) = (number + 1, at(100 * number));
        let row = StoredEntry {
            id,
            at,
            kind,
            event: None,
            spoken_visit: sent_visit,
            args,
            outcome,
            from,
            to,
            visit,
        };
        self.written.history.push(row);
        self.written.history.last_mut().unwrap()
    }

    /// Adds a message and its row.
    fn say(&mut self, mark: &str, request: ClientRequest, outcome: &str, to: &str, visit: i64) {
        let (sent, from) = (self.messages.len() as u64 * 2, self.written.history.last().unwrap().to.clone());
        let is_event = matches!(request, ClientRequest::Event(..));
        let (kind, event, sent_visit, args) = match &request {
            ClientRequest::Event(event, sent_visit) => {
                ("event", Some(*event), *sent_visit, json!({ "mark": mark }))
            }
            ClientRequest::Request(event) => ("event", Some(*event), None, json!({ "mark": mark })),
            ClientRequest::Force { from, to } => {
                ("force", None, None, json!({ "expected": from, "to": to, "reason": mark }))
            }
        };
        self.add(kind, sent_visit, args, outcome, to, visit).event = event.map(str::to_owned);
        let state = to.to_owned();
        let answer = match outcome {
            "moved" => ClientAnswer::Moved { from, to: state, visit },
            "stayed" => ClientAnswer::Stayed { state, visit },
            _ => ClientAnswer::Ignored { state, visit: is_event.then_some(visit) },
        };
        let (mark, board, answered, is_seen) = (mark.to_owned(), BOARD.to_owned(), sent + 1, Some(true));
        self.messages.push(Exchange { mark, board, request, answer, sent, answered, is_seen });
    }

    /// The row of a message.
    fn row(&mut self, mark: &str) -> &mut StoredEntry {
        self.written.history.iter_mut().find(|row| row.mark() == Some(mark)).unwrap()
    }

    fn message(&mut self, mark: &str) -> &mut Exchange {
        self.messages.iter_mut().find(|message| message.mark == mark).unwrap()
    }

    fn deadline(&mut self) -> &mut StoredEntry {
        self.written.history.iter_mut().find(|row| row.kind == "deadline").unwrap()
    }

    fn forget(&mut self, mark: &str) {
        self.written.history.retain(|row| row.mark() != Some(mark));
    }

    /// The violated rules, each once.
    fn broken(&self) -> Vec<CheckedRule> {
        let boards = BTreeMap::from([(BOARD.to_owned(), self.written.clone())]);
        let mut rules: Vec<CheckedRule> =
            check(&boards, &self.messages).into_iter().map(|fault| fault.rule).collect();
        rules.sort();
        rules.dedup();
        rules
    }
}

/// Damages a history; returns the violated rules.
fn broken_by(damage: impl FnOnce(&mut ExampleHistory)) -> Vec<CheckedRule> {
    let mut history = ExampleHistory::new();
    damage(&mut history);
    history.broken()
}

#[test]
fn a_correct_history_passes() {
    assert_eq!(ExampleHistory::new().broken(), []);
    let unknown = broken_by(|history| {
        history.messages.iter_mut().for_each(|message| message.answer = ClientAnswer::Unknown);
    });
    assert_eq!(unknown, [], "an unanswered message may be stored");
    let lost = broken_by(|history| {
        history.message("go-2").answer = ClientAnswer::Unknown;
        history.forget("go-2");
    });
    assert_eq!(lost, [], "an unanswered message may be missing");
    let note = broken_by(|history| _ = history.add("note", None, Value::Null, "noted", "Clearing", 6));
    assert_eq!(note, []);
}

#[test]
fn each_fault_of_one_history_is_found() {
    // Two servers decide on the same visit: both enter the next one.
    let twice = broken_by(|history| {
        history.say("go-3", ClientRequest::Event("go", None), "moved", "Clearing", 6);
        history.written.history.last_mut().unwrap().from = "West".to_owned();
    });
    assert!(twice.contains(&CheckedRule::Visit) && twice.contains(&CheckedRule::Chain), "{twice:?}");
    assert_eq!(broken_by(|history| history.row("go-2").from = "New".to_owned()), [CheckedRule::Chain]);
    let skipped = broken_by(|history| {
        history.deadline().visit = 5;
        history.forget("force-1");
        history.messages.retain(|message| message.mark != "force-1");
    });
    assert!(skipped.contains(&CheckedRule::Visit), "{skipped:?}");
    let stale = broken_by(|history| {
        history.say("hit-3", ClientRequest::Event("spend", Some(5)), "stayed", "Clearing", 6);
    });
    assert_eq!(stale, [CheckedRule::Fence, CheckedRule::Lifecycle]);
    let early = broken_by(|history| history.deadline().at -= TimeDelta::microseconds(1));
    assert!(early.contains(&CheckedRule::Due), "{early:?}");
    // There is one hit too few to be spent.
    let spent = broken_by(|history| {
        let end = history.written.history.split_off(5);
        history.say("spend-1", ClientRequest::Event("spend", None), "stayed", "North", 2);
        history.written.history.extend(end);
    });
    assert!(spent.contains(&CheckedRule::Lifecycle), "{spent:?}");
    let again = broken_by(|history| _ = history.add("created", None, Value::Null, "moved", "New", 7));
    assert!(again.contains(&CheckedRule::Created), "{again:?}");
    assert!(broken_by(|history| _ = history.written.history.remove(0)).contains(&CheckedRule::Created));
}

#[test]
fn an_instance_that_contradicts_its_history_is_found() {
    let harms: [fn(&mut FinalInstance); 5] = [
        |instance| instance.state = "West".to_owned(),
        |instance| instance.visit = 5,
        |instance| instance.deadline_at = None,
        |instance| _ = instance.counters.insert("hits".to_owned(), 1),
        |instance| instance.last = Some("hit-1".to_owned()),
    ];
    for damage in harms {
        assert_eq!(broken_by(|history| damage(&mut history.written.instance)), [CheckedRule::Instance]);
    }
    // A lost update: two hits were acknowledged, and one was counted.
    let lost = broken_by(|history| {
        history.written.history.truncate(5);
        history.messages.truncate(4);
        let (state, last) = ("North".to_owned(), Some("hit-2".to_owned()));
        let counters = BTreeMap::from([("hits".to_owned(), 1)]);
        history.written.instance = FinalInstance { state, visit: 2, deadline_at: None, counters, last };
    });
    assert_eq!(lost, [CheckedRule::Instance]);
}

#[test]
fn contradictions_to_the_clients_are_found() {
    assert_eq!(broken_by(|history| history.forget("go-2")), [CheckedRule::Durable]);
    let twice = broken_by(|history| {
        let again = history.row("force-2").clone();
        history.written.history.insert(9, again);
    });
    assert_eq!(twice, [CheckedRule::Once]);
    let unanswered_twice = broken_by(|history| {
        history.message("force-2").answer = ClientAnswer::Unknown;
        let again = history.row("force-2").clone();
        history.written.history.insert(9, again);
    });
    assert_eq!(unanswered_twice, [CheckedRule::Once]);
    let foreign = broken_by(|history| history.messages.retain(|message| message.mark != "go-2"));
    assert_eq!(foreign, [CheckedRule::Sent]);
    assert_eq!(
        broken_by(|history| history.message("go-2").request = ClientRequest::Event("hit", Some(1))),
        [CheckedRule::Sent]
    );
    let elsewhere = broken_by(|history| history.message("go-2").board = "b2".to_owned());
    assert_eq!(elsewhere, [CheckedRule::Sent]);
    let broken_with = |answer: ClientAnswer| broken_by(|history| history.message("go-1").answer = answer);
    let moved =
        |from: &str, to: &str, visit| ClientAnswer::Moved { from: from.to_owned(), to: to.to_owned(), visit };
    assert_eq!(broken_with(moved("New", "North", 2)), []);
    assert_eq!(broken_with(moved("West", "North", 2)), [CheckedRule::AnswerAgrees]);
    assert_eq!(broken_with(moved("New", "East", 2)), [CheckedRule::AnswerAgrees]);
    assert_eq!(broken_with(moved("New", "North", 3)), [CheckedRule::AnswerAgrees]);
    assert_eq!(
        broken_with(ClientAnswer::Stayed { state: "North".to_owned(), visit: 2 }),
        [CheckedRule::AnswerAgrees]
    );
    assert_eq!(
        broken_with(ClientAnswer::Ignored { state: "North".to_owned(), visit: None }),
        [CheckedRule::AnswerAgrees]
    );
    assert_eq!(broken_with(ClientAnswer::Invalid("500".to_owned())), [CheckedRule::ValidAnswer]);
    assert_eq!(broken_by(|history| history.message("go-1").is_seen = Some(false)), [CheckedRule::Visible]);
    assert_eq!(
        broken_by(|history| history.message("go-1").sent = 6),
        [CheckedRule::Order],
        "answered after go-2 was"
    );
}
