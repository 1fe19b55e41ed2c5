//! User and password of a device with HTTP, as power URLs name them: the password is in a file.

use device_io::SecretFile;
use url::Url;

use crate::parameters::{PowerUrlParameters, SchemeParameter};

/// The file with the password.
pub(crate) const PASSWORD_FILE_PARAMETER: SchemeParameter = SchemeParameter {
    name: "password-file",
    example: "/etc/lifeguard/plug.password",
    about: "a file on the server that holds the password; its name ends in `.password`, and only the server may read it",
};

/// How user and password are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginMethod {
    /// By the driver, in the request itself.
    InRequest,
    /// With each request, by Basic authentication.
    Basic,
    /// As an answer to the device's challenge, by Digest authentication.
    Digest,
}

/// User name and password file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpLogin {
    pub(crate) user: String,
    pub(crate) password: SecretFile,
    pub(crate) method: LoginMethod,
}

impl HttpLogin {
    /// Reads `user` and `password-file`. `default_user` is the name that the device itself uses, if it has one.
    pub(crate) fn read(
        parameters: &PowerUrlParameters,
        method: LoginMethod,
        default_user: Option<&str>,
    ) -> Result<Option<Self>, String> {
        let Some(file) = parameters.get("password-file") else {
            return match parameters.get("user") {
                Some(_) => Err("`user` needs `password-file`".to_owned()),
                None => Ok(None),
            };
        };
        let password =
            SecretFile::new(file).map_err(|problem| format!("`password-file={file}`: {problem}"))?;
        let user = parameters.get("user").or(default_user).ok_or("`password-file` needs `user`")?;
        Ok(Some(Self { user: user.to_owned(), password, method }))
    }
}

/// The port of a power URL.
pub(crate) fn port(url: &Url, default: u16) -> Result<u16, String> {
    match url.port().unwrap_or(default) {
        0 => Err("there is no port 0; a port is 1 to 65535".to_owned()),
        port => Ok(port),
    }
}
