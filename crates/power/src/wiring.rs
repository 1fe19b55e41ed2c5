//! Wiring of a board to a relay.

use crate::outlet::PowerState;
use crate::parameters::{INVERT_PARAMETER, PowerUrlParameters};

/// The contact of a relay that a board is wired to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayWiring {
    /// The board has power while the relay is on.
    NormallyOpen,
    /// The board has power while the relay is off.
    NormallyClosed,
}

impl RelayWiring {
    /// Reads the parameter `invert`.
    pub(crate) fn parse(parameters: &PowerUrlParameters) -> Result<Self, String> {
        let is_inverted = parameters.flag(INVERT_PARAMETER.name)?;
        Ok(if is_inverted { Self::NormallyClosed } else { Self::NormallyOpen })
    }

    /// The power state of the board while the relay is on or off.
    pub(crate) fn power_state(self, is_relay_on: bool) -> PowerState {
        if is_relay_on == (self == Self::NormallyOpen) { PowerState::On } else { PowerState::Off }
    }

    /// Whether the relay is on for this power state of the board.
    pub(crate) fn is_relay_on(self, state: PowerState) -> bool {
        (state == PowerState::On) == (self == Self::NormallyOpen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_at_the_normally_closed_contact_has_power_while_the_relay_is_off() {
        for (wiring, is_relay_on, state) in [
            (RelayWiring::NormallyOpen, true, PowerState::On),
            (RelayWiring::NormallyOpen, false, PowerState::Off),
            (RelayWiring::NormallyClosed, false, PowerState::On),
            (RelayWiring::NormallyClosed, true, PowerState::Off),
        ] {
            assert_eq!(wiring.power_state(is_relay_on), state);
            assert_eq!(wiring.is_relay_on(state), is_relay_on);
        }
    }
}
