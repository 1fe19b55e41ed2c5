//! Tests of `pdudaemon://`, at a fake daemon whose answers are those of `httplistener.py`. Its outlets cannot be read, so
//! the conformance tests do not apply.

use std::time::Duration;

use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl, Readback, operate};
use tokio_util::sync::CancellationToken;

use crate::conformance::{DeviceBehaviour, context, run};
use crate::http_device::{HttpDevice, HttpProtocol, Order, Reported, Request, answer};

/// The daemon, with one PDU `pdu-3`.
struct Daemon;

impl HttpProtocol for Daemon {
    fn order(&self, request: &Request) -> Option<Order> {
        let (order, query) = request.target.strip_prefix("/power/control/")?.split_once('?')?;
        let state = if order == "on" { PowerState::On } else { PowerState::Off };
        (query == "hostname=pdu-3&port=5").then_some(Order { state, toggle_after: None })
    }

    fn answer(&self, request: &Request, _: Reported) -> Vec<u8> {
        match self.order(request) {
            Some(_) => answer("200 OK", "OK - accepted request\n"),
            None => answer("500 Internal Server Error", "Invalid request\n"),
        }
    }
}

async fn daemon(behaviour: DeviceBehaviour) -> HttpDevice {
    HttpDevice::start(behaviour, PowerState::On, Daemon).await
}

fn url(daemon: &HttpDevice) -> String {
    format!("pdudaemon://{}/pdu-3/5?off=300ms", daemon.addr)
}

#[tokio::test]
async fn a_cycle_is_two_orders_that_are_accepted_and_not_observed() {
    let daemon = daemon(DeviceBehaviour::Normal).await;
    let started = tokio::time::Instant::now();
    let evidence = run(PowerOperation::Cycle, &url(&daemon)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(daemon.received_orders(), [PowerState::Off, PowerState::On]);
    for (name, value) in [
        ("pdu", "pdu-3"),
        ("port", "5"),
        ("observed", "unknown"),
        ("readback", "none"),
        ("result", "accepted, not observed"),
    ] {
        assert_eq!(evidence[name], value);
    }
    // A daemon that accepts and does nothing cannot be told apart, and nothing claims that it can.
    let liar = self::daemon(DeviceBehaviour::Lies).await;
    assert_eq!(run(PowerOperation::Off, &url(&liar)).await.unwrap()["observed"], "unknown");
}

#[tokio::test]
async fn an_order_that_is_not_accepted_fails() {
    let (failed, wrong) = (PowerRunErrorKind::Failed, PowerRunErrorKind::Misconfigured);
    for (bytes, reason, kind, attempts) in [
        (
            answer("500 Internal Server Error", "Invalid request: no\n"),
            "has no PDU `pdu-3`, or failed",
            &failed,
            3,
        ),
        (answer("502 Bad Gateway", "proxy"), "answered with HTTP status 502", &failed, 3),
        (answer("200 OK", "<html>"), "not as pdudaemon: HTTP status 200", &wrong, 3),
        (answer("404 Not Found", "404: Not Found"), "not as pdudaemon: HTTP status 404", &wrong, 1),
        (answer("401 Unauthorized", ""), "requires a password", &wrong, 1),
        (Vec::new(), "closed the connection without an answer", &failed, 3),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\nOK".to_vec(),
            "in the middle of an answer",
            &failed,
            3,
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "answered, but not with HTTP", &wrong, 3),
    ] {
        let daemon = HttpDevice::answering(bytes).await;
        let failed = run(PowerOperation::On, &url(&daemon)).await.unwrap_err();
        assert!(failed.reason.contains(reason) && failed.kind == *kind, "{failed:?}");
        assert_eq!(failed.evidence["attempts"], attempts, "{failed:?}");
        assert_eq!(failed.evidence["observed"], "unknown");
    }
    let failed = run(PowerOperation::On, &url(&daemon(DeviceBehaviour::Refuses).await)).await.unwrap_err();
    assert!(failed.reason.contains("no connection to 127.0.0.1:"), "{failed}");
}

#[tokio::test]
async fn a_silent_daemon_fails_although_it_may_have_followed_the_order() {
    let daemon = daemon(DeviceBehaviour::Mute).await;
    let (parsed, cancel) = (url(&daemon).parse().unwrap(), CancellationToken::new());
    let limited = context(Duration::from_millis(100));
    let failed = operate(&parsed, PowerOperation::Off, &limited, &cancel).await.unwrap_err();
    assert_eq!(failed.reason, format!("no answer from {} within 100ms", daemon.addr));
    assert_eq!((failed.kind, daemon.state()), (PowerRunErrorKind::Failed, PowerState::Off));
}

#[tokio::test]
async fn a_cancelled_cycle_restores_the_power_and_an_expired_lease_sends_nothing() {
    let daemon = daemon(DeviceBehaviour::Normal).await;
    let parsed: PowerUrl = url(&daemon).replace("300ms", "10s").parse().unwrap();
    let cancel = CancellationToken::new();
    let normal = context(power::DEFAULT_CALL_TIMEOUT);
    let (result, ()) = tokio::join!(operate(&parsed, PowerOperation::Cycle, &normal, &cancel), async {
        while daemon.state() == PowerState::On {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert_eq!((result.unwrap_err().reason.as_str(), daemon.state()), ("cancelled", PowerState::On));
    let lease = normal.lease.clone();
    lease.extend(tokio::time::Instant::now());
    let before = daemon.connections();
    let failed = operate(&parsed, PowerOperation::On, &normal, &CancellationToken::new()).await.unwrap_err();
    assert!(failed.reason.contains("lease expired") && daemon.connections() == before, "{failed}");
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (text, right) in [
        ("pdudaemon://daemon.lab", "`pdudaemon://HOST[:16421]/PDU-HOSTNAME/PORT["),
        ("pdudaemon://daemon.lab/pdu-3", "is not a PDU's hostname and a port"),
        ("pdudaemon://daemon.lab/pdu-3/", "is not a PDU's hostname and a port"),
        ("pdudaemon://daemon.lab/pdu-3/5/6", "is not a PDU's hostname and a port"),
        ("pdudaemon://daemon.lab/pdu%203/5", "is not a PDU's hostname and a port"),
        ("pdudaemon://daemon.lab:0/pdu-3/5", "1 to 65535"),
        ("pdudaemon://daemon.lab/pdu-3/5?delay=5", "unknown parameter `delay`"),
    ] {
        let error = text.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right), "{text}: {error}");
    }
    let url: PowerUrl = "pdudaemon://Daemon.lab.:16421/PDU-3/A5".parse().unwrap();
    assert_eq!(url.outlet(), "pdudaemon://daemon.lab:16421/PDU-3/A5");
    assert_eq!((url.resource(), url.capabilities().readback), (None, Readback::None));
}
