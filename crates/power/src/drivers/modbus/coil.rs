//! One coil of a relay board over Modbus TCP: single calls, each with its own timeout.
//!
//! A connection is reused only while requests and answers are known to match. [`frame`](super::frame) compares them
//! byte by byte.

use std::io;

use async_trait::async_trait;
use device_io::{DeviceConnection, Evidence};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::address::CoilAddress;
use super::exception;
use super::frame::{MAX_FRAME_BYTES, ModbusAnswer, ModbusCall, ModbusRequest, ParsedFrame, hex};
use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::{Outlet, OutletReading, PowerState};
use crate::scheme::OutletAccess;
use crate::session::DeviceSession;

/// The longest part of an answer, in bytes, that goes into the evidence.
const MAX_EVIDENCE_BYTES: usize = 32;

/// Outlet of one coil.
pub(super) struct ModbusOutlet {
    session: DeviceSession,
    address: CoilAddress,
    connection: Option<ModbusConnection>,
    /// Whether the relay board has closed a connection after an answer: then each request gets its own connection.
    closes_after_answer: bool,
}

/// A connection to a relay board.
struct ModbusConnection {
    stream: DeviceConnection,
    /// The number of the next request.
    transaction: u16,
    has_answered: bool,
}

impl ModbusOutlet {
    /// Creates the outlet; nothing is sent.
    pub(super) fn new(access: OutletAccess, address: CoilAddress) -> Self {
        let session =
            DeviceSession::new(access, (address.host.clone(), address.port), "relay board", address.rest_for);
        Self { session, address, connection: None, closes_after_answer: false }
    }

    async fn call(&mut self, request: ModbusRequest) -> Result<ModbusAnswer, OutletError> {
        self.connect().await?;
        self.check_lease()?;
        // Taken out during a call: dropping the call drops the connection.
        let Some(mut connection) = self.connection.take() else {
            let authority = self.session.authority();
            return Err(OutletError::new(
                OutletErrorKind::NotConnected,
                format!("no connection to {authority}"),
            ));
        };
        self.session.limit_delivery(&connection.stream)?;
        let call = ModbusCall { request, unit: self.address.unit, transaction: connection.transaction };
        connection.transaction += 1;
        let mut received = Vec::new();
        // Dropping the connection discards unsent data; the request may have arrived nevertheless.
        let result = self.session.within_call(connection.exchange(call, &mut received)).await?;
        let (authority, limit) = (self.session.authority(), self.session.limit_text());
        let error = match result {
            Some(Ok(ParsedFrame::Answer(answer))) => {
                connection.has_answered = true;
                connection.stream.answered();
                self.connection = Some(connection);
                if let ModbusAnswer::Exception(number) = answer {
                    return Err(self.exception(request, number).with_answer(bytes_text(&received)));
                }
                return Ok(answer);
            }
            None if received.is_empty() => {
                let reason = format!("no answer from {authority} within {limit}");
                if let ModbusRequest::Write { .. } = request {
                    // The answer may still come; its transaction number distinguishes it from the next one.
                    self.connection = Some(connection);
                    return Err(OutletError::new(OutletErrorKind::AnswerPending, reason));
                }
                OutletError::new(OutletErrorKind::ConnectionLost, reason)
            }
            None => OutletError::new(
                OutletErrorKind::ConnectionLost,
                format!("an incomplete answer from {authority} within {limit}"),
            ),
            Some(Ok(ParsedFrame::NotModbusTcp { is_rtu })) => {
                let hint = if is_rtu { " (looks like an RTU frame)" } else { "" };
                let reason = format!("{authority} answered, but not with Modbus TCP{hint}");
                OutletError::new(OutletErrorKind::WrongProtocol, reason)
            }
            Some(Ok(ParsedFrame::Other | ParsedFrame::Late(_) | ParsedFrame::Incomplete)) => {
                self.unexpected_answer()
            }
            Some(Err(error)) => self.closed_error(&connection, !received.is_empty(), &error),
        };
        self.session.record_close();
        Err(if received.is_empty() { error } else { error.with_answer(bytes_text(&received)) })
    }

    fn closed_error(
        &mut self,
        connection: &ModbusConnection,
        is_half: bool,
        error: &io::Error,
    ) -> OutletError {
        let authority = self.session.authority();
        let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
        let when = match (is_half, connection.has_answered) {
            (true, _) => "in the middle of an answer",
            (false, true) => {
                self.closes_after_answer = true;
                "after its answer"
            }
            (false, false) => "without an answer",
        };
        let words = if is_end { String::new() } else { format!(": {error}") };
        OutletError::new(
            OutletErrorKind::ConnectionLost,
            format!("{authority} closed the connection {when}{words}"),
        )
    }

