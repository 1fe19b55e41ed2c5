//! The password of the database: read from a file, and never shown.

use std::error::Error;
use std::path::Path;

use super::super::text_file::read_text_file;
use crate::store::DatabaseUrl;

/// Reads the database's URL from a file.
///
/// # Errors
///
/// When the file cannot be read or contains no database URL. The error does not show its content.
pub(super) fn read_url(file: &Path) -> Result<DatabaseUrl, Box<dyn Error>> {
    let text = read_text_file(file)?;
    let url = DatabaseUrl::from(text.trim().to_owned());
    match url.parse() {
        Ok(_) => Ok(url),
        Err(error) => Err(format!("{}: {error}", file.display()).into()),
    }
}

/// Warns where the password in `url` is an argument of this process.
pub(super) fn warn_of_argument(url: &str) {
    let is_argument =
        |password: &str| std::env::args_os().any(|arg| arg.to_string_lossy().contains(password));
    if password_of(url).is_some_and(is_argument) {
        tracing::warn!(
            "database password visible: every user of this machine can read arguments; use --database-url-file, the \
             configuration file, LIFEGUARD_DATABASE_URL or PGPASSFILE"
        );
    }
}

/// The password in a database URL, without percent-decoding.
fn password_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (authority, query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let login = authority.rsplit_once('@').map(|(login, _)| login);
    let of_login = login.and_then(|login| login.split_once(':')).map(|(_, password)| password);
    let of_query = || query.split(['?', '&']).find_map(|pair| pair.strip_prefix("password="));
    of_login.or_else(of_query).filter(|password| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::password_of;

    #[test]
    fn a_password_is_found_in_the_login_and_in_the_query() {
        assert_eq!(password_of("postgres://ann:se:cret@h1:1,h2:2/lg?a=b"), Some("se:cret"));
        assert_eq!(password_of("postgres:///lg?host=h&password=secret&user=ann"), Some("secret"));
        for none in ["postgres://ann@h:5432/lg", "postgres://h/a@b:c", "postgres:///lg", "ann:secret@h", ""] {
            assert_eq!(password_of(none), None, "{none}");
        }
    }
}
