//! How a text shows the state of an outlet.

use crate::outlet::PowerState;

/// How the answer to a reading shows the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StateMatch {
    /// The whole answer is one of these texts.
    Equal { on: String, off: String },
    /// The answer contains one of these texts, and not the other.
    Contained { on: String, off: String },
}

impl StateMatch {
    /// Two texts of which an answer contains one, named `on-answer` and `off-answer`.
    ///
    /// # Errors
    ///
    /// The reason, where one contains the other.
    pub(crate) fn contained(on: &str, off: &str) -> Result<Self, String> {
        if on.contains(off) || off.contains(on) {
            return Err(format!(
                "`on-answer={on}` and `off-answer={off}`: neither may contain the other, write more of the answer"
            ));
        }
        Ok(Self::Contained { on: on.to_owned(), off: off.to_owned() })
    }

    /// The state that an answer shows; `None` where it shows neither.
    pub(crate) fn state(&self, answer: &str) -> Option<PowerState> {
        let (is_on, is_off) = match self {
            Self::Equal { on, off } => (answer == on, answer == off),
            Self::Contained { on, off } => (answer.contains(on), answer.contains(off)),
        };
        match (is_on, is_off) {
            (true, false) => Some(PowerState::On),
            (false, true) => Some(PowerState::Off),
            (true, true) | (false, false) => None,
        }
    }
}
