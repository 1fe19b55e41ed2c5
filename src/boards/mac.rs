//! MAC addresses of boards, and the names of boot links.

use std::fmt;
use std::str::FromStr;

/// The MAC address of a board, shown as `aa:bb:cc:dd:ee:ff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// The text is not a MAC address.
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

impl Mac {
    /// Whether a network card can have it: it is not the zero address, and no group address.
    ///
    /// Source: IEEE 802, the lowest bit of the first octet marks group addresses.
    #[must_use]
    pub fn is_of_device(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.map(|octet| format!("{octet:02x}")).join(":"))
    }
}

/// Returns the name of the boot link that a boot loader with this address requests: `01-aa-bb-cc-dd-ee-ff`.
///
/// Source: PXELINUX, "Configuration": the ARP hardware type (01 is Ethernet) and the address, in lower case, with dashes.
#[must_use]
pub fn link_name(mac: &Mac) -> String {
    format!("01-{}", mac.0.map(|octet| format!("{octet:02x}")).join("-"))
}

/// Returns the address whose boot link is requested as `file`: `pxelinux.cfg/01-…` in any folder, or without that folder.
///
/// Only the exact spelling of [`link_name`] counts.
#[must_use]
pub fn mac_of_link(file: &str) -> Option<Mac> {
    let (folders, name) = file.rsplit_once('/').unwrap_or(("", file));
    let folder = folders.rsplit('/').next().unwrap_or_default();
    let mac = name.strip_prefix("01-")?.parse().ok()?;
    (link_name(&mac) == name && matches!(folder, "" | "pxelinux.cfg")).then_some(mac)
}

/// Returns the last MAC address in a file's name: boot loaders put theirs into the names that they request.
///
/// Examples: `pxelinux.cfg/01-02-00-…`, `grub/grub.cfg-01-02-00-…`, `02:00:….ipxe`, `mac-0200….ipxe`, `02-00-…/start4.elf`.
/// The last part of a UUID, which firmware requests too, does not count.
#[must_use]
pub fn mac_in_name(file: &str) -> Option<Mac> {
    file.rsplit('/').find_map(mac_in_component)
}

fn mac_in_component(component: &str) -> Option<Mac> {
    let is_hex =
        |word: &str, digits: usize| word.len() == digits && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Words, each with the separator before it.
    let (mut words, mut rest) = (Vec::new(), component);
    let mut before = None;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        words.push((before, word));
        let mut tail = tail.chars();
        before = tail.next();
        rest = tail.as_str();
    }
    let mut found = None;
    let mut run: Vec<&str> = Vec::new();
    let mut last = "";
    for (separator, word) in words.into_iter().chain([(None, "")]) {
        let continues = !run.is_empty() && matches!(separator, Some('-' | ':')) && is_hex(word, 2);
        if !continues {
            // The hardware type precedes the address; 01 is Ethernet.
            let address = run.strip_prefix(&["01"]).filter(|rest| rest.len() == 6).unwrap_or(&run);
            if address.len() == 6 {
                found = address.concat().parse().ok().or(found);
            }
            run.clear();
        }
        if is_hex(word, 2) {
            run.push(word);
        } else if is_hex(word, 12) && !is_hex(last, 4) {
            found = word.parse().ok().or(found);
        }
        last = word;
    }
    found
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
    fn invalid_addresses_are_refused() {
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
    fn a_boot_link_has_the_address_and_other_files_have_none() {
        let mac: Mac = "aa:bb:cc:dd:ee:ff".parse().unwrap();
        for file in [
            "01-aa-bb-cc-dd-ee-ff",
            "pxelinux.cfg/01-aa-bb-cc-dd-ee-ff",
            "/pxelinux.cfg/01-aa-bb-cc-dd-ee-ff",
            "menu-efi64/pxelinux.cfg/01-aa-bb-cc-dd-ee-ff",
        ] {
            assert_eq!(mac_of_link(file), Some(mac), "{file}");
            assert_eq!(mac_in_name(file), Some(mac), "{file}");
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

    #[test]
    fn the_address_in_a_name_is_found_in_the_spellings_of_boot_loaders_and_nowhere_else() {
        let mac: Mac = "aa:bb:cc:dd:ee:ff".parse().unwrap();
        for file in [
            "grub/grub.cfg-01-aa-bb-cc-dd-ee-ff",
            "grub/grub.cfg-01-AA-BB-CC-DD-EE-FF",
            "aa:bb:cc:dd:ee:ff.ipxe",
            "boot/mac-aabbccddeeff.ipxe",
            "aa-bb-cc-dd-ee-ff/start4.elf",
            "00-11-22-33-44-55/01-aa-bb-cc-dd-ee-ff",
            "01-aa-bb-cc-dd-ee-ff.cfg",
        ] {
            assert_eq!(mac_in_name(file), Some(mac), "{file}");
        }
        for file in [
            "",
            "pxelinux.0",
            "pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d",
            "grub/grub.cfg-4c4c4544-0043-3510-8051-b7c04f4d3232",
            "pxelinux.cfg/0A00020F",
            "kernel-aabbccddeeff00",
            "aa-bb-cc-dd-ee",
            "aa-bb-cc-dd-ee-ff-00-11",
            "02-aa-bb-cc-dd-ee-ff",
            "aa-bb-cc:dd:ee:f",
        ] {
            assert_eq!(mac_in_name(file), None, "{file}");
        }
    }
}
