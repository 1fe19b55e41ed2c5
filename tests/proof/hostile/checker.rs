//! The checker: what must hold after a run, whatever faults were injected.
//!
//! It uses only the [`RunRecord`], and nothing of the kernel, the store or the drivers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::TimeDelta;

use super::definition::SILENCE;
use super::record::{
    BoardRecord, FaultTarget, FinalState, Moment, Observation, RelayHealth, RunRecord, SentMessage,
    StoredEntry, TimeSpan, uncovered,
};

/// How long a board may be off while no fault was injected into its relay board, the database, or all servers at once:
/// `off=`, the take-over from a killed process, and two deadlines of a failed step.
pub(super) const MAX_POWER_OFF_TIME: TimeDelta = TimeDelta::seconds(30);
/// How long after a fault its effects may last: reconnection, a new lease.
const AFTERMATH: TimeDelta = TimeDelta::seconds(5);
/// How much more memory a server may use than before the first fault.
const MORE_KB: u64 = 96 * 1024;
const MORE_DESCRIPTORS: u64 = 24;

/// The checked rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum CheckedRule {
    /// No board is off for longer than allowed, or at the end.
    PowerOff,
    /// Nothing is written to the relay of a board known to be Ready, except that power is restored after a promotion
    /// lost the power cycle.
    Ready,
    /// A board leaves Ready because of an operator's request or unanswered polls.
    Cause,
    /// Acknowledged messages are in history.
    Durable,
    /// History contains no visit twice, and is continuous.
    Chain,
    /// A follower of the changes has the stored state.
    Mirror,
    /// Replay gives the stored instances.
    Replay,
    /// Each board comes to rest in the right state.
    Rest,
    /// A failure names its cause.
    Reason,
    /// Each answer is a valid one.
    ValidAnswer,
    /// Servers use as many resources as before.
    Usage,
    /// No server exits by itself, panics or floods its log.
    Accident,
}

/// Violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleViolation {
    pub(super) rule: CheckedRule,
    pub(super) what: String,
}

impl fmt::Display for RuleViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Finds all violations.
pub(super) fn check(record: &RunRecord) -> Vec<RuleViolation> {
    let mut checker = RunChecker { record, breaches: Vec::new() };
    for board in &record.boards {
        checker.check_power(board);
        checker.check_ready(board);
        checker.check_causes(board);
        checker.check_end(board);
    }
    checker.check_messages();
    checker.check_chains();
    checker.check_whole();
    checker.breaches
}

struct RunChecker<'a> {
    record: &'a RunRecord,
    breaches: Vec<RuleViolation>,
}

