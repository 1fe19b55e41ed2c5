//! Calls to a device, bounded by the call timeout and the lease, with the device's settle time between connections.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::{Clock, time_after};
use device_io::tls::{self, DeviceStream, TlsError};
use device_io::{
    CertificateCheck, ConnectError, DatagramSocket, DeviceConnection, LocalTrouble, ProcessLease, connect,
};
use tokio::net::TcpStream;

use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::evidence::evidence_text;
use crate::scheme::OutletAccess;

/// Connections of one run to a device.
pub(crate) struct DeviceSession {
    clock: Arc<dyn Clock>,
    call_limit: Duration,
    lease: ProcessLease,
    endpoint: DeviceEndpoint,
    /// Name of this kind of device in messages.
    device: &'static str,
    /// When the settle time after the last connection ends.
    settled_at: DateTime<Utc>,
    /// Number of connection attempts.
    pub(crate) attempts: u32,
}

impl DeviceSession {
    /// Prepares for connections to `endpoint`; nothing is sent.
    pub(crate) fn new(access: OutletAccess, endpoint: DeviceEndpoint, device: &'static str) -> Self {
        let OutletAccess { clock, lease, call_limit, .. } = access;
        // Another client may have disconnected just now.
        let settled_at = time_after(clock.now(), endpoint.settle_for);
        Self { clock, call_limit, lease, endpoint, device, settled_at, attempts: 0 }
    }

