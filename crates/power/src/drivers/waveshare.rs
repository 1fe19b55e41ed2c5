//! Channels of Waveshare's Modbus POE ETH Relay, which times power cycles itself:
//! `waveshare://relay-3.lab:502/5?unit=1&invert=true&rest=1s`.
//!
//! Source for all numbers: Waveshare wiki, Modbus POE ETH Relay, Modbus command introduction (`reference/field.md` 5.2).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use device_io::Evidence;
use url::Url;

use super::modbus::{
    CoilReader, FRAMING_PARAMETER, ModbusClient, ModbusDevice, ModbusRefusal, UNIT_PARAMETER,
};
use crate::error::OutletError;
use crate::outlet::{
    ClientCapacity, CycleTiming, Outlet, OutletCapabilities, OutletReading, PowerState, Readback,
};
use crate::parameters::{INVERT_PARAMETER, OFF_PARAMETER, PowerUrlParameters, REST_PARAMETER, number};
use crate::scheme::{DeviceScan, OutletAccess, OutletConfig, PowerScheme};
use crate::wiring::RelayWiring;

/// `waveshare://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "waveshare",
    path: "HOST[:502]/CHANNEL",
    about: "a channel of a Waveshare Modbus POE ETH Relay, which times power cycles itself",
    example: "waveshare://relay-3.lab/5",
    parameters: &[UNIT_PARAMETER, INVERT_PARAMETER, OFF_PARAMETER, REST_PARAMETER, FRAMING_PARAMETER],
    parse,
    scan: Some(DeviceScan::InOrder {
        outlets: || (0..CHANNELS).map(|channel| channel.to_string()).collect(),
        reader: Some(CoilReader::open_banks),
    }),
};

/// Number of channels, which are read together: some firmware refuses to read single coils.
const CHANNELS: u8 = 8;
/// Added to the channel: switches it on for a time, then off.
const FLASH_ON: u16 = 0x0200;
/// Added to the channel: switches it off for a time, then on.
const FLASH_OFF: u16 = 0x0400;
/// Unit of that time.
const TICK: Duration = Duration::from_millis(100);
/// The longest such time, in ticks.
const MAX_TICKS: u16 = 0x7fff;
/// The shortest off time that the relay board times: long enough to read the channel during it, if the network is slow.
const MIN_OFF_TIME: Duration = Duration::from_secs(1);

/// A channel of a relay board.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WaveshareChannel {
    relay: ModbusDevice,
    /// From 0, as in the protocol.
    number: u8,
    wiring: RelayWiring,
}

impl WaveshareChannel {
    fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<Self, String> {
        let text = url.path().strip_prefix('/').unwrap_or_default();
        let channel = number(text).filter(|channel| *channel < CHANNELS);
        let number = channel.ok_or_else(|| {
            let (last, form) = (CHANNELS - 1, SCHEME.form());
            format!(
                "`{text}` is not a channel; a channel is 0 to {last}, CH1 of the relay board is 0: {form}"
            )
        })?;
        let wiring = RelayWiring::parse(parameters)?;
        Ok(Self { relay: ModbusDevice::parse(url, parameters)?, number, wiring })
    }

    /// The coil that makes the relay board take the power away for a time.
    fn flash_coil(&self) -> u16 {
        let command = if self.wiring.is_relay_on(PowerState::Off) { FLASH_ON } else { FLASH_OFF };
        command + u16::from(self.number)
    }
}

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let channel = WaveshareChannel::parse(url, parameters)?;
    let endpoint = &channel.relay.endpoint;
    Ok(OutletConfig {
        // The same as with `modbus://`: one outlet, and one queue, by whichever scheme it is registered.
        device: format!("modbus://{}", endpoint.authority()),
        outlet: format!("{}?unit={}", channel.number, channel.relay.unit),
        capabilities: OutletCapabilities {
            readback: Readback::Bank,
            cycle_timing: CycleTiming::Device {
                // The reading during the off time may need a connection of its own.
                shortest: MIN_OFF_TIME + endpoint.settle_for,
                longest: TICK * u32::from(MAX_TICKS),
            },
            client_capacity: ClientCapacity::One,
            settle_for: endpoint.settle_for,
            effect_within: Duration::ZERO,
        },
        open: Arc::new(move |access| Box::new(WaveshareOutlet::new(access, channel.clone()))),
    })
}

/// The time in ticks, rounded up.
fn ticks(off_for: Duration) -> u16 {
    u16::try_from(off_for.as_millis().div_ceil(TICK.as_millis()))
        .map_or(MAX_TICKS, |ticks| ticks.min(MAX_TICKS))
}

/// Outlet of one channel.
struct WaveshareOutlet {
    client: ModbusClient,
    channel: WaveshareChannel,
}

impl WaveshareOutlet {
    fn new(access: OutletAccess, channel: WaveshareChannel) -> Self {
        Self { client: ModbusClient::new(access, channel.relay.clone()), channel }
    }
}

#[async_trait]
impl Outlet for WaveshareOutlet {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::new();
        evidence.insert("channel".to_owned(), self.channel.number.into());
        evidence.insert("unit".to_owned(), self.channel.relay.unit.into());
        evidence
    }

    fn attempts(&self) -> u32 {
        self.client.attempts()
    }

    async fn connect(&mut self) -> Result<(), OutletError> {
        self.client.connect().await
    }

    async fn read(&mut self) -> Result<OutletReading, OutletError> {
        let coils = self.client.read_coils(0, CHANNELS, |refusal| explain("read", refusal)).await?;
        let is_on = coils >> self.channel.number & 1 == 1;
        Ok(OutletReading { power_state: Some(self.channel.wiring.power_state(is_on)), answer: None })
    }

    async fn set(&mut self, state: PowerState) -> Result<(), OutletError> {
        let (coil, is_on) = (self.channel.number.into(), self.channel.wiring.is_relay_on(state));
        self.client.switch_coil(coil, is_on, |refusal| explain("switch", refusal)).await
    }

    async fn cycle(&mut self, off_for: Duration) -> Result<(), OutletError> {
        let explain = |refusal| explain("time the power cycle of", refusal);
        self.client.write_coil(self.channel.flash_coil(), ticks(off_for), explain).await
    }
}

/// Returns why the device refuses to do something that the relay board of this scheme can do.
fn explain(what: &str, refusal: ModbusRefusal) -> String {
    let name = match refusal {
        ModbusRefusal::Function => "illegal function",
        ModbusRefusal::Address => "illegal data address",
        ModbusRefusal::Value => "illegal data value",
    };
    format!(
        "{name}: the device refuses to {what} the channel, so it is no Waveshare Modbus POE ETH Relay; write \
         `modbus://` for another relay board"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_times_are_rounded_up_to_ticks() {
        for (off_for, expected) in [
            (Duration::from_secs(1), 10),
            (Duration::from_millis(1001), 11),
            (Duration::from_secs(50), 500),
            (TICK * 0x7fff, 0x7fff),
            (TICK * 0x8000, 0x7fff),
            (Duration::from_hours(24), 0x7fff),
        ] {
            assert_eq!(ticks(off_for), expected, "{off_for:?}");
        }
    }

    #[test]
    fn the_relay_board_cycles_the_contact_that_the_board_is_wired_to() {
        for (text, coil) in [("waveshare://r.lab/5", 0x0405), ("waveshare://r.lab/7?invert=true", 0x0207)] {
            let url = Url::parse(text).unwrap();
            let parameters = PowerUrlParameters::read(&url, SCHEME.parameters).unwrap();
            assert_eq!(WaveshareChannel::parse(&url, &parameters).unwrap().flash_coil(), coil);
        }
    }
}
