//! Calls to a device that speaks Modbus over TCP. [`frame`](super::frame) and [`rtu`] compare requests and answers byte by
//! byte.

use super::address::{ModbusDevice, ModbusFraming};
use super::exception::{self, ModbusRefusal};
use super::frame::{ModbusAnswer, ModbusCall, ModbusRequest};
use super::rtu;
use crate::client::{Connected, DeviceClient, DeviceProtocol, EarlyBytes, RequestKind, UnansweredOrder, hex};
use crate::error::{OutletError, OutletErrorKind};
use crate::scheme::OutletAccess;

const MODBUS_TCP: DeviceProtocol = DeviceProtocol {
    name: "Modbus TCP",
    device: "relay board",
    // Its transaction number distinguishes a late answer from the next one.
    unanswered: UnansweredOrder::KeepsConnection,
    early_bytes: EarlyBytes::Kept,
    describe: hex,
};

const MODBUS_RTU: DeviceProtocol = DeviceProtocol {
    name: "Modbus RTU",
    unanswered: UnansweredOrder::ClosesConnection,
    early_bytes: EarlyBytes::Discarded,
    ..MODBUS_TCP
};

/// Client of one unit.
pub(in crate::drivers) struct ModbusClient {
    client: DeviceClient,
    device: ModbusDevice,
    /// The number of the next request on its connection. Only there can an answer be late.
    transaction: u16,
}

impl ModbusClient {
    /// Creates the client; nothing is sent.
    pub(in crate::drivers) fn new(access: OutletAccess, device: ModbusDevice) -> Self {
        let protocol = match device.framing {
            ModbusFraming::Tcp => MODBUS_TCP,
            ModbusFraming::Rtu => MODBUS_RTU,
        };
        let client = DeviceClient::new(access, device.endpoint.clone(), protocol);
        Self { client, device, transaction: 0 }
    }

    /// Number of connection attempts.
    pub(in crate::drivers) fn attempts(&self) -> u32 {
        self.client.attempts()
    }

    /// Connects, unless there is a connection that can take another request.
    pub(in crate::drivers) async fn connect(&mut self) -> Result<(), OutletError> {
        if self.client.connect().await? == Connected::New {
            self.transaction = 0;
        }
        Ok(())
    }

    /// Reads `count` coils from `first` on, at most eight; the first is in the lowest bit.
    pub(in crate::drivers) async fn read_coils(
        &mut self,
        first: u16,
        count: u8,
        explain: impl FnOnce(ModbusRefusal) -> String,
    ) -> Result<u8, OutletError> {
        match self.call(ModbusRequest::Read { first, count }, explain).await? {
            ModbusAnswer::Coils(coils) => Ok(coils),
            ModbusAnswer::Written | ModbusAnswer::Exception(_) => Err(self.client.unexpected_answer()),
        }
    }

    /// Switches a coil on or off.
    pub(in crate::drivers) async fn switch_coil(
        &mut self,
        coil: u16,
        is_on: bool,
        explain: impl FnOnce(ModbusRefusal) -> String,
    ) -> Result<(), OutletError> {
        self.call(ModbusRequest::switch(coil, is_on), explain).await.map(|_| ())
    }

    /// Writes a value that the device defines to a coil.
    pub(in crate::drivers) async fn write_coil(
        &mut self,
        coil: u16,
        value: u16,
        explain: impl FnOnce(ModbusRefusal) -> String,
    ) -> Result<(), OutletError> {
        self.call(ModbusRequest::Write { coil, value }, explain).await.map(|_| ())
    }

    async fn call(
        &mut self,
        request: ModbusRequest,
        explain: impl FnOnce(ModbusRefusal) -> String,
    ) -> Result<ModbusAnswer, OutletError> {
        self.connect().await?;
        let call = ModbusCall { request, unit: self.device.unit, transaction: self.transaction };
        self.transaction += 1;
        let kind = match request {
            ModbusRequest::Read { .. } => RequestKind::Query,
            ModbusRequest::Write { .. } => RequestKind::Order,
        };
        let answer = match self.device.framing {
            ModbusFraming::Tcp => {
                self.client.exchange(kind, &call.encode(), |bytes| call.parse(bytes)).await?
            }
            ModbusFraming::Rtu => {
                self.client.exchange(kind, &rtu::encode(call), |bytes| rtu::parse(call, bytes)).await?
            }
        };
        let ModbusAnswer::Exception(number) = answer.value else { return Ok(answer.value) };
        let error = exception::outlet_error(&self.device, number, explain);
        if error.kind != OutletErrorKind::Misconfigured {
            self.client.close();
        }
        Err(error.with_answer(answer.text))
    }
}
