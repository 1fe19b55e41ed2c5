//! Outlets of PDUs and PoE ports of switches, by SNMP v1, v2c and v3: `snmp://pdu-1.lab/3?device=apc&credential=pdus`.
//!
//! An outlet is an object that is set and an object that is read, each with a value for on and for off. Built-in
//! [`profiles`] name them for common devices; `device=oid` takes them from the power URL. Devices do not time cycles:
//! the PDUs that can have the off time in their own configuration, not in the order.

mod client;
mod errors;
mod list;
mod objects;
mod outlet;
mod profiles;
mod security;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use self::client::{DEFAULT_PORT, SnmpClient};
use self::list::TableLister;
use self::objects::SnmpObjects;
use self::outlet::SnmpOutlet;
use self::security::SnmpSecurity;
use crate::credential::CREDENTIAL_PARAMETER;
use crate::endpoint::DeviceEndpoint;
use crate::outlet::{ClientCapacity, CycleTiming, OutletCapabilities, Readback};
use crate::outlet_reader::ListedOutlet;
use crate::parameters::{OFF_PARAMETER, PowerUrlParameters, SchemeParameter};
use crate::scheme::{DeviceScan, OutletConfig, PowerScheme};

/// `snmp://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "snmp",
    path: "HOST[:161]/OUTLET",
    about: "an outlet of a PDU or a PoE port of a switch, by SNMP",
    example: "snmp://pdu-1.lab/3?device=apc&credential=lab-pdus",
    parameters: &[
        parameter(
            "device",
            "apc",
            "`apc`, `apc-rpdu2`, `apc-masterswitch`, `poe`, `raritan`, `eaton`, or `oid` for any other device",
        ),
        parameter(
            "version",
            "2c",
            "`1`, `2c` or `3`; the default is `1` for `apc…` and `eaton`, `2c` for others",
        ),
        CREDENTIAL_PARAMETER,
        parameter(
            "auth",
            "sha256",
            "authentication of version 3: `sha` (the default), `md5`, `sha256`, … or `none`",
        ),
        parameter(
            "privacy",
            "aes",
            "encryption of version 3: `aes` (the default), `des`, `aes256`, … or `none`",
        ),
        parameter("context", "rack-7", "the context of version 3, for devices that have several"),
        parameter(
            "oid",
            "1.3.6.1.4.1.9.3",
            "with `device=oid`: the object that is set, without the outlet's index",
        ),
        parameter("off-oid", "1.3.6.1.4.1.9.4", "the object that is set to switch off, if it is another one"),
        parameter("read-oid", "1.3.6.1.4.1.9.2", "the object that is read, if it is another one"),
        parameter("on-value", "1", "the value that switches on"),
        parameter("off-value", "2", "the value that switches off"),
        parameter(
            "on-reading",
            "1",
            "the value of an outlet that is on, if it is another one than `on-value`",
        ),
        parameter(
            "off-reading",
            "2",
            "the value of an outlet that is off, if it is another one than `off-value`",
        ),
        parameter(
            "type",
            "integer",
            "type of the values set: `integer` (the default), `unsigned` or `string`",
        ),
        OFF_PARAMETER,
    ],
    parse,
    scan: Some(DeviceScan::Listed {
        sample: || ListedOutlet { path: "1".to_owned(), parameter: Some(("device", "apc")) },
        lister: TableLister::open,
    }),
};

/// How long a PDU may need until its reading shows an order: it switches one outlet after the other. Source: Ironic's `[snmp]
/// power_timeout` is 10 s, `--power-timeout` of fence-agents 20 s, with several tries; here each of three tries has this time.
const EFFECT_TIME: Duration = Duration::from_secs(4);

const fn parameter(name: &'static str, example: &'static str, about: &'static str) -> SchemeParameter {
    SchemeParameter { name, example, about }
}

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let endpoint = DeviceEndpoint::parse(url, DEFAULT_PORT)?;
    let path = url.path().strip_prefix('/').unwrap_or_default();
    let (objects, default_version) = SnmpObjects::parse(path, parameters)?;
    let security = SnmpSecurity::parse(parameters, default_version)?;
    let objects = if security.reads_all_or_nothing() { objects.without_detection() } else { objects };
    Ok(OutletConfig {
        device: format!("snmp://{}", endpoint.authority()),
        outlet: objects.canonical.clone(),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: Duration::ZERO,
            effect_within: EFFECT_TIME,
        },
        open: Arc::new(move |access| {
            let client = SnmpClient::new(access, endpoint.clone(), security.clone());
            Box::new(SnmpOutlet::new(client, objects.clone()))
        }),
    })
}
