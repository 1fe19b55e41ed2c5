//! Requests and answers over one TCP connection to a device: each with its own timeout, errors by what was received.
//!
//! A connection is reused only while requests and answers are known to match. A driver encodes its requests and parses
//! the bytes received; everything else is here. HTTP drivers use `device_io::http` instead.

use std::io;

use device_io::DeviceConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::endpoint::DeviceEndpoint;
use crate::error::{OutletError, OutletErrorKind};
use crate::scheme::OutletAccess;
use crate::session::DeviceSession;

/// Bytes read at once.
const CHUNK_BYTES: usize = 260;

/// The longest part of an answer, in bytes, that goes into the evidence.
const MAX_EVIDENCE_BYTES: usize = 32;

/// A protocol, as far as all requests have it in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceProtocol {
    /// Its name in messages: `Modbus TCP`.
    pub(crate) name: &'static str,
    /// Name of the kind of device in messages: `relay board`.
    pub(crate) device: &'static str,
    /// What happens to the connection when an order is not answered in time.
    pub(crate) unanswered: UnansweredOrder,
    /// What happens to bytes that were received before a request.
    pub(crate) early_bytes: EarlyBytes,
    /// Formats received bytes for the evidence.
    pub(crate) describe: fn(&[u8]) -> String,
}

/// What happens to the connection when an order is not answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnansweredOrder {
    /// It is used on: a late answer is distinguished from the answers to later requests.
    KeepsConnection,
    /// It is closed: a late answer could be taken for another one.
    ClosesConnection,
}

/// What happens to bytes that were received before a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EarlyBytes {
    /// They are parsed with the answer: the device speaks first, or a late answer is distinguished from others.
    Kept,
    /// They are discarded, because an answer does not say what it answers. A late answer that arrives only after the request
    /// is still taken for its answer.
    Discarded,
}

/// Whether a request may switch the outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// It may.
    Order,
    /// It only asks.
    Query,
}

/// The bytes received since a request was sent, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParsedAnswer<T> {
    /// Not a complete answer yet.
    Incomplete,
    /// The answer.
    Answer(T),
    /// This many bytes belong to something else than the answer.
    Skip(usize),
    /// Of this protocol, but not an answer to this request.
    Unexpected,
    /// Not of this protocol, with a hint for the operator.
    Foreign(&'static str),
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct DeviceAnswer<T> {
    pub(crate) value: T,
    /// The bytes, formatted for the evidence.
    pub(crate) text: String,
}

/// Whether [`DeviceClient::connect`] made a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connected {
    /// There was one already.
    Before,
    /// It is new: nothing was sent on it.
    New,
}

/// Client of one device.
pub(crate) struct DeviceClient {
    session: DeviceSession,
    protocol: DeviceProtocol,
    connection: Option<ClientConnection>,
    /// Whether the device has closed a connection after an answer: then each request gets its own connection.
    closes_after_answer: bool,
}

struct ClientConnection {
    stream: DeviceConnection,
    has_answered: bool,
}

impl DeviceClient {
    /// Creates the client; nothing is sent.
    pub(crate) fn new(access: OutletAccess, endpoint: DeviceEndpoint, protocol: DeviceProtocol) -> Self {
        let session = DeviceSession::new(access, endpoint, protocol.device);
        Self { session, protocol, connection: None, closes_after_answer: false }
    }

    /// Number of connection attempts.
    pub(crate) fn attempts(&self) -> u32 {
        self.session.attempts
    }

    /// Connects, unless there is a connection that can take another request.
    pub(crate) async fn connect(&mut self) -> Result<Connected, OutletError> {
        self.check_lease()?;
        let closes_after_answer = self.closes_after_answer;
        if self.connection.as_ref().is_some_and(|connection| {
            !(connection.stream.is_closed() || closes_after_answer && connection.has_answered)
        }) {
            return Ok(Connected::Before);
        }
        if self.connection.is_some() {
            self.close();
        }
        let stream = self.session.connect().await?;
        self.connection = Some(ClientConnection { stream, has_answered: false });
        Ok(Connected::New)
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.connection = None;
        self.session.record_close();
    }

