//! The credential of an outlet: its power URL has the name, this server's configuration user and password.

use device_io::{CredentialName, Credentials, Secret, SecretError};

use crate::error::{OutletError, OutletErrorKind};
use crate::parameters::{PowerUrlParameters, SchemeParameter};

/// The name of a credential. Schemes of devices that may have a password have it.
pub(crate) const CREDENTIAL_PARAMETER: SchemeParameter = SchemeParameter {
    name: "credential",
    example: "lab-plugs",
    about: "the credential in the server's lifeguard.toml with user and password, if the device has a password",
};

/// The user of devices that have one by default.
pub(crate) const DEFAULT_USER: &str = "admin";

/// Reads the parameter `credential`.
pub(crate) fn credential_name(parameters: &PowerUrlParameters) -> Result<Option<CredentialName>, String> {
    let Some(text) = parameters.get(CREDENTIAL_PARAMETER.name) else { return Ok(None) };
    CredentialName::new(text).map(Some).map_err(|problem| format!("`credential={text}`: {problem}"))
}

/// The login of a device with users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceLogin {
    pub(crate) credential: CredentialName,
    /// The user, where the credential has none.
    default_user: Option<&'static str>,
}

/// User and password, as they were when they were read.
#[derive(Debug)]
pub(crate) struct UserPassword {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

impl DeviceLogin {
    /// Reads the parameter `credential`. Without a default user, the credential needs one.
    pub(crate) fn parse(
        parameters: &PowerUrlParameters,
        default_user: Option<&'static str>,
    ) -> Result<Option<Self>, String> {
        Ok(credential_name(parameters)?.map(|credential| Self { credential, default_user }))
    }

    /// Reads user and password. Not cached: they may change at any time.
    pub(crate) async fn read(&self, credentials: &Credentials) -> Result<UserPassword, OutletError> {
        let credential = credentials.read(&self.credential).await?;
        let password = credential.require_password()?.clone();
        let user = match (&credential.user, self.default_user) {
            (None, Some(user)) => user,
            _ => credential.require_user()?,
        };
        Ok(UserPassword { user: user.to_owned(), password })
    }
}

/// A credential that cannot be read is a configuration error, unless this machine is at fault.
impl From<SecretError> for OutletError {
    fn from(error: SecretError) -> Self {
        let reason = error.to_string();
        let kind = match error {
            SecretError::Local(trouble) => OutletErrorKind::Local(trouble),
            SecretError::Misconfigured(_) => OutletErrorKind::Misconfigured,
        };
        Self::new(kind, reason)
    }
}