impl RunChecker<'_> {
    fn expect(&mut self, holds: bool, rule: CheckedRule, what: impl FnOnce() -> String) {
        if !holds {
            self.breaches.push(RuleViolation { rule, what: what() });
        }
    }

    /// When the boards of this relay board could not be switched on.
    fn excuses(&self, relay: usize) -> impl Iterator<Item = TimeSpan> {
        let is_excuse = move |struck: &FaultTarget| match struck {
            FaultTarget::Database => true,
            FaultTarget::Relay(other) => *other == relay,
            FaultTarget::Server(_) | FaultTarget::Board(_) | FaultTarget::BootTree => false,
        };
        let strikes = self.record.strikes.iter().filter(move |strike| is_excuse(&strike.struck));
        strikes.map(|strike| TimeSpan { from: strike.span.from, to: strike.span.to + AFTERMATH })
    }

    fn check_power(&mut self, board: &BoardRecord) {
        if board.habit != RelayHealth::Works {
            return;
        }
        for (from, to) in dark(board, self.record.ended_at) {
            let span = TimeSpan { from, to };
            let left = uncovered(span, self.excuses(board.relay));
            self.expect(left <= MAX_POWER_OFF_TIME, CheckedRule::PowerOff, || {
                format!(
                    "{}: without power for {} s, {} s of them for no reason, from {from}",
                    board.name,
                    (to - from).num_seconds(),
                    left.num_seconds()
                )
            });
        }
        let has_power = board.power.last().is_none_or(|(_, on)| *on);
        self.expect(has_power, CheckedRule::PowerOff, || format!("{}: without power at the end", board.name));
    }

    /// Checks that relays are written only for boards not known to be Ready before and after, in one visit.
    ///
    /// A promotion can lose that a board was to be power-cycled: then it is Ready while the cycle restores its power.
    fn check_ready(&mut self, board: &BoardRecord) {
        let seen = self.record.sightings.get(&board.name).map(Vec::as_slice).unwrap_or_default();
        let mut off_since = None;
        for (at, on) in &board.writes {
            let restored_from = off_since.filter(|_| *on);
            off_since = if *on { None } else { off_since.or(Some(*at)) };
            let around = |pair: &&[Observation]| pair[0].seen < *at && *at < pair[1].asked;
            let Some([before, after]) = seen.windows(2).find(around) else { continue };
            let from = restored_from.map_or(before.asked, |off_at: Moment| off_at - AFTERMATH);
            let span = TimeSpan { from, to: after.seen };
            let is_one_past = !self.record.lost.iter().any(|lost| lost.meets(span));
            let was_ready = before.state == "Ready" && after.state == "Ready" && before.visit == after.visit;
            self.expect(!(was_ready && is_one_past), CheckedRule::Ready, || {
                format!(
                    "{}: {on} written at {at}, Ready in visit {} before and after",
                    board.name, before.visit
                )
            });
        }
    }

    /// Checks that each power cycle follows an operator's request, or, from Ready, a silence of the board.
    fn check_causes(&mut self, board: &BoardRecord) {
        let Some(history) = self.record.history.get(&board.name) else { return };
        let mut requests: BTreeMap<&str, usize> = BTreeMap::new();
        for row in history.iter().filter(|row| row.from == "Ready" && row.to.ends_with("Rebooting")) {
            let event = row.event.as_deref().unwrap_or(&row.kind);
            if event.starts_with("rq-") {
                *requests.entry(event).or_default() += 1;
                continue;
            }
            let is_silent = event == "poll-failed" && self.was_silent(board, row.visit);
            self.expect(is_silent, CheckedRule::Cause, || {
                format!(
                    "{}: from Ready to {} by {event} in visit {} at {}: {:?}; it answered polls: {:?}",
                    board.name, row.to, row.visit, row.at, row.reason, board.answers
                )
            });
        }
        for (request, times) in requests {
            let sent = self.record.messages.iter();
            let sent = sent.filter(|message| message.board == board.name && message.event == request).count();
            self.expect(times <= sent, CheckedRule::Cause, || {
                format!("{}: {times} times {request}, asked for {sent} times", board.name)
            });
        }
    }

    /// Whether the board was silent before it was observed to have left Ready for `visit`; or at any time, if leaving
    /// was not observed.
    fn was_silent(&self, board: &BoardRecord, visit: i64) -> bool {
        let seen = self.record.sightings.get(&board.name).map(Vec::as_slice).unwrap_or_default();
        let poll = TimeDelta::from_std(SILENCE).unwrap_or_default();
        // Visits lost by a promotion are counted again: it may have left Ready for this one more than once.
        let left = seen.windows(2).filter(|pair| pair[0].visit < visit && visit <= pair[1].visit);
        let left: Vec<TimeSpan> =
            left.map(|pair| TimeSpan { from: pair[0].asked - poll, to: pair[1].seen }).collect();
        if left.is_empty() {
            return !board.answers.is_empty();
        }
        let silences = board.answers.iter().enumerate().filter(|(_, (_, answers))| !answers);
        let mut silences = silences.map(|(index, (from, _))| {
            let to = board.answers.get(index + 1).map_or(self.record.ended_at, |(at, _)| *at);
            TimeSpan { from: *from, to }
        });
        silences.any(|silence| left.iter().any(|span| silence.meets(*span)))
    }

    fn check_end(&mut self, board: &BoardRecord) {
        let (rested, end) = (self.record.rested.get(&board.name), self.record.ends.get(&board.name));
        let (Some(rested), Some(end)) = (rested, end) else {
            return self.expect(false, CheckedRule::Rest, || format!("{}: it is gone", board.name));
        };
        match board.habit {
            RelayHealth::Works => {
                self.expect(end.state == "Ready", CheckedRule::Rest, || {
                    format!("{}: {} in the end: {}", board.name, end.state, end.reason)
                });
                self.check_failure(board, rested);
            }
            RelayHealth::Broken(_) if end.state == "New" && self.was_cancelled(&board.name) => {}
            RelayHealth::Broken(words) => {
                self.expect(end.state.starts_with("Failed"), CheckedRule::Rest, || {
                    format!("{}: {} in the end, at a relay board that does not work", board.name, end.state)
                });
                let is_said = words.iter().any(|word| end.reason.contains(word));
                self.expect(is_said, CheckedRule::Reason, || {
                    format!("{}: {:?} does not mention {words:?}", board.name, end.reason)
                });
            }
        }
    }

    /// Whether the last request that moved a board gave its work up.
    fn was_cancelled(&self, board: &str) -> bool {
        let rows = self.record.history.get(board).map(Vec::as_slice).unwrap_or_default();
        let moves = rows.iter().rev().filter(|row| row.outcome == "moved");
        let mut requests =
            moves.filter_map(|row| row.event.as_deref()).filter(|event| event.starts_with("rq-"));
        requests.next() == Some("rq-cancel")
    }

    /// Checks that a board at a working relay board fails only by its own or an injected fault, and in the matching
    /// state.
    fn check_failure(&mut self, board: &BoardRecord, rested: &FinalState) {
        self.expect(rested.rests(), CheckedRule::Rest, || {
            format!("{}: still {} when all should rest", board.name, rested.state)
        });
        if !rested.state.starts_with("Failed") {
            return;
        }
        let has_said =
            |message: &&SentMessage| message.board == board.name && message.event == "image-failed";
        let is_true = match rested.state.as_str() {
            "FailedBadImage" | "FailedBadBoard" => {
                self.record.messages.iter().any(|message| has_said(&message))
            }
            state if state.ends_with("Rebooting") || state.ends_with("Clearing") => {
                self.record.strikes.iter().any(|strike| match &strike.struck {
                    FaultTarget::Relay(relay) => *relay == board.relay,
                    FaultTarget::BootTree => true,
                    FaultTarget::Database | FaultTarget::Server(_) | FaultTarget::Board(_) => false,
                })
            }
            // A board reports the end of its self-test once.
            _ => board.silences > 0 || self.has_lost_a_message(&board.name),
        };
        self.expect(is_true, CheckedRule::Reason, || {
            format!(
                "{}: {} ({}), and nothing of that kind was wrong",
                board.name, rested.state, rested.reason
            )
        });
    }

    /// Whether a message sent at `sent` and acknowledged at `at` may have been lost by a promotion: it was committed
    /// between the two.
    fn is_lost(&self, sent: Moment, at: Moment) -> bool {
        self.record.lost.iter().any(|lost| lost.from <= at && sent <= lost.to)
    }

    fn has_lost_a_message(&self, board: &str) -> bool {
        let of_board = self.record.messages.iter().filter(|message| message.board == board);
        of_board
            .filter_map(|message| Some((message.sent, message.acknowledged()?)))
            .any(|(sent, at)| self.is_lost(sent, at))
    }

    fn check_messages(&mut self) {
        let mut marks: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut moves: BTreeSet<(&str, &str, i64)> = BTreeSet::new();
        for (board, rows) in &self.record.history {
            for row in rows {
                marks.extend(row.mark.as_deref().map(|mark| (board.as_str(), mark)));
                if row.outcome == "moved" {
                    moves.insert((board, row.event.as_deref().unwrap_or(&row.kind), row.visit));
                }
            }
        }
        for message in &self.record.messages {
            if let Some((_, status)) = message.answer {
                let is_answer = status < 500 || matches!(status, 503 | 504);
                self.expect(is_answer, CheckedRule::ValidAnswer, || format!("{status}: {message:?}"));
            }
            let Some(acknowledged) = message.acknowledged() else { continue };
            let is_there = match (&message.mark, &message.outcome) {
                (Some(mark), _) => marks.contains(&(message.board.as_str(), mark)),
                (None, Some((outcome, visit))) if outcome == "moved" => {
                    moves.contains(&(message.board.as_str(), message.event.as_str(), *visit))
                }
                (None, _) => true,
            };
            let was_lost = self.is_lost(message.sent, acknowledged);
            self.expect(is_there || was_lost, CheckedRule::Durable, || format!("{message:?}"));
        }
    }

    fn check_chains(&mut self) {
        for (board, rows) in &self.record.history {
            let mut before: Option<(&str, i64)> = None;
            for row in rows {
                let is_next = before.is_none_or(|(state, visit)| {
                    // `always` enters two states at once; and re-entries of Ready are not recorded.
                    let min = i64::from(row.outcome == "moved");
                    let most = if state == "Ready" { i64::MAX } else { 2 * min };
                    row.from == state && (min..=most).contains(&(row.visit - visit))
                });
                let notes = row.kind == "note";
                self.expect(is_next || notes, CheckedRule::Chain, || {
                    format!("{board}: after {before:?}: {row:?}")
                });
                if !notes {
                    before = Some((&row.to, row.visit));
                }
            }
            let end = self.record.ends.get(board).map(|end| (end.state.as_str(), end.visit));
            let is_end = end.zip(before).is_none_or(|(end, before)| {
                end == before || (end.0 == before.0 && end.0 == "Ready" && end.1 > before.1)
            });
            self.expect(is_end, CheckedRule::Chain, || {
                format!("{board}: is {end:?}, history has {before:?}")
            });
        }
    }

    fn check_whole(&mut self) {
        for (board, end) in &self.record.ends {
            let mirrored = self.record.mirror.get(board);
            let rows = self.record.history.get(board).map(Vec::as_slice).unwrap_or_default();
            let is_arrival =
                |row: &&StoredEntry| row.outcome == "moved" && row.from != row.to && row.to == end.state;
            let arrival = rows.iter().rfind(is_arrival).map_or(end.visit, |row| row.visit);
            // A board that stays Ready starts a new visit regularly, which followers do not receive.
            let is_as_it_is = mirrored.is_some_and(|(state, visit)| {
                *state == end.state && (*visit == end.visit || (state == "Ready" && *visit >= arrival))
            });
            self.expect(is_as_it_is, CheckedRule::Mirror, || {
                format!("{board}: is {end:?}, who followed the changes has {mirrored:?}")
            });
        }
        let difference = self.record.difference.clone();
        self.expect(difference.is_none(), CheckedRule::Replay, || difference.unwrap_or_default());
        for (server, (before, after)) in self.record.usage.iter().enumerate() {
            let is_as_before = after.resident_kb <= before.resident_kb + MORE_KB
                && after.descriptors <= before.descriptors + MORE_DESCRIPTORS;
            self.expect(is_as_before, CheckedRule::Usage, || {
                format!("server {server}: {before:?}, then {after:?}")
            });
        }
        for accident in &self.record.accidents {
            self.expect(false, CheckedRule::Accident, || accident.clone());
        }
    }
}

/// When a board was off; until the end, if it still is.
fn dark(
    board: &BoardRecord,
    ended_at: super::record::Moment,
) -> impl Iterator<Item = (super::record::Moment, super::record::Moment)> {
    let offs = board.power.iter().enumerate().filter(|(_, (_, on))| !on);
    offs.map(move |(index, (off, _))| {
        let on = board.power[index + 1..].iter().find(|(_, on)| *on);
        (*off, on.map_or(ended_at, |(at, _)| *at))
    })
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
