//! The board lifecycle for a run of minutes: shorter deadlines, fewer tries, and an event that writes a mark.

use std::time::Duration;

/// Shortened times: one of the built-in lifecycle, and its replacement.
const SPANS: [(&str, &str); 5] =
    [("60s", "12s"), ("600s", "40s"), ("180s", "25s"), ("5m", "30s"), ("1h", "60s")];
/// The limit of tries in place of 10, 30 or 200 in the built-in lifecycle.
pub(super) const TRIES: i64 = 4;
/// Interval, failure limit and timeout of polls.
const POLL: &str = "{ action: poll, with: { interval: 3s, failures: 3, limit: 2s } }";
/// How long an unresponsive board may stay Ready.
pub(super) const SILENCE: Duration = Duration::from_secs(15);

/// The definition of all servers.
pub(super) fn short_limit_definition() -> String {
    let mut text = include_str!("../../../states/board.yaml").to_owned();
    for (span, shorter) in SPANS {
        let (old, new) = (format!("after: {span},"), format!("after: {shorter},"));
        assert!(text.contains(&old), "{old}");
        text = text.replace(&old, &new);
    }
    for limit in [10, 30, 200] {
        text = text.replace(&format!("limit: {limit},"), &format!("limit: {TRIES},"));
        for state in ["Booting", "Booted", "Installing", "Clearing", "Complete"] {
            let guard = |limit| format!("counters.Reimage{state} < {limit}");
            text = text.replace(&guard(limit), &guard(TRIES));
        }
    }
    let mut replace = |old: &str, new: String| {
        assert!(text.contains(old), "{old}");
        text = text.replacen(old, &new, 1);
    };
    replace("invoke: [poll]", format!("invoke: [{POLL}]"));
    replace(
        "events:\n",
        "events:\n  mark: { from: board, args: [mark], about: it leaves a mark }\n".to_owned(),
    );
    let marked =
        "groups:\n  marked:\n    states: ['*']\n    on:\n      mark: { do: { set: { mark: $args.mark } } }\n";
    replace("groups:\n", marked.to_owned());
    text
}

#[test]
fn the_accelerated_lifecycle_is_sound() {
    lifeguard::machine::load(&short_limit_definition(), lifeguard::boards::vocabulary()).unwrap();
}
