//! Content security policies: what a browser may load and run for a document.
//!
//! No scripts, no frames, nothing from other sources. Styles are part of the documents and are allowed by their digests.
//! Source: W3C Content Security Policy Level 3, §6.6 and §8.3.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// The policy of answers that are not documents: nothing is allowed.
pub const DENY_ALL: &str = "default-src 'none'; frame-ancestors 'none'";

/// The policy of a document with these texts between `<style>` and `</style>`, and no others.
#[must_use]
pub fn with_styles(styles: &[&str]) -> String {
    let mut policy = "default-src 'none'; style-src".to_owned();
    for style in styles {
        policy.push_str(" 'sha256-");
        BASE64_STANDARD.encode_string(Sha256::digest(style), &mut policy);
        policy.push('\'');
    }
    policy + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_is_allowed_by_its_digest() {
        // Source: `printf '' | openssl dgst -sha256 -binary | base64`.
        let empty = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";
        assert!(with_styles(&[""]).contains(&format!("style-src {empty};")));
    }
}
