//! Reading the coils of a relay board by banks of eight, to find which it has.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::{Clock, time_after};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::address::ModbusDevice;
use super::client::ModbusClient;
use super::exception::ModbusRefusal;
use crate::error::{OutletError, OutletErrorKind};
use crate::outlet::OutletReading;
use crate::outlet_reader::{OutletReader, SEARCH_RETRY_TIME};
use crate::parameters::PowerUrlParameters;
use crate::scheme::OutletAccess;
use crate::wiring::RelayWiring;

/// Coils in a bank.
const BANK: u8 = 8;
/// Tries of one reading: a relay board that serves another client refuses the first connection.
const TRIES: u32 = 3;
/// Delay before the second try; each further delay is longer by the same amount.
const BACK_OFF: Duration = Duration::from_millis(250);

/// What the power URLs of the coils say of how they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadbackParameter {
    /// It was not tried yet whether coils can be read alone.
    Unknown,
    /// None is needed.
    NotNeeded,
    /// `readback=all8`.
    All8,
    /// There is none: the scheme reads whole banks.
    NotInScheme,
}

/// Reader of coils, from 0 on.
pub(in crate::drivers) struct CoilReader {
    clock: Arc<dyn Clock>,
    client: ModbusClient,
    authority: String,
    /// How long a reading that failed is repeated.
    retry_for: Duration,
    wiring: RelayWiring,
    readback: ReadbackParameter,
}

impl CoilReader {
    /// Creates the reader of a relay board that may have any number of coils; nothing is sent.
    pub(super) fn open(
        url: &Url,
        parameters: &PowerUrlParameters,
        access: OutletAccess,
    ) -> Result<Box<dyn OutletReader>, String> {
        Self::open_with((url, parameters), access, ReadbackParameter::Unknown)
    }

    /// Creates the reader of a relay board with whole banks; nothing is sent.
    pub(in crate::drivers) fn open_banks(
        url: &Url,
        parameters: &PowerUrlParameters,
        access: OutletAccess,
    ) -> Result<Box<dyn OutletReader>, String> {
        Self::open_with((url, parameters), access, ReadbackParameter::NotInScheme)
    }

    fn open_with(
        (url, parameters): (&Url, &PowerUrlParameters),
        access: OutletAccess,
        readback: ReadbackParameter,
    ) -> Result<Box<dyn OutletReader>, String> {
        let (device, wiring) = (ModbusDevice::parse(url, parameters)?, RelayWiring::parse(parameters)?);
        let (clock, authority) = (Arc::clone(&access.clock), device.endpoint.authority());
        let retry_for = SEARCH_RETRY_TIME + TRIES * device.endpoint.settle_for;
        let client = ModbusClient::new(access, device);
        Ok(Box::new(Self { clock, client, authority, retry_for, wiring, readback }))
    }

    /// Reads `count` coils from `first` on; tried again unless the relay board refuses.
    async fn read(
        &mut self,
        first: u16,
        count: u8,
        cancel: &CancellationToken,
    ) -> Result<Vec<OutletReading>, OutletError> {
        let mut last = None;
        let retry_until = time_after(self.clock.now(), self.retry_for);
        for attempt in 0..TRIES {
            let (authority, clock) = (self.authority.clone(), Arc::clone(&self.clock));
            let reading = async {
                clock.sleep(BACK_OFF * attempt).await;
                self.client.connect().await?;
                self.client.read_coils(first, count, |refusal| explain(&authority, first, refusal)).await
            };
            let read = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(OutletError::cancelled()),
                read = reading => read,
            };
            match read {
                Ok(coils) => {
                    let reading = |bit: u8| OutletReading {
                        power_state: Some(self.wiring.power_state(coils >> bit & 1 == 1)),
                        answer: None,
                    };
                    return Ok((0..count).map(reading).collect());
                }
                Err(error)
                    if matches!(
                        error.kind,
                        OutletErrorKind::Misconfigured | OutletErrorKind::LeaseExpired
                    ) =>
                {
                    return Err(error);
                }
                // A device that accepts connections and says nothing is hardly a relay board.
                Err(error) if self.clock.now() >= retry_until => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(OutletError::cancelled))
    }
}

#[async_trait]
impl OutletReader for CoilReader {
    fn attempts(&self) -> u32 {
        self.client.attempts()
    }

    fn required_parameter(&self) -> Option<(&'static str, &'static str)> {
        (self.readback == ReadbackParameter::All8).then_some(("readback", "all8"))
    }

    async fn read_from(
        &mut self,
        first: usize,
        cancel: &CancellationToken,
    ) -> Result<Vec<OutletReading>, OutletError> {
        // The list of coils is shorter than this.
        let first = u16::try_from(first).unwrap_or(u16::MAX);
        let bank = match self.read(first, BANK, cancel).await {
            // It may have fewer coils than a whole bank.
            Err(error)
                if error.kind == OutletErrorKind::Misconfigured
                    && self.readback != ReadbackParameter::NotInScheme =>
            {
                return self.read(first, 1, cancel).await;
            }
            bank => bank?,
        };
        if self.readback == ReadbackParameter::Unknown {
            self.readback = match self.read(first, 1, cancel).await {
                Err(error) if error.kind == OutletErrorKind::Misconfigured => ReadbackParameter::All8,
                alone => alone.map(|_| ReadbackParameter::NotNeeded)?,
            };
        }
        Ok(bank)
    }
}

/// Returns why the coils from `first` on cannot be read.
fn explain(authority: &str, first: u16, refusal: ModbusRefusal) -> String {
    match refusal {
        ModbusRefusal::Function => format!("illegal function: the device at {authority} cannot read coils"),
        ModbusRefusal::Address => format!("illegal data address: the relay board has no coil {first}"),
        ModbusRefusal::Value => {
            format!("illegal data value: the relay board refused to read from coil {first} on")
        }
    }
}
