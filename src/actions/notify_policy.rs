//! What a server allows notifications to do.

use std::fmt;

use reqwest::Url;

use super::http;

/// What a server allows notifications to do, and whom they reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifyPolicy {
    /// Whether it runs programs.
    pub commands: CommandPolicy,
    /// Where messages to its operators are sent.
    pub operators_url: Option<OperatorsUrl>,
}

/// The URL of the operators' messages, `http://HOST/PATH`. Its path may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorsUrl(Url);

impl OperatorsUrl {
    /// Parses it.
    ///
    /// # Errors
    ///
    /// A text for people, without the URL.
    pub fn new(text: &str) -> Result<Self, String> {
        http::parse_url(text).map(Self)
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for OperatorsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorsUrl(…)")
    }
}

/// Whether a server runs the programs that definitions name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommandPolicy {
    /// An action that names a program fails.
    #[default]
    Refused,
    /// Programs run as the user of the server.
    Allowed,
}
