//! One coil of a relay board over Modbus TCP: single calls, each within its own time.
//!
//! A connection is kept only while both sides are known to be in step. What is sent and what comes back is compared byte
//! by byte in [`frame`](super::frame).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fault::{Fault, Kind};
use super::frame::{Answer, Arrival, Call, MAX_FRAME, Request, hex};
use super::{PowerUrl, Readback, Supply};
use crate::action::connect::{Unreached, connect};
use crate::action::{Lease, Trouble};
use crate::clock::{Clock, after};

/// Why nothing more is sent.
const EXPIRED: &str =
    "the lease of this process expired: whoever has the relay board now gives the power back";
/// How many of a device's bytes evidence has at most.
const MAX_EVIDENCE: usize = 32;

/// The way to one coil.
pub(super) struct Line {
    clock: Arc<dyn Clock>,
    call_limit: Duration,
    url: PowerUrl,
    lease: Lease,
    connection: Option<Connection>,
    /// When the relay board has had its rest after the last connection.
    rested_at: DateTime<Utc>,
    /// Whether the relay board was seen to close a connection after an answer: then each request has one of its own.
    closes_after_answer: bool,
    /// How many connections were tried.
    pub(super) attempts: u32,
    /// The bytes of the last answer that was no good, in hex.
    pub(super) answer: Option<String>,
}

struct Connection {
    stream: TcpStream,
    /// The number of the next request.
    transaction: u16,
    has_answered: bool,
    /// Whether a request was sent whose answer has not come.
    is_waiting: bool,
}

impl Line {
    /// Prepares the way to `url`'s coil for who holds `lease`; nothing is sent.
    pub(super) fn new(clock: Arc<dyn Clock>, call_limit: Duration, url: PowerUrl, lease: Lease) -> Self {
        // Whoever was there before may just have gone.
        let rested_at = after(clock.now(), url.rest_for);
        Self {
            clock,
            call_limit,
            url,
            lease,
            connection: None,
            rested_at,
            closes_after_answer: false,
            attempts: 0,
            answer: None,
        }
    }

    /// Whether the coil can be read.
    pub(super) fn can_read(&self) -> bool {
        self.url.readback != Readback::None
    }

    /// Connects where there is no connection that will do.
    pub(super) async fn connect(&mut self) -> Result<(), Fault> {
        self.check_lease()?;
        if self.connection.as_ref().is_some_and(|connection| {
            !(connection.is_closed() || self.closes_after_answer && connection.has_answered)
        }) {
            return Ok(());
        }
        if self.connection.take().is_some() {
            self.rested_at = after(self.clock.now(), self.url.rest_for);
        }
        // Whatever was done to the clock's hands meanwhile, it waits no longer than the rest.
        let rest = (self.rested_at - self.clock.now()).to_std().unwrap_or_default().min(self.url.rest_for);
        if !rest.is_zero() {
            self.clock.sleep(rest).await;
        }
        self.check_lease()?;
        self.attempts += 1;
        let (host, port) = (&self.url.host, self.url.port);
        let connected = connect(&*self.clock, host, port, self.call_limit).await;
        self.rested_at = after(self.clock.now(), self.url.rest_for);
        let stream = connected.map_err(|error| self.unreached(error))?;
        SockRef::from(&stream).set_tcp_nodelay(true).map_err(|error| self.not_set(&error))?;
        self.connection = Some(Connection { stream, transaction: 0, has_answered: false, is_waiting: false });
        Ok(())
    }

    /// Tells the coil to give the board power or take it away; that it was told is all that is known then.
    pub(super) async fn write(&mut self, supply: Supply) -> Result<(), Fault> {
        let request = Request::Write { coil: self.url.coil, on: supply.coil_of(&self.url) };
        match self.call(request).await? {
            Answer::Written => Ok(()),
            Answer::Exception(number) => Err(self.exception(request, number)),
            Answer::Coils(_) => Err(self.other()),
        }
    }

    /// Reads whether the board has power.
    pub(super) async fn read(&mut self) -> Result<Supply, Fault> {
        let (first, count) = self.url.bank();
        let request = Request::Read { first, count };
        match self.call(request).await? {
            Answer::Coils(coils) => {
                let is_set = coils >> (self.url.coil - first) & 1 == 1;
                Ok(Supply::of_coil(is_set, &self.url))
            }
            Answer::Exception(number) => Err(self.exception(request, number)),
            Answer::Written => Err(self.other()),
        }
    }

