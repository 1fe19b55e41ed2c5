//! User name and password of a device, as its power URL names them: the password is in a file.

use device_io::{SecretError, SecretFile};

use crate::error::{OutletError, OutletErrorKind};
use crate::parameters::{PowerUrlParameters, SchemeParameter};

/// The user name, [`DEFAULT_USER`] by default.
pub(crate) const USER_PARAMETER: SchemeParameter = SchemeParameter {
    name: "user",
    example: "admin",
    about: "user name, if the device has a password; the default is `admin`",
};

/// The file with the password. Schemes of devices that may have a password have it.
pub(crate) const PASSWORD_FILE_PARAMETER: SchemeParameter = SchemeParameter {
    name: "password-file",
    example: "/etc/lifeguard/plug.password",
    about: "a file on the server that holds the password; its name ends in `.password`, and only the server may read it",
};

/// The factory setting of all devices that have users.
pub(crate) const DEFAULT_USER: &str = "admin";

/// User name and password file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceLogin {
    pub(crate) user: String,
    pub(crate) password: SecretFile,
}

impl DeviceLogin {
    /// Reads the parameters `user` and `password-file`. Without a default user, one needs the other.
    pub(crate) fn parse(
        parameters: &PowerUrlParameters,
        default_user: Option<&str>,
    ) -> Result<Option<Self>, String> {
        let user = parameters.get(USER_PARAMETER.name);
        let Some(password) = password_file(parameters)? else {
            return if user.is_some() { Err("`user` needs `password-file`".to_owned()) } else { Ok(None) };
        };
        let user = user.or(default_user).ok_or("`password-file` needs `user`")?;
        Ok(Some(Self { user: user.to_owned(), password }))
    }
}

/// Reads the parameter `password-file`.
pub(crate) fn password_file(parameters: &PowerUrlParameters) -> Result<Option<SecretFile>, String> {
    let Some(file) = parameters.get(PASSWORD_FILE_PARAMETER.name) else { return Ok(None) };
    let password = SecretFile::new(file).map_err(|problem| format!("`password-file={file}`: {problem}"))?;
    Ok(Some(password))
}

/// Reads the password. Not cached: it may change at any time.
pub(crate) async fn read_password(file: &SecretFile) -> Result<String, OutletError> {
    file.read().await.map_err(|error| match error {
        SecretError::Local(trouble) => {
            OutletError::new(OutletErrorKind::Local(trouble.clone()), trouble.to_string())
        }
        SecretError::Misconfigured(reason) => {
            OutletError::new(OutletErrorKind::Misconfigured, format!("no password: {reason}"))
        }
    })
}
