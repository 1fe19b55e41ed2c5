//! Tests of `modbus://` with `framing=rtu`, at a serial server of our own.

use std::net::SocketAddr;
use std::time::Duration;

use power::{PowerOperation, PowerRunErrorKind, PowerState, PowerUrl};

use crate::conformance::{self, DeviceBehaviour, TestDevice, run};
use crate::fake::{Decoded, DeviceQuirks, FakeDevice, FakeProtocol};
use crate::fake_modbus::decode_rtu;

/// What the serial server sends before the answer to a read.
#[derive(Clone, Default)]
struct SerialServer {
    before_reads: &'static [u8],
}

impl FakeProtocol for SerialServer {
    const RELAY: usize = 5;
    const POWER_IF_ON: bool = true;
    type Session = ();

    fn url(&self, addr: SocketAddr, parameters: &str) -> String {
        format!("modbus://{addr}/5?framing=rtu&readback=all8&{parameters}")
    }

    fn url_of_missing_outlet(&self, addr: SocketAddr) -> Option<String> {
        Some(format!("modbus://{addr}/9?framing=rtu&readback=all8"))
    }

    fn decode(&self, (): &mut (), relays: [bool; 8], received: &[u8]) -> Decoded {
        let decoded = decode_rtu(relays, received);
        if let Decoded::Request { length, order: None, answer } = decoded {
            return Decoded::Request { length, order: None, answer: [self.before_reads, &answer].concat() };
        }
        decoded
    }
}

async fn with(before_reads: &'static [u8], quirks: DeviceQuirks) -> FakeDevice<SerialServer> {
    FakeDevice::with(SerialServer { before_reads }, quirks, DeviceBehaviour::Normal, PowerState::On).await
}

#[tokio::test]
async fn modbus_outlets_with_rtu_framing_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<FakeDevice<SerialServer>>()).await;
}

#[tokio::test]
async fn a_late_answer_to_an_earlier_request_is_skipped() {
    // The confirmation of an order to switch coil 5 on.
    let device = with(&[1, 5, 0, 5, 0xff, 0, 0x9c, 0x3b], DeviceQuirks::default()).await;
    let evidence = run(PowerOperation::Cycle, &device.url("off=20ms")).await.unwrap();
    assert_eq!((&evidence["observed"], &evidence["attempts"]), (&"on".into(), &1.into()));
    assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On]);
}

#[tokio::test]
async fn a_frame_with_a_wrong_checksum_is_not_an_answer() {
    let device = with(&[1, 1, 1, 0xff, 0, 0], DeviceQuirks::default()).await;
    let failed = run(PowerOperation::Off, &device.url("")).await.unwrap_err();
    assert!(failed.reason.starts_with("unexpected answer from"), "{failed}");
    assert_eq!((failed.kind, device.received_orders().len()), (PowerRunErrorKind::Failed, 0));
    assert!(
        failed.evidence["answer"].as_str().unwrap().starts_with("01 01 01 ff 00 00"),
        "{:?}",
        failed.evidence
    );
}

#[tokio::test]
async fn serial_servers_with_quirks_are_coped_with() {
    let rest = Duration::from_millis(40);
    for quirks in [
        DeviceQuirks { closes_after_answer: true, ..DeviceQuirks::default() },
        DeviceQuirks { half_answers: 1, ..DeviceQuirks::default() },
        DeviceQuirks { rest: Some(rest), closes_after_answer: true, ..DeviceQuirks::default() },
    ] {
        let device = with(&[], quirks).await;
        let evidence = run(PowerOperation::Cycle, &device.url("off=20ms&rest=200ms")).await.unwrap();
        assert_eq!(evidence["observed"], "on", "{quirks:?}");
        assert_eq!(device.received_orders(), [PowerState::Off, PowerState::On], "{quirks:?}");
        assert_eq!(device.lock().turned_away, 0, "{quirks:?}");
    }
}

#[test]
fn the_framing_does_not_make_another_outlet() {
    let [rtu, tcp] = ["modbus://relay.lab/5?framing=rtu", "modbus://relay.lab/5"]
        .map(|text| text.parse::<PowerUrl>().unwrap().outlet());
    assert_eq!(rtu, tcp);
}
