//! HTTP authentication of requests to devices: Basic (RFC 7617) and Digest (RFC 7616).
//!
//! Written from the RFCs: the crates for Digest bring older versions of the hash functions that are in the tree already.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest, Sha256};

/// Count of requests with one nonce. Source: RFC 7616 section 3.4, `nc`; each request is answered to a new challenge.
const NONCE_COUNT: &str = "00000001";

/// The value of an `Authorization` header, which is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    value: String,
    secret: String,
}

impl Authorization {
    /// User and password as they are. Source: RFC 7617 section 2.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        let secret = STANDARD.encode(format!("{user}:{password}"));
        Self { value: format!("Basic {secret}"), secret }
    }

    /// Answers the strongest Digest challenge among the `WWW-Authenticate` headers of an answer; `None` where no
    /// challenge can be answered.
    #[must_use]
    pub fn digest(
        headers: &[String],
        (user, password): (&str, &str),
        (method, target): (&str, &str),
    ) -> Option<Self> {
        let challenges = headers.iter().flat_map(|header| challenges(header));
        let strongest =
            challenges.filter_map(|challenge| DigestChallenge::new(&challenge)).max_by_key(|challenge| {
                match challenge.algorithm {
                    DigestAlgorithm::Md5 => 0,
                    DigestAlgorithm::Sha256 => 1,
                }
            })?;
        Some(strongest.answer((user, password), (method, target), &client_nonce()))
    }

    /// The whole header value.
    #[must_use]
    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// The part that must not be shown, for redacting answers that repeat the request.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DigestAlgorithm {
    Md5,
    Sha256,
}

impl DigestAlgorithm {
    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// A Digest challenge that can be answered. Source: RFC 7616 section 3.3.
struct DigestChallenge {
    algorithm: DigestAlgorithm,
    /// The algorithm as the device writes it, which the answer repeats.
    algorithm_text: Option<String>,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// Whether the device offers `qop=auth`. Devices older than RFC 2617 offer none.
    has_qop: bool,
}

impl DigestChallenge {
    fn new(challenge: &Challenge) -> Option<Self> {
        if !challenge.scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let algorithm_text = challenge.parameter("algorithm");
        let algorithm = match algorithm_text.map(str::to_ascii_uppercase).as_deref() {
            None | Some("MD5") => DigestAlgorithm::Md5,
            Some("SHA-256") => DigestAlgorithm::Sha256,
            // Includes the variants with `-sess`, which no device is known to require.
            Some(_) => return None,
        };
        let qop = challenge.parameter("qop");
        if qop.is_some_and(|qop| !qop.split(',').any(|option| option.trim().eq_ignore_ascii_case("auth"))) {
            return None;
        }
        Some(Self {
            algorithm,
            algorithm_text: algorithm_text.map(str::to_owned),
            realm: challenge.parameter("realm")?.to_owned(),
            nonce: challenge.parameter("nonce")?.to_owned(),
            opaque: challenge.parameter("opaque").map(str::to_owned),
            has_qop: qop.is_some(),
        })
    }