    /// Sends a request on the connection and returns its answer.
    pub(crate) async fn exchange<T>(
        &mut self,
        kind: RequestKind,
        request: &[u8],
        parse: impl Fn(&[u8]) -> ParsedAnswer<T>,
    ) -> Result<DeviceAnswer<T>, OutletError> {
        self.check_lease()?;
        let (authority, limit) = (self.session.authority(), self.session.limit_text());
        // Taken out during a call: dropping the call drops the connection.
        let Some(mut connection) = self.connection.take() else {
            let reason = format!("no connection to {authority}");
            return Err(OutletError::new(OutletErrorKind::NotConnected, reason));
        };
        self.session.limit_delivery(&connection.stream)?;
        if self.protocol.early_bytes == EarlyBytes::Discarded {
            connection.stream.discard_received();
        }
        let mut received = Vec::new();
        // Dropping the connection discards unsent data; the request may have arrived nevertheless.
        let exchange = connection.exchange(request, parse, &mut received);
        let result = self.session.within_call(exchange).await?;
        let lost = |reason: String| OutletError::new(OutletErrorKind::ConnectionLost, reason);
        let error = match result {
            Some(Ok(Exchanged::Answer(value))) => {
                connection.has_answered = true;
                connection.stream.answered();
                self.connection = Some(connection);
                return Ok(DeviceAnswer { value, text: (self.protocol.describe)(&received) });
            }
            None if received.is_empty() => {
                let reason = format!("no answer from {authority} within {limit}");
                if kind == RequestKind::Order {
                    if self.protocol.unanswered == UnansweredOrder::KeepsConnection {
                        self.connection = Some(connection);
                    } else {
                        self.session.record_close();
                    }
                    return Err(OutletError::new(OutletErrorKind::AnswerPending, reason));
                }
                lost(reason)
            }
            None => lost(format!("an incomplete answer from {authority} within {limit}")),
            Some(Ok(Exchanged::Unexpected)) => self.unexpected_answer(),
            Some(Ok(Exchanged::Foreign(hint))) => {
                let reason = format!("{authority} answered, but not with {}{hint}", self.protocol.name);
                OutletError::new(OutletErrorKind::WrongProtocol, reason)
            }
            Some(Err(error)) => self.closed_error(&connection, !received.is_empty(), &error),
        };
        self.session.record_close();
        Err(if received.is_empty() { error } else { error.with_answer((self.protocol.describe)(&received)) })
    }

    fn closed_error(
        &mut self,
        connection: &ClientConnection,
        is_half: bool,
        error: &io::Error,
    ) -> OutletError {
        let authority = self.session.authority();
        let when = match (is_half, connection.has_answered) {
            (true, _) => "in the middle of an answer",
            (false, true) => {
                self.closes_after_answer = true;
                "after its answer"
            }
            (false, false) => "without an answer",
        };
        let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
        let words = if is_end { String::new() } else { format!(": {error}") };
        let reason = format!("{authority} closed the connection {when}{words}");
        OutletError::new(OutletErrorKind::ConnectionLost, reason)
    }

    /// The error for an answer that does not belong to its request.
    pub(crate) fn unexpected_answer(&self) -> OutletError {
        let reason = format!("unexpected answer from {}", self.session.authority());
        OutletError::new(OutletErrorKind::Unconfirmed, reason)
    }

    fn check_lease(&mut self) -> Result<(), OutletError> {
        let checked = self.session.check_lease();
        if checked.is_err() {
            self.connection = None;
        }
        checked
    }
}

/// What ended an exchange.
enum Exchanged<T> {
    Answer(T),
    Unexpected,
    Foreign(&'static str),
}

impl ClientConnection {
    /// Sends a request and reads until the answer is complete or invalid.
    async fn exchange<T>(
        &mut self,
        request: &[u8],
        parse: impl Fn(&[u8]) -> ParsedAnswer<T>,
        received: &mut Vec<u8>,
    ) -> io::Result<Exchanged<T>> {
        let stream = self.stream.request();
        // One call: some devices take a command only if it arrives in one packet.
        stream.write_all(request).await?;
        stream.flush().await?;
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            match stream.read(&mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => received.extend_from_slice(&chunk[..length]),
            }
            loop {
                match parse(received) {
                    ParsedAnswer::Incomplete => break,
                    ParsedAnswer::Skip(length) => _ = received.drain(..length),
                    ParsedAnswer::Answer(value) => return Ok(Exchanged::Answer(value)),
                    ParsedAnswer::Unexpected => return Ok(Exchanged::Unexpected),
                    ParsedAnswer::Foreign(hint) => return Ok(Exchanged::Foreign(hint)),
                }
            }
        }
    }
}

/// Formats the first bytes of an answer in hexadecimal: `01 05 ff`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(MAX_EVIDENCE_BYTES)];
    let mut pairs: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    if shown.len() < bytes.len() {
        pairs.push("…".to_owned());
    }
    pairs.join(" ")
}

#[cfg(test)]
mod tests;
