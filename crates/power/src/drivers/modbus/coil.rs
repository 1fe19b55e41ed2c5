//! One coil of a relay board.

use async_trait::async_trait;
use device_io::Evidence;

use super::address::CoilAddress;
use super::client::ModbusClient;
use super::exception::ModbusRefusal;
use crate::error::OutletError;
use crate::outlet::{Outlet, OutletReading, PowerState, Readback};
use crate::scheme::OutletAccess;

/// Outlet of one coil.
pub(super) struct ModbusOutlet {
    client: ModbusClient,
    address: CoilAddress,
}

impl ModbusOutlet {
    /// Creates the outlet; nothing is sent.
    pub(super) fn new(access: OutletAccess, address: CoilAddress) -> Self {
        Self { client: ModbusClient::new(access, address.relay.clone()), address }
    }
}

#[async_trait]
impl Outlet for ModbusOutlet {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::new();
        evidence.insert("coil".to_owned(), self.address.coil.into());
        evidence.insert("unit".to_owned(), self.address.relay.unit.into());
        evidence
    }

    fn attempts(&self) -> u32 {
        self.client.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.client.connect().await
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let (first, count) = self.address.bank();
        let explain = |refusal| explain_read(&self.address, refusal);
        let coils = self.client.read_coils(first, count, explain).await?;
        let is_set = coils >> (self.address.coil - first) & 1 == 1;
        Ok(OutletReading { power_state: Some(self.address.wiring.power_state(is_set)), answer: None })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let coil = self.address.coil;
        let is_on = self.address.wiring.is_relay_on(state);
        self.client.switch_coil(coil, is_on, |refusal| explain_write(coil, refusal)).await
    }
}

/// Returns why the coil cannot be switched.
fn explain_write(coil: u16, refusal: ModbusRefusal) -> String {
    match refusal {
        ModbusRefusal::Function => "illegal function: the device does not support coils".to_owned(),
        ModbusRefusal::Address => format!("illegal data address: the relay board has no coil {coil}"),
        ModbusRefusal::Value => {
            format!("illegal data value: the relay board rejects the value written to coil {coil}")
        }
    }
}

/// Returns why the coil cannot be read as its URL says, and what to write instead.
fn explain_read(address: &CoilAddress, refusal: ModbusRefusal) -> String {
    let (coil, (first, count), authority) =
        (address.coil, address.bank(), address.relay.endpoint.authority());
    let last = first.saturating_add(u16::from(count) - 1);
    let is_bank = address.readback == Readback::Bank;
    match refusal {
        ModbusRefusal::Function => format!(
            "illegal function: the device at {authority} cannot read coils; if it can switch them, write \
             `readback=none` in the power URL"
        ),
        ModbusRefusal::Address if is_bank => format!(
            "illegal data address: the relay board does not have all coils from {first} to {last}; to read coil {coil} \
             alone, leave `readback=all8` out of the power URL"
        ),
        ModbusRefusal::Address => format!("illegal data address: the relay board has no coil {coil}"),
        ModbusRefusal::Value if is_bank => format!(
            "illegal data value: the relay board refused to read coils {first} to {last}; if it cannot be read, write \
             `readback=none` in the power URL"
        ),
        ModbusRefusal::Value => format!(
            "illegal data value: the relay board refused to read coil {coil} alone; if it reads whole banks, write \
             `readback=all8` in the power URL, and if it cannot be read, `readback=none`"
        ),
    }
}
