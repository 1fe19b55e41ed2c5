//! The credentials of the configuration file: `[credentials.NAME]`, with user and passwords of devices.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use device_io::{
    CredentialName, CredentialSource, Credentials, HostPattern, Secret, SecretFile, SecretSource,
};
use serde_json::{Map, Value, json};
use toml_edit::Item;

use super::fault::{ConfigFault, ConfigText};
use super::named_tables::{Span, key_span, read_named_tables};
use crate::machine::nearest;

/// The key of the table of all credentials.
pub(super) const CREDENTIALS_KEY: &str = "credentials";
/// What a credential looks like.
const FORM: &str = "write [credentials.NAME], and below it `user` and `password-file`";
const USER: &str = "user";
/// A password in the file itself, or the file that holds it.
const PASSWORD: [&str; 2] = ["password", "password-file"];
const PRIVACY_PASSWORD: [&str; 2] = ["privacy-password", "privacy-password-file"];
/// The hosts that it may be sent to.
const HOSTS: &str = "hosts";
const KEYS: [&str; 6] = [USER, PASSWORD[0], PASSWORD[1], PRIVACY_PASSWORD[0], PRIVACY_PASSWORD[1], HOSTS];
/// The longest value, as in a password file.
const MAX_VALUE_BYTES: usize = 1024;

/// A credential of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CredentialEntry {
    pub(super) name: CredentialName,
    pub(super) source: CredentialSource,
    /// The line of its table, from 1.
    pub(super) line: usize,
    /// Where the file itself has a password of it.
    password_at: Span,
}

impl CredentialEntry {
    /// Its values as text; a password is not shown, the file of a password is.
    pub(super) fn value_text(&self) -> String {
        let values = self.values().into_iter().map(|(key, value)| match value {
            Some(value) => format!("{key} {value}"),
            None => format!("{key} (hidden)"),
        });
        values.collect::<Vec<_>>().join(", ")
    }

    /// Its values as JSON; a password is null.
    pub(super) fn to_json(&self) -> Value {
        let values: Map<String, Value> =
            self.values().into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        json!({ "name": self.name.as_str(), "line": self.line, "values": values })
    }

    /// The keys that it sets, and their values, but for passwords.
    fn values(&self) -> Vec<(&'static str, Option<String>)> {
        let CredentialSource { user, password, privacy_password, hosts } = &self.source;
        let secret = |[key, file_key]: [&'static str; 2], secret: &Option<SecretSource>| match secret {
            Some(SecretSource::Text(_)) => Some((key, None)),
            Some(SecretSource::File(file)) => Some((file_key, Some(file.to_string()))),
            None => None,
        };
        let user = user.clone().map(|user| (USER, Some(user)));
        let secrets = [secret(PASSWORD, password), secret(PRIVACY_PASSWORD, privacy_password)];
        let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        let hosts = (!hosts.is_empty()).then(|| (HOSTS, Some(hosts.join(", "))));
        user.into_iter().chain(secrets.into_iter().flatten()).chain(hosts).collect()
    }
}

/// The credentials in the value of [`CREDENTIALS_KEY`], whose key is at `span`.
pub(super) fn read(
    item: &Item,
    span: Span,
    text: ConfigText<'_>,
) -> Result<Vec<CredentialEntry>, Vec<ConfigFault>> {
    read_named_tables((CREDENTIALS_KEY, FORM), (item, span), text, |name, item, span| {
        read_entry(name, item, span, text)
    })
}

