//! The machine's wall clock, and what its readings mean.

use chrono::{
    DateTime, Local, MappedLocalTime, NaiveDateTime, SubsecRound, TimeDelta, TimeZone, Timelike, Utc,
};

/// Reads the machine's wall clock: the one place that does.
pub(crate) fn wall() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    Utc::now().trunc_subsecs(6)
}

/// The moment that a clock on the wall of this machine means, by its time zone.
///
/// Where clocks are put back, the first of the two moments; where they are put forward over it, the moment at which that
/// happens.
#[must_use]
pub fn local_to_utc(shown: NaiveDateTime) -> DateTime<Utc> {
    let moment = |shown: NaiveDateTime| match Local.from_local_datetime(&shown) {
        MappedLocalTime::Single(at) => Some(at.to_utc()),
        // They come in no order.
        MappedLocalTime::Ambiguous(one, other) => Some(one.min(other).to_utc()),
        MappedLocalTime::None => None,
    };
    let after_the_gap = || {
        let minute = shown.with_second(0)?.with_nanosecond(0)?;
        (1..=24 * 60).find_map(|minutes| moment(minute.checked_add_signed(TimeDelta::minutes(minutes))?))
    };
    moment(shown).or_else(after_the_gap).unwrap_or_else(|| shown.and_utc())
}
