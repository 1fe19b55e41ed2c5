//! Reports that change nothing: repeated ones are one entry of history with a count, and what they bring is cut short.
//!
//! Nothing depends on them: whoever replays history decides on the first, and the others come to the same.

use serde_json::{Map, Value, json};

use crate::machine::{Cause, IgnoreReason, Outcome, Stimulus};
use crate::store::history::{HistoryContent, NewHistoryEntry};

/// In the evidence of an entry: how many reports it tells of.
const REPORT_COUNT_KEY: &str = "reports";
/// In the arguments of an entry: how large those are that were left out, in bytes of JSON.
const LEFT_OUT_BYTES_KEY: &str = "left_out_bytes";
/// The most that a report may bring which nobody looked at, in bytes of JSON.
const MAX_ARGS_BYTES: usize = 1024;
/// How many names of arguments are kept of more, and how long each may be.
const MAX_KEPT_NAMES: usize = 16;
const MAX_NAME_LENGTH: usize = 64;

/// Counts a report that came to `outcome` with the entry `last` of the same group, if that tells of the same.
pub(super) fn count_repeat(
    last: Option<&mut NewHistoryEntry>,
    stimulus: &Stimulus,
    outcome: &Outcome,
) -> bool {
    let Some(last) = last else { return false };
    let is_same = matches!(&last.content, HistoryContent::Stimulus(known) if known == stimulus);
    if !is_same || last.outcome.as_ref() != Some(outcome) {
        return false;
    }
    let evidence = last.evidence.get_or_insert_with(Map::new);
    let reports = evidence.get(REPORT_COUNT_KEY).and_then(Value::as_u64).unwrap_or(1);
    evidence.insert(REPORT_COUNT_KEY.to_owned(), json!(reports + 1));
    true
}

/// Leaves out what a report brings, where that is much and the outcome does not come from it.
pub(super) fn shorten_args(stimulus: &mut Stimulus, outcome: &Outcome) {
    let Cause::Event { args, .. } = &mut stimulus.cause else { return };
    let is_unread = match outcome {
        Outcome::Ignored(
            IgnoreReason::NotHandled { .. }
            | IgnoreReason::LeftToDeadline { .. }
            | IgnoreReason::Stale { .. }
            | IgnoreReason::Future { .. },
        ) => true,
        Outcome::Ignored(
            IgnoreReason::NoState { .. }
            | IgnoreReason::Unexpected { .. }
            | IgnoreReason::NotDue
            | IgnoreReason::MissingArgument { .. }
            | IgnoreReason::NoGuardHolds { .. }
            | IgnoreReason::Refused { .. }
            | IgnoreReason::NotAllowed { .. },
        )
        | Outcome::Moved { .. }
        | Outcome::Stayed => false,
    };
    if !is_unread {
        return;
    }
    let size = serde_json::to_string(args).map_or(0, |text| text.len());
    if size > MAX_ARGS_BYTES {
        // Their names are kept: an event that lacks one that it needs would come to something else.
        let names = args.keys().take(MAX_KEPT_NAMES).filter(|name| name.len() <= MAX_NAME_LENGTH);
        let mut short: Map<String, Value> = names.map(|name| (name.clone(), Value::Null)).collect();
        short.insert(LEFT_OUT_BYTES_KEY.to_owned(), json!(size));
        *args = short;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{EventName, EventSource, SenderName, StateName, Visit};

    fn report(args: Value) -> Stimulus {
        let Value::Object(args) = args else { panic!("{args}") };
        let name = EventName::new("running").unwrap();
        Stimulus::new(Cause::Event {
            name,
            source: EventSource::Face(SenderName::of("thing")),
            args,
            visit: None,
        })
    }

    fn not_handled() -> Outcome {
        let (state, event) = (StateName::new("Ready").unwrap(), EventName::new("running").unwrap());
        Outcome::Ignored(IgnoreReason::NotHandled { state, event })
    }

    #[test]
    fn what_nobody_looked_at_is_kept_up_to_a_limit_and_what_a_guard_saw_is_kept_whole() {
        let of_size = |size: usize| report(json!({ "log": "x".repeat(size - r#"{"log":""}"#.len()) }));
        let shortened = |size: usize, outcome: &Outcome| {
            let mut report = of_size(size);
            shorten_args(&mut report, outcome);
            report
        };
        assert_eq!(shortened(1024, &not_handled()), of_size(1024));
        let left_out = report(json!({ "log": null, "left_out_bytes": 1025 }));
        assert_eq!(shortened(1025, &not_handled()), left_out);
        for outcome in [Outcome::Ignored(IgnoreReason::Refused { reason: "no".to_owned() }), Outcome::Stayed]
        {
            assert_eq!(shortened(1025, &outcome), of_size(1025));
        }
    }

    #[test]
    fn equal_reports_are_counted_and_others_are_not() {
        let state = StateName::new("Ready").unwrap();
        let mut entry = NewHistoryEntry {
            instance: crate::store::instances::InstanceId(1),
            at: chrono::DateTime::UNIX_EPOCH,
            content: HistoryContent::Stimulus(report(json!({ "a": 1 }))),
            sender: None,
            outcome: Some(not_handled()),
            from: state.clone(),
            to: state,
            visit: Visit(1),
            reason: None,
            evidence: None,
        };
        let one = report(json!({ "a": 1 }));
        assert!(!count_repeat(None, &one, &not_handled()));
        assert!(!count_repeat(Some(&mut entry), &report(json!({ "a": 2 })), &not_handled()));
        assert!(!count_repeat(Some(&mut entry), &one, &Outcome::Stayed));
        assert_eq!(entry.evidence, None);
        for reports in [2, 3] {
            assert!(count_repeat(Some(&mut entry), &one, &not_handled()));
            assert_eq!(Value::from(entry.evidence.clone().unwrap()), json!({ "reports": reports }));
        }
    }
}
