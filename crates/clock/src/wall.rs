//! The machine's wall clock and local times.

use chrono::{
    DateTime, Local, MappedLocalTime, NaiveDateTime, SubsecRound, TimeDelta, TimeZone, Timelike, Utc,
};

/// Reads the machine's wall clock; the only function that does.
pub(crate) fn wall() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    Utc::now().trunc_subsecs(6)
}

/// Converts a local time of this machine to UTC by its time zone.
///
/// An ambiguous time (clocks set back) gives the first of the two moments; a skipped time (clocks set forward) gives
/// the moment of the change.
#[must_use]
pub fn local_to_utc(shown: NaiveDateTime) -> DateTime<Utc> {
    let moment = |shown: NaiveDateTime| match Local.from_local_datetime(&shown) {
        MappedLocalTime::Single(at) => Some(at.to_utc()),
        // They are not ordered.
        MappedLocalTime::Ambiguous(first, second) => Some(first.min(second).to_utc()),
        MappedLocalTime::None => None,
    };
    let after_the_gap = || {
        let minute = shown.with_second(0)?.with_nanosecond(0)?;
        (1..=24 * 60).find_map(|minutes| moment(minute.checked_add_signed(TimeDelta::minutes(minutes))?))
    };
    moment(shown).or_else(after_the_gap).unwrap_or_else(|| shown.and_utc())
}
