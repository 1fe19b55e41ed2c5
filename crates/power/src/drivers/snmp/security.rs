//! Version, user and passwords of SNMP.

use std::convert::Infallible;
use std::sync::LazyLock;

use async_snmp::transport::alloc_request_id;
use async_snmp::{
    Auth, AuthProtocol, ClientBuilder, DesSaltState, PersistedDesSaltState, PrivProtocol, UsmConfig,
};
use device_io::{Credential, CredentialName, Credentials};

use crate::credential::credential_name;
use crate::error::{OutletError, OutletErrorKind};
use crate::parameters::PowerUrlParameters;

/// The community without a credential. It is the write community of most devices as delivered.
const DEFAULT_COMMUNITY: &str = "private";
/// Source: RFC 3414 section 11.2, which the library enforces.
const MIN_PASSWORD_BYTES: usize = 8;

/// The algorithms of authentication by their names in power URLs.
const AUTH_PROTOCOLS: &[(&str, AuthProtocol)] = &[
    ("sha", AuthProtocol::Sha1),
    ("md5", AuthProtocol::Md5),
    ("sha224", AuthProtocol::Sha224),
    ("sha256", AuthProtocol::Sha256),
    ("sha384", AuthProtocol::Sha384),
    ("sha512", AuthProtocol::Sha512),
];

/// The algorithms of encryption by their names in power URLs. Of AES with longer keys there are two ways to make the
/// key; Cisco's is that of Cisco and some others.
const PRIVACY_PROTOCOLS: &[(&str, PrivProtocol)] = &[
    ("aes", PrivProtocol::Aes128),
    ("des", PrivProtocol::Des),
    ("3des", PrivProtocol::Des3),
    ("aes192", PrivProtocol::Aes192Blumenthal),
    ("aes256", PrivProtocol::Aes256Blumenthal),
    ("aes192-cisco", PrivProtocol::Aes192Reeder),
    ("aes256-cisco", PrivProtocol::Aes256Reeder),
];

/// A version of SNMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SnmpVersion {
    V1,
    V2c,
    V3,
}

/// How requests are authenticated, as the power URL names it. Secrets are read when they are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SnmpSecurity {
    /// Version 1 or 2c, by a community.
    Community { version: SnmpVersion, credential: Option<CredentialName> },
    /// Version 3, by a user.
    User(SnmpUser),
}

/// A user of version 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SnmpUser {
    credential: CredentialName,
    auth: Option<AuthProtocol>,
    privacy: Option<PrivProtocol>,
    context: String,
}

impl SnmpSecurity {
    /// Reads the parameters `version`, `credential`, `auth`, `privacy` and `context`.
    pub(super) fn parse(parameters: &PowerUrlParameters, default: SnmpVersion) -> Result<Self, String> {
        let version = match parameters.get("version") {
            None => default,
            Some("1") => SnmpVersion::V1,
            Some("2c") => SnmpVersion::V2c,
            Some("3") => SnmpVersion::V3,
            Some(other) => return Err(format!("`version={other}`: write `1`, `2c` or `3`")),
        };
        let credential = credential_name(parameters)?;
        if version != SnmpVersion::V3 {
            if let Some(name) =
                ["auth", "privacy", "context"].iter().find(|name| parameters.get(name).is_some())
            {
                return Err(format!("`{name}` needs `version=3`"));
            }
            return Ok(Self::Community { version, credential });
        }
        let credential =
            credential.ok_or("`version=3` needs `credential`, for the user and its passwords")?;
        let auth = algorithm(parameters, "auth", AUTH_PROTOCOLS)?;
        let privacy = match (auth, parameters.get("privacy")) {
            (None, None) => None,
            (Some(_) | None, _) => algorithm(parameters, "privacy", PRIVACY_PROTOCOLS)?,
        };
        if auth.is_none() && privacy.is_some() {
            return Err("there is no encryption without authentication; write `auth` too".to_owned());
        }
        let context = parameters.get("context").unwrap_or_default().to_owned();
        Ok(Self::User(SnmpUser { credential, auth, privacy, context }))
    }

    /// Whether a request for several objects fails where one of them is missing.
    pub(super) fn reads_all_or_nothing(&self) -> bool {
        matches!(self, Self::Community { version: SnmpVersion::V1, .. })
    }

