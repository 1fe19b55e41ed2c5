//! Secrets of devices: each in a file of the server, so that none is in a URL, a database or an answer.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

use crate::trouble::LocalTrouble;

/// What the name of such a file ends in: whoever may register a board can have no other file of the server sent to a device.
const SECRET_FILE_SUFFIX: &str = ".password";
/// The longest secret.
const MAX_SECRET_BYTES: u64 = 1024;

/// A file that holds one secret, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

/// Why a secret cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Trouble of this machine.
    #[error("{0}")]
    Local(LocalTrouble),
    /// The file is missing, or is not as it has to be.
    #[error("{0}")]
    Misconfigured(String),
}

impl SecretFile {
    /// Takes the path of a file; it is not looked at yet.
    ///
    /// # Errors
    ///
    /// What would be right, where the path is relative or could be that of a file which was not made for this.
    pub fn new(path: &str) -> Result<Self, String> {
        if Path::new(path).is_absolute() && path.ends_with(SECRET_FILE_SUFFIX) {
            return Ok(Self(PathBuf::from(path)));
        }
        Err(format!(
            "it is the whole path of a file on the server, whose name ends in `{SECRET_FILE_SUFFIX}`"
        ))
    }

    /// Reads the secret, each time anew: it may be changed at any time.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub async fn read(&self) -> Result<String, SecretError> {
        let file = fs_err::tokio::File::open(&self.0).await.map_err(|error| read_error(&error))?;
        let mode = file.metadata().await.map_err(|error| read_error(&error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(SecretError::Misconfigured(format!(
                "{self} can be read by others; `chmod 600` mends that"
            )));
        }
        let mut text = String::new();
        file.take(MAX_SECRET_BYTES).read_to_string(&mut text).await.map_err(|error| read_error(&error))?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() || secret.contains(['\r', '\n']) {
            return Err(SecretError::Misconfigured(format!("{self} is to hold one line")));
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
    async fn a_secret_is_read_only_from_a_file_that_was_made_for_it() {
        for path in ["plug.password", "/etc/shadow", "/home/lifeguard/.pgpass"] {
            assert!(SecretFile::new(path).is_err(), "{path}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plug.password");
        let file = SecretFile::new(path.to_str().unwrap()).unwrap();
        let read = async |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            file.read().await.map_err(|error| error.to_string())
        };
        assert!(file.read().await.is_err(), "there is none");
        assert_eq!(read(" se cret\n", 0o600).await.unwrap(), " se cret");
        assert!(read("secret\n", 0o640).await.unwrap_err().ends_with("`chmod 600` mends that"));
        for text in ["", "\n", "secret\nmore\n"] {
            let error = read(text, 0o600).await.unwrap_err();
            assert!(error.ends_with("is to hold one line") && !error.contains("more"), "{error}");
        }
    }
}
