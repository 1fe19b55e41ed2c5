//! Whether a board's power is on, as it was last observed.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::formatting::{elapsed, time};

/// Within this time after a reading, what the board sent while it still had power may arrive.
const MAX_DELIVERY_TIME: TimeDelta = TimeDelta::seconds(10);
/// The number of times an outlet was switched on, without a sign of life of its board, from which that is worth a warning.
const MIN_SILENT_SWITCHES: usize = 2;

/// What was last observed of a board's power.
///
/// It is shown to people. Neither guards nor actions read it, so an unknown state causes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObservedPower {
    /// Whether it was on.
    pub state: ObservedPowerState,
    /// When that was observed; `None` if nothing ever was.
    pub at: Option<DateTime<Utc>>,
    /// Who observed it.
    pub source: Option<PowerSource>,
    /// The observation in words.
    pub words: String,
    /// A sentence that says where the readings of the outlet and what the board sent contradict each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// When the power URL was last changed; left out if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_changed_at: Option<DateTime<Utc>>,
}

/// Whether power was observed to be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObservedPowerState {
    /// It was on.
    On,
    /// It was off.
    Off,
    /// Neither was observed: the outlet did not answer, or cannot be read.
    Unknown,
}

/// Who observed whether power is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerSource {
    /// An action of the board, at its outlet.
    Action,
    /// An operation by hand, at its outlet.
    ByHand,
    /// The board: it sent something or answered its poll, so it has power.
    Board,
}

/// An observation, from history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PowerObservation {
    /// When it was made.
    pub(super) at: DateTime<Utc>,
    /// Who made it.
    pub(super) source: PowerSource,
    /// The event or note.
    pub(super) event: String,
    /// What was read at the outlet: `on`, `off` or `unknown`.
    pub(super) observed: Option<String>,
    /// Why nothing was observed.
    pub(super) reason: Option<String>,
}

/// The last observations of a board's power, from history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PowerHistory {
    /// Readings of its outlet since its power URL was changed, and the last thing that the board sent; the newest first.
    pub(super) observations: Vec<PowerObservation>,
    /// When its power URL was last changed.
    pub(super) url_changed_at: Option<DateTime<Utc>>,
    /// When its outlet was last switched, also by an earlier power URL.
    pub(super) switched_at: Option<DateTime<Utc>>,
}

impl ObservedPower {
    /// Derives it from the last observations. `has_wiring` is whether the power URL can have `invert`.
    pub(super) fn of_history(history: &PowerHistory, has_wiring: bool) -> Self {
        let url_changed_at = history.url_changed_at;
        let Some(last) = history.observations.first() else {
            let words = "no observation in its history".to_owned();
            let (state, at, source, warning) = (ObservedPowerState::Unknown, None, None, None);
            return Self { state, at, source, words, warning, url_changed_at };
        };
        let (state, at, source) = (last.state(), Some(last.at), Some(last.source));
        Self {
            state,
            at,
            source,
            words: last.words(state),
            warning: history.warning(has_wiring),
            url_changed_at,
        }
    }

    /// Describes it in a sentence.
    pub(super) fn sentence(&self, now: DateTime<Utc>) -> String {
        let at = self.at.map(|at| format!(", at {} ({} ago)", time(at, now), elapsed(now - at)));
        let warning = self.warning.as_ref().map(|warning| format!(" {warning}")).unwrap_or_default();
        format!("Power: {}{}: {}.{warning}", self.state.name(), at.unwrap_or_default(), self.words)
    }

