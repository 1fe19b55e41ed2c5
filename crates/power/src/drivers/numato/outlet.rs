//! One relay of a module: login, and single commands.

use async_trait::async_trait;
use device_io::{Credentials, Evidence};

use super::dialogue::{LoginStep, parse_confirmation, parse_login, parse_state};
use super::relay::NumatoRelay;
use super::telnet;
use crate::client::{Connected, DeviceClient, DeviceProtocol, EarlyBytes, RequestKind, UnansweredOrder};
use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{Outlet, OutletReading, PowerState};
use crate::scheme::OutletAccess;

/// Ends each line that is sent.
const LINE_END: &str = "\r\n";
/// The longest login: greeting, user name, password, and telnet options around each of them.
const MAX_LOGIN_STEPS: u32 = 8;
/// The longest part of an answer, in characters, that goes into the evidence.
const MAX_EVIDENCE_CHARS: usize = 200;

const PROTOCOL: DeviceProtocol = DeviceProtocol {
    name: "the text of Numato modules",
    device: "relay board",
    // A prompt does not say what it answers.
    unanswered: UnansweredOrder::ClosesConnection,
    early_bytes: EarlyBytes::Kept,
    describe: words,
};

/// Outlet of one relay.
pub(super) struct NumatoOutlet {
    client: DeviceClient,
    relay: NumatoRelay,
    credentials: Credentials,
    /// Whether a login has begun and not ended.
    is_login_open: bool,
}

impl NumatoOutlet {
    /// Creates the outlet; nothing is sent.
    pub(super) fn new(access: OutletAccess, relay: NumatoRelay) -> Self {
        let credentials = access.credentials.clone();
        let client = DeviceClient::new(access, relay.endpoint.clone(), PROTOCOL);
        Self { client, relay, credentials, is_login_open: false }
    }

    /// Connects and logs in, unless that was done on the present connection.
    async fn open(&mut self) -> Result<(), OutletError> {
        if std::mem::take(&mut self.is_login_open) {
            self.client.close();
        }
        if self.client.connect().await? == Connected::New {
            self.is_login_open = true;
            self.log_in().await?;
            self.is_login_open = false;
        }
        Ok(())
    }

    async fn log_in(&mut self) -> Result<(), OutletError> {
        let login = match &self.relay.login {
            Some(login) => Some(login.read(&self.credentials).await?),
            None => None,
        };
        // The module speaks first.
        let (mut request, mut has_sent_password) = (Vec::new(), false);
        for _ in 0..MAX_LOGIN_STEPS {
            let said = self.client.exchange(RequestKind::Query, &request, parse_login).await;
            let said = said.map_err(|error| if has_sent_password { without_answer(error) } else { error })?;
            request = match said.value {
                LoginStep::Nothing => return Ok(()),
                LoginStep::Refusals(refusals) => refusals,
                LoginStep::User(_) | LoginStep::Refused if has_sent_password => {
                    return Err(self.login_refused());
                }
                LoginStep::Refused => return Err(self.login_refused().with_answer(said.text)),
                LoginStep::User(refusals) => match &login {
                    Some(login) => line(&refusals, &login.user),
                    None => return Err(self.login_refused().with_answer(said.text)),
                },
                LoginStep::Password(refusals) => match &login {
                    Some(login) => {
                        has_sent_password = true;
                        line(&refusals, login.password.expose())
                    }
                    None => return Err(self.login_refused().with_answer(said.text)),
                },
            };
        }
        Err(self.client.unexpected_answer())
    }

    fn login_refused(&self) -> OutletError {
        let reason = match &self.relay.login {
            Some(login) => {
                format!("the relay board rejects user and password of credential `{}`", login.credential)
            }
            None => {
                "the relay board requires a password: write `credential=NAME` in the power URL".to_owned()
            }
        };
        OutletError::new(OutletErrorKind::Misconfigured, reason)
    }

    fn command(&self, verb: &str) -> String {
        format!("relay {verb} {}", self.relay.digit)
    }
}

#[async_trait]
impl Outlet for NumatoOutlet {
    fn evidence(&self) -> Evidence {
        Evidence::from_iter([("relay".to_owned(), self.relay.number.into())])
    }

    fn attempts(&self) -> u32 {
        self.client.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.open().await
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        self.open().await?;
        let command = self.command("read");
        let parse = |bytes: &[u8]| parse_state(bytes, &command);
        let answer = self.client.exchange(RequestKind::Query, &line(&[], &command), parse).await?;
        let power_state = answer.value.map(|is_on| self.relay.wiring.power_state(is_on));
        Ok(OutletReading { power_state, answer: Some(answer.text) })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        self.open().await.map_err(OutletError::before_order)?;
        let command = self.command(if self.relay.wiring.is_relay_on(state) { "on" } else { "off" });
        let parse = |bytes: &[u8]| parse_confirmation(bytes, &command);
        let request = line(&[], &command);
        self.client.exchange(RequestKind::Order, &request, parse).await.map(|_| ())
    }
}

/// A line to send, after `before`.
fn line(before: &[u8], text: &str) -> Vec<u8> {
    [before, text.as_bytes(), LINE_END.as_bytes()].concat()
}

/// The error without the module's words, which may repeat the password.
fn without_answer(error: OutletError) -> OutletError {
    OutletError { answer: None, ..error }
}

/// The module's words for the evidence, in one line.
fn words(bytes: &[u8]) -> String {
    let text =
        telnet::parse(bytes).map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), |said| said.text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(MAX_EVIDENCE_CHARS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
