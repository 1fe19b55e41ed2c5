//! Requests to one device: the library's client, with errors by what was received.
//!
//! The library repeats nothing: whether an order is repeated is decided where its outcome is known. It logs each error
//! too, which is dropped: errors are logged once, where they are handled.

use std::net::IpAddr;
use std::time::Duration;

use async_snmp::{Client, Error, ErrorStatus, FixedCardinalityResponse, Oid, Retry, Value};
use device_io::{Credentials, LocalTrouble};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::errors;
use super::objects::SnmpOrder;
use super::security::SnmpSecurity;
use super::socket::{CallEnd, SharedRecord, SnmpSocket};
use crate::client::RequestKind;
use crate::endpoint::DeviceEndpoint;
use crate::error::OutletError;
use crate::scheme::OutletAccess;
use crate::session::DeviceSession;

/// Source: RFC 3417 section 3.2.
pub(super) const DEFAULT_PORT: u16 = 161;
/// The library's own limit, which is never reached: the session limits each call, by the clock of the operation.
const LIBRARY_TIMEOUT: Duration = Duration::from_hours(24);

/// Client of one device.
pub(super) struct SnmpClient {
    session: DeviceSession,
    credentials: Credentials,
    security: SnmpSecurity,
    connection: Option<SnmpConnection>,
}

/// A socket of its own: a late answer to an earlier one does not reach it.
struct SnmpConnection {
    client: Client<SnmpSocket>,
    record: SharedRecord,
    device: IpAddr,
}

impl SnmpClient {
    /// Creates the client; nothing is sent.
    pub(super) fn new(access: OutletAccess, endpoint: DeviceEndpoint, security: SnmpSecurity) -> Self {
        let credentials = access.credentials.clone();
        let session = DeviceSession::new(access, endpoint, "SNMP device");
        Self { session, credentials, security, connection: None }
    }

    /// Number of sockets opened.
    pub(super) fn attempts(&self) -> u32 {
        self.session.attempts
    }

    /// The device's address for messages.
    pub(super) fn authority(&self) -> String {
        self.session.authority()
    }

    /// Opens a socket, unless there is one. In version 3 it asks the device for its engine ID.
    pub(super) async fn connect(&mut self) -> Result<(), OutletError> {
        self.session.check_lease()?;
        if self.connection.is_some() {
            return Ok(());
        }
        let builder = self.security.client_builder(&self.credentials).await?;
        let socket = self.session.open_socket().await?;
        let (record, device) = (SharedRecord::default(), socket.device().ip());
        let socket = SnmpSocket::new(socket, record.clone());
        let built =
            builder.retry(Retry::none()).request_timeout(LIBRARY_TIMEOUT).build_with_transport(socket);
        let client = built.map_err(|error| errors::of_library(&self.authority(), &error, &record.take()))?;
        let connection = SnmpConnection { client, record, device };
        if !self.security.is_user_based() {
            self.connection = Some(connection);
            return Ok(());
        }
        let discovery = connection.client.rediscover_engine().with_subscriber(Dispatch::none());
        let ended = self.session.within_call(discovery).await?;
        self.end_call(connection, RequestKind::Query, ended).map_err(OutletError::before_order)
    }

    /// Reads objects by one request.
    pub(super) async fn get(&mut self, oids: &[Oid]) -> Result<Vec<Value>, OutletError> {
        self.connect().await?;
        let Some(connection) = self.connection.take() else { return Err(self.unexpected()) };
        let request = connection.client.get_many(oids).with_subscriber(Dispatch::none());
        let ended = self.session.within_call(request).await?;
        let answer = self.end_call(connection, RequestKind::Query, ended)?;
        if !answer.anomalies.is_empty() || answer.varbinds.len() != oids.len() {
            return Err(self.unexpected().with_answer(words(&answer)));
        }
        Ok(answer.varbinds.into_iter().map(|binding| binding.value).collect())
    }

