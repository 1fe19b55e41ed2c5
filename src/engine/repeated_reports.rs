//! Ignored reports in history: repeated ones share one entry with a count, and long arguments are shortened.
//!
//! A replay is not affected: it decides on the first report, and the others have the same outcome.

use serde_json::{Map, Value, json};

use crate::machine::{Cause, IgnoreReason, Outcome, Stimulus};
use crate::store::history::{HistoryContent, NewHistoryEntry};

/// The key in the evidence of an entry for the number of its reports.
const REPORT_COUNT_KEY: &str = "reports";
/// The key in the arguments of an entry for the size of the omitted arguments, in bytes of JSON.
const LEFT_OUT_BYTES_KEY: &str = "left_out_bytes";
/// The maximum size of the arguments of an ignored report, in bytes of JSON.
const MAX_ARGS_BYTES: usize = 1024;
/// The maximum number and length of the names that are kept of omitted arguments.
const MAX_KEPT_NAMES: usize = 16;
const MAX_NAME_LENGTH: usize = 64;

/// Counts a report in the entry `last` of the same batch, if stimulus and outcome are the same.
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

/// Omits large arguments of a report, where the outcome does not depend on them.
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
        // The names are kept: an event without a required argument would have another outcome in a replay.
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
    fn unread_arguments_are_kept_up_to_a_limit_and_read_ones_are_kept_whole() {
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