    /// The device's address for messages: `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.endpoint.authority()
    }

    /// The call timeout, formatted for messages.
    pub(crate) fn limit_text(&self) -> String {
        formatting::duration(self.call_limit)
    }

    /// Connects after the device's settle time. Nothing is sent.
    pub(crate) async fn connect(&mut self) -> Result<DeviceConnection, OutletError> {
        self.check_lease()?;
        // Bounded by the settle time, because the clock may have been set meanwhile.
        let remaining =
            (self.settled_at - self.clock.now()).to_std().unwrap_or_default().min(self.endpoint.settle_for);
        if !remaining.is_zero() {
            self.clock.sleep(remaining).await;
        }
        self.check_lease()?;
        self.attempts += 1;
        let connected = connect(&*self.clock, &self.endpoint.host, self.endpoint.port, self.call_limit).await;
        self.record_close();
        let stream = connected.map_err(|error| connect_error(&self.authority(), error))?;
        let stream = match &self.endpoint.certificate {
            None => DeviceStream::from(stream),
            Some(check) => {
                let secured = self.secure(stream, check).await;
                self.record_close();
                secured?
            }
        };
        DeviceConnection::new(stream).map_err(|error| self.no_connection(&error))
    }

    /// Begins TLS on a new connection. Only the handshake is sent, which switches nothing.
    async fn secure(&self, stream: TcpStream, check: &CertificateCheck) -> Result<DeviceStream, OutletError> {
        let handshake = tls::handshake(stream, &self.endpoint.host, check, self.clock.now());
        let secured = self.within_call(handshake).await.map_err(OutletError::before_order)?;
        let secured = secured.ok_or_else(|| {
            let (authority, limit) = (self.authority(), self.limit_text());
            let reason = format!("no answer from {authority} to the TLS handshake within {limit}");
            OutletError::new(OutletErrorKind::NotConnected, reason)
        })?;
        secured.map_err(|error| self.tls_error(error, check))
    }

    /// Opens a socket for datagrams, each of which is sent only within the lease. Nothing is sent yet.
    pub(crate) async fn open_socket(&mut self) -> Result<DatagramSocket, OutletError> {
        self.check_lease()?;
        self.attempts += 1;
        let DeviceEndpoint { host, port, .. } = &self.endpoint;
        let opened =
            DatagramSocket::open(&*self.clock, host, *port, self.call_limit, self.lease.clone()).await;
        opened.map_err(|error| connect_error(&self.authority(), error))
    }

    /// Starts the settle time after a connection was closed.
    pub(crate) fn record_close(&mut self) {
        self.settled_at = time_after(self.clock.now(), self.endpoint.settle_for);
    }

    /// Checks that the lease has not expired.
    pub(crate) fn check_lease(&self) -> Result<(), OutletError> {
        if self.lease.may_act() {
            Ok(())
        } else {
            Err(OutletError::new(OutletErrorKind::LeaseExpired, self.expired_reason()))
        }
    }

    /// Bounds the delivery of the next request on `connection`. Data not delivered in time is discarded, because
    /// another process may hold the device by then.
    pub(crate) fn limit_delivery(&self, connection: &DeviceConnection) -> Result<(), OutletError> {
        let limit = self.lease.remaining().unwrap_or(self.call_limit).min(self.call_limit);
        connection.deliver_within(limit).map_err(|error| self.no_connection(&error))
    }

    /// Runs an exchange within the call timeout; returns `None` if it timed out.
    ///
    /// If the lease expires during the exchange, the outlet may have been switched.
    pub(crate) async fn within_call<T>(
        &self,
        exchange: impl Future<Output = T>,
    ) -> Result<Option<T>, OutletError> {
        tokio::select! {
            biased;
            ended = self.clock.timeout(self.call_limit, exchange) => Ok(ended),
            () = self.lease.expired() => Err(OutletError::new(OutletErrorKind::ConnectionLost, self.expired_reason())),
        }
    }

    /// The reason reported once the lease has expired.
    fn expired_reason(&self) -> String {
        let device = self.device;
        format!("lease expired: the next holder of the {device} restores the power")
    }

    /// A connection whose socket options cannot be set is not used.
    fn no_connection(&self, error: &std::io::Error) -> OutletError {
        OutletError::new(
            OutletErrorKind::NotConnected,
            format!("no connection to {}: {error}", self.authority()),
        )
    }

    /// No request was sent. What another power URL, certificate or program would change is a configuration error.
    fn tls_error(&self, error: TlsError, check: &CertificateCheck) -> OutletError {
        let authority = self.authority();
        let misconfigured = |reason| OutletError::new(OutletErrorKind::Misconfigured, reason);
        match error {
            TlsError::Certificate { fingerprint, problem } => {
                let seen = fingerprint.map(|seen| seen.to_string()).unwrap_or_default();
                let advice = match check {
                    CertificateCheck::Pinned(pinned) => format!(
                        "its fingerprint is {seen}, and the power URL has {pinned}; if the device has a new certificate, \
                         change `certificate`"
                    ),
                    CertificateCheck::SystemRoots | CertificateCheck::Unchecked => format!(
                        "its fingerprint is {seen}; if the device shows the same one, write `certificate={seen}` in the \
                         power URL"
                    ),
                };
                misconfigured(format!("the certificate of {authority} {problem}: {advice}"))
            }
            TlsError::NotTls(received) => {
                let words = evidence_text(&String::from_utf8_lossy(&received), &[]);
                misconfigured(format!("{authority} answered, but not with TLS")).with_answer(words)
            }
            TlsError::NoRoots => misconfigured(format!(
                "this machine has no root certificates to check {authority} by: install `ca-certificates`, or write \
                 `certificate=sha256:…` in the power URL"
            )),
            TlsError::Failed(error) => OutletError::new(
                OutletErrorKind::NotConnected,
                format!("no TLS connection to {authority}: {error}"),
            ),
            error @ (TlsError::HostName(_) | TlsError::Incompatible(_)) => {
                misconfigured(format!("no TLS connection to {authority}: {error}"))
            }
        }
    }
}

/// The error where there is no connection to a device, or its name cannot be resolved.
pub(crate) fn connect_error(authority: &str, error: ConnectError) -> OutletError {
    let reason = format!("no connection to {authority}: {error}");
    match error {
        ConnectError::Local { trouble, .. } => OutletError::new(OutletErrorKind::Local(trouble), reason),
        // A restarting resolver reports this too, and a missing name says nothing about the device.
        ConnectError::NoSuchName(host) => {
            OutletError::new(OutletErrorKind::Local(LocalTrouble::Name(host)), reason)
        }
        ConnectError::Refused(_) => OutletError::new(OutletErrorKind::NotConnected, reason),
        ConnectError::TimedOut(limit) => {
            let limit = formatting::duration(limit);
            let reason = format!("no connection to {authority} within {limit}");
            OutletError::new(OutletErrorKind::NotConnected, reason)
        }
    }
}
