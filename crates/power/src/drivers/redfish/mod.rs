//! Computer systems and outlets that speak Redfish: `redfish://bmc.lab`, `redfish://chassis.lab/Node-3`,
//! `redfish://pdu.lab/redfish/v1/PowerEquipment/RackPDUs/1/Outlets/A1`.
//!
//! Source: DMTF DSP0266 (the protocol) and DSP2046 (the properties and actions).
//!
//! An answer to an order says that it was accepted. Its effect shows later, in a reading.

mod list;
mod outlet;
mod resource;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use self::list::ResourceLister;
use self::outlet::RedfishOutlet;
use self::resource::SYSTEMS;
use crate::credential::CREDENTIAL_PARAMETER;
use crate::endpoint::DeviceEndpoint;
use crate::http::{HttpLogin, HttpSession, LoginMethod};
use crate::outlet::{ClientCapacity, CycleTiming, MAX_EFFECT_TIME, OutletCapabilities, Readback};
use crate::outlet_reader::ListedOutlet;
use crate::parameters::{
    CERTIFICATE_PARAMETER, EFFECT_PARAMETER, OFF_PARAMETER, PowerUrlParameters, SchemeParameter, without_tls,
};
use crate::scheme::{DeviceScan, OutletConfig, PowerScheme};

/// `redfish://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "redfish",
    path: "HOST[:443][/SYSTEM]",
    about: "a computer system behind its management controller (BMC), or a PDU's outlet, by Redfish; SYSTEM is its Id or its \
            path, and not needed where there is one system",
    example: "redfish://bmc-7.lab?credential=lab-bmcs",
    parameters: PARAMETERS,
    parse,
    scan: Some(DeviceScan::Listed { sample: || ListedOutlet::new(""), lister: ResourceLister::open }),
};

/// `redfish+http://`.
pub(super) const HTTP_SCHEME: PowerScheme = PowerScheme {
    name: "redfish+http",
    path: "HOST[:80][/SYSTEM]",
    about: "the same without TLS",
    example: "redfish+http://bmc-7.lab?credential=lab-bmcs",
    parameters: without_tls(PARAMETERS),
    parse,
    scan: Some(DeviceScan::Listed { sample: || ListedOutlet::new(""), lister: ResourceLister::open }),
};

const PARAMETERS: &[SchemeParameter] =
    &[CREDENTIAL_PARAMETER, EFFECT_PARAMETER, OFF_PARAMETER, CERTIFICATE_PARAMETER];

/// How long a system may need until its `PowerState` shows an order. Measured: sushy-emulator 2.2.0 takes 1 to 11 s.
const DEFAULT_EFFECT_TIME: Duration = Duration::from_secs(12);

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let path = resource_path(url)?;
    let endpoint = DeviceEndpoint::parse_http(url, parameters)?;
    let login = HttpLogin::parse(parameters, LoginMethod::Basic, None)?;
    let effect_within = parameters.span(EFFECT_PARAMETER.name, MAX_EFFECT_TIME)?;
    Ok(OutletConfig {
        device: format!("{}://{}", url.scheme(), endpoint.authority()),
        outlet: path.as_deref().unwrap_or(SYSTEMS).trim_start_matches('/').to_owned(),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: Duration::ZERO,
            effect_within: effect_within.unwrap_or(DEFAULT_EFFECT_TIME),
        },
        open: Arc::new(move |access| {
            let session = HttpSession::new(access, endpoint.clone(), login.clone());
            Box::new(RedfishOutlet::new(session, path.clone()))
        }),
    })
}

/// The path of the resource; `None` for the only system of a service.
fn resource_path(url: &Url) -> Result<Option<String>, String> {
    let path = url.path().trim_matches('/');
    let segments: Vec<_> = path.split('/').collect();
    match *segments {
        [""] => Ok(None),
        ["redfish", "v1", _, _, ..] if segments.iter().all(|segment| !segment.is_empty()) => {
            Ok(Some(format!("/{path}")))
        }
        [id] => Ok(Some(format!("{SYSTEMS}/{id}"))),
        _ => Err(format!(
            "`{path}` is neither the Id of a system nor a path such as `{SYSTEMS}/1`: {}",
            if url.scheme() == SCHEME.name { SCHEME.form() } else { HTTP_SCHEME.form() }
        )),
    }
}
