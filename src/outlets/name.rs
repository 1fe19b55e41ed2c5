//! Names of outlets: `modbus-relay-3.lab-502-5-unit-1-8d7e0b2f64a1`.

use crate::actions::signature;

/// The characters of the digest at the end: without it, two outlets could have one name.
const DIGEST_CHARS: usize = 12;
/// The characters before it. Source: an instance name has at most 64 (`is_instance_name`).
const MAX_READABLE_CHARS: usize = 64 - 1 - DIGEST_CHARS;

/// Builds the instance name of an outlet, or of a device, from its canonical spelling.
#[must_use]
pub fn instance_name(outlet: &str) -> String {
    let mut readable = String::new();
    for c in outlet.chars() {
        if c.is_ascii_alphanumeric() {
            readable.push(c);
        } else if !readable.is_empty() && !readable.ends_with(['-', '.']) {
            readable.push(if c == '.' { '.' } else { '-' });
        }
    }
    readable.truncate(MAX_READABLE_CHARS);
    let readable = readable.trim_end_matches(['-', '.']);
    let digest = signature::digest(outlet.as_bytes());
    let digest = digest.get(..DIGEST_CHARS).unwrap_or(&digest);
    if readable.is_empty() { digest.to_owned() } else { format!("{readable}-{digest}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::is_instance_name;

    #[test]
    fn every_outlet_has_a_valid_name_of_its_own() {
        let long = format!("http://{}.lab:80/{}", "pdu".repeat(60), "on".repeat(60));
        let outlets = [
            "modbus://relay-3.lab:502/5?unit=1",
            "modbus://relay-3.lab:502/5/unit=1",
            "modbus://[::1]:502/5?unit=1",
            "modbus://a..b:502",
            "x://ä/é",
            "…",
            "",
            &long,
        ];
        let names = outlets.map(instance_name);
        for (index, name) in names.iter().enumerate() {
            assert!(is_instance_name(name), "{name}");
            assert!(!names[..index].contains(name), "{name}");
        }
        assert!(names[0].starts_with("modbus-relay-3.lab-502-5-unit-1-"), "{}", names[0]);
    }
}
