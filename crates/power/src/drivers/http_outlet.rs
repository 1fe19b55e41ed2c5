//! An outlet with one HTTP request to switch on, one to switch off, and one to read, as several schemes describe it.

use async_trait::async_trait;
use device_io::Evidence;

use crate::error::{OutletError, OutletErrorKind};
use crate::http::{HttpAnswer, HttpRequest, HttpSession, misconfigured};
use crate::outlet::{Outlet, OutletReading, PowerState};
use crate::state_match::StateMatch;

/// Statuses of the class 400 that may be over soon. Source: RFC 9110 section 15.5, RFC 4918 and RFC 6585: timeout,
/// conflict, locked, too many requests.
const REFUSED_FOR_NOW: [u16; 4] = [408, 409, 423, 429];

/// The requests for one outlet.
#[derive(Clone)]
pub(super) struct HttpOutletRequests {
    /// Name of the outlet in the evidence.
    pub(super) path: String,
    pub(super) on: HttpRequest,
    pub(super) off: HttpRequest,
    /// `None` where the outlet cannot be read.
    pub(super) read: Option<(HttpRequest, StateMatch)>,
}

/// The outlet.
pub(super) struct HttpOutlet {
    session: HttpSession,
    requests: HttpOutletRequests,
}

impl HttpOutlet {
    pub(super) fn new(session: HttpSession, requests: HttpOutletRequests) -> Self {
        Self { session, requests }
    }

    /// Sends a request, which succeeds with any status of the class 200.
    async fn send(&mut self, request: HttpRequest) -> Result<HttpAnswer, OutletError> {
        let answer = self.session.send(request).await?;
        let reason = format!("{} answered with HTTP status {}", self.session.authority(), answer.status);
        let error = match answer.status {
            200..=299 => return Ok(answer),
            status if REFUSED_FOR_NOW.contains(&status) => OutletError::new(OutletErrorKind::Refused, reason),
            500.. => OutletError::new(OutletErrorKind::Unconfirmed, reason),
            // Another page than this one switches the outlet, or none.
            _ => misconfigured(reason),
        };
        Err(error.with_answer(answer.words))
    }
}

#[async_trait]
impl Outlet for HttpOutlet {
    fn evidence(&self) -> Evidence {
        Evidence::from_iter([("path".to_owned(), self.requests.path.as_str().into())])
    }

    fn attempts(&self) -> u32 {
        self.session.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.connect().await
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let Some((request, state_match)) = self.requests.read.clone() else {
            return Ok(OutletReading { power_state: None, answer: None });
        };
        let answer = self.send(request).await?;
        Ok(OutletReading { power_state: state_match.state(&answer.body), answer: Some(answer.words) })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let request = match state {
            PowerState::On => self.requests.on.clone(),
            PowerState::Off => self.requests.off.clone(),
        };
        self.send(request).await.map(|_| ())
    }
}
