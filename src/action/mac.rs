//! A board's network address, and the name of the boot link that a board with that address asks for.

use std::fmt;
use std::str::FromStr;

/// The network address of a board's Ethernet interface, shown as `aa:bb:cc:dd:ee:ff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// Says why a text is not a network address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a MAC address: write twelve hexadecimal digits, as `aa:bb:cc:dd:ee:ff`, \
         `aa-bb-cc-dd-ee-ff` or `aabbccddeeff`"
)]
pub struct BadMac(String);

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        octets(text).map(Self).ok_or_else(|| BadMac(text.chars().take(40).collect()))
    }
}

fn octets(text: &str) -> Option<[u8; 6]> {
    let width = match text.len() {
        12 => 2,
        17 => 3,
        _ => return None,
    };
    let bytes = text.as_bytes();
    let separator = bytes.get(2).filter(|_| width == 3);
    if !separator.is_none_or(|byte| matches!(byte, b':' | b'-')) {
        return None;
    }
    let mut octets = [0; 6];
    for (octet, part) in octets.iter_mut().zip(bytes.chunks(width)) {
        let (digits, rest) = part.split_at_checked(2)?;
        if rest.first().is_some_and(|byte| Some(byte) != separator) {
            return None;
        }
        *octet = digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + hex(*digit)?))?;
    }
    Some(octets)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.map(|octet| format!("{octet:02x}")).join(":"))
    }
}

/// The name of the link that a boot loader with this address asks for: `01-aa-bb-cc-dd-ee-ff`.
///
/// Source: PXELINUX, "Configuration": the ARP hardware type (01 is Ethernet) and the address, in lower case, with dashes.
#[must_use]
pub fn link_name(mac: &Mac) -> String {
    format!("01-{}", mac.0.map(|octet| format!("{octet:02x}")).join("-"))
}

/// Whose boot link `file` is, as a boot loader asks for it: `pxelinux.cfg/01-…`, with or without that folder.
///
/// Only the exact spelling of [`link_name`] counts, because only that one is a link's name.
#[must_use]
pub fn mac_of_link(file: &str) -> Option<Mac> {
    let file = file.trim_start_matches('/');
    let name = file.strip_prefix("pxelinux.cfg/").unwrap_or(file);
    let mac = name.strip_prefix("01-")?.parse().ok()?;
    (link_name(&mac) == name).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_read_in_three_spellings_and_shown_in_one() {
        for text in ["aa:0b:cc:dd:ee:ff", "AA:0B:CC:DD:EE:FF", "aa-0b-cc-dd-ee-ff", "AA0BccDDeeff"] {
            let mac: Mac = text.parse().unwrap();
            assert_eq!(mac.to_string(), "aa:0b:cc:dd:ee:ff");
            assert_eq!(link_name(&mac), "01-aa-0b-cc-dd-ee-ff");
        }
    }

    #[test]
    fn what_is_no_mac_is_refused() {
        for text in [
            "",
            "aa:bb:cc:dd:ee",
            "aa:bb:cc:dd:ee:fg",
            "aa:bb-cc:dd:ee:ff",
            "aa.bb.cc.dd.ee.ff",
            "+abbccddeeff",
            "aa:bb:cc:dd:ee:ff:",
            "aabbccddeeff00112",
            "aa:bb:cc:dd:ee:é",
        ] {
            let error = text.parse::<Mac>().unwrap_err().to_string();
            assert!(error.contains("aa:bb:cc:dd:ee:ff"), "{text}: {error}");
        }
    }

    #[test]
    fn a_link_names_its_board_and_other_files_name_none() {
        let mac: Mac = "aa:bb:cc:dd:ee:ff".parse().unwrap();
        for file in [
            "01-aa-bb-cc-dd-ee-ff",
            "pxelinux.cfg/01-aa-bb-cc-dd-ee-ff",
            "/pxelinux.cfg/01-aa-bb-cc-dd-ee-ff",
        ] {
            assert_eq!(mac_of_link(file), Some(mac), "{file}");
        }
        for file in [
            "01-aabbccddeeff",
            "01-AA-BB-CC-DD-EE-FF",
            "02-aa-bb-cc-dd-ee-ff",
            "configs/01-aa-bb-cc-dd-ee-ff",
            "pxelinux.cfg/default",
        ] {
            assert_eq!(mac_of_link(file), None, "{file}");
        }
    }
}
