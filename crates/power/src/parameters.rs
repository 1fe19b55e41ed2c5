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
    /// A value that it may have.
    pub(crate) example: &'static str,
    /// What it is for, for help texts.
    pub(crate) about: &'static str,
}

/// How long a power cycle keeps what is at the outlet off. All schemes have it.
pub(crate) const OFF_PARAMETER: SchemeParameter = SchemeParameter {
    name: "off",
    example: "2s",
    about: "how long a power cycle keeps the board off; 2 seconds where it is not said",
};

/// Parameters that a scheme knows, each given at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PowerUrlParameters(Vec<(String, String)>);

impl PowerUrlParameters {
    /// Reads the parameters of `url`.
    pub(crate) fn read(url: &Url, known: &[SchemeParameter]) -> Result<Self, String> {
        let mut options: Vec<(String, String)> = Vec::new();
        for (name, value) in url.query_pairs() {
            if !known.iter().any(|option| option.name == name) {
                let names: Vec<_> = known.iter().map(|option| format!("`{}`", option.name)).collect();
                return Err(format!("there is no parameter `{name}`; there are {}", names.join(", ")));
            }
            if options.iter().any(|(given, _)| *given == name) {
                return Err(format!("`{name}` is given twice; give it once"));
            }
            options.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(options))
    }

    /// The value of a parameter, if it is given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is `true`; not where it is not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, String> {
        let Some(value) = self.get(name) else { return Ok(false) };
        value.parse().map_err(|_| format!("`{name}={value}`: it is `true` or `false`"))
    }

    /// A time of at most `longest`, if it is given.
    pub(crate) fn span(&self, name: &str, longest: Duration) -> Result<Option<Duration>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let span = parse_span(value).map_err(|error| {
            format!("`{name}={value}` is no time: {error}; write it as `{name}=2s` or `{name}=500ms`")
        })?;
        if span > longest {
            let longest = formatting::duration(longest);
            return Err(format!("`{name}={value}` is too long; the longest is {longest}"));
        }
        Ok(Some(span))
    }
}

/// Reads plain digits: a sign is no part of a port's number.
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