    async fn call(&mut self, request: Request) -> Result<Answer, Fault> {
        self.connect().await?;
        self.check_lease()?;
        // Taken out while a call is under way: whoever drops it drops the connection.
        let Some(mut connection) = self.connection.take() else {
            return Err(Fault::new(Kind::Unreached, format!("no connection to {}", self.url.authority())));
        };
        // What cannot be delivered in time is not delivered later either, by when the board may be another process's: the
        // kernel sees to that even while this process is stopped.
        let deliver_within = self.lease.left().unwrap_or(self.call_limit).min(self.call_limit);
        // Nothing would mean the system's own time.
        let deliver_within = deliver_within.max(Duration::from_millis(1));
        SockRef::from(&connection.stream)
            .set_tcp_user_timeout(Some(deliver_within))
            .map_err(|error| self.not_set(&error))?;
        let call = Call { request, unit: self.url.unit, transaction: connection.transaction };
        connection.transaction += 1;
        let mut received = Vec::new();
        let exchange = connection.exchange(call, &mut received);
        let ended = tokio::select! {
            biased;
            ended = self.clock.timeout(self.call_limit, exchange) => Some(ended),
            () = self.lease.expired() => None,
        };
        // Dropping the connection discards what is still to be sent. It may have arrived as well.
        let Some(ended) = ended else { return Err(Fault::new(Kind::Lost, EXPIRED)) };
        let fault = match ended {
            Some(Ok(Arrival::Answer(answer))) => {
                (connection.has_answered, connection.is_waiting) = (true, false);
                if let Answer::Exception(_) = answer {
                    self.answer = Some(shown(&received));
                }
                self.connection = Some(connection);
                return Ok(answer);
            }
            None if received.is_empty() => {
                let reason = format!("no answer from {} within {}", self.url.authority(), self.limit_text());
                if let Request::Write { .. } = request {
                    // Its answer may still come, and is told from the next one's by its number.
                    self.connection = Some(connection);
                    return Err(Fault::new(Kind::Silent, reason));
                }
                Fault::new(Kind::Lost, reason)
            }
            None => Fault::new(
                Kind::Lost,
                format!("an incomplete answer from {} within {}", self.url.authority(), self.limit_text()),
            ),
            Some(Ok(Arrival::Foreign { is_rtu })) => {
                let looks = if is_rtu { " (looks like an RTU frame)" } else { "" };
                let authority = self.url.authority();
                Fault::new(Kind::Foreign, format!("{authority} answered, but not with Modbus TCP{looks}"))
            }
            Some(Ok(Arrival::Other | Arrival::Late(_) | Arrival::Incomplete)) => self.other(),
            Some(Err(error)) => self.gone(&connection, !received.is_empty(), &error),
        };
        if !received.is_empty() {
            self.answer = Some(shown(&received));
        }
        self.rested_at = after(self.clock.now(), self.url.rest_for);
        Err(fault)
    }

    fn gone(&mut self, connection: &Connection, is_half: bool, error: &io::Error) -> Fault {
        let authority = self.url.authority();
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
        Fault::new(Kind::Lost, format!("{authority} closed the connection {when}{words}"))
    }

    /// A connection whose socket does not take what it has to is none.
    fn not_set(&self, error: &io::Error) -> Fault {
        Fault::new(Kind::Unreached, format!("no connection to {}: {error}", self.url.authority()))
    }

    fn unreached(&self, error: Unreached) -> Fault {
        let reason = format!("no connection to {}: {error}", self.url.authority());
        match error {
            Unreached::Ours { trouble, .. } => Fault::new(Kind::Ours(trouble), reason),
            // A resolver that was restarted says so too, and no name says anything about the relay board.
            Unreached::NoSuchName(host) => Fault::new(Kind::Ours(Trouble::Name(host)), reason),
            Unreached::Refused(_) => Fault::new(Kind::Unreached, reason),
            Unreached::Silent(limit) => Fault::new(
                Kind::Unreached,
                format!(
                    "no connection to {} within {}",
                    self.url.authority(),
                    humantime::format_duration(limit)
                ),
            ),
        }
    }

