//! Meaning of Modbus exceptions. Source: Modbus Application Protocol 1.1b3, 7.

use super::address::ModbusDevice;
use crate::error::{OutletError, OutletErrorKind};

/// What a device refuses for good. The driver knows what that means for its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drivers) enum ModbusRefusal {
    /// Exception 1: illegal function.
    Function,
    /// Exception 2: illegal data address.
    Address,
    /// Exception 3: illegal data value.
    Value,
}

/// Returns the error for exception `number`; `explain` gives the reason of a refusal.
pub(super) fn outlet_error(
    device: &ModbusDevice,
    number: u8,
    explain: impl FnOnce(ModbusRefusal) -> String,
) -> OutletError {
    let (authority, unit) = (device.endpoint.authority(), device.unit);
    let (kind, reason) = match number {
        1 => (OutletErrorKind::Misconfigured, explain(ModbusRefusal::Function)),
        2 => (OutletErrorKind::Misconfigured, explain(ModbusRefusal::Address)),
        3 => (OutletErrorKind::Misconfigured, explain(ModbusRefusal::Value)),
        6 | 10 => {
            let name = if number == 6 { "busy" } else { "gateway path unavailable" };
            let reason = format!("{authority} answered for unit {unit} with exception {number}: {name}");
            (OutletErrorKind::Refused, reason)
        }
        // Device failure, acknowledge, or gateway timeout: the coil may have been switched.
        _ => {
            let name = match number {
                4 => " (server device failure)",
                5 => " (acknowledge)",
                11 => " (the unit behind the gateway does not answer)",
                _ => "",
            };
            (OutletErrorKind::Unconfirmed, format!("{authority} answered with exception {number}{name}"))
        }
    };
    OutletError::new(kind, reason)
}
