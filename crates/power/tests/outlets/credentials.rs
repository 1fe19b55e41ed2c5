//! Credentials of power URLs: what can be wrong with them, and changes of their files.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use device_io::{CredentialSource, HostPattern, Secret, SecretFile, SecretSource};
use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl, ScanUrl, scan, schemes};
use tokio_util::sync::CancellationToken;

use crate::conformance::{DeviceBehaviour, context_with, run_in};
use crate::http_device::{HttpDevice, HttpProtocol, Order, Reported, Request, answer, unauthorized};

const PASSWORD: &str = "hunter-2";
/// User `me` and [`PASSWORD`]. Source: RFC 7617 section 2.
const AUTHORIZATION: &str = "Basic bWU6aHVudGVyLTI=";

/// A device that is switched on by user `me` with [`PASSWORD`].
struct Locked;

impl HttpProtocol for Locked {
    fn order(&self, request: &Request) -> Option<Order> {
        let is_authorized = request.header("authorization") == AUTHORIZATION;
        (is_authorized && request.target == "/on")
            .then_some(Order { state: PowerState::On, toggle_after: None })
    }

    fn answer(&self, request: &Request, _: Reported) -> Vec<u8> {
        match request.header("authorization") {
            AUTHORIZATION => answer("200 OK", "done"),
            _ => unauthorized("Basic realm=\"outlets\""),
        }
    }
}

async fn device() -> (HttpDevice, String) {
    let device = HttpDevice::start(DeviceBehaviour::Normal, PowerState::Off, Locked).await;
    let url = format!("http://{}?on-path=/on&off-path=/off", device.addr);
    (device, url)
}

fn write(path: &Path, text: &str, mode: u32) {
    fs_err::write(path, text).unwrap();
    fs_err::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn credential(user: Option<&str>, password: Option<SecretSource>) -> CredentialSource {
    CredentialSource { user: user.map(str::to_owned), password, ..CredentialSource::default() }
}

#[tokio::test]
async fn a_credential_is_not_sent_to_a_host_that_it_is_not_for() {
    let device = HttpDevice::answering(answer("200 OK", "{}")).await;
    let hosts = vec![HostPattern::new("*.lab").unwrap()];
    let source = CredentialSource {
        hosts,
        ..credential(Some("me"), Some(SecretSource::Text(Secret::new("hunter-2"))))
    };
    let context = context_with(source);
    let url = format!("shelly://{}/0?generation=1&credential=plugs", device.addr);
    let switched = run_in(&context, PowerOperation::Cycle, &url).await;
    let mut refusals = vec![switched.unwrap_err()];
    for device_url in ["shelly://HOST?generation=1&credential=plugs", "redfish+http://HOST?credential=plugs"]
    {
        let url: ScanUrl = device_url.replace("HOST", &device.addr.to_string()).parse().unwrap();
        refusals.push(scan(&url, &context, &CancellationToken::new()).await.unwrap_err());
    }
    for failed in refusals {
        assert!(
            failed.reason.starts_with("credential `plugs` is not for 127.0.0.1: add it to `hosts`"),
            "{failed}"
        );
        assert_eq!((failed.kind, device.requests().len()), (PowerRunErrorKind::Misconfigured, 0));
    }
}

#[tokio::test]
async fn a_credential_that_cannot_be_used_is_a_configuration_error_that_says_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        write(&path, text, mode);
        Some(SecretSource::File(SecretFile::configured(path)))
    };
    let missing = Some(SecretSource::File(SecretFile::configured(folder.path().join("missing"))));
    let text = Some(SecretSource::Text(Secret::new(PASSWORD)));
    for (name, source, reason) in [
        (
            "relays",
            credential(Some("me"), text.clone()),
            "this server has no credential `relays`: add [credentials.relays] to /etc/lifeguard/lifeguard.toml, and restart \
             this server",
        ),
        (
            "plugs",
            credential(None, text),
            "credential `plugs` has no user: set `user` in [credentials.plugs] of /etc/lifeguard/lifeguard.toml, and restart \
             this server",
        ),
        (
            "plugs",
            credential(Some("me"), None),
            "`plugs` has no password: set `password` or `password-file` in",
        ),
        ("plugs", credential(Some("me"), missing), "credential `plugs`: failed to open file"),
        (
            "plugs",
            credential(Some("me"), path("open", PASSWORD, 0o644)),
            "open is readable by others; run `chmod 600",
        ),
        (
            "plugs",
            credential(Some("me"), path("two", "hunter-2\nb\n", 0o600)),
            "two must contain exactly one line",
        ),
    ] {
        let (device, url) = device().await;
        let context = context_with(source);
        let url = format!("{url}&credential={name}");
        let failed = run_in(&context, PowerOperation::On, &url).await.unwrap_err();
        assert!(failed.reason.contains(reason), "{failed}");
        assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured);
        assert!(device.requests().is_empty(), "nothing is sent: {reason}");
        let shown = format!("{failed:?}{:?}{:?}", context.credentials, url.parse::<PowerUrl>());
        assert!(!shown.contains("hunter"), "{shown}");
    }
}

#[tokio::test]
async fn a_changed_password_file_counts_at_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outlets");
    let (device, url) = device().await;
    let file = SecretSource::File(SecretFile::configured(&path));
    let context = context_with(credential(Some("me"), Some(file)));
    let url = format!("{url}&credential=plugs");
    write(&path, "old\n", 0o600);
    let failed = run_in(&context, PowerOperation::On, &url).await.unwrap_err();
    assert!(failed.reason.ends_with("rejects user and password of credential `plugs`"), "{failed}");
    assert!(device.received_orders().is_empty());
    write(&path, &format!("{PASSWORD}\n"), 0o600);
    let evidence = run_in(&context, PowerOperation::On, &url).await.unwrap();
    assert_eq!(device.received_orders(), [PowerState::On]);
    assert!(!format!("{evidence:?}").contains("hunter"), "{evidence:?}");
}

#[test]
fn a_power_url_says_which_credential_it_needs() {
    let with_login: Vec<_> =
        schemes().iter().filter(|scheme| scheme.form().contains("credential=")).collect();
    assert!(with_login.len() >= 6, "{with_login:?}");
    for scheme in schemes() {
        assert!(!scheme.form().contains("password"), "{}", scheme.form());
    }
    let url =
        |parameters: &str| -> PowerUrl { format!("tasmota://plug-3.lab/1?{parameters}").parse().unwrap() };
    assert_eq!(url("credential=plugs").credential().unwrap().as_str(), "plugs");
    assert_eq!(url("off=2s").credential(), None);
    assert_eq!(url("credential=plugs").outlet(), url("credential=relays").outlet());
}
