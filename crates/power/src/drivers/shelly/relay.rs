//! Devices of the first generation: `GET /relay/0?turn=on`.
//!
//! Source: Shelly technical documentation, Gen1 "/relay/{index}".

use std::time::Duration;

use async_trait::async_trait;
use device_io::Evidence;
use serde_json::{Map, Value};

use super::timer::is_of_cycle;
use crate::error::{OutletError, OutletErrorKind};
use crate::http::{HttpAnswer, HttpRequest, HttpSession, misconfigured};
use crate::outlet::{Outlet, OutletReading, PowerState};

/// Outlet of one relay.
pub(super) struct RelayOutlet {
    session: HttpSession,
    number: u8,
}

/// The state of a relay.
struct RelayStatus {
    is_on: bool,
    /// Whether it is on and will be toggled off within a cycle's time.
    toggles_off: bool,
    words: String,
}

impl RelayOutlet {
    pub(super) fn new(session: HttpSession, number: u8) -> Self {
        Self { session, number }
    }

    /// Requests the relay's page, which holds its state after the order in `query`.
    async fn ask(&mut self, query: &str, order: Option<PowerState>) -> Result<RelayStatus, OutletError> {
        let request = HttpRequest::get(format!("/relay/{}{query}", self.number), order);
        let answer = self.session.send(request).await?;
        match self.parse_status(&answer) {
            Ok((is_on, toggles_off)) => Ok(RelayStatus { is_on, toggles_off, words: answer.words }),
            Err(error) => Err(error.with_answer(answer.words)),
        }
    }

    /// Returns whether the relay is on, and whether it will be toggled off within a cycle's time.
    fn parse_status(&self, answer: &HttpAnswer) -> Result<(bool, bool), OutletError> {
        let (authority, status) = (self.session.authority(), answer.status);
        match status {
            200 => {}
            404 => {
                return Err(misconfigured(format!("the device at {authority} has no relay {}", self.number)));
            }
            500.. => {
                let reason = format!("{authority} answered with HTTP status {status}");
                return Err(OutletError::new(OutletErrorKind::Unconfirmed, reason));
            }
            _ => return Err(self.wrong_protocol(&format!(": HTTP status {status}"))),
        }
        let fields: Map<String, Value> =
            serde_json::from_str(&answer.body).map_err(|_| self.wrong_protocol(""))?;
        let is_on = fields.get("ison").and_then(Value::as_bool).ok_or_else(|| {
            let reason = format!("unexpected answer from {authority}");
            OutletError::new(OutletErrorKind::Unconfirmed, reason)
        })?;
        let has_timer = fields.get("has_timer").and_then(Value::as_bool).unwrap_or_default();
        let timer_s = fields.get("timer_duration").and_then(Value::as_f64);
        Ok((is_on, is_on && has_timer && is_of_cycle(timer_s)))
    }

    fn wrong_protocol(&self, detail: &str) -> OutletError {
        let authority = self.session.authority();
        let reason = format!("{authority} answered, but not as a Shelly of the first generation{detail}");
        OutletError::new(OutletErrorKind::WrongProtocol, reason)
    }

    async fn order(&mut self, query: &str, target: PowerState) -> Result<(), OutletError> {
        let status = self.ask(query, Some(target)).await?;
        if status.is_on == (target == PowerState::On) {
            return Ok(());
        }
        let (authority, target) = (self.session.authority(), target.name());
        let reason = format!("{authority} was switched {target} and answered that it is not");
        Err(OutletError::new(OutletErrorKind::Unconfirmed, reason).with_answer(status.words))
    }
}

#[async_trait]
impl Outlet for RelayOutlet {
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
        let status = self.ask("", None).await?;
        // A relay that is on while the time of its cycle still runs would be toggled off when it ends.
        let state = if status.is_on { PowerState::On } else { PowerState::Off };
        Ok(OutletReading { power_state: (!status.toggles_off).then_some(state), answer: Some(status.words) })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        self.order(&format!("?turn={}", state.name()), state).await
    }

    async fn cycle(&mut self, off_for: Duration) -> Result<(), OutletError> {
        // Whole seconds: fractions are not documented.
        let seconds = off_for.as_secs() + u64::from(off_for.subsec_nanos() > 0);
        self.order(&format!("?turn=off&timer={seconds}"), PowerState::Off).await
    }
}
