//! Tests of TLS at devices with the certificates in `fixtures/tls`.

use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::connection::DeviceConnection;
use crate::http::{self, DeviceRequest};

/// Issued by `root`, for `plug.lab`.
const PLUG: (&str, &str) =
    (include_str!("../../../../fixtures/tls/plug.pem"), include_str!("../../../../fixtures/tls/plug.key"));
/// Signed by itself.
const BMC: (&str, &str) =
    (include_str!("../../../../fixtures/tls/bmc.pem"), include_str!("../../../../fixtures/tls/bmc.key"));
const ROOT: &str = include_str!("../../../../fixtures/tls/root.pem");
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn acceptor((chain, key): (&str, &str)) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate(chain)], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// The acceptor of a device that shows a certificate without having its key.
fn impostor((chain, key): (&str, &str)) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = ring::sign::any_supported_type(&key).unwrap();
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate(chain)], key));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    TlsAcceptor::from(Arc::new(config))
}

fn year(year: i32) -> DateTime<Utc> {
    chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap().and_time(chrono::NaiveTime::MIN).and_utc()
}

/// The check of a machine that trusts `root`.
fn root() -> Verification {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(ROOT)).unwrap();
    roots_verification(Arc::new(roots), &Arc::new(ring::default_provider())).unwrap()
}

/// Connects to a device with this certificate, and sends a request where that worked; returns the answer's body.
async fn ask(
    acceptor: TlsAcceptor,
    host: &str,
    verification: Verification,
    now: DateTime<Utc>,
) -> Result<String, TlsError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let device = async {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        let mut request = [0; 1024];
        if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
            stream.write_all(ANSWER).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    };
    let client = async {
        let provider = Arc::new(ring::default_provider());
        let stream = handshake_by(stream, host, verification, provider, now).await?;
        let mut connection = DeviceConnection::new(stream).unwrap();
        let limit = Duration::from_secs(3);
        connection.deliver_within(limit).unwrap();
        assert_eq!(connection.delivery_limit().unwrap(), Some(limit), "as without TLS");
        let (request, mut received) = (DeviceRequest::get("/state".to_owned()), Vec::new());
        let answer = http::send(connection.request(), host, &request, &mut received).await.unwrap();
        assert_eq!(received, ANSWER, "recorded without the encryption");
        Ok(answer.body)
    };
    tokio::join!(client, device).0
}

/// The handshake with a device that answers with these bytes.
async fn handshake_with(answer: &[u8]) -> TlsError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let device = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 4096];
        assert_ne!(stream.read(&mut hello).await.unwrap(), 0);
        stream.write_all(answer).await.unwrap();
    };
    tokio::join!(handshake(stream, "bmc.lab", &CertificateCheck::Unchecked, year(2030)), device)
        .0
        .unwrap_err()
}

#[tokio::test]
async fn a_certificate_of_a_trusted_issuer_is_accepted_for_its_hosts_and_its_time() {
    assert_eq!(ask(acceptor(PLUG), "plug.lab", root(), year(2030)).await.unwrap(), "body");
    for (identity, host, now, expected) in [
        (PLUG, "strip.lab", year(2030), "is for other hosts: plug.lab"),
        (PLUG, "127.0.0.1", year(2030), "is for other hosts: plug.lab"),
        (PLUG, "plug.lab", year(2200), "expired on 2126-11-08"),
        (PLUG, "plug.lab", year(2020), "is not valid before 2026-12-02"),
        (BMC, "bmc.lab", year(2030), "cannot be verified (CaUsedAsEndEntity)"),
    ] {
        let error = ask(acceptor(identity), host, root(), now).await.unwrap_err();
        let TlsError::Certificate { fingerprint, problem } = error else { panic!("{error:?}") };
        assert_eq!((problem.as_str(), fingerprint.is_some()), (expected, true), "{host}");
    }
}

#[tokio::test]
async fn a_pinned_certificate_is_the_only_one_that_is_accepted_and_another_ones_fingerprint_is_named() {
    let error = ask(acceptor(BMC), "bmc.lab", root(), year(2030)).await.unwrap_err();
    let TlsError::Certificate { fingerprint: Some(fingerprint), .. } = error else { panic!("{error:?}") };
    // Neither its name nor its time matters.
    let pinned = || Verification::Pinned(fingerprint);
    assert_eq!(ask(acceptor(BMC), "other.lab", pinned(), year(2200)).await.unwrap(), "body");
    let error = ask(acceptor(PLUG), "plug.lab", pinned(), year(2030)).await.unwrap_err();
    let TlsError::Certificate { fingerprint: Some(seen), problem } = error else { panic!("{error:?}") };
    assert!(seen != fingerprint && problem == "is not the expected one", "{seen} {problem}");
}

#[tokio::test]
async fn the_key_of_a_pinned_certificate_is_checked() {
    // A device that shows the certificate of another one, and has only its own key.
    let stolen = (BMC.0, PLUG.1);
    let pinned = Verification::Pinned(CertificateFingerprint::of(&certificate(BMC.0)));
    let error = ask(impostor(stolen), "bmc.lab", pinned, year(2030)).await.unwrap_err();
    assert!(matches!(error, TlsError::Certificate { .. }), "{error:?}");
}

#[tokio::test]
async fn any_certificate_is_accepted_where_it_is_not_checked() {
    assert_eq!(ask(acceptor(BMC), "10.0.0.1", Verification::Nothing, year(2200)).await.unwrap(), "body");
}

#[tokio::test]
async fn devices_without_tls_and_with_an_old_one_are_told_apart() {
    let error = handshake_with(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(matches!(&error, TlsError::NotTls(received) if received.starts_with(b"HTTP/1.1")), "{error:?}");
    // A fatal alert: the device has no cipher in common with us.
    let error = handshake_with(&[21, 3, 3, 0, 2, 2, 40]).await;
    assert!(matches!(error, TlsError::Incompatible(_)), "{error:?}");
    // It has a fault of its own.
    let error = handshake_with(&[21, 3, 3, 0, 2, 2, 80]).await;
    assert!(matches!(error, TlsError::Failed(_)), "{error:?}");
    let error = handshake_with(b"").await;
    assert!(matches!(error, TlsError::Failed(_)), "{error:?}");
}
