//! HTTP and HTTPS requests to a device, one per connection, with the login of its power URL, and what goes wrong with them.

use device_io::address;
use device_io::http::{self, DeviceHttpError, DeviceRequest, DeviceResponse, Method};
use device_io::{Authorization, Credentials, DeviceConnection};
use url::form_urlencoded;

use crate::credential::{DeviceLogin, UserPassword};
use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::evidence::evidence_text;
use crate::outlet::PowerState;
use crate::parameters::PowerUrlParameters;
use crate::scheme::OutletAccess;
use crate::session::DeviceSession;

/// Media type of a plain text.
pub(crate) const TEXT: &str = "text/plain";
/// Media type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
/// Media type of a JSON body.
pub(crate) const JSON: &str = "application/json";

/// How user and password are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginMethod {
    /// By the driver, in the request itself.
    InRequest,
    /// With each request, by Basic authentication.
    Basic,
    /// As an answer to the device's challenge, by Digest authentication.
    Digest,
}

/// The credential of a device, and how user and password are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpLogin {
    login: DeviceLogin,
    method: LoginMethod,
}

impl HttpLogin {
    /// Reads the login of a power URL, as [`DeviceLogin::parse`] does.
    pub(crate) fn parse(
        parameters: &PowerUrlParameters,
        method: LoginMethod,
        default_user: Option<&'static str>,
    ) -> Result<Option<Self>, String> {
        Ok(DeviceLogin::parse(parameters, default_user)?.map(|login| Self { login, method }))
    }
}

/// A request, and what must not be shown of it.
#[derive(Clone)]
pub(crate) struct HttpRequest {
    request: DeviceRequest,
    /// The order in the request, if it is one.
    order: Option<PowerState>,
    secrets: Vec<String>,
}

impl HttpRequest {
    /// Creates a request for `target` without a body.
    pub(crate) fn get(target: impl Into<String>, order: Option<PowerState>) -> Self {
        Self { request: DeviceRequest::get(target.into()), order, secrets: Vec::new() }
    }

    /// Creates a request with another method and, where given, a body.
    pub(crate) fn with_body(self, method: Method, body: Option<(&'static str, String)>) -> Self {
        let request = DeviceRequest { method, body, ..self.request };
        Self { request, ..self }
    }

    /// Keeps these parts of the request out of the evidence, should the answer repeat them.
    pub(crate) fn with_secrets(self, secrets: Vec<String>) -> Self {
        Self { secrets, ..self }
    }
}

/// A complete answer. Devices' refusals of the login are errors already.
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// What the device says, for the evidence: without secrets, and not too long.
    pub(crate) words: String,
    /// Where the device says when it will be ready.
    pub(crate) retry_after: Option<String>,
    /// Where a redirect leads.
    pub(crate) location: Option<String>,
}

/// Requests of one run to a device.
pub(crate) struct HttpSession {
    session: DeviceSession,
    connection: Option<DeviceConnection>,
    login: Option<HttpLogin>,
    credentials: Credentials,
    /// Picks what the device says from the body of an answer; `None` stands for all of it.
    pick_words: fn(&str) -> Option<String>,
}

impl HttpSession {
    /// Prepares for requests to `endpoint`; nothing is sent.
    pub(crate) fn new(access: OutletAccess, endpoint: DeviceEndpoint, login: Option<HttpLogin>) -> Self {
        let credentials = access.credentials.clone();
        let session = DeviceSession::new(access, endpoint, "device");
        Self { session, connection: None, login, credentials, pick_words: |_| None }
    }

    /// Picks what the device says, for the evidence, from the body of an answer by `pick_words`.
    pub(crate) fn with_words(self, pick_words: fn(&str) -> Option<String>) -> Self {
        Self { pick_words, ..self }
    }