    /// What an exception means. Source: Modbus Application Protocol 1.1b3, 7.
    fn exception(&mut self, request: Request, number: u8) -> Fault {
        let (coil, (first, count)) = (self.url.coil, self.url.bank());
        let last = first.saturating_add(u16::from(count) - 1);
        let misconfigured = |reason: String| Fault::new(Kind::Misconfigured, reason);
        let is_read = matches!(request, Request::Read { .. });
        let is_bank = self.url.readback == Readback::Bank;
        match number {
            1 if is_read => misconfigured(format!(
                "illegal function: the device at {} reads no coils; if it switches them all the same, write \
                 `readback=none` in the power URL",
                self.url.authority()
            )),
            1 => misconfigured("illegal function: the device does not know coils".to_owned()),
            2 if is_read && is_bank => misconfigured(format!(
                "illegal data address: the relay board does not have all coils from {first} to {last}; to read coil \
                 {coil} alone, leave `readback=all8` out of the power URL"
            )),
            2 => misconfigured(format!("illegal data address: the relay board has no coil {coil}")),
            3 if is_read && is_bank => misconfigured(format!(
                "illegal data value: the relay board refused to read coils {first} to {last}; if it cannot be read, \
                 write `readback=none` in the power URL"
            )),
            3 if is_read => misconfigured(format!(
                "illegal data value: the relay board refused to read coil {coil} alone; if it reads whole banks, write \
                 `readback=all8` in the power URL, and if it cannot be read, `readback=none`"
            )),
            3 => misconfigured(format!(
                "illegal data value: the relay board does not take what was written to coil {coil}"
            )),
            6 => self.refused("exception 6: busy"),
            10 => self.refused("exception 10: the gateway has no way to the unit at present"),
            _ => {
                // It failed, will take long, or is a gateway that gave up waiting: the coil may have been switched.
                self.close();
                let name = match number {
                    4 => " (server device failure)",
                    5 => " (acknowledge)",
                    11 => " (the unit behind the gateway gives no answer)",
                    _ => "",
                };
                let authority = self.url.authority();
                Fault::new(Kind::Unconfirmed, format!("{authority} answered with exception {number}{name}"))
            }
        }
    }

    fn refused(&mut self, what: &str) -> Fault {
        self.close();
        let (authority, unit) = (self.url.authority(), self.url.unit);
        Fault::new(Kind::Refused, format!("{authority} answered for unit {unit} with {what}"))
    }

    fn other(&mut self) -> Fault {
        self.close();
        let reason = format!("{} gave another answer than was asked for", self.url.authority());
        Fault::new(Kind::Unconfirmed, reason)
    }

    fn close(&mut self) {
        self.connection = None;
        self.rested_at = after(self.clock.now(), self.url.rest_for);
    }

    fn check_lease(&mut self) -> Result<(), Fault> {
        if self.lease.may_act() {
            return Ok(());
        }
        self.connection = None;
        Err(Fault::new(Kind::Expired, EXPIRED))
    }

    fn limit_text(&self) -> humantime::FormattedDuration {
        humantime::format_duration(self.call_limit)
    }
}

impl Connection {
    /// Sends a request and reads until what came can be judged.
    async fn exchange(&mut self, call: Call, received: &mut Vec<u8>) -> io::Result<Arrival> {
        self.is_waiting = true;
        self.stream.write_all(&call.encode()).await?;
        let mut chunk = [0; MAX_FRAME];
        loop {
            match self.stream.read(&mut chunk).await? {
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

    /// Whether the other side has closed it while nothing was asked for.
    fn is_closed(&self) -> bool {
        matches!(self.stream.peek(&mut [0]).now_or_never(), Some(Ok(0) | Err(_)))
    }
}

impl Drop for Connection {
    /// What may still be on its way to the relay board is not delivered any more: the board may be another process's by then.
    fn drop(&mut self) {
        if !self.is_waiting {
            return;
        }
        // The connection is closed in any case.
        if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot discard what is still to be sent to a relay board");
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    let shown = hex(&bytes[..bytes.len().min(MAX_EVIDENCE)]);
    if bytes.len() > MAX_EVIDENCE { format!("{shown} …") } else { shown }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn what_cannot_be_delivered_within_a_call_and_the_lease_is_not_delivered_later() {
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("modbus://{}/5", relay.local_addr().unwrap()).parse().unwrap();
        let (lease, call_limit) = (Lease::default(), Duration::from_mins(1));
        let mut line = Line::new(Arc::new(SystemClock), call_limit, url, lease.clone());
        let mut deliver_within = async || {
            line.write(Supply::On).await.unwrap();
            SockRef::from(&line.connection.as_ref().unwrap().stream).tcp_user_timeout().unwrap()
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
