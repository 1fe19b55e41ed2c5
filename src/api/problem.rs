//! Errors as RFC 9457 problem documents.

use std::convert::Infallible;
use std::error::Error;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::engine::{EngineError, FaceRefusal};
use crate::formatting::with_causes;
use crate::machine::MachineName;
use crate::store::StoreError;
use crate::store::instances::InstanceKey;

/// How long a client should wait for an unavailable database, in seconds.
const RETRY_AFTER_S: &str = "1";

/// A problem document (Source: RFC 9457 §3), with a fixed word in `code` that clients may rely on.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    /// The fixed word for clients.
    code: &'static str,
    title: &'static str,
    detail: String,
    #[serde(flatten)]
    extensions: Map<String, Value>,
}

impl Problem {
    /// Creates a problem: `code` is the fixed word, `detail` says what is wrong and what would be right.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem");
        Self { status, code, title, detail: detail.into(), extensions: Map::new() }
    }

    /// Something in the request is invalid.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// There is no such board.
    pub(super) fn no_device(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_device", format!("there is no board {name:?}"))
    }

    /// Replaces the status.
    #[must_use]
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self.title = status.canonical_reason().unwrap_or("Problem");
        self
    }

    /// There is no such machine.
    pub(super) fn no_machine(machine: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_machine", format!("there is no machine {machine:?}"))
    }

    /// There is no such instance.
    pub(super) fn no_instance(machine: &MachineName, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_instance", format!("there is no {machine} {name:?}"))
    }

    /// Adds a member to the document.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.extensions.insert(member.to_owned(), value);
        }
        self
    }
}

impl Problem {
    /// The whole document.
    pub(super) fn document(&self) -> Value {
        let mut document = serde_json::json!({ "type": "about:blank", "status": self.status.as_u16() });
        if let (Value::Object(document), Ok(Value::Object(own))) = (&mut document, serde_json::to_value(self))
        {
            document.extend(own);
        }
        document
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(self.document())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match &error {
            EngineError::NoInstance(InstanceKey::Name(_, name)) => Self::no_device(name),
            EngineError::NoInstance(InstanceKey::Id(_)) => {
                Self::new(StatusCode::NOT_FOUND, "no_device", error.to_string())
            }
            EngineError::Changed => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "changed",
                "it has changed since: read it again, and send the new `ETag` as `If-Match`",
            ),
            EngineError::Exists(_) => Self::new(StatusCode::CONFLICT, "taken", error.to_string()),
            EngineError::Refused(FaceRefusal { code, detail, more }) => {
                Self { extensions: more.clone(), ..Self::new(StatusCode::CONFLICT, code, detail.clone()) }
            }
            EngineError::CompensationOwed(_) => {
                Self::new(StatusCode::CONFLICT, "compensation_owed", error.to_string())
            }
            EngineError::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "event queue full; try again shortly")
            }
            EngineError::Stopping => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "this server is stopping; try another one, or again shortly",
            ),
            EngineError::Store(store) if store.is_transient() => unavailable(store),
            // No definition was activated, or only one for another version of the program, which is logged
            // where it is detected.
            EngineError::NoMachine(machine) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_definition",
                format!("no active definition of the machine {machine} that this server can use"),
            ),
            EngineError::MismatchedLinks { faults, .. } => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                Self::new(StatusCode::CONFLICT, "links", error.to_string()).with("faults", faults)
            }
            EngineError::NoLink { .. } => Self::invalid(error.to_string()),
            EngineError::StrandsInstances { .. } | EngineError::Store(_) => internal_error(&error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() { unavailable(&error) } else { internal_error(&error) }
    }
}

/// The cause is logged once, when the database becomes unavailable; each answer names it by a fixed word.
fn unavailable(error: &StoreError) -> Problem {
    tracing::debug!(error = %with_causes(error), "answered 503");
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let Some(cause) = error.cause() else {
        return Problem::new(status, "unavailable", "blocked by another transaction; try again shortly");
    };
    let detail = match cause.code() {
        "read_only" | "in_recovery" => "the database is read-only; try again shortly",
        "disk_full" => "the database's disk is full",
        "disk_error" => "the database cannot read or write its disk",
        "tls" | "setting" | "shared_session" | "configuration" => {
            "this server's connection to the database is misconfigured; see the server's log"
        }
        "host_unknown" => "the host of the database is unknown",
        "no_descriptors" => {
            "this server has too many open files to connect to the database; try again shortly"
        }
        "too_many_connections" => "the database has no free connection; try again shortly",
        "busy" | "slow" => "the database is too slow; try again shortly",
        "authentication" | "no_database" | "permission" => "the database refuses this server",
        "incomplete" => {
            "the schema of the database is incomplete, as while a dump is restored; try again shortly"
        }
        _ => "the database is unavailable; try again shortly",
    };
    Problem::new(status, "unavailable", detail).with("cause", cause.code())
}

/// An error of the server: the cause is in the log only.
pub(super) fn internal_error(error: &(dyn Error + 'static)) -> Problem {
    tracing::error!(error, "internal server error");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal server error; see the server's log")
}

/// Answers for unknown paths.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", format!("no such path: {path}"))
}

/// Converts the plain-text errors of the framework to problem documents.
pub(super) async fn as_problem(response: Response, is_head: bool) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_plain = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_plain {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, 4096).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let code = match status {
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        _ => "bad_request",
    };
    let detail = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            "this path does not accept this method; `Allow` lists those that it accepts".to_owned()
        }
        _ if text.is_empty() => status.canonical_reason().unwrap_or_default().to_owned(),
        _ => text.into_owned(),
    };
    let mut answer = Problem::new(status, code, detail).into_response();
    if is_head && status != StatusCode::METHOD_NOT_ALLOWED {
        // An answer to HEAD has no text, so that the length of the document for GET is unknown.
        *answer.body_mut() = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
    }
    if let Some(allow) = parts.headers.get(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, allow.clone());
    }
    answer
}
