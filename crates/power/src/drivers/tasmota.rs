//! Plugs and power strips with Tasmota firmware, by their HTTP commands: `tasmota://plug-3.lab/1?password-file=…`.
//!
//! Source: Tasmota, Commands, and `support_command.ino` of the firmware. The device does not time cycles: its `Backlog`
//! with `Delay` is cut short by any other command, queries of other clients included, so the off time would be too
//! short.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use device_io::http::{self, DeviceHttpError, DeviceResponse};
use device_io::{DeviceConnection, Evidence};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::login::{DeviceLogin, PASSWORD_FILE_PARAMETER, USER_PARAMETER, read_password};
use crate::outlet::{
    ClientCapacity, CycleTiming, Outlet, OutletCapabilities, OutletReading, PowerState, Readback,
};
use crate::parameters::{OFF_PARAMETER, PowerUrlParameters, number};
use crate::scheme::{OutletAccess, OutletConfig, PowerScheme};
use crate::session::DeviceSession;

/// `tasmota://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "tasmota",
    path: "HOST[:80]/CHANNEL",
    about: "a channel of a plug or strip with Tasmota firmware, by HTTP",
    parameters: &[USER_PARAMETER, PASSWORD_FILE_PARAMETER, OFF_PARAMETER],
    parse,
};

const DEFAULT_PORT: u16 = 80;
/// Source: Tasmota, Commands, `Power<x>`: up to 32 relays.
const VALID_CHANNELS: std::ops::RangeInclusive<u8> = 1..=32;
/// The longest part of an answer, in characters, that goes into the evidence.
const MAX_EVIDENCE_CHARS: usize = 200;

/// One channel of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TasmotaChannel {
    endpoint: DeviceEndpoint,
    number: u8,
    login: Option<DeviceLogin>,
}

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let text = url.path().strip_prefix('/').unwrap_or_default();
    let channel = number(text).filter(|channel| VALID_CHANNELS.contains(channel));
    let number = channel.ok_or_else(|| {
        format!("`{text}` is not a channel; a channel is 1 to {}: {}", VALID_CHANNELS.end(), SCHEME.form())
    })?;
    let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?;
    let channel = TasmotaChannel { endpoint, number, login: DeviceLogin::parse(parameters)? };
    Ok(OutletConfig {
        device: format!("tasmota://{}", channel.endpoint.authority()),
        outlet: number.to_string(),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: Duration::ZERO,
        },
        open: Arc::new(move |access| Box::new(TasmotaOutlet::new(access, channel.clone()))),
    })
}

/// Outlet of one channel.
struct TasmotaOutlet {
    session: DeviceSession,
    channel: TasmotaChannel,
    connection: Option<DeviceConnection>,
}

/// A command, and the secrets to redact from its answer.
struct TasmotaCommand {
    target: String,
    secrets: Vec<String>,
}

impl TasmotaOutlet {
    fn new(access: OutletAccess, channel: TasmotaChannel) -> Self {
        let session = DeviceSession::new(access, channel.endpoint.clone(), "device");
        Self { session, channel, connection: None }
    }

    /// Reads the password for each command: it may change at any time.
    async fn password(&self) -> Result<Option<String>, OutletError> {
        match &self.channel.login {
            Some(login) => read_password(&login.password).await.map(Some),
            None => Ok(None),
        }
    }

    /// Builds `Power1`, followed by ` ON` or ` OFF` for an order.
    fn command(&self, order: Option<PowerState>, password: Option<String>) -> TasmotaCommand {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut secrets = Vec::new();
        if let (Some(login), Some(password)) = (&self.channel.login, password) {
            query.append_pair("user", &login.user).append_pair("password", &password);
            let encoded: String = form_urlencoded::byte_serialize(password.as_bytes()).collect();
            secrets = vec![encoded.replace('+', "%20"), password];
        }
        let order_text = order.map_or_else(String::new, |order| format!(" {}", state_word(order)));
        query.append_pair("cmnd", &format!("Power{}{order_text}", self.channel.number));
        // Only `%20` is a blank to every decoder; a literal plus sign is already `%2B` here.
        let target = format!("/cm?{}", query.finish()).replace('+', "%20");
        TasmotaCommand { target, secrets }
    }

