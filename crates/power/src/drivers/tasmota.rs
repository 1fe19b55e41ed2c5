//! Plugs and power strips with Tasmota firmware, by their HTTP commands: `tasmota://plug-3.lab/1?password-file=…`.
//!
//! Source: Tasmota, Commands, and `support_command.ino` of the firmware. A cycle is not left to the device: its `Backlog` with
//! `Delay` is cut short by any other command, also by a question of somebody else, and the board would not be off for as
//! long as it needs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use device_io::http::{self, Answer, HttpError};
use device_io::{Connection, Evidence, NoSecret, SecretFile, address};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use crate::fault::{Fault, FaultKind};
use crate::options::{OFF, Options, SchemeOption, number};
use crate::outlet::{Capabilities, Clients, CycleTiming, Outlet, Readback, Reading, Supply};
use crate::scheme::{Access, Port, Scheme};
use crate::session::Session;

/// `tasmota://`.
pub(super) const SCHEME: Scheme = Scheme {
    name: "tasmota",
    path: "HOST[:80]/CHANNEL",
    about: "a channel of a plug or strip with Tasmota firmware, by HTTP",
    options: &[
        SchemeOption {
            name: "user",
            example: "admin",
            about: "who asks, where the device has a password; `admin` where it is not said",
        },
        SchemeOption {
            name: "password-file",
            example: "/etc/lifeguard/plug.password",
            about: "a file on the server that holds the password; its name ends in `.password`, and only the server may read it",
        },
        OFF,
    ],
    parse,
};

const PORT: u16 = 80;
/// Source: Tasmota, Commands, `Power<x>`: up to 32 relays.
const CHANNELS: std::ops::RangeInclusive<u8> = 1..=32;
/// Source: `WEB_USERNAME` of the firmware.
const USER: &str = "admin";
/// How many characters of an answer evidence has at most.
const MAX_EVIDENCE: usize = 200;

/// One channel of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Channel {
    host: String,
    port: u16,
    number: u8,
    login: Option<Login>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: SecretFile,
}

fn parse(url: &Url, options: &Options) -> Result<Port, String> {
    let text = url.path().strip_prefix('/').unwrap_or_default();
    let channel = number(text).filter(|channel| CHANNELS.contains(channel));
    let number = channel.ok_or_else(|| {
        format!("`{text}` is no channel; a channel is 1 to {}: {}", CHANNELS.end(), SCHEME.form())
    })?;
    let port = url.port().unwrap_or(PORT);
    if port == 0 {
        return Err("there is no port 0; a port is 1 to 65535".to_owned());
    }
    let channel = Channel { host: address::host(url)?, port, number, login: login(options)? };
    Ok(Port {
        device: format!("tasmota://{}", address::authority(&channel.host, port)),
        outlet: number.to_string(),
        capabilities: Capabilities {
            readback: Readback::Alone,
            cycle: CycleTiming::Caller,
            clients: Clients::One,
            settle: Duration::ZERO,
        },
        open: Arc::new(move |access| Box::new(Plug::new(access, channel.clone()))),
    })
}

fn login(options: &Options) -> Result<Option<Login>, String> {
    let Some(file) = options.get("password-file") else {
        return match options.get("user") {
            Some(_) => Err("`user` needs `password-file`".to_owned()),
            None => Ok(None),
        };
    };
    let password = SecretFile::new(file).map_err(|problem| format!("`password-file={file}`: {problem}"))?;
    Ok(Some(Login { user: options.get("user").unwrap_or(USER).to_owned(), password }))
}

/// The way to one channel.
struct Plug {
    session: Session,
    channel: Channel,
    connection: Option<Connection>,
}

/// A command, and what must not be shown of what comes back.
struct Command {
    target: String,
    secrets: Vec<String>,
}

impl Plug {
    fn new(access: Access, channel: Channel) -> Self {
        let session = Session::new(access, (channel.host.clone(), channel.port), "device", Duration::ZERO);
        Self { session, channel, connection: None }
    }

    /// The password, read each time anew: it may be changed at any time.
    async fn password(&self) -> Result<Option<String>, Fault> {
        let Some(login) = &self.channel.login else { return Ok(None) };
        let password = login.password.read().await.map_err(|error| match error {
            NoSecret::Local(trouble) => Fault::new(FaultKind::Local(trouble.clone()), trouble.to_string()),
            NoSecret::Misconfigured(reason) => misconfigured(format!("no password: {reason}")),
        })?;
        Ok(Some(password))
    }

    /// `Power1`, with ` ON` or ` OFF` where it is an order.
    fn command(&self, order: Option<Supply>, password: Option<String>) -> Command {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut secrets = Vec::new();
        if let (Some(login), Some(password)) = (&self.channel.login, password) {
            query.append_pair("user", &login.user).append_pair("password", &password);
            let encoded: String = form_urlencoded::byte_serialize(password.as_bytes()).collect();
            secrets = vec![encoded.replace('+', "%20"), password];
        }
        let order_text = order.map_or_else(String::new, |order| format!(" {}", state(order)));
        query.append_pair("cmnd", &format!("Power{}{order_text}", self.channel.number));
        // Within a URL a blank is the same to everybody only so; a plus sign is `%2B` by now.
        let target = format!("/cm?{}", query.finish()).replace('+', "%20");
        Command { target, secrets }
    }

