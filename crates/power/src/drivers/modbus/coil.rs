//! One coil of a relay board over Modbus TCP: single calls, each within its own time.
//!
//! A connection is kept only while both sides are known to be in step. What is sent and what comes back is compared byte
//! by byte in [`frame`](super::frame).

use std::io;

use async_trait::async_trait;
use device_io::{Connection, Evidence};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::address::Address;
use super::exception;
use super::frame::{Answer, Arrival, Call, MAX_FRAME, Request, hex};
use crate::fault::{Fault, FaultKind};
use crate::outlet::{Outlet, Reading, Supply};
use crate::scheme::Access;
use crate::session::Session;

/// How many of a device's bytes evidence has at most.
const MAX_EVIDENCE: usize = 32;

/// The way to one coil.
pub(super) struct Coil {
    session: Session,
    address: Address,
    line: Option<Line>,
    /// Whether the relay board was seen to close a connection after an answer: then each request has one of its own.
    closes_after_answer: bool,
}

/// A connection to a relay board.
struct Line {
    connection: Connection,
    /// The number of the next request.
    transaction: u16,
    has_answered: bool,
}

impl Coil {
    /// Prepares the way to a coil; nothing is sent.
    pub(super) fn new(access: Access, address: Address) -> Self {
        let session =
            Session::new(access, (address.host.clone(), address.port), "relay board", address.rest_for);
        Self { session, address, line: None, closes_after_answer: false }
    }

    async fn call(&mut self, request: Request) -> Result<Answer, Fault> {
        self.connect().await?;
        self.check_lease()?;
        // Taken out while a call is under way: whoever drops it drops the connection.
        let Some(mut line) = self.line.take() else {
            let authority = self.session.authority();
            return Err(Fault::new(FaultKind::Unreached, format!("no connection to {authority}")));
        };
        self.session.limit_delivery(&line.connection)?;
        let call = Call { request, unit: self.address.unit, transaction: line.transaction };
        line.transaction += 1;
        let mut received = Vec::new();
        // Dropping the connection discards what is still to be sent. It may have arrived as well.
        let ended = self.session.within_call(line.exchange(call, &mut received)).await?;
        let (authority, limit) = (self.session.authority(), self.session.limit_text());
        let fault = match ended {
            Some(Ok(Arrival::Answer(answer))) => {
                line.has_answered = true;
                line.connection.answered();
                self.line = Some(line);
                if let Answer::Exception(number) = answer {
                    return Err(self.exception(request, number).with_answer(shown(&received)));
                }
                return Ok(answer);
            }
            None if received.is_empty() => {
                let reason = format!("no answer from {authority} within {limit}");
                if let Request::Write { .. } = request {
                    // Its answer may still come, and is told from the next one's by its number.
                    self.line = Some(line);
                    return Err(Fault::new(FaultKind::Silent, reason));
                }
                Fault::new(FaultKind::Lost, reason)
            }
            None => {
                Fault::new(FaultKind::Lost, format!("an incomplete answer from {authority} within {limit}"))
            }
            Some(Ok(Arrival::Foreign { is_rtu })) => {
                let looks = if is_rtu { " (looks like an RTU frame)" } else { "" };
                let reason = format!("{authority} answered, but not with Modbus TCP{looks}");
                Fault::new(FaultKind::Foreign, reason)
            }
            Some(Ok(Arrival::Other | Arrival::Late(_) | Arrival::Incomplete)) => self.other(),
            Some(Err(error)) => self.gone(&line, !received.is_empty(), &error),
        };
        self.session.closed();
        Err(if received.is_empty() { fault } else { fault.with_answer(shown(&received)) })
    }

    fn gone(&mut self, line: &Line, is_half: bool, error: &io::Error) -> Fault {
        let authority = self.session.authority();
        let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
        let when = match (is_half, line.has_answered) {
            (true, _) => "in the middle of an answer",
            (false, true) => {
                self.closes_after_answer = true;
                "after its answer"
            }
            (false, false) => "without an answer",
        };
        let words = if is_end { String::new() } else { format!(": {error}") };
        Fault::new(FaultKind::Lost, format!("{authority} closed the connection {when}{words}"))
    }

