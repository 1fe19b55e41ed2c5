//! The checker finds each fault injected into a correct record.

use chrono::TimeDelta;

use super::super::record::{InjectedFault, Moment, ServerUsage, StoredEntry};
use super::*;

const NAME: &str = "b1";

fn at(seconds: i64) -> Moment {
    "2026-01-01T12:00:00Z".parse::<Moment>().unwrap() + TimeDelta::seconds(seconds)
}

fn row(second: i64, event: &str, from: &str, to: &str, visit: i64) -> StoredEntry {
    let outcome = if from == to && event != "began" { "stayed" } else { "moved" };
    StoredEntry {
        at: at(second),
        kind: "event".to_owned(),
        event: Some(event.to_owned()),
        source: None,
        mark: None,
        outcome: outcome.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        visit,
        reason: None,
    }
}

fn sighting(second: i64, state: &str, visit: i64) -> Observation {
    Observation { asked: at(second), seen: at(second), state: state.to_owned(), visit }
}

fn message(second: i64, event: &str, outcome: &str, visit: i64) -> SentMessage {
    SentMessage {
        board: NAME.to_owned(),
        event: event.to_owned(),
        sent: at(second),
        answer: Some((at(second), 200)),
        outcome: Some((outcome.to_owned(), visit)),
        ..SentMessage::default()
    }
}

/// A board is rebooted, falls silent later, is rebooted for that, and is Ready.
fn sound() -> RunRecord {
    let board = BoardRecord {
        name: NAME.to_owned(),
        relay: 0,
        habit: RelayHealth::Works,
        power: vec![(at(0), true), (at(10), false), (at(12), true), (at(80), false), (at(82), true)],
        writes: vec![(at(10), false), (at(12), true), (at(80), false), (at(82), true)],
        answers: vec![(at(5), true), (at(10), false), (at(20), true), (at(60), false), (at(90), true)],
        silences: 1,
    };
    let mut mark = row(40, "mark", "Ready", "Ready", 4);
    mark.mark = Some("m1".to_owned());
    let history = vec![
        row(1, "created", "New", "Ready", 1),
        row(9, "rq-reboot", "Ready", "RebootRebooting", 2),
        row(13, "power-cycle-ok", "RebootRebooting", "RebootComplete", 3),
        row(20, "image-running", "RebootComplete", "Ready", 4),
        mark,
        row(79, "poll-failed", "Ready", "RebootRebooting", 5),
        row(83, "power-cycle-ok", "RebootRebooting", "RebootComplete", 6),
        row(90, "image-running", "RebootComplete", "Ready", 7),
    ];
    let sightings = vec![
        sighting(2, "Ready", 1),
        sighting(9, "RebootRebooting", 2),
        sighting(21, "Ready", 4),
        sighting(78, "Ready", 4),
        sighting(79, "RebootRebooting", 5),
        sighting(91, "Ready", 7),
        sighting(99, "Ready", 7),
    ];
    let mut marked = message(40, "mark", "stayed", 4);
    marked.mark = Some("m1".to_owned());
    let messages =
        vec![message(9, "rq-reboot", "moved", 2), message(20, "image-running", "moved", 4), marked];
    let end = FinalState { state: "Ready".to_owned(), visit: 7, reason: String::new() };
    let ends = BTreeMap::from([(NAME.to_owned(), end)]);
    let usage = ServerUsage { resident_kb: 50_000, descriptors: 60 };
    RunRecord {
        boards: vec![board],
        strikes: Vec::new(),
        messages,
        lost: Vec::new(),
        sightings: BTreeMap::from([(NAME.to_owned(), sightings)]),
        mirror: BTreeMap::from([(NAME.to_owned(), ("Ready".to_owned(), 7))]),
        history: BTreeMap::from([(NAME.to_owned(), history)]),
        rested: ends.clone(),
        ends,
        difference: None,
        usage: vec![(usage, usage)],
        accidents: Vec::new(),
        ended_at: at(100),
    }
}

fn history(record: &mut RunRecord) -> &mut Vec<StoredEntry> {
    record.history.get_mut(NAME).unwrap()
}

fn end(record: &mut RunRecord) -> &mut FinalState {
    record.ends.get_mut(NAME).unwrap()
}

#[test]
fn a_correct_record_has_no_findings() {
    assert_eq!(check(&sound()), []);
}

/// A change that damages a record.
type Damage = fn(&mut RunRecord);