fn read_entry(
    name: &str,
    item: &Item,
    span: Span,
    text: ConfigText<'_>,
) -> Result<CredentialEntry, Vec<ConfigFault>> {
    let fault = |problem| vec![text.fault(span.clone(), problem)];
    let Some(table) = item.as_table_like() else {
        return Err(fault(format!("`{name}` is not a credential: {FORM}")));
    };
    let credential = CredentialName::new(name).map_err(fault)?;
    let (mut values, mut allowed_hosts, mut faults) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (key, item) in table.iter() {
        let key_span = key_span(table, key);
        let value_span = item.span().or_else(|| key_span.clone());
        if key == HOSTS {
            match hosts(item) {
                Ok(patterns) => allowed_hosts = patterns,
                Err(problem) => faults.push(text.fault(value_span, problem)),
            }
            continue;
        }
        match value(key, item) {
            _ if !KEYS.contains(&key) => faults.push(text.fault(key_span, unknown_key(key, name))),
            Ok(value) => drop(values.insert(key, (value, key_span))),
            Err(problem) => faults.push(text.fault(value_span, problem)),
        }
    }
    let mut secret = |[key, file_key]: [&str; 2]| match (values.get(key), values.get(file_key)) {
        (Some(_), Some((_, span))) => {
            let problem = format!("`{key}` and `{file_key}` of credential `{name}` exclude each other");
            faults.push(text.fault(span.clone(), problem));
            None
        }
        (Some((value, _)), None) => Some(SecretSource::Text(Secret::new(*value))),
        (None, file) => file.map(|(path, _)| SecretSource::File(SecretFile::configured(path))),
    };
    let source = CredentialSource {
        password: secret(PASSWORD),
        privacy_password: secret(PRIVACY_PASSWORD),
        user: values.get(USER).map(|(user, _)| (*user).to_owned()),
        hosts: allowed_hosts,
    };
    let CredentialSource { user, password, privacy_password, hosts: _ } = &source;
    if faults.is_empty() && user.is_none() && password.is_none() && privacy_password.is_none() {
        faults.push(text.fault(span.clone(), format!("credential `{name}` is empty: {FORM}")));
    } else if faults.is_empty() && password.is_none() && privacy_password.is_some() {
        let problem = format!("credential `{name}` has a password of encryption, but none of authentication");
        faults.push(text.fault(span.clone(), problem));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let password_at =
        [PASSWORD[0], PRIVACY_PASSWORD[0]].into_iter().find_map(|key| values.get(key)?.1.clone());
    Ok(CredentialEntry { name: credential, source, line: text.position(span).0, password_at })
}

/// The text of a value. The reason why there is none does not show it.
fn value<'a>(key: &str, item: &'a Item) -> Result<&'a str, String> {
    let value = item.as_str().ok_or_else(|| format!("`{key}`: text in quotes is needed"))?;
    if value.is_empty() {
        return Err(format!("`{key}` is empty; leave the line out"));
    }
    if value.len() > MAX_VALUE_BYTES || value.contains(char::is_control) {
        return Err(format!("`{key}`: one line of at most {MAX_VALUE_BYTES} bytes is needed"));
    }
    Ok(value)
}

/// The value of [`HOSTS`].
fn hosts(item: &Item) -> Result<Vec<HostPattern>, String> {
    let form = || format!("`{HOSTS}`: a list of hosts is needed, such as [\"pdu-1.lab\", \"*.rack-7.lab\"]");
    let array = item.as_array().filter(|array| !array.is_empty()).ok_or_else(form)?;
    let patterns = array.iter().map(|value| {
        HostPattern::new(value.as_str().ok_or_else(form)?).map_err(|problem| format!("`{HOSTS}`: {problem}"))
    });
    patterns.collect()
}

fn unknown_key(key: &str, name: &str) -> String {
    if let Some(meant) = nearest(key, KEYS) {
        return format!("unknown key `{key}` of credential `{name}`; did you mean `{meant}`?");
    }
    let keys = KEYS.join(", ");
    format!(
        "unknown key `{key}` of credential `{name}`, whose keys are {keys}; options of the server stand above all tables"
    )
}

/// Refuses a file with a password that others than its owner can read.
pub(super) fn check_mode(
    path: &Path,
    metadata: &Metadata,
    entries: &[CredentialEntry],
    text: ConfigText<'_>,
) -> Option<ConfigFault> {
    let password_at = entries.iter().find_map(|entry| entry.password_at.clone())?;
    let is_open = metadata.permissions().mode() & 0o077 != 0;
    is_open.then(|| {
        let path = path.display();
        let problem = format!("a password is in this file, which others can read; run `chmod 600 {path}`");
        text.fault(Some(password_at), problem)
    })
}

/// The credentials for a server with the file at `path`.
pub(super) fn credentials(path: &Path, entries: &[CredentialEntry]) -> Credentials {
    let by_name = entries.iter().map(|entry| (entry.name.clone(), entry.source.clone()));
    Credentials::new(path, by_name.collect())
}
