//! Plugs and power strips with Tasmota firmware, by their HTTP commands: `tasmota://plug-3.lab/1?credential=lab-plugs`.
//!
//! Source: Tasmota, Commands, and `support_command.ino` of the firmware. The device does not time cycles: its `Backlog`
//! with `Delay` is cut short by any other command, queries of other clients included, so the off time would be too
//! short.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use device_io::Evidence;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use crate::credential::{CREDENTIAL_PARAMETER, DEFAULT_USER, UserPassword};
use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::http::{HttpAnswer, HttpLogin, HttpRequest, HttpSession, LoginMethod, misconfigured, spellings};
use crate::outlet::{
    ClientCapacity, CycleTiming, Outlet, OutletCapabilities, OutletReading, PowerState, Readback,
};
use crate::parameters::{OFF_PARAMETER, PowerUrlParameters, REST_PARAMETER, number};
use crate::scheme::{DeviceScan, OutletAccess, OutletConfig, PowerScheme};

/// `tasmota://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "tasmota",
    path: "HOST[:80]/CHANNEL",
    about: "a channel of a plug or strip with Tasmota firmware, by HTTP",
    example: "tasmota://plug-3.lab/1?credential=lab-plugs",
    parameters: &[CREDENTIAL_PARAMETER, OFF_PARAMETER, REST_PARAMETER],
    parse,
    scan: Some(DeviceScan::each_outlet(|| VALID_CHANNELS.map(|channel| channel.to_string()).collect())),
};

const DEFAULT_PORT: u16 = 80;
/// Source: Tasmota, Commands, `Power<x>`: up to 32 relays.
const VALID_CHANNELS: std::ops::RangeInclusive<u8> = 1..=32;

/// One channel of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TasmotaChannel {
    endpoint: DeviceEndpoint,
    number: u8,
    login: Option<HttpLogin>,
}

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let text = url.path().strip_prefix('/').unwrap_or_default();
    let channel = number(text).filter(|channel| VALID_CHANNELS.contains(channel));
    let number = channel.ok_or_else(|| {
        format!("`{text}` is not a channel; a channel is 1 to {}: {}", VALID_CHANNELS.end(), SCHEME.form())
    })?;
    let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?.with_rest(parameters, Duration::ZERO)?;
    let login = HttpLogin::parse(parameters, LoginMethod::InRequest, Some(DEFAULT_USER))?;
    let channel = TasmotaChannel { endpoint, number, login };
    Ok(OutletConfig {
        device: format!("tasmota://{}", channel.endpoint.authority()),
        outlet: number.to_string(),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: channel.endpoint.settle_for,
            effect_within: Duration::ZERO,
        },
        open: Arc::new(move |access| Box::new(TasmotaOutlet::new(access, channel.clone()))),
    })
}

/// Outlet of one channel.
struct TasmotaOutlet {
    session: HttpSession,
    number: u8,
}

impl TasmotaOutlet {
    fn new(access: OutletAccess, channel: TasmotaChannel) -> Self {
        let TasmotaChannel { endpoint, number, login } = channel;
        Self { session: HttpSession::new(access, endpoint, login), number }
    }

    /// Builds `Power1`, followed by ` ON` or ` OFF` for an order.
    fn command(&self, order: Option<PowerState>, login: Option<UserPassword>) -> HttpRequest {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut secrets = Vec::new();
        if let Some(UserPassword { user, password }) = login {
            let password = password.expose();
            query.append_pair("user", &user).append_pair("password", password);
            secrets = spellings(password);
        }
        let order_text = order.map_or_else(String::new, |order| format!(" {}", state_word(order)));
        query.append_pair("cmnd", &format!("Power{}{order_text}", self.number));
        // Only `%20` is a blank to every decoder; a literal plus sign is already `%2B` here.
        let target = format!("/cm?{}", query.finish()).replace('+', "%20");
        HttpRequest::get(target, order).with_secrets(secrets)
    }

    /// Sends one command. Returns the state in the answer, and the answer's text.
    async fn ask(&mut self, order: Option<PowerState>) -> Result<(String, String), OutletError> {
        let command = self.command(order, self.session.user_password().await?);
        let answer = self.session.send(command).await?;
        match self.parse_state(&answer) {
            Ok(state) => Ok((state, answer.words)),
            Err(error) => Err(error.with_answer(answer.words)),
        }
    }

    /// Returns the channel's state from an answer, as the device spells it.
    fn parse_state(&self, answer: &HttpAnswer) -> Result<String, OutletError> {
        let (authority, number) = (self.session.authority(), self.number);
        let wrong_protocol = |detail: String| {
            OutletError::new(
                OutletErrorKind::WrongProtocol,
                format!("{authority} answered, but not as Tasmota firmware{detail}"),
            )
        };
        match answer.status {
            200 => {}
            status @ 500.. => {
                let reason = format!("{authority} answered with HTTP status {status}");
                return Err(OutletError::new(OutletErrorKind::Unconfirmed, reason));
            }
            status => return Err(wrong_protocol(format!(": HTTP status {status}"))),
        }
        let fields: Map<String, Value> =
            serde_json::from_str(&answer.body).map_err(|_| wrong_protocol(String::new()))?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        // Firmware before 8.2.3 sends this with status 200.
        if text("WARNING").is_some_and(|warning| warning.starts_with("Need user")) {
            return Err(self.session.login_refused());
        }
        if text("WARNING").is_some() {
            return Err(wrong_protocol(": it does not answer commands; set `WebLog 2`".to_owned()));
        }
        if text("Command").is_some() {
            return Err(misconfigured(format!("the device at {authority} has no channel {number}")));
        }
        // A device with one channel leaves its number out.
        let state = text(&format!("POWER{number}")).or_else(|| text("POWER").filter(|_| number == 1));
        state.map(str::to_owned).ok_or_else(|| {
            let reason = format!("unexpected answer from {authority}");
            OutletError::new(OutletErrorKind::Unconfirmed, reason)
        })
    }
}

#[async_trait]
impl Outlet for TasmotaOutlet {
    fn evidence(&self) -> Evidence {
        Evidence::from_iter([("channel".to_owned(), self.number.into())])
    }

    fn attempts(&self) -> u32 {
        self.session.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.connect().await
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let (state, words) = self.ask(None).await?;
        let state_on_device = match state.as_str() {
            "ON" => Some(PowerState::On),
            "OFF" => Some(PowerState::Off),
            _ => None,
        };
        Ok(OutletReading { power_state: state_on_device, answer: Some(words) })
    }

    async fn set(&mut self, state_on_device: PowerState) -> Result<(), OutletError> {
        let (answered, words) = self.ask(Some(state_on_device)).await?;
        if answered == state_word(state_on_device) {
            return Ok(());
        }
        let reason = format!(
            "{} was switched {} and answered {answered}",
            self.session.authority(),
            state_word(state_on_device)
        );
        Err(OutletError::new(OutletErrorKind::Unconfirmed, reason).with_answer(words))
    }
}

fn state_word(state_on_device: PowerState) -> &'static str {
    match state_on_device {
        PowerState::On => "ON",
        PowerState::Off => "OFF",
    }
}
