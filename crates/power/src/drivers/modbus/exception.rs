//! Meaning of Modbus exceptions. Source: Modbus Application Protocol 1.1b3, 7.

use super::address::CoilAddress;
use super::frame::ModbusRequest;
use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::Readback;

/// Returns the error for exception `number` to `request`.
pub(super) fn outlet_error(
    address: &CoilAddress,
    authority: &str,
    request: ModbusRequest,
    number: u8,
) -> OutletError {
    let kind = match number {
        1..=3 => OutletErrorKind::Misconfigured,
        6 | 10 => OutletErrorKind::Refused,
        // Device failure, acknowledge, or gateway timeout: the coil may have been switched.
        _ => OutletErrorKind::Unconfirmed,
    };
    let unit = address.unit;
    let reason = match number {
        1..=3 if matches!(request, ModbusRequest::Read { .. }) => unreadable(address, authority, number),
        1 => "illegal function: the device does not support coils".to_owned(),
        2 => format!("illegal data address: the relay board has no coil {}", address.coil),
        3 => {
            format!("illegal data value: the relay board rejects the value written to coil {}", address.coil)
        }
        6 => format!("{authority} answered for unit {unit} with exception 6: busy"),
        10 => format!("{authority} answered for unit {unit} with exception 10: gateway path unavailable"),
        _ => {
            let name = match number {
                4 => " (server device failure)",
                5 => " (acknowledge)",
                11 => " (the unit behind the gateway does not answer)",
                _ => "",
            };
            format!("{authority} answered with exception {number}{name}")
        }
    };
    OutletError::new(kind, reason)
}

/// Returns why the coil cannot be read as its URL says, and what to write instead.
fn unreadable(address: &CoilAddress, authority: &str, number: u8) -> String {
    let (coil, (first, count)) = (address.coil, address.bank());
    let last = first.saturating_add(u16::from(count) - 1);
    let is_bank = address.readback == Readback::Bank;
    match number {
        1 => format!(
            "illegal function: the device at {authority} cannot read coils; if it can switch them, write \
             `readback=none` in the power URL"
        ),
        2 if is_bank => format!(
            "illegal data address: the relay board does not have all coils from {first} to {last}; to read coil {coil} \
             alone, leave `readback=all8` out of the power URL"
        ),
        2 => format!("illegal data address: the relay board has no coil {coil}"),
        _ if is_bank => format!(
            "illegal data value: the relay board refused to read coils {first} to {last}; if it cannot be read, write \
             `readback=none` in the power URL"
        ),
        _ => format!(
            "illegal data value: the relay board refused to read coil {coil} alone; if it reads whole banks, write \
             `readback=all8` in the power URL, and if it cannot be read, `readback=none`"
        ),
    }
}
