//! Credentials of devices by name: URLs, the database and history hold the name, this server's configuration the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::address::canonical_host;
use crate::secret::{SecretError, SecretFile};

/// The longest name of a credential.
const MAX_NAME_BYTES: usize = 64;
/// The file named in errors where no other was read.
const DEFAULT_FILE: &str = "/etc/lifeguard/lifeguard.toml";

/// A text that is shown nowhere: it has no `Display`, and `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the request that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The name of a credential: letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CredentialName(String);

impl CredentialName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// What a name looks like.
    pub fn new(text: &str) -> Result<Self, String> {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.chars().all(is_valid) {
            return Err(format!(
                "`{text}` is not the name of a credential: letters, digits, `-` and `_`, {MAX_NAME_BYTES} at most"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hosts that a credential may be sent to: `pdu-1.lab`, an address, or all names below a domain, `*.lab`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(String);

impl HostPattern {
    /// Checks a pattern.
    ///
    /// # Errors
    ///
    /// What a pattern looks like.
    pub fn new(text: &str) -> Result<Self, String> {
        let host = |text| canonical_host(text).map_err(|problem| format!("{problem}, or `*.lab`"));
        match text.strip_prefix("*.") {
            Some(domain) => host(domain).map(|domain| Self(format!("*.{domain}"))),
            None => host(text).map(Self),
        }
    }

    /// Whether a host, in canonical spelling, is one of them.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self.0.strip_prefix("*.") {
            Some(domain) => {
                host.strip_suffix(domain).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
            }
            None => self.0 == host,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a secret of a credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In the configuration file itself.
    Text(Secret),
    /// In a file of its own.
    File(SecretFile),
}

impl SecretSource {
    async fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(file) => file.read().await.map(Secret),
        }
    }
}

/// A credential as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialSource {
    /// The user name.
    pub user: Option<String>,
    /// The password; of SNMP the community or the password of authentication.
    pub password: Option<SecretSource>,
    /// The password of encryption, of SNMP version 3.
    pub privacy_password: Option<SecretSource>,
    /// The hosts that it may be sent to; empty for all.
    pub hosts: Vec<HostPattern>,
}

/// A credential with its secrets, as they were when it was read.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The user name.
    pub user: Option<String>,
    /// The password; of SNMP the community or the password of authentication.
    pub password: Option<Secret>,
    /// The password of encryption, of SNMP version 3.
    pub privacy_password: Option<Secret>,
    name: CredentialName,
    file: Arc<Path>,
}

impl Credential {
    /// Returns the user name.
    ///
    /// # Errors
    ///
    /// [`SecretError::Misconfigured`] where it has none, with what to set.
    pub fn require_user(&self) -> Result<&str, SecretError> {
        self.user.as_deref().ok_or_else(|| self.missing("user", "`user`"))
    }

    /// Returns the password.
    ///
    /// # Errors
    ///
    /// [`SecretError::Misconfigured`] where it has none, with what to set.
    pub fn require_password(&self) -> Result<&Secret, SecretError> {
        self.password.as_ref().ok_or_else(|| self.missing("password", "`password` or `password-file`"))
    }

    /// Returns the password of encryption.
    ///
    /// # Errors
    ///
    /// [`SecretError::Misconfigured`] where it has none, with what to set.
    pub fn require_privacy_password(&self) -> Result<&Secret, SecretError> {
        let keys = "`privacy-password` or `privacy-password-file`";
        self.privacy_password.as_ref().ok_or_else(|| self.missing("privacy password", keys))
    }

    fn missing(&self, what: &str, keys: &str) -> SecretError {
        let Self { name, file, .. } = self;
        let file = file.display();
        SecretError::Misconfigured(format!(
            "credential `{name}` has no {what}: set {keys} in [credentials.{name}] of {file}, and restart this server"
        ))
    }
}

/// The credentials of this server by name. Clones share them.
#[derive(Debug, Clone)]
pub struct Credentials {
    by_name: Arc<BTreeMap<CredentialName, CredentialSource>>,
    file: Arc<Path>,
    /// The host that what is read is sent to, where it is known.
    host: Option<Arc<str>>,
}

impl Credentials {
    /// The credentials of the configuration file `file`, which errors name as the place for missing ones.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, by_name: BTreeMap<CredentialName, CredentialSource>) -> Self {
        Self { by_name: Arc::new(by_name), file: file.into().into(), host: None }
    }

    /// The same credentials, to be sent to `host`, in canonical spelling. Those for other hosts cannot be read.
    #[must_use]
    pub fn for_host(&self, host: &str) -> Self {
        Self { host: Some(host.into()), ..self.clone() }
    }

    /// Whether there is a credential of this name.
    #[must_use]
    pub fn contains(&self, name: &CredentialName) -> bool {
        self.by_name.contains_key(name)
    }

    /// Reads a credential. Not cached: its files may change at any time.
    ///
    /// # Errors
    ///
    /// [`SecretError::Misconfigured`] where there is none of this name, it is for other hosts, or one of its files cannot be
    /// used, [`SecretError::Local`] for a fault of this machine.
    pub async fn read(&self, name: &CredentialName) -> Result<Credential, SecretError> {
        let Some(source) = self.by_name.get(name) else {
            return Err(SecretError::Misconfigured(self.unknown_reason(name)));
        };
        if let Some(host) = &self.host
            && !(source.hosts.is_empty() || source.hosts.iter().any(|pattern| pattern.matches(host)))
        {
            return Err(SecretError::Misconfigured(self.other_host_reason(name, host)));
        }
        let read = async |secret: &Option<SecretSource>| match secret {
            Some(secret) => secret.read().await.map(Some).map_err(|error| of_credential(name, error)),
            None => Ok(None),
        };
        Ok(Credential {
            user: source.user.clone(),
            password: read(&source.password).await?,
            privacy_password: read(&source.privacy_password).await?,
            name: name.clone(),
            file: Arc::clone(&self.file),
        })
    }

    /// Lists the credentials that cannot be read at present, each with the reason.
    pub async fn list_unreadable(&self) -> Vec<(CredentialName, SecretError)> {
        let mut unreadable = Vec::new();
        for name in self.by_name.keys() {
            if let Err(error) = self.read(name).await {
                unreadable.push((name.clone(), error));
            }
        }
        unreadable
    }

    fn other_host_reason(&self, name: &CredentialName, host: &str) -> String {
        let file = self.file.display();
        format!(
            "credential `{name}` is not for {host}: add it to `hosts` in [credentials.{name}] of {file}, and restart this server"
        )
    }

    /// Says that this server has no credential of this name, and where it would be.
    #[must_use]
    pub fn unknown_reason(&self, name: &CredentialName) -> String {
        let file = self.file.display();
        format!(
            "this server has no credential `{name}`: add [credentials.{name}] to {file}, and restart this server"
        )
    }
}