    /// Returns the object after `oid` that the device has; `None` where it has none.
    pub(super) async fn get_next(&mut self, oid: &Oid) -> Result<Option<Oid>, OutletError> {
        self.connect().await?;
        let Some(connection) = self.connection.take() else { return Err(self.unexpected()) };
        let request = connection.client.get_next(oid).with_subscriber(Dispatch::none());
        let ended = self.session.within_call(request).await?;
        // The answer of version 1 at the end of all objects. Source: RFC 1157 section 4.1.3.
        let is_end = ended.as_ref().and_then(|ended| ended.as_ref().err()).is_some_and(|error| {
            matches!(error.exchange_source(), Error::Snmp { status: ErrorStatus::NoSuchName, .. })
        });
        match self.end_call(connection, RequestKind::Query, ended) {
            Ok(answer) => {
                let next = answer.varbinds.into_iter().next();
                Ok(next.filter(|next| !next.value.is_exception()).map(|next| next.oid))
            }
            Err(_) if is_end => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets an object.
    pub(super) async fn set(&mut self, order: &SnmpOrder) -> Result<(), OutletError> {
        self.connect().await?;
        let Some(connection) = self.connection.take() else { return Err(self.unexpected()) };
        let request =
            connection.client.set(&order.oid, order.value.clone()).with_subscriber(Dispatch::none());
        let ended = self.session.within_call(request).await?;
        let answer = self.end_call(connection, RequestKind::Order, ended)?;
        // Against RFC 3416, some agents confirm an order to an object that they do not have. Seen of snmpsim 1.2.2.
        match answer.varbinds.iter().find(|binding| binding.value.is_exception()) {
            Some(missing) => Err(errors::no_such_outlet(&self.authority(), &missing.value.to_string())),
            None => Ok(()),
        }
    }

    fn unexpected(&self) -> OutletError {
        errors::unexpected(&self.authority())
    }

    /// Finds out what ended a call, `None` for the time limit. The connection is used on where the device answered, and
    /// after an order without an answer, so that the outlet can be read.
    fn end_call<T>(
        &mut self,
        connection: SnmpConnection,
        kind: RequestKind,
        ended: Option<async_snmp::Result<T>>,
    ) -> Result<T, OutletError> {
        let (authority, record) = (self.authority(), connection.record.take());
        let error = match ended {
            Some(Ok(answer)) => {
                self.connection = Some(connection);
                return Ok(answer);
            }
            None => {
                let (limit, hint) = (self.session.limit_text(), self.security.silence_hint());
                if kind == RequestKind::Order {
                    self.connection = Some(connection);
                }
                return Err(errors::unanswered(&authority, kind, &limit, hint, &record));
            }
            Some(Err(error)) => error,
        };
        Err(match (&record.end, error.exchange_source()) {
            // Had version 3 sent a datagram before, the device reported that it did not process it.
            (Some(CallEnd::LeaseExpired), _) => match self.session.check_lease() {
                Err(error) => error,
                Ok(()) => errors::of_library(&authority, &error, &record),
            },
            (Some(CallEnd::Socket(error)), _) => {
                let trouble = LocalTrouble::of_socket(error, connection.device);
                errors::of_socket(&authority, kind, error, trouble, &record)
            }
            (Some(CallEnd::Report(status)), _) => errors::report(&authority, status),
            (Some(CallEnd::Foreign(datagram)), _) => errors::foreign(&authority, datagram),
            (None, Error::Report { status, .. }) => errors::report(&authority, status),
            (None, Error::Snmp { status, .. }) => {
                self.connection = Some(connection);
                errors::refusal(&authority, kind, *status)
            }
            (None, error) => errors::of_library(&authority, error, &record),
        })
    }
}

/// The values of an answer, as text.
fn words(answer: &FixedCardinalityResponse) -> String {
    let bindings = answer.varbinds.iter().map(|binding| format!("{} = {}", binding.oid, binding.value));
    bindings.collect::<Vec<_>>().join(", ")
}
