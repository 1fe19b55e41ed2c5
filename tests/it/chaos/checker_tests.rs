//! The checker finds every fault that is put into a history in which nothing is wrong.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::rows::Instance;
use super::*;

const BOARD: &str = "b1";

/// A board's history, and the messages that it came of.
struct Story {
    written: Written,
    messages: Vec<Message>,
}

fn at(ms: i64) -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::milliseconds(ms)
}

impl Story {
    /// A board hears of everything once: it is hit, goes on, hurries until its time runs out, is forced, and is cleared.
    fn new() -> Self {
        let created = Row {
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
        let instance = Instance {
            state: "Clearing".to_owned(),
            visit: 6,
            deadline_at: None,
            counters: BTreeMap::new(),
            last: Some("hit-2".to_owned()),
        };
        let mut story = Self { written: Written { history: vec![created], instance }, messages: Vec::new() };
        story.say("hit-1", Said::Event("hit", None), "stayed", "New", 1);
        story.say("go-1", Said::Event("go", Some(1)), "moved", "North", 2);
        story.say("go-2", Said::Event("go", Some(1)), "ignored", "North", 2);
        story.say("hit-2", Said::Request("rq-hit"), "stayed", "North", 2);
        story.say("hurry-1", Said::Event("hurry", Some(2)), "moved", "Hurried", 3);
        story.add("deadline", Some(3), Value::Null, "moved", "Hurried", 4).at += TimeDelta::milliseconds(50);
        let force = |from: &str| Said::Force { from: from.to_owned(), to: "West" };
        story.say("force-1", force("Hurried"), "moved", "West", 5);
        story.say("force-2", force("Hurried"), "ignored", "West", 5);
        story.say("clear-1", Said::Request("rq-clear"), "moved", "Clearing", 6);
        let began = story.add("began", Some(6), Value::Null, "stayed", "Clearing", 6).at;
        story.written.instance.deadline_at = Some(began + TimeDelta::milliseconds(400));
        story
    }

    /// Adds a row, a tenth of a second after the last.
    fn add(
        &mut self,
        kind: &str,
        spoken: Option<i64>,
        args: Value,
        outcome: &str,
        to: &str,
        visit: i64,
    ) -> &mut Row {
        let number = i64::try_from(self.written.history.len()).unwrap();
        let from = self.written.history.last().unwrap().to.clone();
        let (kind, outcome, to) = (kind.to_owned(), outcome.to_owned(), to.to_owned());
        let (id, at) = (number + 1, at(100 * number));
        let row = Row { id, at, kind, event: None, spoken_visit: spoken, args, outcome, from, to, visit };
        self.written.history.push(row);
        self.written.history.last_mut().unwrap()
    }

    /// Adds a message, and the row that it came to.
    fn say(&mut self, mark: &str, said: Said, outcome: &str, to: &str, visit: i64) {
        let (sent, from) = (self.messages.len() as u64 * 2, self.written.history.last().unwrap().to.clone());
        let is_event = matches!(said, Said::Event(..));
        let (kind, event, spoken, args) = match &said {
            Said::Event(event, spoken) => ("event", Some(*event), *spoken, json!({ "mark": mark })),
            Said::Request(event) => ("event", Some(*event), None, json!({ "mark": mark })),
            Said::Force { from, to } => {
                ("force", None, None, json!({ "expected": from, "to": to, "reason": mark }))
            }
        };
        self.add(kind, spoken, args, outcome, to, visit).event = event.map(str::to_owned);
        let state = to.to_owned();
        let told = match outcome {
            "moved" => Told::Moved { from, to: state, visit },
            "stayed" => Told::Stayed { state, visit },
            _ => Told::Ignored { state, visit: is_event.then_some(visit) },
        };
        let (mark, board, answered, is_seen) = (mark.to_owned(), BOARD.to_owned(), sent + 1, Some(true));
        self.messages.push(Message { mark, board, said, told, sent, answered, is_seen });
    }

    /// The row of a message.
    fn row(&mut self, mark: &str) -> &mut Row {
        self.written.history.iter_mut().find(|row| row.mark() == Some(mark)).unwrap()
    }

    fn message(&mut self, mark: &str) -> &mut Message {
        self.messages.iter_mut().find(|message| message.mark == mark).unwrap()
    }

    fn deadline(&mut self) -> &mut Row {
        self.written.history.iter_mut().find(|row| row.kind == "deadline").unwrap()
    }

    fn forget(&mut self, mark: &str) {
        self.written.history.retain(|row| row.mark() != Some(mark));
    }

    /// The rules that do not hold, each once.
    fn broken(&self) -> Vec<Rule> {
        let boards = BTreeMap::from([(BOARD.to_owned(), self.written.clone())]);
        let mut rules: Vec<Rule> =
            check(&boards, &self.messages).into_iter().map(|fault| fault.rule).collect();
        rules.sort();
        rules.dedup();
        rules
    }
}

/// Breaks a story, and says which rules do not hold then.
fn broken_by(harm: impl FnOnce(&mut Story)) -> Vec<Rule> {
    let mut story = Story::new();
    harm(&mut story);
    story.broken()
}

#[test]
fn a_history_in_which_nothing_is_wrong_passes() {
    assert_eq!(Story::new().broken(), []);
    let unknown =
        broken_by(|story| story.messages.iter_mut().for_each(|message| message.told = Told::Nothing));
    assert_eq!(unknown, [], "what nobody answered may be there");
    let lost = broken_by(|story| {
        story.message("go-2").told = Told::Nothing;
        story.forget("go-2");
    });
    assert_eq!(lost, [], "what nobody answered may be missing");
    let note = broken_by(|story| _ = story.add("note", None, Value::Null, "noted", "Clearing", 6));
    assert_eq!(note, []);
}

#[test]
fn each_fault_of_one_history_is_found() {
    // Two servers decide on the same visit: both enter the next one.
    let twice = broken_by(|story| {
        story.say("go-3", Said::Event("go", None), "moved", "Clearing", 6);
        story.written.history.last_mut().unwrap().from = "West".to_owned();
    });
    assert!(twice.contains(&Rule::Visit) && twice.contains(&Rule::Chain), "{twice:?}");
    assert_eq!(broken_by(|story| story.row("go-2").from = "New".to_owned()), [Rule::Chain]);
    let skipped = broken_by(|story| {
        story.deadline().visit = 5;
        story.forget("force-1");
        story.messages.retain(|message| message.mark != "force-1");
    });
    assert!(skipped.contains(&Rule::Visit), "{skipped:?}");
    let stale = broken_by(|story| {
        story.say("hit-3", Said::Event("spend", Some(5)), "stayed", "Clearing", 6);
    });
    assert_eq!(stale, [Rule::Fence, Rule::Lifecycle]);
    let early = broken_by(|story| story.deadline().at -= TimeDelta::microseconds(1));
    assert!(early.contains(&Rule::Due), "{early:?}");
    // There is one hit too few to be spent.
    let spent = broken_by(|story| {
        let end = story.written.history.split_off(5);
        story.say("spend-1", Said::Event("spend", None), "stayed", "North", 2);
        story.written.history.extend(end);
    });
    assert!(spent.contains(&Rule::Lifecycle), "{spent:?}");
    let again = broken_by(|story| _ = story.add("created", None, Value::Null, "moved", "New", 7));
    assert!(again.contains(&Rule::Created), "{again:?}");
    assert!(broken_by(|story| _ = story.written.history.remove(0)).contains(&Rule::Created));
}

#[test]
fn an_instance_that_its_history_does_not_give_is_found() {
    let harms: [fn(&mut Instance); 5] = [
        |instance| instance.state = "West".to_owned(),
        |instance| instance.visit = 5,
        |instance| instance.deadline_at = None,
        |instance| _ = instance.counters.insert("hits".to_owned(), 1),
        |instance| instance.last = Some("hit-1".to_owned()),
    ];
    for harm in harms {
        assert_eq!(broken_by(|story| harm(&mut story.written.instance)), [Rule::Instance]);
    }
    // A lost update: two hits were acknowledged, and one was counted.
    let lost = broken_by(|story| {
        story.written.history.truncate(5);
        story.messages.truncate(4);
        let (state, last) = ("North".to_owned(), Some("hit-2".to_owned()));
        let counters = BTreeMap::from([("hits".to_owned(), 1)]);
        story.written.instance = Instance { state, visit: 2, deadline_at: None, counters, last };
    });
    assert_eq!(lost, [Rule::Instance]);
}

#[test]
fn what_disagrees_with_the_clients_is_found() {
    assert_eq!(broken_by(|story| story.forget("go-2")), [Rule::Kept]);
    let twice = broken_by(|story| {
        let again = story.row("force-2").clone();
        story.written.history.insert(9, again);
    });
    assert_eq!(twice, [Rule::Once]);
    let unanswered_twice = broken_by(|story| {
        story.message("force-2").told = Told::Nothing;
        let again = story.row("force-2").clone();
        story.written.history.insert(9, again);
    });
    assert_eq!(unanswered_twice, [Rule::Once]);
    let foreign = broken_by(|story| story.messages.retain(|message| message.mark != "go-2"));
    assert_eq!(foreign, [Rule::Said]);
    assert_eq!(broken_by(|story| story.message("go-2").said = Said::Event("hit", Some(1))), [Rule::Said]);
    let elsewhere = broken_by(|story| story.message("go-2").board = "b2".to_owned());
    assert_eq!(elsewhere, [Rule::Said]);
    let told = |told: Told| broken_by(|story| story.message("go-1").told = told);
    let moved = |from: &str, to: &str, visit| Told::Moved { from: from.to_owned(), to: to.to_owned(), visit };
    assert_eq!(told(moved("New", "North", 2)), []);
    assert_eq!(told(moved("West", "North", 2)), [Rule::Told]);
    assert_eq!(told(moved("New", "East", 2)), [Rule::Told]);
    assert_eq!(told(moved("New", "North", 3)), [Rule::Told]);
    assert_eq!(told(Told::Stayed { state: "North".to_owned(), visit: 2 }), [Rule::Told]);
    assert_eq!(told(Told::Ignored { state: "North".to_owned(), visit: None }), [Rule::Told]);
    assert_eq!(told(Told::Nonsense("500".to_owned())), [Rule::Answer]);
    assert_eq!(broken_by(|story| story.message("go-1").is_seen = Some(false)), [Rule::Seen]);
    assert_eq!(broken_by(|story| story.message("go-1").sent = 6), [Rule::Order], "answered after go-2 was");
}
