//! The parameters of a power URL.

use std::str::FromStr;
use std::time::Duration;

use machine::parse_span;
use url::Url;

/// One parameter of a power URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SchemeParameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// An example value.
    pub(crate) example: &'static str,
    /// Description for help texts.
    pub(crate) about: &'static str,
}

/// How long a power cycle keeps the outlet off. All schemes have it.
pub(crate) const OFF_PARAMETER: SchemeParameter = SchemeParameter {
    name: "off",
    example: "2s",
    about: "how long a power cycle keeps the board off; the default is 2s",
};

/// Wiring to the normally closed contact. Schemes of relays have it.
pub(crate) const INVERT_PARAMETER: SchemeParameter =
    SchemeParameter { name: "invert", example: "true", about: "the board has power while the relay is off" };

/// The rest between connections. Schemes of devices that may need one have it.
pub(crate) const REST_PARAMETER: SchemeParameter = SchemeParameter {
    name: "rest",
    example: "1s",
    about: "how long the device needs after each connection before it takes the next one",
};

/// How a certificate is checked. Schemes with TLS have it.
pub(crate) const CERTIFICATE_PARAMETER: SchemeParameter = SchemeParameter {
    name: "certificate",
    example: "sha256:HEX",
    about: "fingerprint of the device's certificate, or `unchecked`; the default is a check by the system's roots and the host",
};

/// The parameters of a scheme without TLS: all of them but [`CERTIFICATE_PARAMETER`], which is the last.
pub(crate) const fn without_tls(parameters: &'static [SchemeParameter]) -> &'static [SchemeParameter] {
    match parameters {
        [others @ .., _certificate] => others,
        [] => parameters,
    }
}

/// The time that an order needs. Schemes of devices that answer an order before they have followed it have it.
pub(crate) const EFFECT_PARAMETER: SchemeParameter = SchemeParameter {
    name: "effect",
    example: "12s",
    about: "how long the device may need until its reading shows an order; the default is 12s",
};

/// Parameters of one power URL: known to its scheme, each given at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PowerUrlParameters(Vec<(String, String)>);

impl PowerUrlParameters {
    /// Reads the parameters of `url`.
    pub(crate) fn read(url: &Url, known: &[SchemeParameter]) -> Result<Self, String> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in url.query_pairs() {
            if !known.iter().any(|parameter| parameter.name == name) {
                let names: Vec<_> = known.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
                return Err(format!("unknown parameter `{name}`; valid are {}", names.join(", ")));
            }
            if parameters.iter().any(|(given, _)| *given == name) {
                return Err(format!("`{name}` is given twice; give it once"));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter, if it is given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is `true`; `false` if it is not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, String> {
        let Some(value) = self.get(name) else { return Ok(false) };
        value.parse().map_err(|_| format!("`{name}={value}`: write `true` or `false`"))
    }

    /// A time of at most `max`, if it is given.
    pub(crate) fn span(&self, name: &str, max: Duration) -> Result<Option<Duration>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let span = parse_span(value).map_err(|error| {
            format!(
                "`{name}={value}` is not a time: {error}; write for example `{name}=2s` or `{name}=500ms`"
            )
        })?;
        if span > max {
            let max = formatting::duration(max);
            return Err(format!("`{name}={value}` is too long; the maximum is {max}"));
        }
        Ok(Some(span))
    }
}

/// Parses plain digits; a sign is not accepted.
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
