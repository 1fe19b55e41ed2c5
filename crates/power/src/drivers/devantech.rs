//! Relays of Devantech's network modules, such as ETH008: `devantech://relay-3.lab:17494/5?credential=relays`.
//!
//! Source for numbers without another one: Devantech, ETH8020 technical documentation, TCP/IP commands. It does not say
//! what becomes of a timed order when another order or a restart comes in between, so the server times cycles.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use device_io::{CredentialName, Credentials, Evidence};
use url::Url;

use crate::client::{
    Connected, DeviceClient, DeviceProtocol, EarlyBytes, ParsedAnswer, RequestKind, UnansweredOrder, hex,
};
use crate::credential::{CREDENTIAL_PARAMETER, credential_name};
use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{
    ClientCapacity, CycleTiming, Outlet, OutletCapabilities, OutletReading, PowerState, Readback,
};
use crate::parameters::{INVERT_PARAMETER, OFF_PARAMETER, PowerUrlParameters, REST_PARAMETER, number};
use crate::scheme::{DeviceScan, OutletAccess, OutletConfig, PowerScheme};
use crate::wiring::RelayWiring;

/// `devantech://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "devantech",
    path: "HOST[:17494]/RELAY",
    about: "a relay of a Devantech ETH or WIFI module, by its TCP commands",
    example: "devantech://relay-3.lab/5?off=4s",
    parameters: &[INVERT_PARAMETER, CREDENTIAL_PARAMETER, OFF_PARAMETER, REST_PARAMETER],
    parse,
    scan: Some(DeviceScan::each_outlet(|| VALID_RELAYS.map(|relay| relay.to_string()).collect())),
};

const DEFAULT_PORT: u16 = 17494;
/// Relays of the largest module.
const VALID_RELAYS: std::ops::RangeInclusive<u8> = 1..=20;

/// Answered with number, hardware version and firmware version of the module.
const MODULE_INFO: u8 = 0x10;
/// With relay and time: switches it on.
const SWITCH_ON: u8 = 0x20;
/// With relay and time: switches it off.
const SWITCH_OFF: u8 = 0x21;
/// The time of an order that is not reverted.
const UNTIMED: u8 = 0;
/// Answered with one bit for each relay, the first in the lowest bit of the first byte.
const READ_ALL: u8 = 0x24;
/// With the password: allows orders.
const PASSWORD: u8 = 0x79;

const PROTOCOL: DeviceProtocol = DeviceProtocol {
    name: "the protocol of Devantech modules",
    device: "relay board",
    // An answer does not say what it answers.
    unanswered: UnansweredOrder::ClosesConnection,
    early_bytes: EarlyBytes::Discarded,
    describe: hex,
};

/// A kind of module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DevantechModule {
    number: u8,
    relays: u8,
    /// Length of the answer to [`READ_ALL`].
    state_bytes: usize,
}

/// Source: `models` in `hardware/devantech-eth008/api.c` of libsigrok. The modules with number 20 and 22 have other
/// outputs after their four relays.
const MODULES: [DevantechModule; 9] = [
    DevantechModule { number: 18, relays: 2, state_bytes: 1 },
    DevantechModule { number: 19, relays: 8, state_bytes: 1 },
    DevantechModule { number: 20, relays: 4, state_bytes: 2 },
    DevantechModule { number: 21, relays: 20, state_bytes: 3 },
    DevantechModule { number: 22, relays: 4, state_bytes: 2 },
    DevantechModule { number: 24, relays: 20, state_bytes: 3 },
    DevantechModule { number: 26, relays: 2, state_bytes: 1 },
    DevantechModule { number: 28, relays: 8, state_bytes: 1 },
    DevantechModule { number: 52, relays: 10, state_bytes: 2 },
];

/// A relay of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DevantechRelay {
    endpoint: DeviceEndpoint,
    number: u8,
    wiring: RelayWiring,
    credential: Option<CredentialName>,
}

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let text = url.path().strip_prefix('/').unwrap_or_default();
    let number = number(text).filter(|relay| VALID_RELAYS.contains(relay)).ok_or_else(|| {
        format!("`{text}` is not a relay; a relay is 1 to {}: {}", VALID_RELAYS.end(), SCHEME.form())
    })?;
    let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?.with_rest(parameters, Duration::ZERO)?;
    let (wiring, credential) = (RelayWiring::parse(parameters)?, credential_name(parameters)?);
    let relay = DevantechRelay { endpoint, number, wiring, credential };
    Ok(OutletConfig {
        device: format!("devantech://{}", relay.endpoint.authority()),
        outlet: number.to_string(),
        capabilities: OutletCapabilities {
            readback: Readback::Bank,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: relay.endpoint.settle_for,
            effect_within: Duration::ZERO,
        },
        open: Arc::new(move |access| Box::new(DevantechOutlet::new(access, relay.clone()))),
    })
}

/// Outlet of one relay.
struct DevantechOutlet {
    client: DeviceClient,
    relay: DevantechRelay,
    credentials: Credentials,
    /// The module, as it said on the present connection; `None` until it said so.
    module: Option<DevantechModule>,
}

