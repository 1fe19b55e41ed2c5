//! Coils of relay boards that speak Modbus TCP: `modbus://relay-3.lab:502/5?unit=1&invert=true&rest=1s&readback=all8`.

mod address;
mod coil;
mod exception;
mod frame;

use std::sync::Arc;

use url::Url;

use self::address::Address;
use self::coil::Coil;
use crate::options::Options;
use crate::outlet::{Capabilities, Clients, CycleTiming};
use crate::scheme::{OFF, Port, Scheme, SchemeOption};

/// `modbus://`.
pub(super) const SCHEME: Scheme = Scheme {
    name: "modbus",
    path: "HOST[:502]/COIL",
    about: "a coil of a relay board that speaks Modbus TCP",
    options: &[
        SchemeOption {
            name: "unit",
            example: "1",
            about: "the Modbus unit: 1 to 247, or 255 for the relay board itself",
        },
        SchemeOption { name: "invert", example: "true", about: "the board has power while the coil is off" },
        OFF,
        SchemeOption {
            name: "rest",
            example: "1s",
            about: "what the relay board needs after each connection",
        },
        SchemeOption {
            name: "readback",
            example: "all8",
            about: "`coil`, `all8` where it reads only whole banks of eight, `none` where it cannot be read",
        },
    ],
    parse,
};

fn parse(url: &Url, options: &Options) -> Result<Port, String> {
    let address = Address::parse(url, options, &SCHEME.form())?;
    Ok(Port {
        device: format!("modbus://{}", device_io::address::authority(&address.host, address.port)),
        outlet: format!("{}?unit={}", address.coil, address.unit),
        capabilities: Capabilities {
            readback: address.readback,
            cycle: CycleTiming::Caller,
            clients: Clients::One,
            settle: address.rest_for,
        },
        open: Arc::new(move |access| Box::new(Coil::new(access, address.clone()))),
    })
}