    fn exception(&mut self, request: ModbusRequest, number: u8) -> OutletError {
        let error = exception::outlet_error(&self.address, &self.session.authority(), request, number);
        if error.kind != OutletErrorKind::Misconfigured {
            self.close();
        }
        error
    }

    fn unexpected_answer(&mut self) -> OutletError {
        self.close();
        let reason = format!("unexpected answer from {}", self.session.authority());
        OutletError::new(OutletErrorKind::Unconfirmed, reason)
    }

    fn close(&mut self) {
        self.connection = None;
        self.session.record_close();
    }

    fn check_lease(&mut self) -> Result<(), OutletError> {
        let checked = self.session.check_lease();
        if checked.is_err() {
            self.connection = None;
        }
        checked
    }
}

#[async_trait]
impl Outlet for ModbusOutlet {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::new();
        evidence.insert("coil".to_owned(), self.address.coil.into());
        evidence.insert("unit".to_owned(), self.address.unit.into());
        evidence
    }

    fn attempts(&self) -> u32 {
        self.session.attempts
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.check_lease()?;
        let closes_after_answer = self.closes_after_answer;
        if self.connection.as_ref().is_some_and(|connection| {
            !(connection.stream.is_closed() || closes_after_answer && connection.has_answered)
        }) {
            return Ok(());
        }
        if self.connection.take().is_some() {
            self.session.record_close();
        }
        let connection = self.session.connect().await?;
        self.connection = Some(ModbusConnection { stream: connection, transaction: 0, has_answered: false });
        Ok(())
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let (first, count) = self.address.bank();
        match self.call(ModbusRequest::Read { first, count }).await? {
            ModbusAnswer::Coils(coils) => {
                let is_set = coils >> (self.address.coil - first) & 1 == 1;
                Ok(OutletReading { power_state: Some(self.address.power_state_of(is_set)), answer: None })
            }
            ModbusAnswer::Written | ModbusAnswer::Exception(_) => Err(self.unexpected_answer()),
        }
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let request = ModbusRequest::Write { coil: self.address.coil, on: self.address.value_of(state) };
        match self.call(request).await? {
            ModbusAnswer::Written => Ok(()),
            ModbusAnswer::Coils(_) | ModbusAnswer::Exception(_) => Err(self.unexpected_answer()),
        }
    }
}

impl ModbusConnection {
    /// Sends a request and reads until a frame is complete or invalid.
    async fn exchange(&mut self, call: ModbusCall, received: &mut Vec<u8>) -> io::Result<ParsedFrame> {
        let stream = self.stream.request();
        stream.write_all(&call.encode()).await?;
        let mut chunk = [0; MAX_FRAME_BYTES];
        loop {
            match stream.read(&mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => received.extend_from_slice(&chunk[..length]),
            }
            loop {
                match call.parse(received) {
                    ParsedFrame::Incomplete => break,
                    ParsedFrame::Late(length) => _ = received.drain(..length),
                    parsed @ (ParsedFrame::Answer(_)
                    | ParsedFrame::Other
                    | ParsedFrame::NotModbusTcp { .. }) => {
                        return Ok(parsed);
                    }
                }
            }
        }
    }
}

fn bytes_text(bytes: &[u8]) -> String {
    let shown = hex(&bytes[..bytes.len().min(MAX_EVIDENCE_BYTES)]);
    if bytes.len() > MAX_EVIDENCE_BYTES { format!("{shown} …") } else { shown }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use clock::SystemClock;
    use device_io::ProcessLease;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::outlet::Readback;

    #[tokio::test]
    async fn delivery_of_a_request_is_bounded_by_the_call_timeout_and_the_lease() {
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = CoilAddress {
            host: "127.0.0.1".to_owned(),
            port: relay.local_addr().unwrap().port(),
            coil: 5,
            unit: 1,
            is_inverted: false,
            rest_for: Duration::ZERO,
            readback: Readback::Alone,
        };
        let (lease, call_limit) = (ProcessLease::default(), Duration::from_mins(1));
        let access = OutletAccess { clock: Arc::new(SystemClock), lease: lease.clone(), call_limit };
        let mut coil = ModbusOutlet::new(access, address);
        let mut deliver_within = async || {
            coil.set(PowerState::On).await.unwrap();
            coil.connection.as_ref().unwrap().stream.delivery_limit().unwrap()
        };
        let echo = async {
            let (mut stream, _) = relay.accept().await.unwrap();
            let mut request = [0; 12];
            loop {
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(&request).await.unwrap();
            }
        };
        let written = async {
            assert_eq!(deliver_within().await, Some(call_limit));
            lease.extend(Instant::now() + call_limit / 2);
            let remaining = deliver_within().await.unwrap();
            assert!(remaining <= call_limit / 2, "{remaining:?}");
        };
        tokio::select! {
            () = written => {}
            () = echo => unreachable!("it answers forever"),
        }
    }
}
