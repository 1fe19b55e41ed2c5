//! Where a device is reached, as its power URL says.

use std::time::Duration;

use device_io::{CertificateCheck, address};
use url::Url;

use crate::outlet::MAX_SETTLE_TIME;
use crate::parameters::{CERTIFICATE_PARAMETER, PowerUrlParameters, REST_PARAMETER};

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Host and port of a device, and the rest it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceEndpoint {
    /// Its host name or address; an IPv6 address without brackets.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// How long the device needs after a connection before it accepts the next one.
    pub(crate) settle_for: Duration,
    /// How its certificate is checked; `None` where it is reached without TLS.
    pub(crate) certificate: Option<CertificateCheck>,
}

impl DeviceEndpoint {
    /// Parses host and port; the device needs no rest and no TLS.
    pub(crate) fn parse(url: &Url, default_port: u16) -> Result<Self, String> {
        let port = url.port().unwrap_or(default_port);
        if port == 0 {
            return Err("there is no port 0; a port is 1 to 65535".to_owned());
        }
        Ok(Self { host: address::host(url)?, port, settle_for: Duration::ZERO, certificate: None })
    }

    /// Parses host, port and the check of the certificate of an HTTP device: without TLS where the scheme is `http` or ends
    /// in `+http`.
    pub(crate) fn parse_http(url: &Url, parameters: &PowerUrlParameters) -> Result<Self, String> {
        if url.scheme() == "http" || url.scheme().ends_with("+http") {
            return Self::parse(url, HTTP_PORT);
        }
        let name = CERTIFICATE_PARAMETER.name;
        let certificate = match parameters.get(name) {
            Some(text) => {
                text.parse::<CertificateCheck>().map_err(|problem| format!("`{name}={text}`: {problem}"))?
            }
            None => CertificateCheck::SystemRoots,
        };
        Ok(Self { certificate: Some(certificate), ..Self::parse(url, HTTPS_PORT)? })
    }

    /// Adds the rest given by its parameter, or else `default`.
    pub(crate) fn with_rest(
        self,
        parameters: &PowerUrlParameters,
        default: Duration,
    ) -> Result<Self, String> {
        let settle_for = parameters.span(REST_PARAMETER.name, MAX_SETTLE_TIME)?.unwrap_or(default);
        Ok(Self { settle_for, ..self })
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        address::authority(&self.host, self.port)
    }
}
