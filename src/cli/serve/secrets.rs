//! Where a database's password comes from, and that nobody sees it.

use std::error::Error;
use std::path::Path;

use crate::store::DatabaseUrl;

/// Reads the database's URL from a file.
///
/// # Errors
///
/// When the file cannot be read or holds no URL; what it holds is not shown.
pub(super) fn read_url(file: &Path) -> Result<DatabaseUrl, Box<dyn Error>> {
    let text = fs_err::read_to_string(file)?;
    let url = DatabaseUrl::from(text.trim().to_owned());
    match url.parse() {
        Ok(_) => Ok(url),
        Err(error) => Err(format!("--database-url-file {}: {error}", file.display()).into()),
    }
}

/// Warns where the password in `url` is an argument of this process.
pub(super) fn warn_of_argument(url: &str) {
    let is_argument =
        |password: &str| std::env::args_os().any(|arg| arg.to_string_lossy().contains(password));
    if password_of(url).is_some_and(is_argument) {
        tracing::warn!(
            "the database's password is an argument, which everybody on this machine can see; give it with \
             --database-url-file, LIFEGUARD_DATABASE_URL or PGPASSFILE"
        );
    }
}

/// The password in a database URL, as it is written there.
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
    fn a_password_is_found_where_urls_have_it() {
        assert_eq!(password_of("postgres://ann:se:cret@h1:1,h2:2/lg?a=b"), Some("se:cret"));
        assert_eq!(password_of("postgres:///lg?host=h&password=secret&user=ann"), Some("secret"));
        for none in ["postgres://ann@h:5432/lg", "postgres://h/a@b:c", "postgres:///lg", "ann:secret@h", ""] {
            assert_eq!(password_of(none), None, "{none}");
        }
    }
}
