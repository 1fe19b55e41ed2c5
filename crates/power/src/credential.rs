//! The credential of an outlet: its power URL has the name, the server's configuration user and password.

use device_io::{CredentialName, SecretError};

use crate::error::{OutletError, OutletErrorKind};
use crate::parameters::{PowerUrlParameters, SchemeParameter};

/// The name of a credential. Schemes of devices that may have a password have it.
pub(crate) const CREDENTIAL_PARAMETER: SchemeParameter = SchemeParameter {
    name: "credential",
    example: "lab-plugs",
    about: "the name of user and password in the server's lifeguard.toml, if the device has a password",
};

/// Reads the parameter `credential`.
pub(crate) fn credential_name(parameters: &PowerUrlParameters) -> Result<Option<CredentialName>, String> {
    let Some(text) = parameters.get(CREDENTIAL_PARAMETER.name) else { return Ok(None) };
    CredentialName::new(text).map(Some)
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
