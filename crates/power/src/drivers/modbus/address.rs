//! Address of a coil, its wiring and its readback.

use std::time::Duration;

use url::Url;

use crate::endpoint::DeviceEndpoint;
use crate::outlet::Readback;
use crate::parameters::{PowerUrlParameters, number};
use crate::wiring::RelayWiring;

/// Source: Modbus Messaging on TCP/IP Implementation Guide 1.0b, 4.2: the registered port.
const DEFAULT_PORT: u16 = 502;

/// A device that speaks Modbus over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::drivers) struct ModbusDevice {
    /// Where it is reached.
    pub(in crate::drivers) endpoint: DeviceEndpoint,
    /// The Modbus unit: 1 to 247, or 255 for the relay board itself.
    pub(in crate::drivers) unit: u8,
    /// How it frames Modbus.
    pub(super) framing: ModbusFraming,
}

/// How a device frames Modbus over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModbusFraming {
    /// Modbus TCP.
    Tcp,
    /// RTU frames, as on a serial line.
    Rtu,
}

impl ModbusDevice {
    /// Parses host, port and the parameters `unit`, `rest` and `framing`.
    pub(in crate::drivers) fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<Self, String> {
        Ok(Self {
            endpoint: DeviceEndpoint::parse(url, DEFAULT_PORT)?.with_rest(parameters, Duration::ZERO)?,
            unit: parameters.get("unit").map_or(Ok(1), unit)?,
            framing: parameters.get("framing").map_or(Ok(ModbusFraming::Tcp), framing)?,
        })
    }
}

/// A coil of a relay board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CoilAddress {
    /// Its relay board.
    pub(super) relay: ModbusDevice,
    /// The coil's address in the protocol, from 0.
    pub(super) coil: u16,
    /// The contact that the board is wired to.
    pub(super) wiring: RelayWiring,
    /// How the coil is read back: alone, with its bank of eight, or not at all.
    pub(super) readback: Readback,
}

impl CoilAddress {
    /// Parses a URL; `form` is quoted in errors.
    pub(super) fn parse(url: &Url, parameters: &PowerUrlParameters, form: &str) -> Result<Self, String> {
        let coil = url.path().strip_prefix('/').unwrap_or_default();
        let coil =
            number(coil).ok_or_else(|| format!("`{coil}` is not a coil; a coil is 0 to 65535: {form}"))?;
        Ok(Self {
            relay: ModbusDevice::parse(url, parameters)?,
            coil,
            wiring: RelayWiring::parse(parameters)?,
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

fn framing(value: &str) -> Result<ModbusFraming, String> {
    match value {
        "tcp" => Ok(ModbusFraming::Tcp),
        "rtu" => Ok(ModbusFraming::Rtu),
        _ => Err(format!(
            "`framing={value}`: write `tcp`, or `rtu` where RTU frames are passed on unchanged over TCP"
        )),
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