    /// Source: RFC 7616 section 3.4.
    fn answer(
        &self,
        (user, password): (&str, &str),
        (method, target): (&str, &str),
        client_nonce: &str,
    ) -> Authorization {
        let Self { algorithm, algorithm_text, realm, nonce, opaque, has_qop } = self;
        let login = algorithm.hash(&format!("{user}:{realm}:{password}"));
        let request = algorithm.hash(&format!("{method}:{target}"));
        let secret = if *has_qop {
            algorithm.hash(&format!("{login}:{nonce}:{NONCE_COUNT}:{client_nonce}:auth:{request}"))
        } else {
            algorithm.hash(&format!("{login}:{nonce}:{request}"))
        };
        let mut fields = vec![
            format!("username={}", quoted(user)),
            format!("realm={}", quoted(realm)),
            format!("nonce={}", quoted(nonce)),
            format!("uri={}", quoted(target)),
            format!("response=\"{secret}\""),
        ];
        if *has_qop {
            fields.push(format!("qop=auth, nc={NONCE_COUNT}, cnonce={}", quoted(client_nonce)));
        }
        fields.extend(algorithm_text.as_ref().map(|text| format!("algorithm={text}")));
        fields.extend(opaque.as_ref().map(|text| format!("opaque={}", quoted(text))));
        let value = format!("Digest {}", fields.join(", "));
        Authorization { value, secret }
    }
}

/// One challenge of a `WWW-Authenticate` header.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// The challenges of one header. Source: RFC 9110 section 11.6.1: one header may hold several, and both challenges and
/// their parameters are separated by commas.
fn challenges(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    for part in split_outside_quotes(header) {
        let (before, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
        let mut words = before.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        if second.is_some() || value.is_none() {
            challenges.push(Challenge { scheme: first.to_owned(), parameters: Vec::new() });
        }
        if let (Some(challenge), Some(value)) = (challenges.last_mut(), value) {
            challenge.parameters.push((second.unwrap_or(first).to_owned(), unquoted(value.trim())));
        }
    }
    challenges
}

/// Splits at commas outside quoted strings.
fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(|c: char| {
        let ends = c == ',' && !is_quoted;
        if c == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = c == '\\' && is_quoted && !is_escaped;
        ends
    })
    .collect()
}

/// The content of a quoted string, or the token as it is.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"') else { return text.to_owned() };
    let (mut content, mut chars) = (String::new(), inner.strip_suffix('"').unwrap_or(inner).chars());
    while let Some(c) = chars.next() {
        content.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    content
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A number that nobody can foresee: the keys of the hash come from the system's random numbers.
fn client_nonce() -> String {
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Source of both challenges and of the answers to them: RFC 7616 section 3.9.1.
    const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    const LOGIN: (&str, &str) = ("Mufasa", "Circle of Life");
    const REQUEST: (&str, &str) = ("GET", "/dir/index.html");
    const CLIENT_NONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    fn challenge(algorithm: &str) -> String {
        format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"{NONCE}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        )
    }

    #[test]
    fn the_answers_are_those_of_the_rfc() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let parsed = &challenges(&challenge(algorithm))[0];
            let answer = DigestChallenge::new(parsed).unwrap().answer(LOGIN, REQUEST, CLIENT_NONCE);
            assert_eq!(answer.secret(), response);
            for part in
                ["Digest username=\"Mufasa\", realm=\"http-auth@example.org\"", "nc=00000001, ", response]
            {
                assert!(answer.value().contains(part), "{}", answer.value());
            }
            assert!(answer.value().contains(&format!(", algorithm={algorithm}, opaque=\"FQhe")));
        }
    }

    #[test]
    fn the_strongest_challenge_that_can_be_answered_is_answered() {
        let answer = |headers: &[&str]| {
            let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
            Authorization::digest(&headers, LOGIN, REQUEST).map(|answer| answer.value().to_owned())
        };
        let (md5, sha256) = (challenge("MD5"), challenge("SHA-256"));
        for headers in [vec![&*md5, &*sha256], vec![&*format!("Basic realm=\"a, b\", {sha256}, {md5}")]] {
            assert!(answer(&headers).unwrap().contains("algorithm=SHA-256"));
        }
        let old = answer(&["digest realm=\"a\\\"b\",nonce=\"1\""]).unwrap();
        assert!(
            old.contains("realm=\"a\\\"b\"") && !old.contains("qop") && !old.contains("algorithm"),
            "{old}"
        );
        for header in [
            "Basic realm=\"x\"",
            "Negotiate",
            "",
            "Digest realm=\"x\"",
            "Digest realm=\"x\", nonce=\"1\", qop=\"auth-int\"",
            "Digest realm=\"x\", nonce=\"1\", algorithm=MD5-sess",
        ] {
            assert_eq!(answer(&[header]), None, "{header}");
        }
    }

    #[test]
    fn credentials_are_not_shown_by_debug() {
        let basic = Authorization::basic("Aladdin", "open sesame");
        // Source: RFC 7617 section 2.
        assert_eq!(basic.value(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{basic:?}"), "Authorization(…)");
        assert_ne!(client_nonce(), client_nonce());
    }
}