    /// Whether the device has to be asked for its engine ID first.
    pub(super) fn is_user_based(&self) -> bool {
        matches!(self, Self::User(_))
    }

    /// What a missing answer may mean.
    pub(super) fn silence_hint(&self) -> &'static str {
        match self {
            Self::Community { .. } => "; a wrong community is not answered either",
            Self::User(_) => {
                "; a user who is set up for another `auth` or `privacy` may not be answered either"
            }
        }
    }

    /// Prepares a client with the secrets of the credential.
    pub(super) async fn client_builder(
        &self,
        credentials: &Credentials,
    ) -> Result<ClientBuilder, OutletError> {
        match self {
            Self::Community { version, credential } => {
                let community = match credential {
                    Some(name) => credentials.read(name).await?.require_password()?.expose().to_owned(),
                    None => DEFAULT_COMMUNITY.to_owned(),
                };
                let auth =
                    if *version == SnmpVersion::V1 { Auth::v1(community) } else { Auth::v2c(community) };
                Ok(ClientBuilder::new(auth))
            }
            Self::User(user) => user.client_builder(credentials).await,
        }
    }
}

impl SnmpUser {
    async fn client_builder(&self, credentials: &Credentials) -> Result<ClientBuilder, OutletError> {
        let user = self.with_passwords(&credentials.read(&self.credential).await?)?;
        let builder = ClientBuilder::new(user.context_name(self.context.clone()));
        if !self.privacy.is_some_and(PrivProtocol::is_des_family) {
            return Ok(builder);
        }
        match &*DES_SALTS {
            Ok(salts) => Ok(builder.des_salt_state(salts.clone())),
            Err(reason) => Err(misconfigured(reason)),
        }
    }

    fn with_passwords(&self, credential: &Credential) -> Result<UsmConfig, OutletError> {
        let user = UsmConfig::new(credential.require_user()?.to_owned());
        let Some(auth) = self.auth else { return Ok(user) };
        let password = self.long_enough("password", credential.require_password()?.expose())?;
        let user = match self.privacy {
            None => user.auth(auth, password),
            Some(privacy) => {
                let key = credential.require_privacy_password()?.expose();
                user.auth_priv(auth, password, privacy, self.long_enough("privacy password", key)?)
            }
        };
        let name = &self.credential;
        user.map_err(|error| misconfigured(&format!("credential `{name}` cannot be used: {error}")))
    }

    fn long_enough<'a>(&self, what: &str, password: &'a str) -> Result<&'a str, OutletError> {
        if password.len() >= MIN_PASSWORD_BYTES {
            return Ok(password);
        }
        let name = &self.credential;
        Err(misconfigured(&format!(
            "the {what} of credential `{name}` is too short: SNMPv3 requires {MIN_PASSWORD_BYTES} characters"
        )))
    }
}

/// The salts of DES of this process. RFC 3414 section 8.1.1.1 counts them on across restarts; a random beginning is as
/// unlikely to repeat one.
static DES_SALTS: LazyLock<Result<DesSaltState, String>> = LazyLock::new(|| {
    // Random at the first call in a process, and from 1 to 2^31 - 1.
    let epoch = alloc_request_id().unsigned_abs().min(i32::MAX.unsigned_abs() - 1);
    let beginning = PersistedDesSaltState::new(epoch).map_err(|error| error.to_string())?;
    DesSaltState::restart(beginning, |_| Ok::<(), Infallible>(())).map_err(|error| error.to_string())
});

fn misconfigured(reason: &str) -> OutletError {
    OutletError::new(OutletErrorKind::Misconfigured, reason)
}

/// The algorithm that a parameter names, the first of the list by default; `None` for `none`.
fn algorithm<T: Copy>(
    parameters: &PowerUrlParameters,
    parameter: &str,
    known: &[(&str, T)],
) -> Result<Option<T>, String> {
    match parameters.get(parameter) {
        None => Ok(known.first().map(|(_, algorithm)| *algorithm)),
        Some("none") => Ok(None),
        Some(text) => {
            let names = || known.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let found = known.iter().find(|(name, _)| *name == text);
            let (_, algorithm) =
                found.ok_or_else(|| format!("`{parameter}={text}`: write {} or `none`", names()))?;
            Ok(Some(*algorithm))
        }
    }
}
