//! TCP calls to a device: each within its own time and within the lease, with the device's rest between connections.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::{Clock, after};
use device_io::{Connection, Lease, LocalTrouble, Unreached, address, connect};

use crate::fault::{Fault, FaultKind};
use crate::scheme::Access;

/// What one run at a device knows about connections to it.
pub(crate) struct Session {
    clock: Arc<dyn Clock>,
    call_limit: Duration,
    lease: Lease,
    host: String,
    port: u16,
    /// What people call such a device.
    device: &'static str,
    settle: Duration,
    /// When the device has had its rest after the last connection.
    rested_at: DateTime<Utc>,
    /// How many connections were tried.
    pub(crate) attempts: u32,
}

impl Session {
    /// Prepares for connections to `host`; nothing is sent.
    pub(crate) fn new(
        access: Access,
        (host, port): (String, u16),
        device: &'static str,
        settle: Duration,
    ) -> Self {
        let Access { clock, lease, call_limit } = access;
        // Whoever was there before may just have gone.
        let rested_at = after(clock.now(), settle);
        Self { clock, call_limit, lease, host, port, device, settle, rested_at, attempts: 0 }
    }

    /// The device as people write it: `host:port`.
    pub(crate) fn authority(&self) -> String {
        address::authority(&self.host, self.port)
    }

    /// The longest that one call may take.
    pub(crate) fn limit_text(&self) -> humantime::FormattedDuration {
        humantime::format_duration(self.call_limit)
    }

    /// Connects, after the device's rest. Nothing is sent.
    pub(crate) async fn connect(&mut self) -> Result<Connection, Fault> {
        self.check_lease()?;
        // Whatever was done to the clock's hands meanwhile, it waits no longer than the rest.
        let rest = (self.rested_at - self.clock.now()).to_std().unwrap_or_default().min(self.settle);
        if !rest.is_zero() {
            self.clock.sleep(rest).await;
        }
        self.check_lease()?;
        self.attempts += 1;
        let connected = connect(&*self.clock, &self.host, self.port, self.call_limit).await;
        self.closed();
        let stream = connected.map_err(|error| self.unreached(error))?;
        Connection::new(stream).map_err(|error| self.no_connection(&error))
    }

    /// A connection was closed: the device's rest begins.
    pub(crate) fn closed(&mut self) {
        self.rested_at = after(self.clock.now(), self.settle);
    }

    /// Whether anything may be sent.
    pub(crate) fn check_lease(&self) -> Result<(), Fault> {
        if self.lease.may_act() { Ok(()) } else { Err(Fault::new(FaultKind::Expired, self.expired())) }
    }

    /// Bounds the delivery of the next request on `connection`: what cannot be delivered in time is not delivered later
    /// either, by when the device may be another process's.
    pub(crate) fn limit_delivery(&self, connection: &Connection) -> Result<(), Fault> {
        let limit = self.lease.left().unwrap_or(self.call_limit).min(self.call_limit);
        connection.deliver_within(limit).map_err(|error| self.no_connection(&error))
    }

    /// Runs an exchange for as long as a call may take; `None` where it did not end by then.
    ///
    /// Ended by the lease, what was asked for may have been done.
    pub(crate) async fn within_call<T>(&self, exchange: impl Future<Output = T>) -> Result<Option<T>, Fault> {
        tokio::select! {
            biased;
            ended = self.clock.timeout(self.call_limit, exchange) => Ok(ended),
            () = self.lease.expired() => Err(Fault::new(FaultKind::Lost, self.expired())),
        }
    }

    /// Why nothing more is sent.
    fn expired(&self) -> String {
        let device = self.device;
        format!("the lease of this process expired: whoever has the {device} now gives the power back")
    }

    /// A connection whose socket does not take what it has to is none.
    fn no_connection(&self, error: &std::io::Error) -> Fault {
        Fault::new(FaultKind::Unreached, format!("no connection to {}: {error}", self.authority()))
    }

    fn unreached(&self, error: Unreached) -> Fault {
        let reason = format!("no connection to {}: {error}", self.authority());
        match error {
            Unreached::Ours { trouble, .. } => Fault::new(FaultKind::Local(trouble), reason),
            // A resolver that was restarted says so too, and no name says anything about the device.
            Unreached::NoSuchName(host) => Fault::new(FaultKind::Local(LocalTrouble::Name(host)), reason),
            Unreached::Refused(_) => Fault::new(FaultKind::Unreached, reason),
            Unreached::Silent(limit) => {
                let limit = humantime::format_duration(limit);
                Fault::new(
                    FaultKind::Unreached,
                    format!("no connection to {} within {limit}", self.authority()),
                )
            }
        }
    }
}
