//! TCP calls to a device: each within its own time and within the lease, with the device's rest between connections.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::{Clock, time_after};
use device_io::{ConnectError, DeviceConnection, LocalTrouble, ProcessLease, address, connect};

use crate::error::{OutletError, OutletErrorKind};
use crate::scheme::OutletAccess;

/// What one run at a device knows about connections to it.
pub(crate) struct DeviceSession {
    clock: Arc<dyn Clock>,
    call_limit: Duration,
    lease: ProcessLease,
    host: String,
    port: u16,
    /// What people call such a device.
    device: &'static str,
    settle_for: Duration,
    /// When the device has had its rest after the last connection.
    rested_at: DateTime<Utc>,
    /// How many connections were tried.
    pub(crate) attempts: u32,
}

impl DeviceSession {
    /// Prepares for connections to `host`; nothing is sent.
    pub(crate) fn new(
        access: OutletAccess,
        (host, port): (String, u16),
        device: &'static str,
        settle: Duration,
    ) -> Self {
        let OutletAccess { clock, lease, call_limit } = access;
        // Whoever was there before may just have gone.
        let rested_at = time_after(clock.now(), settle);
        Self { clock, call_limit, lease, host, port, device, settle_for: settle, rested_at, attempts: 0 }
    }

    /// The device as people write it: `host:port`.
    pub(crate) fn authority(&self) -> String {
        address::authority(&self.host, self.port)
    }

    /// The longest that one call may take.
    pub(crate) fn limit_text(&self) -> String {
        formatting::duration(self.call_limit)
    }

    /// Connects, after the device's rest. Nothing is sent.
    pub(crate) async fn connect(&mut self) -> Result<DeviceConnection, OutletError> {
        self.check_lease()?;
        // Whatever was done to the clock's hands meanwhile, it waits no longer than the rest.
        let rest = (self.rested_at - self.clock.now()).to_std().unwrap_or_default().min(self.settle_for);
        if !rest.is_zero() {
            self.clock.sleep(rest).await;
        }
        self.check_lease()?;
        self.attempts += 1;
        let connected = connect(&*self.clock, &self.host, self.port, self.call_limit).await;
        self.record_close();
        let stream = connected.map_err(|error| self.connect_error(error))?;
        DeviceConnection::new(stream).map_err(|error| self.no_connection(&error))
    }

    /// A connection was closed: the device's rest begins.
    pub(crate) fn record_close(&mut self) {
        self.rested_at = time_after(self.clock.now(), self.settle_for);
    }

    /// Whether anything may be sent.
    pub(crate) fn check_lease(&self) -> Result<(), OutletError> {
        if self.lease.may_act() {
            Ok(())
        } else {
            Err(OutletError::new(OutletErrorKind::LeaseExpired, self.expired_reason()))
        }
    }

    /// Bounds the delivery of the next request on `connection`: what cannot be delivered in time is not delivered later
    /// either, by when the device may be another process's.
    pub(crate) fn limit_delivery(&self, connection: &DeviceConnection) -> Result<(), OutletError> {
        let limit = self.lease.remaining().unwrap_or(self.call_limit).min(self.call_limit);
        connection.deliver_within(limit).map_err(|error| self.no_connection(&error))
    }

    /// Runs an exchange for as long as a call may take; `None` where it did not end by then.
    ///
    /// Ended by the lease, what was asked for may have been done.
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

    /// Why nothing more is sent.
    fn expired_reason(&self) -> String {
        let device = self.device;
        format!("the lease of this process expired: whoever has the {device} now gives the power back")
    }

    /// A connection whose socket does not take what it has to is none.
    fn no_connection(&self, error: &std::io::Error) -> OutletError {
        OutletError::new(
            OutletErrorKind::NotConnected,
            format!("no connection to {}: {error}", self.authority()),
        )
    }

    fn connect_error(&self, error: ConnectError) -> OutletError {
        let reason = format!("no connection to {}: {error}", self.authority());
        match error {
            ConnectError::Local { trouble, .. } => OutletError::new(OutletErrorKind::Local(trouble), reason),
            // A resolver that was restarted says so too, and no name says anything about the device.
            ConnectError::NoSuchName(host) => {
                OutletError::new(OutletErrorKind::Local(LocalTrouble::Name(host)), reason)
            }
            ConnectError::Refused(_) => OutletError::new(OutletErrorKind::NotConnected, reason),
            ConnectError::TimedOut(limit) => {
                let limit = formatting::duration(limit);
                OutletError::new(
                    OutletErrorKind::NotConnected,
                    format!("no connection to {} within {limit}", self.authority()),
                )
            }
        }
    }
}
