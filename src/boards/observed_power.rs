//! Whether a board's power is on, as it was last observed.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::formatting::{elapsed, time};

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
    /// The board: it sent something, so it has power.
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

impl ObservedPower {
    /// Derives it from the last observation, if there is one.
    pub(super) fn of_observation(last: Option<&PowerObservation>) -> Self {
        let Some(last) = last else {
            let words = "no observation in its history".to_owned();
            return Self { state: ObservedPowerState::Unknown, at: None, source: None, words };
        };
        let state = last.state();
        Self { state, at: Some(last.at), source: Some(last.source), words: last.words(state) }
    }

    /// Describes it in a sentence.
    pub(super) fn sentence(&self, now: DateTime<Utc>) -> String {
        let at = self.at.map(|at| format!(", at {} ({} ago)", time(at, now), elapsed(now - at)));
        format!("Power: {}{}: {}.", self.state.name(), at.unwrap_or_default(), self.words)
    }
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
        "asked" | "fetched" => "the board requested a file".to_owned(),
        event => format!("the board reported {event}"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

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
            assert_eq!(ObservedPower::of_observation(Some(&last)).sentence(now), sentence);
        }
    }

    #[test]
    fn what_was_not_observed_is_unknown_and_says_why() {
        let now = DateTime::UNIX_EPOCH;
        let never = ObservedPower::of_observation(None);
        assert_eq!(never.sentence(now), "Power: unknown: no observation in its history.");
        let accepted = Some("accepted, not observed");
        let blind = observation(0, PowerSource::Action, "power-on-ok", Some("unknown"), accepted);
        let blind = ObservedPower::of_observation(Some(&blind));
        assert_eq!(blind.state, ObservedPowerState::Unknown);
        assert_eq!(blind.words, "power-on: accepted, not observed");
        let off = observation(0, PowerSource::Action, "power-on-failed", Some("off"), Some("it stays off"));
        let off = ObservedPower::of_observation(Some(&off));
        assert_eq!(off.state, ObservedPowerState::Off);
        assert_eq!(off.words, "read at the outlet, by power-on, which failed: it stays off");
    }
}
