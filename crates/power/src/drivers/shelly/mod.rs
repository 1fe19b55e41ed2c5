//! Shelly plugs and relays by HTTP: `shelly://plug-3.lab/0?credential=lab-plugs`.
//!
//! Generation 2 and later speak JSON-RPC (`rpc`), the first generation has a page for each relay (`relay`). Both time a
//! power cycle themselves: the order to switch off carries the time after which the device switches on again, and
//! reading the outlet meanwhile does not end that time. Any later order does.
//!
//! Source: Shelly technical documentation, shelly-api-docs.shelly.cloud, Gen2 "Switch" and "Authentication", Gen1
//! "/relay/{index}".

mod relay;
mod rpc;
mod timer;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use self::relay::RelayOutlet;
use self::rpc::SwitchOutlet;
use crate::credential::{CREDENTIAL_PARAMETER, DEFAULT_USER};
use crate::endpoint::DeviceEndpoint;
use crate::http::{HttpLogin, HttpSession, LoginMethod};
use crate::outlet::{ClientCapacity, CycleTiming, MAX_OFF_TIME, Outlet, OutletCapabilities, Readback};
use crate::parameters::{OFF_PARAMETER, PowerUrlParameters, REST_PARAMETER, SchemeParameter, number};
use crate::scheme::{DeviceScan, OutletAccess, OutletConfig, PowerScheme};

/// `shelly://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "shelly",
    path: "HOST[:80]/CHANNEL",
    about: "a channel of a Shelly plug or relay, by HTTP; channels count from 0",
    example: "shelly://plug-3.lab/0?credential=lab-plugs",
    parameters: &[
        SchemeParameter {
            name: "generation",
            example: "2",
            about: "`1` for devices of the first generation; the default is 2, for all later ones too",
        },
        CREDENTIAL_PARAMETER,
        OFF_PARAMETER,
        REST_PARAMETER,
    ],
    parse,
    scan: Some(DeviceScan::each_outlet(|| {
        (0..SCANNED_CHANNELS).map(|channel| channel.to_string()).collect()
    })),
};

/// Channels that a scan reads at most: more than any device of the maker has.
const SCANNED_CHANNELS: u8 = 8;
const DEFAULT_PORT: u16 = 80;
/// The shortest off time that the device times itself: its answer and one reading must fit in, by a radio link and with
/// two connections each where it has a password.
const SHORTEST_TIMED_OFF: Duration = Duration::from_secs(2);

/// Generations of devices, by how they are switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShellyGeneration {
    First,
    SecondOrLater,
}

/// One channel of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ShellyChannel {
    endpoint: DeviceEndpoint,
    number: u8,
    generation: ShellyGeneration,
    login: Option<HttpLogin>,
}

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let text = url.path().strip_prefix('/').unwrap_or_default();
    let number: u8 = number(text).filter(|_| !text.is_empty()).ok_or_else(|| {
        format!("`{text}` is not a channel; a channel is 0 to {}: {}", u8::MAX, SCHEME.form())
    })?;
    let (generation, method) = match parameters.get("generation") {
        None | Some("2") => (ShellyGeneration::SecondOrLater, LoginMethod::Digest),
        Some("1") => (ShellyGeneration::First, LoginMethod::Basic),
        Some(other) => {
            return Err(format!(
                "`generation={other}`: write `1` for the first generation, `2` for all later"
            ));
        }
    };
    let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?.with_rest(parameters, Duration::ZERO)?;
    // Source: Shelly Gen2, "Authentication": the user is always `admin`. Gen1 lets the owner choose.
    let login = HttpLogin::parse(parameters, method, Some(DEFAULT_USER))?;
    // The reading during the off time has one connection, or two where the device has a password.
    let shortest = SHORTEST_TIMED_OFF + 2 * endpoint.settle_for;
    let channel = ShellyChannel { endpoint, number, generation, login };
    Ok(OutletConfig {
        device: format!("shelly://{}", channel.endpoint.authority()),
        outlet: number.to_string(),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Device { shortest, longest: MAX_OFF_TIME },
            client_capacity: ClientCapacity::One,
            settle_for: channel.endpoint.settle_for,
            effect_within: Duration::ZERO,
        },
        open: Arc::new(move |access| open(access, channel.clone())),
    })
}

fn open(access: OutletAccess, channel: ShellyChannel) -> Box<dyn Outlet> {
    let ShellyChannel { endpoint, number, generation, login } = channel;
    let session = HttpSession::new(access, endpoint, login);
    match generation {
        ShellyGeneration::First => Box::new(RelayOutlet::new(session, number)),
        ShellyGeneration::SecondOrLater => Box::new(SwitchOutlet::new(session, number)),
    }
}
