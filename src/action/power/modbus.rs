//! One coil of a relay board over Modbus TCP: single calls, each within its own time.
//!
//! The client library has no time limits and never gets back into step after a call that went wrong, so every call
//! runs in a task that owns the connection and hands it back only with a good answer: whatever goes wrong, a panic in
//! the library included, takes the connection with it. An answer counts only if it is the one that was asked for,
//! which the library's own helpers check in debug builds alone.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::{ExceptionCode, Request, Response, Slave};

use super::{PowerUrl, Supply};
use crate::clock::{Clock, after};

/// Why a call came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The relay board said no: nothing was switched, and asking again gives the same answer.
    Rejected(String),
    /// The connection is gone; a write that was on it may have been carried out.
    Lost(String),
}

/// The way to one coil.
pub(super) struct Line {
    clock: Arc<dyn Clock>,
    call_limit: Duration,
    url: PowerUrl,
    context: Option<Context>,
    /// When the relay board has had its rest after the last connection.
    pub(super) rested_at: DateTime<Utc>,
    /// How many connections were tried.
    pub(super) attempts: u32,
}

impl Line {
    /// Prepares the way to `url`'s coil; nothing is sent.
    pub(super) fn new(clock: Arc<dyn Clock>, call_limit: Duration, url: PowerUrl) -> Self {
        // Whoever was there before may just have gone.
        let rested_at = after(clock.now(), url.rest_for);
        Self { clock, call_limit, url, context: None, rested_at, attempts: 0 }
    }

    /// Connects where there is no connection.
    pub(super) async fn connect(&mut self, deadline: DateTime<Utc>) -> Result<(), Fault> {
        if self.context.is_some() {
            return Ok(());
        }
        self.attempts += 1;
        self.disconnected();
        let limit = self.limit(deadline);
        let target = (self.url.host.as_str(), self.url.port);
        let stream = match self.clock.timeout(limit, TcpStream::connect(target)).await {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => {
                return Err(self.lost(format!("no connection to {}: {error}", self.url.authority())));
            }
            None => {
                return Err(self.lost(format!(
                    "no connection to {} within {}",
                    self.url.authority(),
                    text(limit)
                )));
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            return Err(self.lost(format!("no connection to {}: {error}", self.url.authority())));
        }
        self.context = Some(tcp::attach_slave(stream, Slave(self.url.unit)));
        Ok(())
    }

    /// Tells the coil to give the board power or take it away; that it was told is all that is known then.
    pub(super) async fn write(&mut self, supply: Supply, deadline: DateTime<Utc>) -> Result<(), Fault> {
        let (coil, value) = (self.url.coil, supply.coil_of(&self.url));
        let response = self.call(Request::WriteSingleCoil(coil, value), deadline).await?;
        if response == Response::WriteSingleCoil(coil, value) {
            Ok(())
        } else {
            Err(self.nonsense(&response))
        }
    }

    /// Reads whether the board has power.
    pub(super) async fn read(&mut self, deadline: DateTime<Utc>) -> Result<Supply, Fault> {
        let response = self.call(Request::ReadCoils(self.url.coil, 1), deadline).await?;
        // Coils come in whole bytes: the first is ours, the other seven are padding.
        if let Response::ReadCoils(coils) = &response
            && let [value, _, _, _, _, _, _, _] = coils[..]
        {
            return Ok(Supply::of_coil(value, &self.url));
        }
        Err(self.nonsense(&response))
    }

    /// Whether there is no connection, so that the relay board's rest must be waited for before there is one.
    pub(super) fn is_closed(&self) -> bool {
        self.context.is_none()
    }

    async fn call(&mut self, request: Request<'static>, deadline: DateTime<Utc>) -> Result<Response, Fault> {
        let Some(mut context) = self.context.take() else {
            return Err(Fault::Lost(format!("there is no connection to {}", self.url.authority())));
        };
        let limit = self.limit(deadline);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let answer = context.call(request).await;
            (context, answer)
        });
        let Some(ended) = self.clock.timeout(limit, tasks.join_next()).await else {
            tasks.shutdown().await; // waits until the connection is closed
            return Err(self.lost(format!("no answer from {} within {}", self.url.authority(), text(limit))));
        };
        match ended {
            Some(Ok((context, Ok(Ok(response))))) => {
                self.context = Some(context);
                Ok(response)
            }
            Some(Ok((context, Ok(Err(exception))))) => {
                self.context = Some(context);
                Err(self.refusal(exception))
            }
            Some(Ok((_, Err(tokio_modbus::Error::Transport(error))))) => {
                // The library takes whatever error the system had last, so the cause is good for a log and no more.
                tracing::debug!(relay.place = self.url.place(), %error, "lost a relay board's connection");
                Err(self.lost(format!("{} closed the connection without an answer", self.url.authority())))
            }
            Some(Ok((_, Err(tokio_modbus::Error::Protocol(error))))) => Err(self
                .lost(format!("{} gave another answer than was asked for: {error}", self.url.authority()))),
            Some(Err(_)) | None => {
                Err(self.lost(format!("{} gave an answer that could not be read", self.url.authority())))
            }
        }
    }

    fn refusal(&mut self, exception: ExceptionCode) -> Fault {
        let coil = self.url.coil;
        match exception {
            ExceptionCode::IllegalDataAddress => {
                Fault::Rejected(format!("illegal data address: the relay board has no coil {coil}"))
            }
            ExceptionCode::IllegalFunction => {
                Fault::Rejected("illegal function: the device does not know coils".to_owned())
            }
            ExceptionCode::IllegalDataValue => {
                Fault::Rejected("illegal data value: the device does not take what was written".to_owned())
            }
            ExceptionCode::GatewayPathUnavailable => Fault::Rejected(format!(
                "gateway path unavailable: the gateway has no way to unit {}",
                self.url.unit
            )),
            // Busy, failing, or behind a gateway that gave up waiting: the coil may have been switched.
            ExceptionCode::ServerDeviceFailure
            | ExceptionCode::Acknowledge
            | ExceptionCode::ServerDeviceBusy
            | ExceptionCode::MemoryParityError
            | ExceptionCode::GatewayTargetDevice
            | ExceptionCode::Custom(_) => self.lost(format!(
                "{} answered with exception {}: {exception}",
                self.url.authority(),
                u8::from(exception)
            )),
        }
    }

    fn nonsense(&mut self, response: &Response) -> Fault {
        self.lost(format!("{} gave another answer than was asked for: {response:?}", self.url.authority()))
    }

    fn lost(&mut self, reason: String) -> Fault {
        self.disconnected();
        Fault::Lost(reason)
    }

    fn disconnected(&mut self) {
        self.context = None;
        self.rested_at = after(self.clock.now(), self.url.rest_for);
    }

    /// What one call may take: its own limit, or what is left until `deadline`.
    fn limit(&self, deadline: DateTime<Utc>) -> Duration {
        (deadline - self.clock.now()).to_std().unwrap_or_default().min(self.call_limit)
    }
}

/// A span for people, without the nanoseconds of a sum.
fn text(span: Duration) -> String {
    humantime::format_duration(Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
        .to_string()
}
