//! Devices of generation 2 and later: the component `Switch` by JSON-RPC over `POST /rpc`.
//!
//! Source: Shelly technical documentation, Gen2 "RPC Protocol", "Switch", and "Common Errors".

use std::time::Duration;

use async_trait::async_trait;
use device_io::Evidence;
use device_io::http::Method;
use serde_json::{Map, Value, json};

use super::timer::is_of_cycle;
use crate::error::{OutletError, OutletErrorKind};
use crate::http::{HttpAnswer, HttpRequest, HttpSession, JSON, misconfigured};
use crate::outlet::{Outlet, OutletReading, PowerState};

/// Error codes after which nothing was switched. Source: Shelly Gen2, "Common Errors": resource exhausted, failed
/// precondition, unavailable.
const REFUSED_CODES: [i64; 3] = [-108, -109, -114];
/// Source: Shelly Gen2, "Common Errors": invalid argument, not found, and no handler for the method. A device has no
/// such channel, or uses it for a roller shutter.
const MISSING_CODES: [i64; 3] = [-103, -105, 404];

/// Outlet of one switch.
pub(super) struct SwitchOutlet {
    session: HttpSession,
    number: u8,
    /// The power that the load took at the last reading, where the device measures it.
    watts: Option<f64>,
}

impl SwitchOutlet {
    pub(super) fn new(session: HttpSession, number: u8) -> Self {
        Self { session, number, watts: None }
    }

    /// Calls a method of the switch. Returns its result, and the answer's text.
    async fn call(
        &mut self,
        method: &str,
        order: Option<(PowerState, Option<Duration>)>,
    ) -> Result<(Map<String, Value>, String), OutletError> {
        let mut params = json!({ "id": self.number });
        if let Some((state, toggle_after)) = order {
            params["on"] = json!(state == PowerState::On);
            if let Some(toggle_after) = toggle_after {
                params["toggle_after"] = json!(toggle_after.as_secs_f64());
            }
        }
        let frame = json!({ "id": 1, "src": "lifeguard", "method": method, "params": params });
        let request = HttpRequest::get("/rpc", order.map(|(state, _)| state))
            .with_body(Method::POST, Some((JSON, frame.to_string())));
        let answer = self.session.send(request).await?;
        match self.parse_result(&answer) {
            Ok(result) => Ok((result, answer.words)),
            Err(error) => Err(error.with_answer(answer.words)),
        }
    }

    /// Returns the result in an answer.
    fn parse_result(&self, answer: &HttpAnswer) -> Result<Map<String, Value>, OutletError> {
        let (authority, number, status) = (self.session.authority(), self.number, answer.status);
        let frame: Option<Map<String, Value>> = serde_json::from_str(&answer.body).ok();
        let error =
            frame.as_ref().and_then(|frame| frame.get("error").and_then(Value::as_object).or(Some(frame)));
        let code = error.and_then(|error| error.get("code")).and_then(Value::as_i64);
        if let Some(code) = code {
            let reason = format!("{authority} answered with error {code}");
            return Err(if MISSING_CODES.contains(&code) {
                misconfigured(format!("the device at {authority} has no switch {number}"))
            } else if REFUSED_CODES.contains(&code) {
                OutletError::new(OutletErrorKind::Refused, reason)
            } else {
                OutletError::new(OutletErrorKind::Unconfirmed, reason)
            });
        }
        match (status, frame) {
            (200, Some(mut frame)) => match frame.remove("result") {
                Some(Value::Object(result)) => Ok(result),
                _ => Err(self.unexpected()),
            },
            (500.., _) => {
                let reason = format!("{authority} answered with HTTP status {status}");
                Err(OutletError::new(OutletErrorKind::Unconfirmed, reason))
            }
            _ => {
                let reason = format!(
                    "{authority} answered, but not as a Shelly of generation 2 or later: HTTP status {status}; a device of the \
                     first generation needs `generation=1`"
                );
                Err(OutletError::new(OutletErrorKind::WrongProtocol, reason))
            }
        }
    }

    fn unexpected(&self) -> OutletError {
        let reason = format!("unexpected answer from {}", self.session.authority());
        OutletError::new(OutletErrorKind::Unconfirmed, reason)
    }

    /// Sends `Switch.Set`, whose result says whether the switch was on before.
    async fn order(&mut self, state: PowerState, toggle_after: Option<Duration>) -> Result<(), OutletError> {
        let (result, words) = self.call("Switch.Set", Some((state, toggle_after))).await?;
        match result.get("was_on") {
            Some(Value::Bool(_)) => Ok(()),
            _ => Err(self.unexpected().with_answer(words)),
        }
    }
}

#[async_trait]
impl Outlet for SwitchOutlet {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::from_iter([("channel".to_owned(), self.number.into())]);
        if let Some(watts) = self.watts {
            evidence.insert("watts".to_owned(), watts.into());
        }
        evidence
    }

    fn attempts(&self) -> u32 {
        self.session.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.connect().await
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        self.watts = None;
        let (status, words) = self.call("Switch.GetStatus", None).await?;
        let Some(is_on) = status.get("output").and_then(Value::as_bool) else {
            return Err(self.unexpected().with_answer(words));
        };
        self.watts = status.get("apower").and_then(Value::as_f64);
        // A switch that is on while the time of its cycle still runs would be toggled off when it ends.
        let timer_s = status.get("timer_duration").and_then(Value::as_f64);
        let toggles_off = is_on && status.contains_key("timer_started_at") && is_of_cycle(timer_s);
        let state = if is_on { PowerState::On } else { PowerState::Off };
        Ok(OutletReading { power_state: (!toggles_off).then_some(state), answer: Some(words) })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        self.order(state, None).await
    }

    async fn cycle(&mut self, off_for: Duration) -> Result<(), OutletError> {
        self.order(PowerState::Off, Some(off_for)).await
    }
}
