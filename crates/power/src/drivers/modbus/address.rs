//! Address of a coil, its wiring and its readback.

use std::time::Duration;

use device_io::address;
use url::Url;

use crate::outlet::{MAX_SETTLE_TIME, PowerState, Readback};
use crate::parameters::{PowerUrlParameters, number};

/// Source: Modbus Messaging on TCP/IP Implementation Guide 1.0b, 4.2: the registered port.
const DEFAULT_PORT: u16 = 502;

/// A coil of a relay board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CoilAddress {
    /// The relay board's host name or address; an IPv6 address without brackets.
    pub(super) host: String,
    /// Its TCP port.
    pub(super) port: u16,
    /// The coil's address in the protocol, from 0.
    pub(super) coil: u16,
    /// The Modbus unit of the coil: 1 to 247, or 255 for the relay board itself.
    pub(super) unit: u8,
    /// Whether the board has power while the coil is off (wired to the normally closed contact).
    pub(super) is_inverted: bool,
    /// How long the relay board needs after a connection before it accepts the next one.
    pub(super) rest_for: Duration,
    /// How the coil is read back: alone, with its bank of eight, or not at all.
    pub(super) readback: Readback,
}

impl CoilAddress {
    /// Parses a URL; `form` is quoted in errors.
    pub(super) fn parse(url: &Url, parameters: &PowerUrlParameters, form: &str) -> Result<Self, String> {
        let port = url.port().unwrap_or(DEFAULT_PORT);
        if port == 0 {
            return Err("there is no port 0; a port is 1 to 65535".to_owned());
        }
        let coil = url.path().strip_prefix('/').unwrap_or_default();
        let coil =
            number(coil).ok_or_else(|| format!("`{coil}` is not a coil; a coil is 0 to 65535: {form}"))?;
        Ok(Self {
            host: address::host(url)?,
            port,
            coil,
            unit: parameters.get("unit").map_or(Ok(1), unit)?,
            is_inverted: parameters.flag("invert")?,
            rest_for: parameters.span("rest", MAX_SETTLE_TIME)?.unwrap_or_default(),
            readback: parameters.get("readback").map_or(Ok(Readback::Alone), readback)?,
        })
    }

    /// The range to read for this coil: first coil and count.
    pub(super) fn bank(&self) -> (u16, u8) {
        match self.readback {
            Readback::Bank => (self.coil & !7, 8),
            Readback::Alone | Readback::None => (self.coil, 1),
        }
    }

    /// The power state for this value of the coil.
    pub(super) fn power_state_of(&self, value: bool) -> PowerState {
        if value == self.is_inverted { PowerState::Off } else { PowerState::On }
    }

    /// The coil's value for this power state.
    pub(super) fn value_of(&self, state: PowerState) -> bool {
        (state == PowerState::On) != self.is_inverted
    }
}

/// Source: Modbus over Serial Line 1.02, 2.2: 0 is broadcast, 1 to 247 are units, 248 to 255 are reserved; Modbus
/// Messaging on TCP/IP Implementation Guide 1.0b, 4.4.2: 255 addresses the device itself. 0 may do the same, but behind
/// a gateway it switches the coil of *every* unit, so it is refused.
fn unit(value: &str) -> Result<u8, String> {
    match number(value) {
        Some(0) => {
            Err("`unit=0` is a broadcast to all units behind a gateway; write 1 to 247, or 255 for the \
                        relay board itself"
                .to_owned())
        }
        Some(unit @ (1..=247 | 255)) => Ok(unit),
        _ => Err(format!("`unit={value}`: a unit is 1 to 247, or 255 for the relay board itself")),
    }
}

fn readback(value: &str) -> Result<Readback, String> {
    match value {
        "coil" => Ok(Readback::Alone),
        "all8" => Ok(Readback::Bank),
        "none" => Ok(Readback::None),
        _ => Err(format!(
            "`readback={value}`: write `coil`, `all8` for a relay board that reads only whole banks of eight, or `none` \
             for one that cannot be read"
        )),
    }
}