    /// Asks once. Gives the state that the device answers with, and its words.
    async fn ask(&mut self, order: Option<Supply>) -> Result<(String, String), Fault> {
        let command = self.command(order, self.password().await?);
        self.connect().await?;
        self.session.check_lease()?;
        let authority = self.session.authority();
        // Taken out: a device with room for few clients closes after each answer.
        let Some(mut connection) = self.connection.take() else {
            return Err(Fault::new(FaultKind::Unreached, format!("no connection to {authority}")));
        };
        self.session.limit_delivery(&connection)?;
        let mut received = Vec::new();
        let exchange = http::get(connection.request(), &authority, &command.target, &mut received);
        let ended = self.session.within_call(exchange).await?;
        self.session.closed();
        let fault = match ended {
            Some(Ok(answer)) => {
                connection.answered();
                let words = shown(&answer.body, &command.secrets);
                return match self.judge(&answer) {
                    Ok(state) => Ok((state, words)),
                    Err(fault) => Err(fault.with_answer(words)),
                };
            }
            Some(Err(error)) => self.cut_off(&error, &received),
            None => self.late(order, &received),
        };
        let words = shown(&String::from_utf8_lossy(&received), &command.secrets);
        Err(if words.is_empty() { fault } else { fault.with_answer(words) })
    }

    /// What it means that no answer came in time, but only these bytes.
    fn late(&self, order: Option<Supply>, received: &[u8]) -> Fault {
        let (authority, limit) = (self.session.authority(), self.session.limit_text());
        if !received.is_empty() {
            let reason = format!("an incomplete answer from {authority} within {limit}");
            return Fault::new(FaultKind::Lost, reason);
        }
        let kind = if order.is_some() { FaultKind::Silent } else { FaultKind::Lost };
        Fault::new(kind, format!("no answer from {authority} within {limit}"))
    }

    /// What it means that these bytes came, and no answer.
    fn cut_off(&self, error: &HttpError, received: &[u8]) -> Fault {
        let authority = self.session.authority();
        match error {
            HttpError::Foreign => {
                Fault::new(FaultKind::Foreign, format!("{authority} answered, but not with HTTP"))
            }
            HttpError::Closed(_) => {
                let when =
                    if received.is_empty() { "without an answer" } else { "in the middle of an answer" };
                Fault::new(FaultKind::Lost, format!("{authority} closed the connection {when}"))
            }
            HttpError::Request(_) => misconfigured(format!("{authority} cannot be asked by HTTP")),
        }
    }

    /// What an answer means: the channel's state, in the device's word.
    fn judge(&self, answer: &Answer) -> Result<String, Fault> {
        let (authority, number) = (self.session.authority(), self.channel.number);
        let foreign = |what: String| {
            Fault::new(
                FaultKind::Foreign,
                format!("{authority} answered, but not with what Tasmota says{what}"),
            )
        };
        match answer.status {
            200 => {}
            401 | 403 => return Err(self.locked()),
            status @ 500.. => {
                let reason = format!("{authority} answered with HTTP status {status}");
                return Err(Fault::new(FaultKind::Unconfirmed, reason));
            }
            status => return Err(foreign(format!(": HTTP status {status}"))),
        }
        let fields: Map<String, Value> =
            serde_json::from_str(&answer.body).map_err(|_| foreign(String::new()))?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        // Firmware of before 8.2.3 says so with status 200.
        if text("WARNING").is_some_and(|warning| warning.starts_with("Need user")) {
            return Err(self.locked());
        }
        if text("WARNING").is_some() {
            return Err(foreign(": it gives no answers to commands; `WebLog 2` mends that".to_owned()));
        }
        if text("Command").is_some() {
            return Err(misconfigured(format!("the device at {authority} has no channel {number}")));
        }
        // A device with one channel leaves its number out.
        let state = text(&format!("POWER{number}")).or_else(|| text("POWER").filter(|_| number == 1));
        state.map(str::to_owned).ok_or_else(|| {
            let reason = format!("{authority} gave another answer than was asked for");
            Fault::new(FaultKind::Unconfirmed, reason)
        })
    }

    fn locked(&self) -> Fault {
        let authority = self.session.authority();
        misconfigured(match &self.channel.login {
            Some(login) => format!(
                "{authority} does not take user `{}` with the password in {}",
                login.user, login.password
            ),
            None => format!("{authority} asks for a password: write `password-file` in the power URL"),
        })
    }
}

#[async_trait]
impl Outlet for Plug {
    fn evidence(&self) -> Evidence {
        Evidence::from_iter([("channel".to_owned(), self.channel.number.into())])
    }

    fn attempts(&self) -> u32 {
        self.session.attempts
    }

    async fn connect(&mut self) -> Result<(), Fault> {
        self.session.check_lease()?;
        if self.connection.as_ref().is_none_or(Connection::is_closed) {
            self.connection = None;
            self.connection = Some(self.session.connect().await?);
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Reading, Fault> {
        let (state, words) = self.ask(None).await?;
        let supply = match state.as_str() {
            "ON" => Some(Supply::On),
            "OFF" => Some(Supply::Off),
            _ => None,
        };
        Ok(Reading { supply, answer: Some(words) })
    }

    async fn set(&mut self, supply: Supply) -> Result<(), Fault> {
        let (answered, words) = self.ask(Some(supply)).await?;
        if answered == state(supply) {
            return Ok(());
        }
        let reason =
            format!("{} was told {} and answered {answered}", self.session.authority(), state(supply));
        Err(Fault::new(FaultKind::Unconfirmed, reason).with_answer(words))
    }
}

fn state(supply: Supply) -> &'static str {
    match supply {
        Supply::On => "ON",
        Supply::Off => "OFF",
    }
}

fn misconfigured(reason: String) -> Fault {
    Fault::new(FaultKind::Misconfigured, reason)
}

/// What a device said, for evidence. An error page of Tasmota repeats what it was asked for, the password included.
fn shown(text: &str, secrets: &[String]) -> String {
    let mut text = text.trim().to_owned();
    for secret in secrets {
        text = text.replace(secret, "…");
    }
    match text.char_indices().nth(MAX_EVIDENCE) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