impl DevantechOutlet {
    fn new(access: OutletAccess, relay: DevantechRelay) -> Self {
        let credentials = access.credentials.clone();
        let client = DeviceClient::new(access, relay.endpoint.clone(), PROTOCOL);
        Self { client, relay, credentials, module: None }
    }

    /// Connects, and asks which module it is.
    async fn open(&mut self) -> Result<DevantechModule, OutletError> {
        if self.client.connect().await? == Connected::Before
            && let Some(module) = self.module
        {
            return Ok(module);
        }
        self.module = None;
        let info = self.client.exchange(RequestKind::Query, &[MODULE_INFO], parse_info).await?;
        let module = info.value;
        if self.relay.number > module.relays {
            let reason = format!("the relay board has no relay {}, but {}", self.relay.number, module.relays);
            return Err(OutletError::new(OutletErrorKind::Misconfigured, reason).with_answer(info.text));
        }
        self.module = Some(module);
        Ok(module)
    }

    /// Allows orders. Repeated for each order, because modules forbid them again after 30 s without one.
    async fn send_password(&mut self) -> Result<(), OutletError> {
        let Some(name) = &self.relay.credential else { return Ok(()) };
        let credential = self.credentials.read(name).await?;
        let command = [&[PASSWORD][..], credential.require_password()?.expose().as_bytes()].concat();
        let answer = self.client.exchange(RequestKind::Query, &command, parse_verdict::<1, 2>).await?;
        if answer.value == Verdict::Success {
            return Ok(());
        }
        let reason = format!("the relay board rejects the password of credential `{name}`");
        Err(OutletError::new(OutletErrorKind::Misconfigured, reason).with_answer(answer.text))
    }

    /// The error of a refused order.
    fn refused(&self) -> OutletError {
        let cause = if self.relay.credential.is_some() {
            ""
        } else {
            "; if it has a password, write `credential=NAME`"
        };
        let reason = format!("the relay board refuses to switch relay {}{cause}", self.relay.number);
        OutletError::new(OutletErrorKind::Refused, reason)
    }
}

#[async_trait]
impl Outlet for DevantechOutlet {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::new();
        evidence.insert("relay".to_owned(), self.relay.number.into());
        if let Some(module) = self.module {
            evidence.insert("module".to_owned(), module.number.into());
        }
        evidence
    }

    fn attempts(&self) -> u32 {
        self.client.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.client.connect().await.map(|connected| {
            if connected == Connected::New {
                self.module = None;
            }
        })
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let module = self.open().await?;
        let parse = |bytes: &[u8]| parse_states(module, bytes);
        let answer = self.client.exchange(RequestKind::Query, &[READ_ALL], parse).await?;
        let bit = self.relay.number - 1;
        let is_on = answer.value.get(usize::from(bit / 8)).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
        Ok(OutletReading { power_state: Some(self.relay.wiring.power_state(is_on)), answer: None })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        self.open().await.map_err(OutletError::before_order)?;
        self.send_password().await.map_err(OutletError::before_order)?;
        let operation = if self.relay.wiring.is_relay_on(state) { SWITCH_ON } else { SWITCH_OFF };
        // In one packet, as the documentation requires.
        let command = [operation, self.relay.number, UNTIMED];
        let answer = self.client.exchange(RequestKind::Order, &command, parse_verdict::<0, 1>).await?;
        match answer.value {
            Verdict::Success => Ok(()),
            Verdict::Failure => Err(self.refused().with_answer(answer.text)),
        }
    }
}

/// A module's answer to an order or a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Success,
    Failure,
}

/// Parses an answer of one byte.
fn parse_verdict<const SUCCESS: u8, const FAILURE: u8>(bytes: &[u8]) -> ParsedAnswer<Verdict> {
    match *bytes {
        [] => ParsedAnswer::Incomplete,
        [byte] if byte == SUCCESS => ParsedAnswer::Answer(Verdict::Success),
        [byte] if byte == FAILURE => ParsedAnswer::Answer(Verdict::Failure),
        _ => ParsedAnswer::Foreign(""),
    }
}

/// Parses the answer to [`MODULE_INFO`].
fn parse_info(bytes: &[u8]) -> ParsedAnswer<DevantechModule> {
    let module = bytes.first().map(|number| MODULES.iter().find(|module| module.number == *number));
    match (module, bytes.len()) {
        (None, _) | (Some(Some(_)), ..3) => ParsedAnswer::Incomplete,
        (Some(Some(module)), 3) => ParsedAnswer::Answer(*module),
        (Some(Some(_)), _) => ParsedAnswer::Foreign(""),
        (Some(None), _) => ParsedAnswer::Foreign(", or it is a module that Lifeguard does not know"),
    }
}

/// Parses the answer to [`READ_ALL`].
fn parse_states(module: DevantechModule, bytes: &[u8]) -> ParsedAnswer<Vec<u8>> {
    match bytes.len() {
        length if length < module.state_bytes => ParsedAnswer::Incomplete,
        length if length == module.state_bytes => ParsedAnswer::Answer(bytes.to_vec()),
        _ => ParsedAnswer::Foreign(""),
    }
}
