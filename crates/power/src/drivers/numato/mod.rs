//! Relays of Numato Lab's Ethernet modules, by telnet: `numato://relay-3.lab:23/5?credential=relays`.

mod dialogue;
mod outlet;
mod relay;
mod telnet;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use self::outlet::NumatoOutlet;
use self::relay::NumatoRelay;
use crate::credential::{CREDENTIAL_PARAMETER, DEFAULT_USER, DeviceLogin};
use crate::endpoint::DeviceEndpoint;
use crate::outlet::{ClientCapacity, CycleTiming, OutletCapabilities, Readback};
use crate::parameters::{INVERT_PARAMETER, OFF_PARAMETER, PowerUrlParameters, REST_PARAMETER, number};
use crate::scheme::{DeviceScan, OutletConfig, PowerScheme};
use crate::wiring::RelayWiring;

/// `numato://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "numato",
    path: "HOST[:23]/RELAY",
    about: "a relay of a Numato Lab Ethernet module, by telnet",
    example: "numato://relay-3.lab/5?credential=lab-relays",
    parameters: &[INVERT_PARAMETER, CREDENTIAL_PARAMETER, OFF_PARAMETER, REST_PARAMETER],
    parse,
    scan: Some(DeviceScan::each_outlet(|| (0..RELAY_DIGITS.len()).map(|relay| relay.to_string()).collect())),
};

/// Source: RFC 854: the registered port of telnet.
const DEFAULT_PORT: u16 = 23;
/// Source: `reference/field.md` 5.2: relays 0 to 9, then A to V.
const RELAY_DIGITS: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let text = url.path().strip_prefix('/').unwrap_or_default();
    let relay = number::<u8>(text).and_then(|number| Some((number, *RELAY_DIGITS.get(usize::from(number))?)));
    let (number, digit) = relay.ok_or_else(|| {
        format!("`{text}` is not a relay; a relay is 0 to {}: {}", RELAY_DIGITS.len() - 1, SCHEME.form())
    })?;
    let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?.with_rest(parameters, Duration::ZERO)?;
    let (wiring, login) =
        (RelayWiring::parse(parameters)?, DeviceLogin::parse(parameters, Some(DEFAULT_USER))?);
    let relay = NumatoRelay { endpoint, number, digit: digit.into(), wiring, login };
    Ok(OutletConfig {
        device: format!("numato://{}", relay.endpoint.authority()),
        outlet: number.to_string(),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: relay.endpoint.settle_for,
            effect_within: Duration::ZERO,
        },
        open: Arc::new(move |access| Box::new(NumatoOutlet::new(access, relay.clone()))),
    })
}
