//! How the certificate of a device is checked. Management controllers have self-signed ones, so that a certificate can be
//! named by its fingerprint.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256};

/// Before the digits of a fingerprint.
const FINGERPRINT_PREFIX: &str = "sha256:";
/// Length of a SHA-256 digest.
const FINGERPRINT_BYTES: usize = 32;
/// Instead of a fingerprint.
const UNCHECKED: &str = "unchecked";

/// The SHA-256 digest of a certificate, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateFingerprint([u8; FINGERPRINT_BYTES]);

impl CertificateFingerprint {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl fmt::Display for CertificateFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FINGERPRINT_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How the certificate of a device is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateCheck {
    /// It is valid for the host name, and issued by an authority that this machine trusts.
    SystemRoots,
    /// It is the certificate with this fingerprint.
    Pinned(CertificateFingerprint),
    /// Not at all: any server that answers gets what is sent, the password included.
    Unchecked,
}

impl FromStr for CertificateCheck {
    type Err = String;

    /// Parses `sha256:HEX`, in any case and with or without colons, or `unchecked`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == UNCHECKED {
            return Ok(Self::Unchecked);
        }
        let digits = text.strip_prefix(FINGERPRINT_PREFIX).map(|digits| digits.replace(':', ""));
        let fingerprint = digits.filter(|digits| digits.len() == 2 * FINGERPRINT_BYTES).and_then(|digits| {
            let mut bytes = [0; FINGERPRINT_BYTES];
            for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
                let pair = str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
                *byte = u8::from_str_radix(pair, 16).ok()?;
            }
            Some(CertificateFingerprint(bytes))
        });
        fingerprint.map(Self::Pinned).ok_or_else(|| {
            let length = 2 * FINGERPRINT_BYTES;
            format!(
                "write `{FINGERPRINT_PREFIX}` and the {length} hexadecimal digits of the certificate's fingerprint, or `{UNCHECKED}`"
            )
        })
    }
}

/// Checks the certificate of one handshake, and records its fingerprint.
#[derive(Debug)]
pub(crate) struct CertificateVerifier {
    verification: Verification,
    provider: Arc<CryptoProvider>,
    fingerprint: OnceLock<CertificateFingerprint>,
}

/// What a certificate is compared with.
#[derive(Debug)]
pub(crate) enum Verification {
    Roots(Arc<WebPkiServerVerifier>),
    Pinned(CertificateFingerprint),
    Nothing,
}

impl CertificateVerifier {
    pub(crate) fn new(verification: Verification, provider: Arc<CryptoProvider>) -> Self {
        Self { verification, provider, fingerprint: OnceLock::new() }
    }

    /// The fingerprint of the device's certificate, if one was received.
    pub(crate) fn fingerprint(&self) -> Option<CertificateFingerprint> {
        self.fingerprint.get().copied()
    }
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint = *self.fingerprint.get_or_init(|| CertificateFingerprint::of(end_entity));
        match &self.verification {
            Verification::Roots(roots) => {
                roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Verification::Pinned(pinned) if *pinned == fingerprint => Ok(ServerCertVerified::assertion()),
            Verification::Pinned(_) => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            Verification::Nothing => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // A signature proves nothing where anybody's certificate is taken, and old devices have keys too short to check.
        if matches!(self.verification, Verification::Nothing) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if matches!(self.verification, Verification::Nothing) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let plain = format!("sha256:{}", "0aFF".repeat(16));
        let colons = format!("sha256:{}", ["0A:fF"; 16].join(":"));
        let read: CertificateCheck = plain.parse().unwrap();
        assert_eq!(Ok(&read), colons.parse().as_ref());
        let CertificateCheck::Pinned(fingerprint) = read else { panic!("{read:?}") };
        assert_eq!(fingerprint.to_string(), plain.to_lowercase());
        assert_eq!("unchecked".parse(), Ok(CertificateCheck::Unchecked));
        for text in ["", "sha256:", "none", &plain[7..], &plain[..69], &format!("{plain}00")] {
            assert!(
                text.parse::<CertificateCheck>().unwrap_err().contains("the 64 hexadecimal digits"),
                "{text}"
            );
        }
        for digits in ["+1", "gg", "é", "0 "] {
            assert!(format!("sha256:{}", digits.repeat(32)).parse::<CertificateCheck>().is_err(), "{digits}");
        }
    }
}
