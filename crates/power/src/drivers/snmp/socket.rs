//! The library's transport: datagrams within the lease, and what came back besides the answer.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_snmp::message::{Message, V3Message};
use async_snmp::v3::{ReportStatus, classify_report};
use async_snmp::{
    Candidate, DecodeConfig, Error, RequestRegistration, ResponseIdentity, SecurityLevel, Transport,
    UDP_RECEIVE_BUFFER_SIZE,
};
use bytes::Bytes;
use device_io::{DatagramSocket, SendError};

/// What happened during one call.
#[derive(Debug, Default)]
pub(super) struct CallRecord {
    /// Whether a datagram was sent.
    pub(super) is_sent: bool,
    /// What ended the call, if it was not the answer.
    pub(super) end: Option<CallEnd>,
    /// A datagram that was not the answer.
    pub(super) ignored: Option<Bytes>,
}

/// What ended a call instead of an answer.
#[derive(Debug)]
pub(super) enum CallEnd {
    /// The lease expired before a datagram was sent.
    LeaseExpired,
    /// The socket failed.
    Socket(io::Error),
    /// The device reported that it does not process the request. It cannot authenticate this report where it does not
    /// know the user or the password.
    Report(ReportStatus),
    /// The device answered in another protocol.
    Foreign(Bytes),
}

/// The record of the present call, shared by the socket and its client.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedRecord(Arc<Mutex<CallRecord>>);

impl SharedRecord {
    fn lock(&self) -> MutexGuard<'_, CallRecord> {
        // A panic elsewhere cannot leave it half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the record and begins a new one.
    pub(super) fn take(&self) -> CallRecord {
        std::mem::take(&mut *self.lock())
    }
}

/// A socket to one device as the library uses it. It knows no deadlines: the caller limits each call.
pub(super) struct SnmpSocket {
    socket: DatagramSocket,
    record: SharedRecord,
}

impl SnmpSocket {
    pub(super) fn new(socket: DatagramSocket, record: SharedRecord) -> Self {
        Self { socket, record }
    }

    /// Ends the call. The caller takes the reason from the record.
    fn end<T>(&self, end: CallEnd) -> async_snmp::Result<T> {
        self.record.lock().end = Some(end);
        Err(Box::new(Error::Closed { target: self.socket.device() }))
    }
}

impl Transport for SnmpSocket {
    async fn send(&self, data: &[u8]) -> async_snmp::Result<()> {
        match self.socket.send(data).await {
            Ok(()) => {
                self.record.lock().is_sent = true;
                Ok(())
            }
            Err(SendError::LeaseExpired) => self.end(CallEnd::LeaseExpired),
            Err(SendError::Socket(error)) => self.end(CallEnd::Socket(error)),
        }
    }

    async fn request_with<T, F>(
        &self,
        data: &[u8],
        registration: RequestRegistration,
        mut validate: F,
    ) -> async_snmp::Result<T>
    where
        T: Send,
        F: FnMut(Bytes, SocketAddr) -> async_snmp::Result<Candidate<T>> + Send,
    {
        self.send(data).await?;
        let mut buffer = vec![0; UDP_RECEIVE_BUFFER_SIZE];
        loop {
            let length = match self.socket.receive(&mut buffer).await {
                Ok(length) => length,
                Err(error) => return self.end(CallEnd::Socket(error)),
            };
            let datagram = Bytes::copy_from_slice(&buffer[..length]);
            let identity = registration.evaluate_response_identity(&datagram, true);
            if identity != ResponseIdentity::Reject
                && let Candidate::Accept(answer) = validate(datagram.clone(), self.socket.device())?
            {
                return Ok(answer);
            }
            match unauthenticated_report(&datagram) {
                Some(status) if identity != ResponseIdentity::Reject => {
                    return self.end(CallEnd::Report(status));
                }
                Some(_) | None if is_snmp(&datagram) => self.record.lock().ignored = Some(datagram),
                Some(_) | None => return self.end(CallEnd::Foreign(datagram)),
            }
        }
    }

    fn peer_addr(&self) -> SocketAddr {
        self.socket.device()
    }

    fn local_addr(&self) -> SocketAddr {
        self.socket.local()
    }

    fn is_reliable(&self) -> bool {
        false
    }
}

/// Whether a datagram is a message of SNMP, whatever it says.
fn is_snmp(datagram: &Bytes) -> bool {
    Message::decode(datagram.clone(), DecodeConfig::default()).is_ok()
}

/// The status of a report that is not authenticated.
fn unauthenticated_report(datagram: &Bytes) -> Option<ReportStatus> {
    let message = V3Message::decode(datagram.clone(), DecodeConfig::default()).ok()?.value;
    if message.security_level() != SecurityLevel::NoAuthNoPriv {
        return None;
    }
    classify_report(message.pdu()?).ok()
}
