//! Tests of `proxr://`, at a relay board of our own, wired as Mozpool's: boards at the normally closed contact.

use std::net::SocketAddr;
use std::time::Duration;

use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl};

use crate::conformance::{self, DeviceBehaviour, TestDevice, run};
use crate::fake::{Decoded, DeviceQuirks, FakeDevice, FakeProtocol, RelayOrder};

/// Returns the answer to a read, given whether the relay is on.
type AnswerFn = fn(bool) -> u8;

#[derive(Clone)]
struct Proxr {
    answer: AnswerFn,
}

impl Default for Proxr {
    fn default() -> Self {
        Self { answer: u8::from }
    }
}

impl FakeProtocol for Proxr {
    const RELAY: usize = 4;
    const POWER_IF_ON: bool = false;
    type Session = ();

    fn url(&self, addr: SocketAddr, parameters: &str) -> String {
        format!("proxr://{addr}/2/5?invert=true&rest=10ms&{parameters}")
    }

    /// The board drops the connection without saying why.
    fn url_of_missing_outlet(&self, _: SocketAddr) -> Option<String> {
        None
    }

    fn decode(&self, (): &mut (), relays: [bool; 8], received: &[u8]) -> Decoded {
        // Firmware 3.2 needs each command in one packet.
        let [254, operation, 1 | 2] = *received else { return Decoded::Hangup };
        let order = |relay: u8, is_on| Decoded::Request {
            length: 3,
            order: Some(RelayOrder { relay: relay.into(), is_on, reverts_after: None }),
            answer: vec![85],
        };
        match operation {
            100..108 => order(operation - 100, false),
            108..116 => order(operation - 108, true),
            116..124 => {
                let is_on = relays[usize::from(operation - 116)];
                Decoded::Request { length: 3, order: None, answer: vec![(self.answer)(is_on)] }
            }
            _ => Decoded::Hangup,
        }
    }
}

async fn with(answer: AnswerFn, quirks: DeviceQuirks) -> FakeDevice<Proxr> {
    FakeDevice::with(Proxr { answer }, quirks, DeviceBehaviour::Normal, PowerState::On).await
}

#[tokio::test]
async fn proxr_outlets_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<FakeDevice<Proxr>>()).await;
}

#[tokio::test]
async fn a_power_cycle_sends_each_command_once_on_one_connection() {
    let device = FakeDevice::<Proxr>::on().await;
    let evidence = run(PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!(
        (&evidence["bank"], &evidence["relay"], &evidence["attempts"]),
        (&2.into(), &5.into(), &1.into())
    );
    let state = device.lock();
    // Read, relay on, read, relay off, read.
    assert_eq!(state.requests, [120, 112, 120, 104, 120].map(|operation| vec![254, operation, 2]));
}

#[tokio::test]
async fn relay_boards_with_quirks_are_switched_and_given_their_rest() {
    let rest = Duration::from_millis(40);
    for (quirks, orders) in [
        (DeviceQuirks { rest: Some(rest), ..DeviceQuirks::default() }, vec![PowerState::Off, PowerState::On]),
        (
            DeviceQuirks { rest: Some(rest), half_answers: 1, ..DeviceQuirks::default() },
            vec![PowerState::Off, PowerState::On],
        ),
        (
            DeviceQuirks { rest: Some(rest), closes_after_answer: true, ..DeviceQuirks::default() },
            vec![PowerState::Off, PowerState::On],
        ),
        // The order is repeated, because its answer was lost.
        (
            DeviceQuirks { rest: Some(rest), lost_confirmations: 1, ..DeviceQuirks::default() },
            vec![PowerState::Off, PowerState::Off, PowerState::On],
        ),
    ] {
        let device = with(u8::from, quirks).await;
        let url = format!("proxr://{}/2/5?invert=true&off=20ms&rest=200ms", device.addr);
        let evidence = run(PowerOperation::Cycle, &url).await.unwrap();
        assert_eq!((&evidence["observed"], device.received_orders()), (&"on".into(), orders), "{quirks:?}");
        assert_eq!(device.lock().turned_away, 0, "{quirks:?}");
    }
}

#[tokio::test]
async fn a_busy_relay_board_is_tried_again() {
    let device =
        with(u8::from, DeviceQuirks { rest: Some(Duration::from_millis(100)), ..DeviceQuirks::default() })
            .await;
    let other_client = tokio::net::TcpStream::connect(device.addr).await.unwrap();
    let url = device.url("");
    let (ended, ()) = tokio::join!(run(PowerOperation::On, &url), async {
        conformance::until("a client is turned away", || device.lock().turned_away > 0).await;
        drop(other_client);
    });
    assert_eq!(ended.unwrap()["observed"], "on");
}

#[tokio::test]
async fn an_answer_that_is_neither_on_nor_off_is_distinguished_and_recorded() {
    for (answer, reason, kind, text) in [
        ((|_| 85) as AnswerFn, "unexpected answer from", PowerRunErrorKind::Failed, "55"),
        (|_| 2, "answered, but not with ProXR", PowerRunErrorKind::Misconfigured, "02"),
        (|_| 170, "looks like API mode", PowerRunErrorKind::Misconfigured, "aa"),
    ] {
        let device = with(answer, DeviceQuirks::default()).await;
        let failed = run(PowerOperation::Off, &device.url("")).await.unwrap_err();
        assert!(failed.reason.contains(reason) && failed.kind == kind, "{failed:?}");
        assert_eq!(failed.evidence["answer"], text);
        assert!(device.received_orders().is_empty(), "the outlet is not switched off: {reason}");
    }
}

#[tokio::test]
async fn a_relay_board_that_drops_an_unknown_bank_fails() {
    let device = FakeDevice::<Proxr>::on().await;
    let failed =
        run(PowerOperation::Off, &format!("proxr://{}/3/5?rest=0ms", device.addr)).await.unwrap_err();
    assert!(failed.reason.contains("closed the connection without an answer"), "{failed}");
    assert_eq!(failed.kind, PowerRunErrorKind::Failed);
}

#[test]
fn a_bad_url_is_refused_with_the_right_form() {
    for (text, right) in [
        ("proxr://relay.lab/5", "bank, 1 to 32, and relay, 1 to 8: `proxr://HOST[:2101]/BANK/RELAY["),
        ("proxr://relay.lab/0/5", "bank, 1 to 32"),
        ("proxr://relay.lab/33/5", "bank, 1 to 32"),
        ("proxr://relay.lab/1/9", "relay, 1 to 8"),
        ("proxr://relay.lab/1/2/3", "relay, 1 to 8"),
        ("proxr://relay.lab:0/1/5", "1 to 65535"),
        ("proxr://relay.lab/1/5?invert=yes", "`true` or `false`"),
    ] {
        let error = text.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right), "{text}: {error}");
    }
    let url: PowerUrl = "proxr://Relay.lab/01/05".parse().unwrap();
    assert_eq!(
        (url.outlet().as_str(), url.resource()),
        ("proxr://relay.lab:2101/1/5", Some("proxr://relay.lab:2101"))
    );
    assert_eq!(url.capabilities().settle_for, Duration::from_secs(1));
}
