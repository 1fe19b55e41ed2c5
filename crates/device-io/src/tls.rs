//! TLS on connections to devices, with the certificate checked as [`CertificateCheck`] says.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use chrono::{DateTime, Utc};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::{CertificateCheck, CertificateFingerprint, CertificateVerifier, Verification};
use crate::recording::RecordingStream;

/// Types of the TLS records that a server may begin with. Source: RFC 8446 section 5.1: alert, handshake.
const FIRST_RECORD_TYPES: [u8; 2] = [21, 22];

/// A stream to a device, with or without TLS.
#[derive(Debug)]
pub struct DeviceStream(DeviceStreamKind);

#[derive(Debug)]
enum DeviceStreamKind {
    Plain(TcpStream),
    Tls(Box<TlsStream<RecordingStream<TcpStream, Vec<u8>>>>),
}

/// Why there is no TLS connection. No request was sent.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The device's certificate is refused.
    #[error("{problem}")]
    Certificate {
        /// Its fingerprint.
        fingerprint: Option<CertificateFingerprint>,
        /// Why, as the end of a sentence about the certificate.
        problem: String,
    },
    /// No certificate can be valid for this host name.
    #[error("`{0}` is not a name that a certificate can have")]
    HostName(String),
    /// The device speaks another protocol; its first bytes.
    #[error("not TLS")]
    NotTls(Vec<u8>),
    /// The device has no version or cipher in common with us.
    #[error("no common version or cipher of TLS 1.2 or 1.3: {0}")]
    Incompatible(Error),
    /// This machine has no root certificates.
    #[error("this machine has no root certificates")]
    NoRoots,
    /// The connection was closed, or the handshake failed for another reason.
    #[error("{0}")]
    Failed(io::Error),
}

/// Makes a TLS connection on `stream`, on which nothing was sent.
///
/// # Errors
///
/// [`TlsError`]
pub async fn handshake(
    stream: TcpStream,
    host: &str,
    check: &CertificateCheck,
    now: DateTime<Utc>,
) -> Result<DeviceStream, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verification = match check {
        CertificateCheck::SystemRoots => roots_verification(system_roots().await?, &provider)?,
        CertificateCheck::Pinned(fingerprint) => Verification::Pinned(*fingerprint),
        CertificateCheck::Unchecked => Verification::Nothing,
    };
    handshake_by(stream, host, verification, provider, now).await
}

async fn handshake_by(
    stream: TcpStream,
    host: &str,
    verification: Verification,
    provider: Arc<CryptoProvider>,
    now: DateTime<Utc>,
) -> Result<DeviceStream, TlsError> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_invalid| TlsError::HostName(host.to_owned()))?;
    let verifier = Arc::new(CertificateVerifier::new(verification, Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(FixedTime(now)))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Incompatible)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<CertificateVerifier>::clone(&verifier))
        .with_no_client_auth();
    // Each connection has its own configuration, because each board has its own certificate.
    config.resumption = Resumption::disabled();
    let stream = RecordingStream { stream, received: Vec::new() };
    match TlsConnector::from(Arc::new(config)).connect(name, stream).into_fallible().await {
        Ok(stream) => Ok(DeviceStream(DeviceStreamKind::Tls(Box::new(stream)))),
        Err((error, stream)) => Err(handshake_error(error, stream.received, verifier.fingerprint())),
    }
}

fn handshake_error(
    error: io::Error,
    received: Vec<u8>,
    fingerprint: Option<CertificateFingerprint>,
) -> TlsError {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(problem)) => {
            TlsError::Certificate { fingerprint, problem: certificate_problem(problem) }
        }
        Some(Error::InvalidMessage(_))
            if received.first().is_some_and(|first| !FIRST_RECORD_TYPES.contains(first)) =>
        {
            TlsError::NotTls(received)
        }
        Some(
            problem @ (Error::PeerIncompatible(_)
            | Error::AlertReceived(
                AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity,
            )),
        ) => TlsError::Incompatible(problem.clone()),
        _ => TlsError::Failed(error),
    }
}

/// Says what is wrong with a certificate, as the end of a sentence about it.
#[expect(clippy::wildcard_enum_match_arm, reason = "of the others only their names are shown")]
fn certificate_problem(error: &CertificateError) -> String {
    let day = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        DateTime::from_timestamp(seconds, 0).map_or_else(|| "?".to_owned(), |at| at.date_naive().to_string())
    };
    match error {
        CertificateError::UnknownIssuer => "is issued by nobody whom this machine trusts".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "is for no host name".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().map(|name| bare_name(name)).collect();
            format!("is for other hosts: {}", names.join(", "))
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}", day(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}", day(not_before))
        }
        CertificateError::ApplicationVerificationFailure => "is not the expected one".to_owned(),
        CertificateError::Other(cause) => format!("cannot be verified ({cause})"),
        other => format!("cannot be verified ({other})"),
    }
}

/// The name in `DnsName("plug.lab")`.
fn bare_name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

/// The root certificates of this machine, read once they are needed.
async fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static ROOTS: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();
    let read = async || {
        let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(loaded.map_err(|_panicked| TlsError::NoRoots)?.certs);
        if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(Arc::new(roots)) }
    };
    ROOTS.get_or_try_init(read).await.map(Arc::clone)
}

fn roots_verification(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Verification, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
    verifier.map(Verification::Roots).map_err(|_empty| TlsError::NoRoots)
}

/// The time at which a handshake began: certificates are checked by our clock.
#[derive(Debug)]
struct FixedTime(DateTime<Utc>);

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = (self.0 - DateTime::UNIX_EPOCH).to_std().ok()?;
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

impl DeviceStream {
    /// The connection below TLS.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match &self.0 {
            DeviceStreamKind::Plain(stream) => stream,
            DeviceStreamKind::Tls(stream) => &stream.get_ref().0.stream,
        }
    }
}

impl From<TcpStream> for DeviceStream {
    fn from(stream: TcpStream) -> Self {
        Self(DeviceStreamKind::Plain(stream))
    }
}

impl AsyncRead for DeviceStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            DeviceStreamKind::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            DeviceStreamKind::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for DeviceStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            DeviceStreamKind::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            DeviceStreamKind::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            DeviceStreamKind::Plain(stream) => Pin::new(stream).poll_flush(context),
            DeviceStreamKind::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            DeviceStreamKind::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            DeviceStreamKind::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests;
