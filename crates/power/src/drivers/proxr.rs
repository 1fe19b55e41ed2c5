//! Relays of National Control Devices' `ProXR` boards: `proxr://relay-3.lab:2101/1/5?invert=true&rest=1s`.
//!
//! Source for numbers without another one: Mozpool's `bmm/relay.py` (`reference/mozpool.md` 5.1).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use device_io::Evidence;
use url::Url;

use crate::client::{
    DeviceAnswer, DeviceClient, DeviceProtocol, EarlyBytes, ParsedAnswer, RequestKind, UnansweredOrder, hex,
};
use crate::endpoint::DeviceEndpoint;
use crate::error::OutletError;
use crate::outlet::{
    ClientCapacity, CycleTiming, Outlet, OutletCapabilities, OutletReading, PowerState, Readback,
};
use crate::parameters::{INVERT_PARAMETER, OFF_PARAMETER, PowerUrlParameters, REST_PARAMETER, number};
use crate::scheme::{DeviceScan, OutletAccess, OutletConfig, PowerScheme};
use crate::wiring::RelayWiring;

/// `proxr://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "proxr",
    path: "HOST[:2101]/BANK/RELAY",
    about: "a relay of a ProXR board of National Control Devices",
    example: "proxr://relay-3.lab/1/5?invert=true",
    parameters: &[INVERT_PARAMETER, OFF_PARAMETER, REST_PARAMETER],
    parse,
    scan: Some(DeviceScan::each_outlet(scanned_relays)),
};

const DEFAULT_PORT: u16 = 2101;
/// The rest of boards: their network module takes one connection at a time.
const DEFAULT_REST: Duration = Duration::from_secs(1);
/// Source: ncd.io, Relay Control Commands: firmware has 32 banks of eight relays; 0 means all of them.
const VALID_BANKS: std::ops::RangeInclusive<u8> = 1..=32;
const VALID_RELAYS: std::ops::RangeInclusive<u8> = 1..=8;

/// Banks that a scan reads: a board drops the connection at a bank that it does not have.
const SCANNED_BANKS: std::ops::RangeInclusive<u8> = 1..=4;

/// First byte of each command.
const COMMAND: u8 = 254;
/// With the relay added: switches it off.
const SWITCH_OFF: u8 = 99;
/// With the relay added: switches it on.
const SWITCH_ON: u8 = 107;
/// With the relay added: reads it.
const READ: u8 = 115;
/// Answer to an order.
const CONFIRMATION: u8 = 85;
/// First byte of an answer in API mode, whose answers have a length and a checksum. Source: ncd.io, Relay Power-up and
/// Status Map.
const API_ANSWER: u8 = 170;

const PROTOCOL: DeviceProtocol = DeviceProtocol {
    name: "ProXR",
    device: "relay board",
    // An answer is one byte, which does not say what it answers.
    unanswered: UnansweredOrder::ClosesConnection,
    early_bytes: EarlyBytes::Discarded,
    describe: hex,
};

/// A relay of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProxrRelay {
    endpoint: DeviceEndpoint,
    bank: u8,
    number: u8,
    wiring: RelayWiring,
}

impl ProxrRelay {
    fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<Self, String> {
        let text = url.path().strip_prefix('/').unwrap_or_default();
        let parsed = text.split_once('/').and_then(|(bank, relay)| {
            let bank = number(bank).filter(|bank| VALID_BANKS.contains(bank))?;
            Some((bank, number(relay).filter(|relay| VALID_RELAYS.contains(relay))?))
        });
        let (bank, number) = parsed.ok_or_else(|| {
            let (banks, relays, form) = (VALID_BANKS.end(), VALID_RELAYS.end(), SCHEME.form());
            format!("`{text}` is not a relay; write bank, 1 to {banks}, and relay, 1 to {relays}: {form}")
        })?;
        let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?.with_rest(parameters, DEFAULT_REST)?;
        Ok(Self { endpoint, bank, number, wiring: RelayWiring::parse(parameters)? })
    }

    /// A command for this relay.
    fn command(&self, operation: u8) -> [u8; 3] {
        [COMMAND, operation + self.number, self.bank]
    }
}

/// The relays that a scan reads, as in the paths of their URLs.
fn scanned_relays() -> Vec<String> {
    SCANNED_BANKS.flat_map(|bank| VALID_RELAYS.map(move |relay| format!("{bank}/{relay}"))).collect()
}

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let relay = ProxrRelay::parse(url, parameters)?;
    Ok(OutletConfig {
        device: format!("proxr://{}", relay.endpoint.authority()),
        outlet: format!("{}/{}", relay.bank, relay.number),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: relay.endpoint.settle_for,
            effect_within: Duration::ZERO,
        },
        open: Arc::new(move |access| Box::new(ProxrOutlet::new(access, relay.clone()))),
    })
}

/// Outlet of one relay.
struct ProxrOutlet {
    client: DeviceClient,
    relay: ProxrRelay,
}

impl ProxrOutlet {
    fn new(access: OutletAccess, relay: ProxrRelay) -> Self {
        Self { client: DeviceClient::new(access, relay.endpoint.clone(), PROTOCOL), relay }
    }

    async fn call<T>(
        &mut self,
        kind: RequestKind,
        operation: u8,
        parse: fn(&[u8]) -> ParsedAnswer<T>,
    ) -> Result<DeviceAnswer<T>, OutletError> {
        self.client.connect().await?;
        self.client.exchange(kind, &self.relay.command(operation), parse).await
    }
}

#[async_trait]
impl Outlet for ProxrOutlet {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::new();
        evidence.insert("bank".to_owned(), self.relay.bank.into());
        evidence.insert("relay".to_owned(), self.relay.number.into());
        evidence
    }

    fn attempts(&self) -> u32 {
        self.client.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.client.connect().await.map(|_| ())
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let is_on = self.call(RequestKind::Query, READ, parse_state).await?.value;
        Ok(OutletReading { power_state: Some(self.relay.wiring.power_state(is_on)), answer: None })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let operation = if self.relay.wiring.is_relay_on(state) { SWITCH_ON } else { SWITCH_OFF };
        self.call(RequestKind::Order, operation, parse_confirmation).await.map(|_| ())
    }
}

/// Parses the answer to [`READ`]: whether the relay is on.
fn parse_state(bytes: &[u8]) -> ParsedAnswer<bool> {
    match bytes {
        [] => ParsedAnswer::Incomplete,
        [0] => ParsedAnswer::Answer(false),
        [1] => ParsedAnswer::Answer(true),
        [CONFIRMATION] => ParsedAnswer::Unexpected,
        other => foreign(other),
    }
}

/// Parses the answer to an order.
fn parse_confirmation(bytes: &[u8]) -> ParsedAnswer<()> {
    match bytes {
        [] => ParsedAnswer::Incomplete,
        [CONFIRMATION] => ParsedAnswer::Answer(()),
        [0 | 1] => ParsedAnswer::Unexpected,
        other => foreign(other),
    }
}

fn foreign<T>(bytes: &[u8]) -> ParsedAnswer<T> {
    match bytes {
        [API_ANSWER, ..] => ParsedAnswer::Foreign(
            " as Mozpool used it (looks like API mode; switch the board to another mode)",
        ),
        _ => ParsedAnswer::Foreign(""),
    }
}