/// Names the credential that a fault of its file concerns.
fn of_credential(name: &CredentialName, error: SecretError) -> SecretError {
    match error {
        SecretError::Local(trouble) => SecretError::Local(trouble),
        SecretError::Misconfigured(reason) => {
            SecretError::Misconfigured(format!("credential `{name}`: {reason}"))
        }
    }
}

/// No credentials.
impl Default for Credentials {
    fn default() -> Self {
        Self::new(DEFAULT_FILE, BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_plain_characters() {
        for name in ["plugs", "rack-7_PDU", &"a".repeat(MAX_NAME_BYTES)] {
            assert_eq!(CredentialName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "rack 7", "../plugs", "a.b", "é", &"a".repeat(MAX_NAME_BYTES + 1)] {
            let error = CredentialName::new(name).unwrap_err();
            assert!(error.contains("letters, digits, `-` and `_`"), "{error}");
        }
    }

    #[tokio::test]
    async fn secrets_are_exposed_on_request_only() {
        let name = CredentialName::new("switch").unwrap();
        let text = |text: &str| Some(SecretSource::Text(Secret::new(text)));
        let source = CredentialSource {
            user: Some("ops".to_owned()),
            password: text("hunter-2"),
            privacy_password: text("hunter-3"),
            hosts: Vec::new(),
        };
        let credentials = Credentials::new("farm.toml", BTreeMap::from([(name.clone(), source)]));
        let credential = credentials.read(&name).await.unwrap();
        assert_eq!(credential.require_user().unwrap(), "ops");
        assert_eq!(credential.require_password().unwrap().expose(), "hunter-2");
        assert_eq!(credential.require_privacy_password().unwrap().expose(), "hunter-3");
        let shown = format!("{credentials:?} {credential:?}");
        assert!(shown.contains("Secret(…)") && !shown.contains("hunter"), "{shown}");
    }

    #[tokio::test]
    async fn a_credential_is_read_only_for_its_hosts() {
        let name = CredentialName::new("plugs").unwrap();
        let hosts = ["PDU-1.lab", "*.rack-7.lab", "192.0.2.7", "[::1]"];
        let hosts = hosts.map(|text| HostPattern::new(text).unwrap()).to_vec();
        let source = CredentialSource { user: Some("ops".to_owned()), hosts, ..CredentialSource::default() };
        let credentials = Credentials::new("farm.toml", BTreeMap::from([(name.clone(), source)]));
        for host in ["pdu-1.lab", "a.rack-7.lab", "a.b.rack-7.lab", "192.0.2.7", "::1"] {
            credentials.for_host(host).read(&name).await.unwrap();
        }
        for host in
            ["pdu-2.lab", "rack-7.lab", ".rack-7.lab", "xrack-7.lab", "a.rack-7.lab.evil", "192.0.2.8"]
        {
            let error = credentials.for_host(host).read(&name).await.unwrap_err().to_string();
            let expected =
                format!("credential `plugs` is not for {host}: add it to `hosts` in [credentials.plugs]");
            assert!(error.starts_with(&expected), "{error}");
        }
        assert!(credentials.read(&name).await.is_ok(), "it can be checked without a host");
        for text in ["", "*", "*.", "pdu-*.lab", "http://pdu", "a b"] {
            assert!(HostPattern::new(text).unwrap_err().ends_with(", or `*.lab`"), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_said_with_the_place_for_it() {
        let (known, unknown) =
            (CredentialName::new("switch").unwrap(), CredentialName::new("plugs").unwrap());
        let by_name = BTreeMap::from([(known.clone(), CredentialSource::default())]);
        let credentials = Credentials::new("farm.toml", by_name);
        assert!(credentials.contains(&known) && !credentials.contains(&unknown));
        let credential = credentials.read(&known).await.unwrap();
        for (error, what) in [
            (credential.require_user().unwrap_err(), "no user: set `user` in"),
            (credential.require_password().unwrap_err(), "no password: set `password` or `password-file` in"),
            (
                credential.require_privacy_password().unwrap_err(),
                "no privacy password: set `privacy-password` or `privacy-password-file` in",
            ),
        ] {
            let expected = format!(
                "credential `switch` has {what} [credentials.switch] of farm.toml, and restart this server"
            );
            assert_eq!(error.to_string(), expected);
        }
        let error = credentials.read(&unknown).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "this server has no credential `plugs`: add [credentials.plugs] to farm.toml, and restart this server"
        );
    }
}
