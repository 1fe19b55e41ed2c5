//! Checks of the fields of a board: each returns the stored spelling, or what is expected.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use super::mac::Mac;
use crate::actions::{PollUrl, PowerUrl};
use crate::machine::{is_instance_name, reword_library_error};

/// The maximum length of input that is repeated in an error, in characters.
const MAX_ECHOED_CHARS: usize = 80;

/// Checks a name for use in paths and file names: one or more labels of a host name.
///
/// # Errors
///
/// What is expected.
pub fn checked_name(text: &str) -> Result<String, String> {
    if is_instance_name(text) {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(MAX_ECHOED_CHARS).collect();
    Err(format!(
        "{shown:?} is not a name: 1 to 64 letters, digits, `-`, `_` and `.`, with a letter or digit first and after each \
         `.`"
    ))
}

pub(super) fn checked_host(text: &str) -> Result<String, String> {
    let is_address = text.parse::<IpAddr>().is_ok();
    if is_address || (text.len() <= 253 && text.split('.').all(|label| checked_name(label).is_ok())) {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(MAX_ECHOED_CHARS).collect();
    Err(format!("{shown:?} is neither a host name nor an address"))
}

pub(super) fn checked_mac(text: &str) -> Result<String, String> {
    let mac = text.parse::<Mac>().map_err(|error| error.to_string())?;
    if mac.is_of_device() {
        Ok(mac.to_string())
    } else {
        Err(format!("{mac} is the address of no network card"))
    }
}

pub(super) fn checked_power_url(text: &str) -> Result<String, String> {
    PowerUrl::read_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn checked_poll_url(text: &str) -> Result<String, String> {
    text.parse::<PollUrl>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The maximum number of labels of a board.
const MAX_LABELS: usize = 32;

/// Checks a list of labels, or a text with comma-separated labels; returns each once, in alphabetical order.
pub(super) fn checked_labels(value: &Value) -> Result<Value, String> {
    let labels: Vec<String> = match value {
        Value::Null => Vec::new(),
        Value::String(text) => {
            text.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect()
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Vec::deserialize(value).map_err(|error| reword_library_error(&error.to_string()))?
        }
    };
    let labels = labels.iter().map(|label| checked_name(label)).collect::<Result<BTreeSet<_>, _>>()?;
    if labels.len() > MAX_LABELS {
        return Err(format!("{} labels; a board may have {MAX_LABELS}", labels.len()));
    }
    Ok(json!(labels))
}

#[expect(clippy::unnecessary_wraps, reason = "it has the signature of all checks")]
pub(super) fn any_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}