#[test]
fn each_fault_is_found() {
    let harms: [(&str, CheckedRule, Damage); 28] = [
        ("dark at the end", CheckedRule::PowerOff, |record| record.boards[0].power.truncate(4)),
        ("dark for long", CheckedRule::PowerOff, |record| record.boards[0].power[2].0 = at(60)),
        ("dark while another relay board is struck", CheckedRule::PowerOff, |record| {
            record.boards[0].power[2].0 = at(60);
            strike(record, FaultTarget::Relay(1), 10, 60);
        }),
        ("power taken from a Ready board", CheckedRule::Ready, |record| {
            record.boards[0].writes.splice(2..2, [(at(50), false), (at(51), true)]);
        }),
        ("a late write to a Ready board", CheckedRule::Ready, |record| {
            record.boards[0].writes.push((at(95), true));
        }),
        ("power restored in Ready although no promotion lost anything", CheckedRule::Ready, |record| {
            record.boards[0].writes.splice(2..2, [(at(49), false), (at(51), true)]);
            let seen = record.sightings.get_mut(NAME).unwrap();
            seen.splice(3..3, [sighting(48, "RebootRebooting", 5), sighting(50, "Ready", 4)]);
        }),
        ("healthy and rebooted", CheckedRule::Cause, |record| record.boards[0].answers.truncate(3)),
        ("silent at another time only", CheckedRule::Cause, |record| {
            record.boards[0].answers.splice(3.., [(at(30), false), (at(31), true)]);
        }),
        ("rebooted by its deadline", CheckedRule::Cause, |record| {
            (history(record)[5].event, history(record)[5].kind) = (None, "deadline".to_owned());
        }),
        ("no request", CheckedRule::Cause, |record| _ = record.messages.remove(0)),
        ("a mark is gone", CheckedRule::Durable, |record| history(record)[4].mark = None),
        ("a move is gone", CheckedRule::Durable, |record| {
            history(record)[3].event = Some("force".to_owned());
        }),
        ("lost in another second", CheckedRule::Durable, |record| {
            history(record)[4].mark = None;
            record.lost.push(TimeSpan { from: at(41), to: at(43) });
        }),
        ("a visit twice", CheckedRule::Chain, |record| history(record)[6].visit = 5),
        ("from another state", CheckedRule::Chain, |record| history(record)[6].from = "New".to_owned()),
        ("a row is gone", CheckedRule::Chain, |record| _ = history(record).remove(6)),
        ("not what history made of it", CheckedRule::Chain, |record| end(record).visit = 6),
        ("a change was missed", CheckedRule::Mirror, |record| _ = record.mirror.remove(NAME)),
        ("replay does not agree", CheckedRule::Replay, |record| record.difference = Some(String::new())),
        ("not Ready in the end", CheckedRule::Rest, |record| {
            end(record).state = "FailedRebootComplete".to_owned();
        }),
        ("at rest before anything was tried", CheckedRule::Rest, |record| {
            record.boards[0].habit = RelayHealth::Broken(&["Modbus TCP"]);
            end(record).state = "New".to_owned();
        }),
        ("no rest", CheckedRule::Rest, |record| {
            record.rested.get_mut(NAME).unwrap().state = "RebootComplete".to_owned();
        }),
        ("gone", CheckedRule::Rest, |record| _ = record.ends.remove(NAME)),
        ("failed for no reason", CheckedRule::Reason, |record| {
            record.rested.get_mut(NAME).unwrap().state = "FailedRebootRebooting".to_owned();
        }),
        ("the wrong words", CheckedRule::Reason, |record| {
            record.boards[0].habit = RelayHealth::Broken(&["Modbus TCP"]);
            end(record).state = "FailedRebootRebooting".to_owned();
            end(record).reason = "no answer within 4s".to_owned();
        }),
        ("a fault of ours", CheckedRule::ValidAnswer, |record| {
            record.messages[1].answer = Some((at(20), 500));
        }),
        ("descriptors leak", CheckedRule::Usage, |record| record.usage[0].1.descriptors += 100),
        ("a panic", CheckedRule::Accident, |record| record.accidents.push("panicked".to_owned())),
    ];
    for (what, rule, harm) in harms {
        let mut record = sound();
        harm(&mut record);
        let found = check(&record);
        assert!(found.iter().any(|breach| breach.rule == rule), "{what}: {found:?}");
    }
}

fn strike(record: &mut RunRecord, struck: FaultTarget, from: i64, to: i64) {
    let span = TimeSpan { from: at(from), to: at(to) };
    record.strikes.push(InjectedFault { struck, span });
}

#[test]
fn injected_faults_excuse_only_their_own_effects() {
    let excused: [(&str, Damage); 7] = [
        ("dark while its relay board was struck", |record| {
            record.boards[0].power[2].0 = at(60);
            strike(record, FaultTarget::Relay(0), 15, 45);
        }),
        ("dark while the database was struck twice", |record| {
            record.boards[0].power[2].0 = at(60);
            strike(record, FaultTarget::Database, 12, 25);
            strike(record, FaultTarget::Database, 30, 40);
        }),
        ("power restored after a promotion had lost the power cycle", |record| {
            record.boards[0].writes.splice(2..2, [(at(49), false), (at(51), true)]);
            let seen = record.sightings.get_mut(NAME).unwrap();
            seen.splice(3..3, [sighting(48, "RebootRebooting", 5), sighting(50, "Ready", 4)]);
            record.lost.push(TimeSpan { from: at(47), to: at(48) });
        }),
        ("cancelled, at a relay board that does not work", |record| {
            record.boards[0].habit = RelayHealth::Broken(&["Modbus TCP"]);
            history(record).push(row(95, "rq-cancel", "Ready", "New", 8));
            *end(record) = FinalState { state: "New".to_owned(), visit: 8, reason: String::new() };
            record.mirror.insert(NAME.to_owned(), ("New".to_owned(), 8));
        }),
        ("lost with the primary", |record| {
            history(record)[4].mark = None;
            record.lost.push(TimeSpan { from: at(39), to: at(41) });
        }),
        ("silent, in a visit whose number a promotion had lost", |record| {
            record.boards[0].answers.splice(3..3, [(at(55), false), (at(56), true)]);
            let seen = record.sightings.get_mut(NAME).unwrap();
            seen.splice(3..3, [sighting(22, "ReimageRebooting", 5), sighting(23, "Ready", 4)]);
        }),
        ("failed while its relay board was struck", |record| {
            record.rested.get_mut(NAME).unwrap().state = "FailedRebootRebooting".to_owned();
            strike(record, FaultTarget::Relay(0), 15, 45);
        }),
    ];
    for (what, excuse) in excused {
        let mut record = sound();
        excuse(&mut record);
        assert_eq!(check(&record), [], "{what}");
    }
}
