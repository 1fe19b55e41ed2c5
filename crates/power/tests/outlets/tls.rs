//! The certificate of the fake devices with TLS, and what power URLs with TLS check.

use std::sync::Arc;

use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::conformance::{DeviceBehaviour, run};
use crate::http_device::{HttpDevice, Request, answer};

/// Signed by itself, as those of most management controllers.
pub(crate) const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tls/bmc.pem");
pub(crate) const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tls/bmc.key");
/// As `openssl x509 -fingerprint -sha256` prints it.
pub(crate) const FINGERPRINT: &str =
    "sha256:73:F0:FD:1E:A9:5F:BA:F0:82:2C:8A:42:6F:22:67:07:45:A3:E9:FA:53:BA:AF:28:25:7C:74:73:FD:7D:7F:24";
/// As errors print it.
const SEEN: &str = "sha256:73f0fd1ea95fbaf0822c8a426f22670745a3e9fa53baaf28257c7473fd7d7f24";

/// The TLS of a device with [`CERTIFICATE`].
pub(crate) fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(CERTIFICATE).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from_pem_file(KEY).unwrap());
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

#[tokio::test]
async fn a_certificate_is_pinned_or_unchecked_or_checked_by_the_systems_roots() {
    let on = |_: &Request| answer("200 OK", "1");
    let tls = Some(acceptor());
    let device = HttpDevice::start_with(tls, DeviceBehaviour::Normal, PowerState::On, on).await;
    let port = device.addr.port();
    for url in [
        format!("https://127.0.0.1:{port}/state?on-path=/on&off-path=/off&on-answer=1&off-answer=0"),
        format!("labgrid+https://127.0.0.1:{port}/relay/3"),
    ] {
        let with = |certificate: &str| {
            let separator = if url.contains('?') { '&' } else { '?' };
            format!("{url}{separator}certificate={certificate}")
        };
        for certificate in [FINGERPRINT, SEEN, "unchecked"] {
            let evidence = run(PowerOperation::On, &with(certificate)).await.unwrap();
            assert_eq!(evidence["observed"], "on", "{certificate}");
        }
        let before = device.requests().len();
        let other = format!("sha256:{}", "00".repeat(32));
        for (url, advice) in [
            (url.clone(), format!("write `certificate={SEEN}`")),
            (with(&other), format!("its fingerprint is {SEEN}, and the power URL has {other}")),
        ] {
            let failed = run(PowerOperation::On, &url).await.unwrap_err();
            assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{failed}");
            assert!(failed.reason.contains(&advice), "{failed}");
            assert_eq!(failed.evidence["attempts"], 1, "not retried");
        }
        assert_eq!(device.requests().len(), before, "no request was sent");
    }
}

#[tokio::test]
async fn a_device_without_tls_is_a_configuration_error_with_its_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("labgrid+https://{}/relay/3?certificate=unchecked", listener.local_addr().unwrap());
    let device = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 2048]).await.unwrap(), 0);
        stream.write_all(&answer("400 Bad Request", "")).await.unwrap();
    };
    let failed = tokio::join!(run(PowerOperation::On, &url), device).0.unwrap_err();
    assert!(failed.reason.ends_with(" answered, but not with TLS"), "{failed}");
    assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured);
    assert!(
        failed.evidence["answer"].as_str().unwrap().starts_with("HTTP/1.1 400 Bad Request"),
        "{failed:?}"
    );
}

#[test]
fn a_url_with_tls_has_its_own_port_and_parameter() {
    let outlet = |text: &str| text.parse::<PowerUrl>().unwrap().outlet();
    assert_eq!(outlet("labgrid+https://server.lab/relay/3"), "labgrid+https://server.lab:443/relay/3");
    assert_eq!(outlet("https://PDU.lab?on-path=/on&off-path=/off"), "https://pdu.lab:443/on");
    for (url, right) in [
        (
            "labgrid+https://server.lab/relay/3?certificate=md5:00",
            "write `sha256:` and the 64 hexadecimal digits",
        ),
        ("labgrid+http://server.lab/relay/3?certificate=unchecked", "unknown parameter `certificate`"),
        ("https://pdu.lab", "`https://HOST[:443][/PATH]["),
        ("labgrid+https://server.lab", "`labgrid+https://HOST[:443]/PATH["),
    ] {
        let error = url.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right), "{url}: {error}");
    }
}