    /// The device's address for messages: `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.session.authority()
    }

    /// Number of connection attempts.
    pub(crate) fn attempts(&self) -> u32 {
        self.session.attempts
    }

    /// Connects unless there is an unused connection. Nothing is sent.
    pub(crate) async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.check_lease()?;
        if self.connection.as_ref().is_none_or(DeviceConnection::is_closed) {
            self.connection = None;
            self.connection = Some(self.session.connect().await?);
        }
        Ok(())
    }

    /// Reads user and password for each request: they may change at any time.
    pub(crate) async fn user_password(&self) -> Result<Option<UserPassword>, OutletError> {
        let Some(HttpLogin { login, .. }) = &self.login else { return Ok(None) };
        login.read(&self.credentials).await.map(Some)
    }

    /// Sends a request, with the login of the power URL, and returns the answer.
    ///
    /// A device with Digest authentication answers with a challenge first; it executes only the second request.
    pub(crate) async fn send(&mut self, mut request: HttpRequest) -> Result<HttpAnswer, OutletError> {
        let login = self.user_password().await?;
        let method = self.login.as_ref().map(|login| login.method);
        if let (Some(LoginMethod::Basic), Some(UserPassword { user, password })) = (method, &login) {
            let password = password.expose();
            let authorization = Authorization::basic(user, password);
            request.secrets.push(authorization.secret().to_owned());
            request.secrets.extend(spellings(password));
            request.request.authorization = Some(authorization);
        }
        let (mut answer, challenges) = self.exchange(&request).await?;
        if let (401, Some(LoginMethod::Digest), Some(UserPassword { user, password })) =
            (answer.status, method, &login)
        {
            let password = password.expose();
            let DeviceRequest { method, target, .. } = &request.request;
            let authorization =
                Authorization::digest(&challenges, (user, password), (method.as_str(), target))
                    .ok_or_else(|| self.unknown_challenge(&challenges).with_answer(answer.words))?;
            request.secrets.push(authorization.secret().to_owned());
            request.secrets.extend(spellings(password));
            request.request.authorization = Some(authorization);
            (answer, _) = self.exchange(&request).await?;
        }
        if matches!(answer.status, 401 | 403) {
            return Err(self.login_refused().with_answer(answer.words));
        }
        Ok(answer)
    }

    /// Sends one request on its own connection. Returns the answer and its challenges.
    async fn exchange(&mut self, request: &HttpRequest) -> Result<(HttpAnswer, Vec<String>), OutletError> {
        self.connect().await?;
        self.session.check_lease()?;
        let authority = self.authority();
        // Taken out: a device with few connections closes after each answer.
        let Some(mut connection) = self.connection.take() else {
            let reason = format!("no connection to {authority}");
            return Err(OutletError::new(OutletErrorKind::NotConnected, reason));
        };
        self.session.limit_delivery(&connection)?;
        let mut received = Vec::new();
        let exchange = http::send(connection.request(), &authority, &request.request, &mut received);
        let result = self.session.within_call(exchange).await?;
        self.session.record_close();
        let error = match result {
            Some(Ok(answer)) => {
                connection.answered();
                let picked = (self.pick_words)(&answer.body);
                let words = evidence_text(picked.as_deref().unwrap_or(&answer.body), &request.secrets);
                let DeviceResponse { status, challenges, retry_after, location, body } = answer;
                return Ok((HttpAnswer { status, body, words, retry_after, location }, challenges));
            }
            Some(Err(error)) => self.http_error(&error, &received),
            None => self.timeout_error(request.order, &received),
        };
        let words = evidence_text(&String::from_utf8_lossy(&received), &request.secrets);
        Err(if words.is_empty() { error } else { error.with_answer(words) })
    }

    /// The error when no complete answer came in time.
    fn timeout_error(&self, order: Option<PowerState>, received: &[u8]) -> OutletError {
        let (authority, limit) = (self.authority(), self.session.limit_text());
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
        let authority = self.authority();
        match error {
            DeviceHttpError::NotHttp => OutletError::new(
                OutletErrorKind::WrongProtocol,
                format!("{authority} answered, but not with HTTP"),
            ),
            DeviceHttpError::Closed(_) => {
                let when =
                    if received.is_empty() { "without an answer" } else { "in the middle of an answer" };
                let reason = format!("{authority} closed the connection {when}");
                OutletError::new(OutletErrorKind::ConnectionLost, reason)
            }
            DeviceHttpError::Request(_) => {
                misconfigured(format!("cannot send an HTTP request to {authority}"))
            }
        }
    }

    /// The error when the device rejects the login, or requires one.
    pub(crate) fn login_refused(&self) -> OutletError {
        let authority = self.authority();
        misconfigured(match &self.login {
            Some(HttpLogin { login, .. }) => {
                format!("{authority} rejects user and password of credential `{}`", login.credential)
            }
            None => format!("{authority} requires a password: write `credential=NAME` in the power URL"),
        })
    }

    fn unknown_challenge(&self, challenges: &[String]) -> OutletError {
        let schemes: Vec<_> = challenges.iter().filter_map(|text| text.split_whitespace().next()).collect();
        let schemes = if schemes.is_empty() { "none".to_owned() } else { schemes.join(", ") };
        let authority = self.authority();
        misconfigured(format!(
            "{authority} has no Digest authentication with SHA-256 or MD5; it offers: {schemes}"
        ))
    }
}

/// Refuses a part of a power URL that holds a secret, because power URLs are stored and shown.
pub(crate) fn refuse_secret(part: &str, text: &str) -> Result<(), String> {
    match address::secret_name(text) {
        Some(secret) => {
            Err(format!("`{part}` holds a secret, `{secret}`, and power URLs are shown; use `credential`"))
        }
        None => Ok(()),
    }
}

/// Creates an error that stays until the power URL or the device's configuration is changed.
pub(crate) fn misconfigured(reason: String) -> OutletError {
    OutletError::new(OutletErrorKind::Misconfigured, reason)
}

/// A secret as it may stand in an answer: as it is, in JSON, and in a query. The longest first, since it may hold another.
pub(crate) fn spellings(secret: &str) -> Vec<String> {
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let json = serde_json::Value::from(secret).to_string();
    let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(&json);
    let mut spellings = vec![encoded.replace('+', "%20"), encoded, json.to_owned(), secret.to_owned()];
    spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    spellings
}
