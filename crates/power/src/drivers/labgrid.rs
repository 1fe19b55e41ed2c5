//! Outlets that labgrid's power backends `rest` and `simplerest` switch: `labgrid+http://server.lab:9999/relay/3`.
//!
//! Source: labgrid, `labgrid/driver/power/rest.py` and `simplerest.py` of commit ebe3535 (2026-07-21). Their state is
//! exactly `1` or `0`, without a line end.

use std::sync::Arc;
use std::time::Duration;

use device_io::http::Method;
use url::Url;

use super::http_outlet::{HttpOutlet, HttpOutletRequests};
use crate::credential::CREDENTIAL_PARAMETER;
use crate::endpoint::DeviceEndpoint;
use crate::http::{HttpLogin, HttpRequest, HttpSession, LoginMethod, TEXT, refuse_secret};
use crate::outlet::{ClientCapacity, CycleTiming, OutletCapabilities, PowerState, Readback};
use crate::parameters::{
    CERTIFICATE_PARAMETER, OFF_PARAMETER, PowerUrlParameters, SchemeParameter, without_tls,
};
use crate::scheme::{OutletConfig, PowerScheme};
use crate::state_match::StateMatch;

/// `labgrid+http://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "labgrid+http",
    path: "HOST[:80]/PATH",
    about: "an outlet that labgrid's `rest` or `simplerest` switches; PATH has the index filled in, and no value",
    example: "labgrid+http://pdu.lab/outlets/3",
    parameters: without_tls(PARAMETERS),
    parse,
    scan: None,
};

/// `labgrid+https://`.
pub(super) const HTTPS_SCHEME: PowerScheme = PowerScheme {
    name: "labgrid+https",
    path: "HOST[:443]/PATH",
    about: "the same by HTTPS",
    example: "labgrid+https://pdu.lab/outlets/3",
    parameters: PARAMETERS,
    parse,
    scan: None,
};

const PARAMETERS: &[SchemeParameter] = &[
    SchemeParameter {
        name: "model",
        example: "rest",
        about: "labgrid's `model`: `rest` puts the value to PATH, `simplerest` gets PATH/VALUE; the default is `rest`",
    },
    CREDENTIAL_PARAMETER,
    OFF_PARAMETER,
    CERTIFICATE_PARAMETER,
];

const ON: &str = "1";
const OFF: &str = "0";

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    let path = url.path().trim_end_matches('/').to_owned();
    if path.is_empty() || path.contains(['{', '}']) || path.contains("%7B") {
        let form = if url.scheme() == SCHEME.name { SCHEME.form() } else { HTTPS_SCHEME.form() };
        return Err(format!(
            "`{path}` is not a path; fill in labgrid's `{{index}}`, leave out `{{value}}`: {form}"
        ));
    }
    refuse_secret("PATH", &path)?;
    let order = |state: PowerState| {
        let value = match state {
            PowerState::On => ON,
            PowerState::Off => OFF,
        };
        match parameters.get("model") {
            None | Some("rest") => {
                let request = HttpRequest::get(path.as_str(), Some(state));
                Ok(request.with_body(Method::PUT, Some((TEXT, value.to_owned()))))
            }
            Some("simplerest") => Ok(HttpRequest::get(format!("{path}/{value}"), Some(state))),
            Some(other) => Err(format!("`model={other}`: write `rest` or `simplerest`")),
        }
    };
    let state_match = StateMatch::Equal { on: ON.to_owned(), off: OFF.to_owned() };
    let requests = HttpOutletRequests {
        path: path.clone(),
        on: order(PowerState::On)?,
        off: order(PowerState::Off)?,
        read: Some((HttpRequest::get(path.as_str(), None), state_match)),
    };
    let endpoint = DeviceEndpoint::parse_http(url, parameters)?;
    let login = HttpLogin::parse(parameters, LoginMethod::Basic, None)?;
    Ok(OutletConfig {
        device: format!("{}://{}", url.scheme(), endpoint.authority()),
        outlet: path.trim_start_matches('/').to_owned(),
        capabilities: OutletCapabilities {
            readback: Readback::Alone,
            cycle_timing: CycleTiming::Caller,
            client_capacity: ClientCapacity::One,
            settle_for: Duration::ZERO,
            effect_within: Duration::ZERO,
        },
        open: Arc::new(move |access| {
            let session = HttpSession::new(access, endpoint.clone(), login.clone());
            Box::new(HttpOutlet::new(session, requests.clone()))
        }),
    })
}
