//! Secrets of devices, each in a file on the server, so that URLs, the database and answers contain none.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

use crate::trouble::LocalTrouble;

/// Required suffix of the file name, so that registering a board cannot send any other file of the server to a device.
const SECRET_FILE_SUFFIX: &str = ".password";
/// The longest secret.
const MAX_SECRET_BYTES: u64 = 1024;

/// A file with one secret, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

/// Why a secret cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// A local fault of this machine.
    #[error("{0}")]
    Local(LocalTrouble),
    /// It is missing or invalid, until the configuration or its file is changed.
    #[error("{0}")]
    Misconfigured(String),
}

impl SecretFile {
    /// Creates a reference to a file that the configuration of this server names; it is not opened yet.
    #[must_use]
    pub fn configured(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Creates a reference to a file; it is not opened yet.
    ///
    /// # Errors
    ///
    /// The required form, when the path is relative or lacks the suffix.
    pub fn new(path: &str) -> Result<Self, String> {
        if Path::new(path).is_absolute() && path.ends_with(SECRET_FILE_SUFFIX) {
            return Ok(Self(PathBuf::from(path)));
        }
        Err(format!(
            "write the absolute path of a file on the server, whose name ends in `{SECRET_FILE_SUFFIX}`"
        ))
    }

    /// Reads the secret. Not cached: it may change at any time.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub async fn read(&self) -> Result<String, SecretError> {
        let file = fs_err::tokio::File::open(&self.0).await.map_err(|error| read_error(&error))?;
        let mode = file.metadata().await.map_err(|error| read_error(&error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(SecretError::Misconfigured(format!("{self} is readable by others; run `chmod 600`")));
        }
        let mut text = String::new();
        file.take(MAX_SECRET_BYTES).read_to_string(&mut text).await.map_err(|error| read_error(&error))?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() || secret.contains(['\r', '\n']) {
            return Err(SecretError::Misconfigured(format!("{self} must contain exactly one line")));
        }
        Ok(secret.to_owned())
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

fn read_error(error: &io::Error) -> SecretError {
    match LocalTrouble::of_shortage(error) {
        Some(trouble) => SecretError::Local(trouble),
        None => SecretError::Misconfigured(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use fs_err as fs;

    use super::*;

    #[tokio::test]
    async fn a_secret_is_read_only_from_a_private_password_file() {
        for path in ["plug.password", "/etc/shadow", "/home/lifeguard/.pgpass"] {
            assert!(SecretFile::new(path).is_err(), "{path}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plug.password");
        let file = SecretFile::new(path.to_str().unwrap()).unwrap();
        let read = async |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            file.read().await.map_err(|error| error.to_string())
        };
        assert!(file.read().await.is_err(), "there is no file");
        assert_eq!(read(" se cret\n", 0o600).await.unwrap(), " se cret");
        assert!(read("secret\n", 0o640).await.unwrap_err().ends_with("run `chmod 600`"));
        for text in ["", "\n", "secret\nmore\n"] {
            let error = read(text, 0o600).await.unwrap_err();
            assert!(error.ends_with("must contain exactly one line") && !error.contains("more"), "{error}");
        }
    }
}
