//! The requests to a Redfish service, and what its answers mean.

use async_trait::async_trait;
use device_io::Evidence;
use device_io::http::Method;
use serde_json::Value;
use url::Url;

use super::resource::{PowerResource, ROOT, SYSTEMS, only_member, words};
use crate::error::{OutletError, OutletErrorKind};
use crate::evidence::evidence_text;
use crate::http::{HttpAnswer, HttpRequest, HttpSession, JSON, misconfigured};
use crate::outlet::{Outlet, OutletReading, PowerState};

/// Statuses of a refusal that may be over soon: an order that does not suit the present state is answered 400 or 409.
/// Source: DSP0266, status codes; RFC 9110 section 15.5, RFC 4918 and RFC 6585: timeout, locked, too many requests.
const REFUSED_FOR_NOW: [u16; 6] = [400, 408, 409, 412, 423, 429];
/// The service does not know the order.
const NOT_IMPLEMENTED: u16 = 501;
/// The service is busy: it says by `Retry-After` for how long, where it did nothing.
const UNAVAILABLE: u16 = 503;

/// Whether a redirect from `path` leads to the same host and path with a slash at the end.
fn adds_slash(authority: &str, path: &str, location: &str) -> bool {
    let joined =
        Url::parse(&format!("http://{authority}{path}")).and_then(|url| Ok((url.join(location)?, url)));
    joined.is_ok_and(|(target, url)| {
        target.host() == url.host()
            && target.port_or_known_default() == url.port_or_known_default()
            && target.query().is_none()
            && target.path().strip_suffix('/') == Some(url.path())
    })
}

/// A system or an outlet.
pub(super) struct RedfishOutlet {
    session: HttpSession,
    /// Its path; `None` until the only system was looked up.
    path: Option<String>,
    /// The resource as read last, unless an order failed since.
    cached: Option<PowerResource>,
}

impl RedfishOutlet {
    pub(super) fn new(session: HttpSession, path: Option<String>) -> Self {
        Self { session: session.with_words(words), path, cached: None }
    }

    /// Sends an order, which succeeds with any status of the class 200.
    async fn send(&mut self, path: &str, request: HttpRequest) -> Result<(), OutletError> {
        let answer = self.session.send(request).await?;
        self.check(path, answer).map(|_| ())
    }

    /// Returns an answer with a status of the class 200.
    fn check(&self, path: &str, answer: HttpAnswer) -> Result<HttpAnswer, OutletError> {
        let (authority, status) = (self.session.authority(), answer.status);
        let failed = format!("{authority} answered with HTTP status {status}");
        let error = match status {
            200..=299 => return Ok(answer),
            300..=399 => {
                let location = evidence_text(answer.location.as_deref().unwrap_or("another place"), &[]);
                misconfigured(format!("{authority} redirects {path} to {location}; write that path"))
            }
            404 => misconfigured(format!("{authority} has no {path}")),
            UNAVAILABLE if answer.retry_after.is_some() => OutletError::new(OutletErrorKind::Refused, failed),
            status if REFUSED_FOR_NOW.contains(&status) => OutletError::new(OutletErrorKind::Refused, failed),
            500.. if status != NOT_IMPLEMENTED => OutletError::new(OutletErrorKind::Unconfirmed, failed),
            _ => misconfigured(failed),
        };
        Err(error.with_answer(answer.words))
    }

    /// Reads a resource, with the device's words. Adds a slash to `path` where the device redirects to that.
    async fn get(&mut self, path: &mut String) -> Result<(Value, String), OutletError> {
        let answer = self.request(path).await?;
        let answer = self.check(path, answer)?;
        self.parse(answer)
    }

    /// Reads a resource; `None` where the service has none there.
    pub(super) async fn find(&mut self, path: &str) -> Result<Option<Value>, OutletError> {
        let mut path = path.to_owned();
        let answer = self.request(&mut path).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let answer = self.check(&path, answer)?;
        self.parse(answer).map(|(resource, _)| Some(resource))
    }

    /// Requests a resource. Adds a slash to `path` where the device redirects to that.
    async fn request(&mut self, path: &mut String) -> Result<HttpAnswer, OutletError> {
        let answer = self.session.send(HttpRequest::get(path.as_str(), None)).await?;
        let location = answer.location.as_deref().unwrap_or_default();
        if (300..=399).contains(&answer.status) && adds_slash(&self.session.authority(), path, location) {
            path.push('/');
            return self.session.send(HttpRequest::get(path.as_str(), None)).await;
        }
        Ok(answer)
    }

    /// The resource in an answer, with the device's words.
    fn parse(&self, answer: HttpAnswer) -> Result<(Value, String), OutletError> {
        if let Ok(resource @ Value::Object(_)) = serde_json::from_str(&answer.body) {
            return Ok((resource, answer.words));
        }
        let reason = format!("{} answered, but not with Redfish", self.session.authority());
        Err(OutletError::new(OutletErrorKind::WrongProtocol, reason).with_answer(answer.words))
    }

    /// The path of the power URL, or of the only system.
    async fn path(&mut self) -> Result<String, OutletError> {
        if let Some(path) = &self.path {
            return Ok(path.clone());
        }
        let (systems, _) = self.get(&mut SYSTEMS.to_owned()).await?;
        let authority = self.session.authority();
        let path = only_member(&systems).map_err(|members| {
            if members.is_empty() {
                // A controller that starts knows its system later.
                let reason = format!("{authority} has no system in {SYSTEMS}");
                return OutletError::new(OutletErrorKind::Refused, reason);
            }
            misconfigured(format!(
                "{authority} has several systems: {members}; write one of them after the host in the power URL"
            ))
        })?;
        self.path = Some(path.clone());
        Ok(path)
    }

    /// Reads the resource that is switched.
    async fn read_resource(&mut self) -> Result<(PowerResource, String), OutletError> {
        let mut path = self.path().await?;
        let (resource, words) = self.get(&mut path).await?;
        self.path = Some(path.clone());
        let resource = PowerResource::read(&resource).ok_or_else(|| {
            let reason =
                format!("{path} of {} is nothing whose power can be switched", self.session.authority());
            misconfigured(reason).with_answer(words.clone())
        })?;
        Ok((resource, words))
    }
}

#[async_trait]
impl Outlet for RedfishOutlet {
    fn evidence(&self) -> Evidence {
        let path = self.path.as_deref().unwrap_or(SYSTEMS);
        let name = path.strip_prefix(ROOT).unwrap_or(path).trim_end_matches('/');
        Evidence::from_iter([("resource".to_owned(), name.into())])
    }

    fn attempts(&self) -> u32 {
        self.session.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.connect().await
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let (resource, words) = self.read_resource().await?;
        let power_state = resource.power_state;
        self.cached = Some(resource);
        Ok(OutletReading { power_state, answer: Some(words) })
    }

    /// Services refuse an order for the state that a system has already, so it is not sent.
    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let mut resource = match self.cached.take() {
            Some(resource) => resource,
            None => self.read_resource().await.map_err(OutletError::before_order)?.0,
        };
        if resource.power_state != Some(state) {
            let (target, body) = resource.order(state).map_err(|problem| {
                misconfigured(format!(
                    "{} cannot switch {}: {problem}",
                    self.session.authority(),
                    state.name()
                ))
            })?;
            let request = HttpRequest::get(target.as_str(), Some(state));
            let request = request.with_body(Method::POST, Some((JSON, body.to_string())));
            self.send(&target, request).await?;
            // The state before the order would keep an opposite order from being sent.
            resource.power_state = None;
        }
        self.cached = Some(resource);
        Ok(())
    }
}
