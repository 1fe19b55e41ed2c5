//! Coils of relay boards that speak Modbus over TCP: `modbus://relay-3.lab:502/5?unit=1&invert=true&rest=1s&readback=all8`.

mod address;
mod bank;
mod client;
mod coil;
mod exception;
mod frame;
mod rtu;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use self::address::CoilAddress;
pub(super) use self::address::ModbusDevice;
pub(super) use self::bank::CoilReader;
pub(super) use self::client::ModbusClient;
use self::coil::ModbusOutlet;
pub(super) use self::exception::ModbusRefusal;
use crate::outlet::{ClientCapacity, CycleTiming, OutletCapabilities};
use crate::parameters::{
    INVERT_PARAMETER, OFF_PARAMETER, PowerUrlParameters, REST_PARAMETER, SchemeParameter,
};
use crate::scheme::{DeviceScan, OutletConfig, PowerScheme};

/// The Modbus unit. All schemes of Modbus devices have it.
pub(super) const UNIT_PARAMETER: SchemeParameter = SchemeParameter {
    name: "unit",
    example: "1",
    about: "the Modbus unit: 1 to 247, or 255 for the relay board itself",
};

/// The framing. All schemes of Modbus devices have it.
pub(super) const FRAMING_PARAMETER: SchemeParameter = SchemeParameter {
    name: "framing",
    example: "rtu",
    about: "`tcp`, `rtu` where RTU frames are passed on unchanged over TCP",
};

/// Coils that a scan reads at most: some devices answer for coils that they do not have.
const SCANNED_COILS: u16 = 64;

/// `modbus://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "modbus",
    path: "HOST[:502]/COIL",
    about: "a coil of a relay board that speaks Modbus TCP, or Modbus RTU behind a serial server",
    example: "modbus://relay-3.lab/5?off=4s",
    parameters: &[
        UNIT_PARAMETER,
        INVERT_PARAMETER,
        OFF_PARAMETER,
        REST_PARAMETER,
        SchemeParameter {
            name: "readback",
            example: "all8",
            about: "`coil`, `all8` where it reads only whole banks of eight, `none` where it cannot be read",
        },
        FRAMING_PARAMETER,
    ],
    parse,
    scan: Some(DeviceScan::InOrder {
        outlets: || (0..SCANNED_COILS).map(|coil| coil.to_string()).collect(),
        reader: Some(CoilReader::open),
    }),
};

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let address = CoilAddress::parse(url, parameters, &SCHEME.form())?;
    Ok(OutletConfig {
        device: format!("modbus://{}", address.relay.endpoint.authority()),
        outlet: format!("{}?unit={}", address.coil, address.relay.unit),
        capabilities: OutletCapabilities {
            readback: address.readback,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: address.relay.endpoint.settle_for,
            effect_within: Duration::ZERO,
        },
        open: Arc::new(move |access| Box::new(ModbusOutlet::new(access, address.clone()))),
    })
}

#[cfg(test)]
mod tests {
    use super::address::ModbusFraming;
    use super::*;
    use crate::endpoint::DeviceEndpoint;
    use crate::outlet::Readback;
    use crate::wiring::RelayWiring;

    fn parts(text: &str) -> (Url, PowerUrlParameters) {
        let url = Url::parse(text).unwrap();
        let parameters = PowerUrlParameters::read(&url, SCHEME.parameters).unwrap();
        (url, parameters)
    }

    fn read(text: &str) -> CoilAddress {
        let (url, parameters) = parts(text);
        CoilAddress::parse(&url, &parameters, "").unwrap()
    }

    #[test]
    fn every_part_of_a_url_is_read() {
        let address =
            read("modbus://Relay-3.Lab:1502/65535?unit=247&invert=true&off=500ms&rest=1s&readback=all8");
        let expected = CoilAddress {
            relay: ModbusDevice {
                endpoint: DeviceEndpoint {
                    host: "relay-3.lab".to_owned(),
                    port: 1502,
                    settle_for: Duration::from_secs(1),
                    certificate: None,
                },
                unit: 247,
                framing: ModbusFraming::Tcp,
            },
            coil: 65535,
            wiring: RelayWiring::NormallyClosed,
            readback: Readback::Bank,
        };
        assert_eq!((address.bank(), &address), ((65528, 8), &expected));
        let plain = read("modbus://relay-3.lab/0");
        assert_eq!((plain.coil, plain.relay.unit, plain.wiring), (0, 1, RelayWiring::NormallyOpen));
        let endpoint = &plain.relay.endpoint;
        assert_eq!((endpoint.port, endpoint.settle_for), (502, Duration::ZERO));
        assert_eq!(read("modbus://relay-3.lab/0?unit=255").relay.unit, 255);
        assert_eq!((plain.readback, plain.bank()), (Readback::Alone, (0, 1)));
        assert_eq!(read("modbus://relay-3.lab/9?readback=coil"), read("modbus://relay-3.lab/9"));
        assert_eq!(read("modbus://relay-3.lab/9?readback=none").readback, Readback::None);
        assert_eq!(read("modbus://relay-3.lab/9?framing=rtu").relay.framing, ModbusFraming::Rtu);
        assert_eq!(read("modbus://relay-3.lab/9?framing=tcp"), read("modbus://relay-3.lab/9"));
        assert_eq!(read("modbus://[::1]/1").relay.endpoint.host, "::1");
    }

    #[test]
    fn a_bad_url_is_refused_with_the_right_form() {
        for (text, right) in [
            ("modbus://relay-3.lab", "0 to 65535"),
            ("modbus://relay-3.lab/65536", "0 to 65535"),
            ("modbus://relay-3.lab/+5", "0 to 65535"),
            ("modbus://relay-3.lab/5/6", "0 to 65535"),
            ("modbus:///5", "a host is a name"),
            ("modbus://re%20lay/5", "a host is a name"),
            ("modbus://relay-3.lab:0/5", "1 to 65535"),
            ("modbus://relay-3.lab/5?unit=0", "1 to 247, or 255"),
            ("modbus://relay-3.lab/5?unit=248", "1 to 247, or 255"),
            ("modbus://relay-3.lab/5?invert=yes", "`true` or `false`"),
            ("modbus://relay-3.lab/5?rest=6s", "5s"),
            ("modbus://relay-3.lab/5?readback=8", "`coil`, `all8`"),
            ("modbus://relay-3.lab/5?framing=ascii", "`tcp`, or `rtu`"),
        ] {
            let (url, parameters) = parts(text);
            let error = parse(&url, &parameters).unwrap_err();
            assert!(error.contains(right), "{text}: {error}");
        }
    }
}
