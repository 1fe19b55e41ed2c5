//! Tests of `devantech://`, at an ETH008 of our own.

use std::net::SocketAddr;
use std::time::Duration;

use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl};

use crate::conformance::{self, DeviceBehaviour, TestDevice, run, run_with};
use crate::fake::{Decoded, DeviceQuirks, FakeDevice, FakeProtocol, RelayOrder};

const PASSWORD: &str = "apple";

#[derive(Clone)]
struct Eth008 {
    module: u8,
    has_password: bool,
}

impl Default for Eth008 {
    fn default() -> Self {
        Self { module: 19, has_password: false }
    }
}

/// Whether the next order is allowed. The module forbids orders again after 30 s; this one after each order.
#[derive(Default)]
struct Unlocked(bool);

impl FakeProtocol for Eth008 {
    const RELAY: usize = 4;
    const POWER_IF_ON: bool = true;
    type Session = Unlocked;

    fn url(&self, addr: SocketAddr, parameters: &str) -> String {
        format!("devantech://{addr}/5?{parameters}")
    }

    fn url_of_missing_outlet(&self, addr: SocketAddr) -> Option<String> {
        Some(format!("devantech://{addr}/9"))
    }

    fn decode(&self, session: &mut Unlocked, relays: [bool; 8], received: &[u8]) -> Decoded {
        let length = received.len();
        let answer = |answer: &[u8]| Decoded::Request { length, order: None, answer: answer.to_vec() };
        match *received {
            [0x10] => answer(&[self.module, 1, 6]),
            [0x24] => {
                let states = (0..8).fold(0, |byte, relay| byte | u8::from(relays[relay]) << relay);
                answer(&[states])
            }
            [0x79, ref password @ ..] => {
                session.0 = password == PASSWORD.as_bytes();
                answer(&[if session.0 { 1 } else { 2 }])
            }
            // All bytes of a command arrive in one packet.
            [operation @ (0x20 | 0x21), relay @ 1..=8, 0] => {
                if self.has_password && !std::mem::take(&mut session.0) {
                    return answer(&[1]);
                }
                let order = RelayOrder {
                    relay: usize::from(relay) - 1,
                    is_on: operation == 0x20,
                    reverts_after: None,
                };
                Decoded::Request { length, order: Some(order), answer: vec![0] }
            }
            _ => Decoded::Hangup,
        }
    }
}

async fn with(protocol: Eth008, quirks: DeviceQuirks) -> FakeDevice<Eth008> {
    FakeDevice::with(protocol, quirks, DeviceBehaviour::Normal, PowerState::On).await
}

#[tokio::test]
async fn devantech_outlets_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<FakeDevice<Eth008>>()).await;
}

#[tokio::test]
async fn a_power_cycle_asks_for_the_module_once_and_sends_orders_without_a_time() {
    let device = FakeDevice::<Eth008>::on().await;
    let evidence = run(PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!(
        (&evidence["relay"], &evidence["module"], &evidence["attempts"]),
        (&5.into(), &19.into(), &1.into())
    );
    let expected: [&[u8]; 6] = [&[0x10], &[0x24], &[0x21, 5, 0], &[0x24], &[0x20, 5, 0], &[0x24]];
    assert_eq!(device.lock().requests, expected);
}

#[tokio::test]
async fn modules_with_quirks_are_coped_with() {
    let rest = Duration::from_millis(40);
    for quirks in [
        DeviceQuirks { rest: Some(rest), ..DeviceQuirks::default() },
        DeviceQuirks { half_answers: 1, ..DeviceQuirks::default() },
        DeviceQuirks { rest: Some(rest), half_answers: 2, ..DeviceQuirks::default() },
    ] {
        let device = with(Eth008::default(), quirks).await;
        let evidence = run(PowerOperation::Cycle, &device.url("off=20ms&rest=200ms")).await.unwrap();
        assert_eq!(evidence["observed"], "on", "{quirks:?}");
        assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On], "{quirks:?}");
        assert_eq!(device.lock().turned_away, 0, "{quirks:?}");
    }
}

#[tokio::test]
async fn a_module_that_is_not_known_is_not_switched() {
    let device = with(Eth008 { module: 99, ..Eth008::default() }, DeviceQuirks::default()).await;
    let failed = run(PowerOperation::On, &device.url("")).await.unwrap_err();
    assert!(failed.reason.ends_with("a module that Lifeguard does not know"), "{failed}");
    assert_eq!(
        (failed.kind, &failed.evidence["answer"]),
        (PowerRunErrorKind::Misconfigured, &"63 01 06".into())
    );
    assert!(device.received_orders().is_empty());
}

#[tokio::test]
async fn a_password_is_sent_before_each_order_and_shown_nowhere_else() {
    let device = with(Eth008 { has_password: true, ..Eth008::default() }, DeviceQuirks::default()).await;
    let url = device.url("off=20ms&credential=plugs");
    let evidence = run_with((None, PASSWORD), PowerOperation::Cycle, &url).await.unwrap();
    assert_eq!((&evidence["observed"], device.received_orders().len()), (&"on".into(), 2));

    let failed = run(PowerOperation::Off, &device.url("")).await.unwrap_err();
    assert!(failed.reason.ends_with("if it has a password, write `credential=NAME`"), "{failed}");
    assert_eq!((failed.kind, device.received_orders().len()), (PowerRunErrorKind::Failed, 2));

    let failed = run_with((None, "pear"), PowerOperation::Off, &url).await.unwrap_err();
    assert!(failed.reason.ends_with("rejects the password of credential `plugs`"), "{failed}");
    assert_eq!((&failed.kind, &failed.evidence["attempts"]), (&PowerRunErrorKind::Misconfigured, &1.into()));
    assert!(!format!("{failed:?}").contains("pear"), "{failed:?}");
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (text, right) in [
        ("devantech://relay.lab/0", "1 to 20: `devantech://HOST[:17494]/RELAY["),
        ("devantech://relay.lab/21", "1 to 20"),
        ("devantech://relay.lab:0/1", "1 to 65535"),
        ("devantech://relay.lab/1?user=me", "unknown parameter `user`"),
        ("devantech://relay.lab/1?credential=/etc/shadow", "`/etc/shadow` is not the name of a credential"),
    ] {
        let error = text.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right), "{text}: {error}");
    }
    let url: PowerUrl = "devantech://Relay.lab/05".parse().unwrap();
    assert_eq!(
        (url.outlet().as_str(), url.resource()),
        ("devantech://relay.lab:17494/5", Some("devantech://relay.lab:17494"))
    );
}
