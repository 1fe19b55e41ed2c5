//! The board lifecycle for a run of minutes: shorter deadlines, fewer tries, and an event that writes a mark.

use std::time::Duration;

/// A time limit of a power cycle, of an image and of a self-test, in seconds.
const POWER: u64 = 12;
const IMAGE: u64 = 40;
const SELF_TEST: u64 = 60;
/// Shortened times: one of the built-in lifecycle, and its replacement in seconds.
const SPANS: [(&str, u64); 5] =
    [("60s", POWER), ("600s", IMAGE), ("180s", 25), ("5m", 30), ("1h", SELF_TEST)];
/// The limit of tries in place of 10, 30 or 200 in the built-in lifecycle.
pub(super) const TRIES: u64 = 4;
/// Interval, failure limit and timeout of polls.
const POLL: &str = "{ action: poll, with: { interval: 3s, failures: 3, limit: 2s } }";
/// How long an unresponsive board may stay Ready.
pub(super) const SILENCE: Duration = Duration::from_secs(15);

/// How long boards may take to come to rest: a self-test, then reboots from a card that an interrupted installation has
/// left unbootable, until no try is left; each waits for the power cycle and for the image.
pub(super) const REST: Duration = Duration::from_secs(SELF_TEST + (TRIES + 1) * (POWER + IMAGE));

/// The definition of all servers.
pub(super) fn short_limit_definition() -> String {
    let mut text = include_str!("../../../states/board.yaml").to_owned();
    for (span, shorter) in SPANS {
        let (old, new) = (format!("after: {span},"), format!("after: {shorter}s,"));
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
