//! Coils of relay boards that speak Modbus TCP: `modbus://relay-3.lab:502/5?unit=1&invert=true&rest=1s&readback=all8`.

mod address;
mod coil;
mod exception;
mod frame;

use std::sync::Arc;

use url::Url;

use self::address::CoilAddress;
use self::coil::ModbusOutlet;
use crate::outlet::{ClientCapacity, CycleTiming, OutletCapabilities};
use crate::parameters::{OFF_PARAMETER, PowerUrlParameters, SchemeParameter};
use crate::scheme::{OutletConfig, PowerScheme};

/// `modbus://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "modbus",
    path: "HOST[:502]/COIL",
    about: "a coil of a relay board that speaks Modbus TCP",
    parameters: &[
        SchemeParameter {
            name: "unit",
            example: "1",
            about: "the Modbus unit: 1 to 247, or 255 for the relay board itself",
        },
        SchemeParameter {
            name: "invert",
            example: "true",
            about: "the board has power while the coil is off",
        },
        OFF_PARAMETER,
        SchemeParameter {
            name: "rest",
            example: "1s",
            about: "how long the relay board needs after each connection",
        },
        SchemeParameter {
            name: "readback",
            example: "all8",
            about: "`coil`, `all8` where it reads only whole banks of eight, `none` where it cannot be read",
        },
    ],
    parse,
};

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let address = CoilAddress::parse(url, parameters, &SCHEME.form())?;
    Ok(OutletConfig {
        device: format!("modbus://{}", device_io::address::authority(&address.host, address.port)),
        outlet: format!("{}?unit={}", address.coil, address.unit),
        capabilities: OutletCapabilities {
            readback: address.readback,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: address.rest_for,
        },
        open: Arc::new(move |access| Box::new(ModbusOutlet::new(access, address.clone()))),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outlet::Readback;

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
            host: "relay-3.lab".to_owned(),
            port: 1502,
            coil: 65535,
            unit: 247,
            is_inverted: true,
            rest_for: Duration::from_secs(1),
            readback: Readback::Bank,
        };
        assert_eq!((address.bank(), &address), ((65528, 8), &expected));
        let plain = read("modbus://relay-3.lab/0");
        assert_eq!((plain.port, plain.coil, plain.unit, plain.is_inverted), (502, 0, 1, false));
        assert_eq!(plain.rest_for, Duration::ZERO);
        assert_eq!(read("modbus://relay-3.lab/0?unit=255").unit, 255);
        assert_eq!((plain.readback, plain.bank()), (Readback::Alone, (0, 1)));
        assert_eq!(read("modbus://relay-3.lab/9?readback=coil"), read("modbus://relay-3.lab/9"));
        assert_eq!(read("modbus://relay-3.lab/9?readback=none").readback, Readback::None);
        assert_eq!(read("modbus://[::1]/1").host, "::1");
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
        ] {
            let (url, parameters) = parts(text);
            let error = parse(&url, &parameters).unwrap_err();
            assert!(error.contains(right), "{text}: {error}");
        }
    }
}