    fn exception(&mut self, request: Request, number: u8) -> Fault {
        let fault = exception::fault(&self.address, &self.session.authority(), request, number);
        if fault.kind != FaultKind::Misconfigured {
            self.close();
        }
        fault
    }

    fn other(&mut self) -> Fault {
        self.close();
        let reason = format!("{} gave another answer than was asked for", self.session.authority());
        Fault::new(FaultKind::Unconfirmed, reason)
    }

    fn close(&mut self) {
        self.line = None;
        self.session.closed();
    }

    fn check_lease(&mut self) -> Result<(), Fault> {
        let checked = self.session.check_lease();
        if checked.is_err() {
            self.line = None;
        }
        checked
    }
}

#[async_trait]
impl Outlet for Coil {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::new();
        evidence.insert("coil".to_owned(), self.address.coil.into());
        evidence.insert("unit".to_owned(), self.address.unit.into());
        evidence
    }

    fn attempts(&self) -> u32 {
        self.session.attempts
    }

    async fn connect(&mut self) -> Result<(), Fault> {
        self.check_lease()?;
        let closes_after_answer = self.closes_after_answer;
        if self
            .line
            .as_ref()
            .is_some_and(|line| !(line.connection.is_closed() || closes_after_answer && line.has_answered))
        {
            return Ok(());
        }
        if self.line.take().is_some() {
            self.session.closed();
        }
        let connection = self.session.connect().await?;
        self.line = Some(Line { connection, transaction: 0, has_answered: false });
        Ok(())
    }

    async fn read(&mut self) -> Result<Reading, Fault> {
        let (first, count) = self.address.bank();
        match self.call(Request::Read { first, count }).await? {
            Answer::Coils(coils) => {
                let is_set = coils >> (self.address.coil - first) & 1 == 1;
                Ok(Reading { supply: Some(self.address.supply_of(is_set)), answer: None })
            }
            Answer::Written | Answer::Exception(_) => Err(self.other()),
        }
    }

    async fn set(&mut self, supply: Supply) -> Result<(), Fault> {
        let request = Request::Write { coil: self.address.coil, on: self.address.value_of(supply) };
        match self.call(request).await? {
            Answer::Written => Ok(()),
            Answer::Coils(_) | Answer::Exception(_) => Err(self.other()),
        }
    }
}

impl Line {
    /// Sends a request and reads until what came can be judged.
    async fn exchange(&mut self, call: Call, received: &mut Vec<u8>) -> io::Result<Arrival> {
        let stream = self.connection.request();
        stream.write_all(&call.encode()).await?;
        let mut chunk = [0; MAX_FRAME];
        loop {
            match stream.read(&mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => received.extend_from_slice(&chunk[..length]),
            }
            loop {
                match call.parse(received) {
                    Arrival::Incomplete => break,
                    Arrival::Late(length) => _ = received.drain(..length),
                    judged @ (Arrival::Answer(_) | Arrival::Other | Arrival::Foreign { .. }) => {
                        return Ok(judged);
                    }
                }
            }
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    let shown = hex(&bytes[..bytes.len().min(MAX_EVIDENCE)]);
    if bytes.len() > MAX_EVIDENCE { format!("{shown} …") } else { shown }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use clock::SystemClock;
    use device_io::Lease;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::outlet::Readback;

    #[tokio::test]
    async fn what_cannot_be_delivered_within_a_call_and_the_lease_is_not_delivered_later() {
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port: relay.local_addr().unwrap().port(),
            coil: 5,
            unit: 1,
            is_inverted: false,
            rest_for: Duration::ZERO,
            readback: Readback::Alone,
        };
        let (lease, call_limit) = (Lease::default(), Duration::from_mins(1));
        let access = Access { clock: Arc::new(SystemClock), lease: lease.clone(), call_limit };
        let mut coil = Coil::new(access, address);
        let mut deliver_within = async || {
            coil.set(Supply::On).await.unwrap();
            coil.line.as_ref().unwrap().connection.delivery_limit().unwrap()
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
            let left = deliver_within().await.unwrap();
            assert!(left <= call_limit / 2, "{left:?}");
        };
        tokio::select! {
            () = written => {}
            () = echo => unreachable!("it answers for ever"),
        }
    }
}