    /// Says that the power URL was changed after the board came into the state in which it is; `None` if it was not.
    pub(super) fn changed_url_sentence(
        &self,
        name: &str,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<String> {
        let changed_at = self.url_changed_at.filter(|changed_at| *changed_at > since)?;
        Some(format!(
            "Its power URL was changed at {} ({} ago), after that failure: `lifeguard power test {name}` reads the outlet, and \
             `lifeguard device reboot {name}` cycles its power by the new URL.",
            time(changed_at, now),
            elapsed(now - changed_at)
        ))
    }
}

impl PowerHistory {
    /// Says where the readings and what the board sent contradict each other, and what may be wrong.
    fn warning(&self, has_wiring: bool) -> Option<String> {
        let readings =
            || self.observations.iter().filter(|observation| observation.source != PowerSource::Board);
        let sign = self.observations.iter().find(|observation| observation.source == PowerSource::Board);
        let last = readings().next()?;
        let contradiction = match (last.state(), sign) {
            (ObservedPowerState::Off, Some(sign)) if sign.at > last.at + MAX_DELIVERY_TIME => {
                let (read_at, sign_at) = (clock_time(last.at), clock_time(sign.at));
                format!("The outlet was read off at {read_at}, but {} at {sign_at}", board_words(&sign.event))
            }
            (ObservedPowerState::Off, Some(sign))
                if sign.at <= last.at && self.switched_at.is_none_or(|switched_at| switched_at < sign.at) =>
            {
                let (read_at, sign_at) = (clock_time(last.at), clock_time(sign.at));
                let words = board_words(&sign.event);
                format!(
                    "The outlet was read off at {read_at}, although {words} at {sign_at} and Lifeguard has not switched it since"
                )
            }
            (ObservedPowerState::On, sign) => {
                let is_unanswered =
                    |reading: &&PowerObservation| sign.is_none_or(|sign| sign.at < reading.at);
                let switched = readings().take_while(is_unanswered).filter(|reading| reading.switched_on());
                let times = switched.count();
                if times < MIN_SILENT_SWITCHES {
                    return None;
                }
                format!(
                    "The outlet was switched on {times} times and reads on, but nothing from the board was recorded since"
                )
            }
            (ObservedPowerState::Off | ObservedPowerState::Unknown, _) => return None,
        };
        Some(format!("{contradiction}: {}", if has_wiring { WIRING_ADVICE } else { OUTLET_ADVICE }))
    }
}

/// What may be wrong where the power URL can have `invert`.
const WIRING_ADVICE: &str =
    "`invert` may be missing from its power URL or wrong in it, or the outlet may be another board's.";
/// What may be wrong where it cannot.
const OUTLET_ADVICE: &str = "its power URL may name the outlet of another board.";

/// A time with its date: the sentence is read without the time of its answer.
fn clock_time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

impl ObservedPowerState {
    fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Unknown => "unknown",
        }
    }
}

impl PowerObservation {
    fn state(&self) -> ObservedPowerState {
        match (self.source, self.observed.as_deref()) {
            (PowerSource::Board, _) | (_, Some("on")) => ObservedPowerState::On,
            (_, Some("off")) => ObservedPowerState::Off,
            (PowerSource::Action | PowerSource::ByHand, _) => ObservedPowerState::Unknown,
        }
    }

    /// Whether an action of the board switched the outlet on, and read it on.
    fn switched_on(&self) -> bool {
        self.source == PowerSource::Action
            && self.state() == ObservedPowerState::On
            && matches!(self.event.as_str(), "power-cycle-ok" | "power-on-ok")
    }

    fn words(&self, state: ObservedPowerState) -> String {
        let (action, has_failed) = match self.event.strip_suffix("-failed") {
            Some(action) => (action, true),
            None => (self.event.strip_suffix("-ok").unwrap_or(&self.event), false),
        };
        let action = match self.source {
            PowerSource::Board => return board_words(&self.event),
            PowerSource::Action => action.to_owned(),
            PowerSource::ByHand => format!("{action} by hand"),
        };
        let reason = self.reason.as_deref().map(|reason| format!(": {}", reason.trim_end_matches('.')));
        let reason = reason.unwrap_or_default();
        match (state, has_failed) {
            (ObservedPowerState::Unknown, false) => format!("{action}{reason}"),
            (ObservedPowerState::Unknown, true) => format!("{action} failed{reason}"),
            (ObservedPowerState::On | ObservedPowerState::Off, false) => {
                format!("read at the outlet, by {action}")
            }
            (ObservedPowerState::On | ObservedPowerState::Off, true) => {
                format!("read at the outlet, by {action}, which failed{reason}")
            }
        }
    }
}