    /// Sends one command. Returns the state in the answer, and the answer's text.
    async fn ask(&mut self, order: Option<PowerState>) -> Result<(String, String), OutletError> {
        let command = self.command(order, self.password().await?);
        self.connect().await?;
        self.session.check_lease()?;
        let authority = self.session.authority();
        // Taken out: a device with few connections closes after each answer.
        let Some(mut connection) = self.connection.take() else {
            return Err(OutletError::new(
                OutletErrorKind::NotConnected,
                format!("no connection to {authority}"),
            ));
        };
        self.session.limit_delivery(&connection)?;
        let mut received = Vec::new();
        let exchange = http::get(connection.request(), &authority, &command.target, &mut received);
        let result = self.session.within_call(exchange).await?;
        self.session.record_close();
        let error = match result {
            Some(Ok(answer)) => {
                connection.answered();
                let words = redacted_text(&answer.body, &command.secrets);
                return match self.parse_state(&answer) {
                    Ok(state) => Ok((state, words)),
                    Err(error) => Err(error.with_answer(words)),
                };
            }
            Some(Err(error)) => self.http_error(&error, &received),
            None => self.timeout_error(order, &received),
        };
        let words = redacted_text(&String::from_utf8_lossy(&received), &command.secrets);
        Err(if words.is_empty() { error } else { error.with_answer(words) })
    }

    /// The error when no complete answer came in time.
    fn timeout_error(&self, order: Option<PowerState>, received: &[u8]) -> OutletError {
        let (authority, limit) = (self.session.authority(), self.session.limit_text());
        if !received.is_empty() {
            let reason = format!("an incomplete answer from {authority} within {limit}");
            return OutletError::new(OutletErrorKind::ConnectionLost, reason);
        }
        let kind =
            if order.is_some() { OutletErrorKind::AnswerPending } else { OutletErrorKind::ConnectionLost };
        OutletError::new(kind, format!("no answer from {authority} within {limit}"))
    }

    /// The error when the bytes received are not an answer.
    fn http_error(&self, error: &DeviceHttpError, received: &[u8]) -> OutletError {
        let authority = self.session.authority();
        match error {
            DeviceHttpError::NotHttp => OutletError::new(
                OutletErrorKind::WrongProtocol,
                format!("{authority} answered, but not with HTTP"),
            ),
            DeviceHttpError::Closed(_) => {
                let when =
                    if received.is_empty() { "without an answer" } else { "in the middle of an answer" };
                OutletError::new(
                    OutletErrorKind::ConnectionLost,
                    format!("{authority} closed the connection {when}"),
                )
            }
            DeviceHttpError::Request(_) => {
                misconfigured(format!("cannot send an HTTP request to {authority}"))
            }
        }
    }

    /// Returns the channel's state from an answer, as the device spells it.
    fn parse_state(&self, answer: &DeviceResponse) -> Result<String, OutletError> {
        let (authority, number) = (self.session.authority(), self.channel.number);
        let wrong_protocol = |detail: String| {
            OutletError::new(
                OutletErrorKind::WrongProtocol,
                format!("{authority} answered, but not as Tasmota firmware{detail}"),
            )
        };
        match answer.status {
            200 => {}
            401 | 403 => return Err(self.login_refused()),
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
            return Err(self.login_refused());
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

    fn login_refused(&self) -> OutletError {
        let authority = self.session.authority();
        misconfigured(match &self.channel.login {
            Some(login) => {
                format!("{authority} rejects user `{}` with the password in {}", login.user, login.password)
            }
            None => format!("{authority} requires a password: write `password-file` in the power URL"),
        })
    }
}

#[async_trait]
impl Outlet for TasmotaOutlet {
    fn evidence(&self) -> Evidence {
        Evidence::from_iter([("channel".to_owned(), self.channel.number.into())])
    }

    fn attempts(&self) -> u32 {
        self.session.attempts
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.check_lease()?;
        if self.connection.as_ref().is_none_or(DeviceConnection::is_closed) {
            self.connection = None;
            self.connection = Some(self.session.connect().await?);
        }
        Ok(())
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

fn misconfigured(reason: String) -> OutletError {
    OutletError::new(OutletErrorKind::Misconfigured, reason)
}

/// The device's answer for the evidence. Tasmota's error pages repeat the request, including the password.
fn redacted_text(text: &str, secrets: &[String]) -> String {
    let mut text = text.trim().to_owned();
    for secret in secrets {
        text = text.replace(secret, "…");
    }
    match text.char_indices().nth(MAX_EVIDENCE_CHARS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
