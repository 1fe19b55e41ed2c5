//! Any outlet with HTTP or HTTPS, by the requests that its power URL describes:
//! `http://pdu.lab/outlets/3?on-path=/on&off-path=/off&read-path=/state&on-answer=ON&off-answer=OFF`.

use std::sync::Arc;
use std::time::Duration;

use device_io::http::Method;
use url::Url;

use super::http_outlet::{HttpOutlet, HttpOutletRequests};
use crate::credential::CREDENTIAL_PARAMETER;
use crate::endpoint::DeviceEndpoint;
use crate::http::{FORM, HttpLogin, HttpRequest, HttpSession, JSON, LoginMethod, TEXT, refuse_secret};
use crate::outlet::{ClientCapacity, CycleTiming, OutletCapabilities, PowerState, Readback};
use crate::parameters::{
    CERTIFICATE_PARAMETER, OFF_PARAMETER, PowerUrlParameters, SchemeParameter, without_tls,
};
use crate::scheme::{OutletConfig, PowerScheme};
use crate::state_match::StateMatch;

/// `http://`.
pub(super) const SCHEME: PowerScheme = PowerScheme {
    name: "http",
    path: "HOST[:80][/PATH]",
    about: "any outlet that is switched by HTTP requests; PATH is put before each of the three paths",
    example: "http://pdu.lab/outlets/3?on-path=/on&off-path=/off&read-path=/state&on-answer=ON&off-answer=OFF",
    parameters: without_tls(PARAMETERS),
    parse,
    scan: None,
};

/// `https://`.
pub(super) const HTTPS_SCHEME: PowerScheme = PowerScheme {
    name: "https",
    path: "HOST[:443][/PATH]",
    about: "the same by HTTPS",
    example: "https://pdu.lab/outlets/3?on-path=/on&off-path=/off&read-path=/state&on-answer=ON&off-answer=OFF",
    parameters: PARAMETERS,
    parse,
    scan: None,
};

const PARAMETERS: &[SchemeParameter] = &[
    parameter("on-path", "/on", "path and query that switch on"),
    parameter("off-path", "/off", "path and query that switch off"),
    parameter("method", "GET", "method of both: `GET`, `POST` or `PUT`; the default is `GET`"),
    parameter("on-body", "1", "body of the request that switches on, with `POST` or `PUT`"),
    parameter("off-body", "0", "body of the request that switches off"),
    parameter("read-path", "/state", "path and query that read the outlet, by `GET`"),
    parameter("on-answer", "ON", "text that only the answer of an outlet that is on contains"),
    parameter("off-answer", "OFF", "text that only the answer of an outlet that is off contains"),
    parameter("auth", "basic", "how user and password are sent: `basic` or `digest`; the default is `basic`"),
    CREDENTIAL_PARAMETER,
    OFF_PARAMETER,
    CERTIFICATE_PARAMETER,
];

const fn parameter(name: &'static str, example: &'static str, about: &'static str) -> SchemeParameter {
    SchemeParameter { name, example, about }
}

fn parse(url: &Url, parameters: &PowerUrlParameters) -> Result<OutletConfig, String> {
    refuse_secret("PATH", url.path())?;
    let method = match parameters.get("method") {
        None | Some("GET") => Method::GET,
        Some("POST") => Method::POST,
        Some("PUT") => Method::PUT,
        Some(other) => return Err(format!("`method={other}`: write `GET`, `POST` or `PUT`")),
    };
    let (on_target, on_body) = (target(url, parameters, "on-path")?, body(parameters, "on-body", &method)?);
    let (off_target, off_body) =
        (target(url, parameters, "off-path")?, body(parameters, "off-body", &method)?);
    if (&on_target, &on_body) == (&off_target, &off_body) {
        return Err(format!(
            "on and off are the same request; write `on-path` and `off-path`: {}",
            if url.scheme() == SCHEME.name { SCHEME.form() } else { HTTPS_SCHEME.form() }
        ));
    }
    let state_match = state_match(parameters)?;
    let read_target = target(url, parameters, "read-path")?;
    let outlet = match &on_body {
        Some((_, text)) => format!("{on_target} {text}"),
        None => on_target.clone(),
    };
    let requests = HttpOutletRequests {
        path: on_target.clone(),
        on: HttpRequest::get(on_target, Some(PowerState::On)).with_body(method.clone(), on_body),
        off: HttpRequest::get(off_target, Some(PowerState::Off)).with_body(method, off_body),
        read: state_match.map(|state_match| (HttpRequest::get(read_target, None), state_match)),
    };
    let endpoint = DeviceEndpoint::parse_http(url, parameters)?;
    let login = HttpLogin::parse(parameters, login_method(parameters)?, None)?;
    Ok(OutletConfig {
        device: format!("{}://{}", url.scheme(), endpoint.authority()),
        outlet: outlet.trim_start_matches('/').to_owned(),
        capabilities: OutletCapabilities {
            readback: if requests.read.is_some() { Readback::Alone } else { Readback::None },
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

/// The target of a request: the path of the URL, followed by the path in this parameter.
fn target(url: &Url, parameters: &PowerUrlParameters, name: &str) -> Result<String, String> {
    let path = parameters.get(name).unwrap_or_default();
    if !path.is_empty() && !path.starts_with(['/', '?']) || path.contains('#') {
        return Err(format!("`{name}={path}`: a path begins with `/` or `?`, and has no `#`"));
    }
    refuse_secret(name, path)?;
    let whole = format!("{}{path}", url.path().trim_end_matches('/'));
    let mut encoded = if whole.starts_with('/') { String::new() } else { "/".to_owned() };
    for character in whole.chars() {
        if character.is_ascii_graphic() {
            encoded.push(character);
        } else {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).bytes();
            encoded.extend(bytes.map(|byte| format!("%{byte:02X}")));
        }
    }
    Ok(encoded)
}

/// The body of an order, with its media type.
fn body(
    parameters: &PowerUrlParameters,
    name: &str,
    method: &Method,
) -> Result<Option<(&'static str, String)>, String> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    if *method == Method::GET {
        return Err(format!("`{name}` needs `method=POST` or `method=PUT`"));
    }
    refuse_secret(name, text)?;
    let media_type = if text.starts_with(['{', '[']) {
        JSON
    } else if text.contains('=') {
        FORM
    } else {
        TEXT
    };
    Ok(Some((media_type, text.to_owned())))
}

/// How the outlet is read; `None` where no answers are given.
fn state_match(parameters: &PowerUrlParameters) -> Result<Option<StateMatch>, String> {
    match (parameters.get("on-answer"), parameters.get("off-answer")) {
        (Some(on), Some(off)) => StateMatch::contained(on, off).map(Some),
        (None, None) if parameters.get("read-path").is_none() => Ok(None),
        _ => Err("a reading needs both `on-answer` and `off-answer`".to_owned()),
    }
}

fn login_method(parameters: &PowerUrlParameters) -> Result<LoginMethod, String> {
    match parameters.get("auth") {
        None | Some("basic") => Ok(LoginMethod::Basic),
        Some("digest") => Ok(LoginMethod::Digest),
        Some(other) => Err(format!("`auth={other}`: write `basic` or `digest`")),
    }
}