/// What a board sent, in words; `event` is an event, or a note of the boot log.
fn board_words(event: &str) -> String {
    match event {
        "asked-boot-config" => "the board asked for its boot config".to_owned(),
        "poll-ok" => "the board answered its poll".to_owned(),
        "asked" | "fetched" => "the board requested a file".to_owned(),
        event => format!("the board reported {event}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(
        second: i64,
        source: PowerSource,
        event: &str,
        observed: Option<&str>,
        reason: Option<&str>,
    ) -> PowerObservation {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let (observed, reason) = (observed.map(str::to_owned), reason.map(str::to_owned));
        PowerObservation { at, source, event: event.to_owned(), observed, reason }
    }

    fn of(observations: &[PowerObservation]) -> ObservedPower {
        let switching = observations.iter().find(|observation| {
            observation.source != PowerSource::Board && !observation.event.starts_with("power-read-")
        });
        let switched_at = switching.map(|switching| switching.at);
        let history = PowerHistory { observations: observations.to_vec(), url_changed_at: None, switched_at };
        ObservedPower::of_history(&history, true)
    }

    #[test]
    fn an_outlet_that_reads_off_while_its_board_lives_is_a_warning() {
        let read = |second, event| observation(second, PowerSource::ByHand, event, Some("off"), None);
        let report = |second| observation(second, PowerSource::Board, "image-running", None, None);
        let warning = |observations: &[PowerObservation]| of(observations).warning;
        assert_eq!(
            warning(&[report(300), read(120, "power-read-ok")]).as_deref(),
            Some(
                "The outlet was read off at 1970-01-01 00:02:00 UTC, but the board reported image-running at 1970-01-01 \
                 00:05:00 UTC: `invert` may be missing from its power URL or wrong in it, or the outlet may be another board's."
            )
        );
        let before = warning(&[read(120, "power-read-ok"), report(60)]).unwrap();
        assert!(
            before.contains("although the board reported image-running at 1970-01-01 00:01:00"),
            "{before}"
        );
        assert!(warning(&[report(300), read(120, "power-off-ok")]).is_some(), "it lives without power");
        // What it sent before its power went away can arrive a moment later.
        assert_eq!(warning(&[report(121), read(120, "power-off-ok")]), None);
        assert_eq!(warning(&[read(120, "power-off-ok"), report(60)]), None);
        assert_eq!(warning(&[read(130, "power-read-ok"), read(120, "power-off-ok"), report(60)]), None);
        assert_eq!(warning(&[read(120, "power-read-ok")]), None, "nothing says that it lives");
        let history = PowerHistory {
            observations: vec![report(300), read(120, "power-read-ok")],
            ..PowerHistory::default()
        };
        let other = ObservedPower::of_history(&history, false).warning.unwrap();
        assert!(other.ends_with("its power URL may name the outlet of another board."), "{other}");
    }

    #[test]
    fn an_outlet_that_is_switched_on_again_and_again_for_a_silent_board_is_a_warning() {
        let cycled = |second| observation(second, PowerSource::Action, "power-cycle-ok", Some("on"), None);
        let report = observation(5, PowerSource::Board, "image-running", None, None);
        let silent = of(&[cycled(20), cycled(10), report.clone(), cycled(1)]).warning.unwrap();
        assert!(silent.starts_with("The outlet was switched on 2 times and reads on, but"), "{silent}");
        assert!(of(&[cycled(20), cycled(10)]).warning.is_some(), "a new board has never sent anything");
        assert_eq!(of(&[cycled(10), report.clone(), cycled(1)]).warning, None, "it may still be starting");
        assert_eq!(of(&[report, cycled(1), cycled(0)]).warning, None);
    }

    #[test]
    fn a_power_url_that_was_changed_after_a_failure_is_said_with_what_tries_again() {
        let at = |second| DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let history = PowerHistory { url_changed_at: Some(at(60)), ..PowerHistory::default() };
        let power = ObservedPower::of_history(&history, true);
        let sentence = power.changed_url_sentence("b1", at(30), at(90)).unwrap();
        assert!(sentence.starts_with("Its power URL was changed at 00:01:00 UTC (30 s ago)"), "{sentence}");
        assert!(
            sentence.contains("`lifeguard device reboot b1` cycles its power by the new URL"),
            "{sentence}"
        );
        assert_eq!(power.changed_url_sentence("b1", at(61), at(90)), None);
    }

    #[test]
    fn the_last_observation_is_described_whoever_made_it() {
        let read = observation(1, PowerSource::Action, "power-cycle-ok", Some("on"), None);
        let by_hand = observation(3, PowerSource::ByHand, "power-off-ok", Some("off"), None);
        let report = observation(5, PowerSource::Board, "image-running", None, None);
        let lost =
            observation(7, PowerSource::Action, "power-cycle-failed", Some("unknown"), Some("no answer"));
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(9);
        for (last, sentence) in [
            (read, "Power: on, at 00:00:01 UTC (8 s ago): read at the outlet, by power-cycle."),
            (by_hand, "Power: off, at 00:00:03 UTC (6 s ago): read at the outlet, by power-off by hand."),
            (report, "Power: on, at 00:00:05 UTC (4 s ago): the board reported image-running."),
            (lost, "Power: unknown, at 00:00:07 UTC (2 s ago): power-cycle failed: no answer."),
        ] {
            assert_eq!(of(&[last]).sentence(now), sentence);
        }
    }

    #[test]
    fn what_was_not_observed_is_unknown_and_says_why() {
        let now = DateTime::UNIX_EPOCH;
        let never = of(&[]);
        assert_eq!(never.sentence(now), "Power: unknown: no observation in its history.");
        let accepted = Some("accepted, not observed");
        let blind = observation(0, PowerSource::Action, "power-on-ok", Some("unknown"), accepted);
        let blind = of(&[blind]);
        assert_eq!(blind.state, ObservedPowerState::Unknown);
        assert_eq!(blind.words, "power-on: accepted, not observed");
        let off = observation(0, PowerSource::Action, "power-on-failed", Some("off"), Some("it stays off"));
        let off = of(&[off]);
        assert_eq!(off.state, ObservedPowerState::Off);
        assert_eq!(off.words, "read at the outlet, by power-on, which failed: it stays off");
    }
}
