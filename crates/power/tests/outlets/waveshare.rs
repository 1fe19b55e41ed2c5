//! Tests of `waveshare://`, at a relay board of our own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clock::SystemClock;
use device_io::{Credentials, ProcessLease};
use power::{
    CycleTiming, PowerCommands, PowerContext, PowerOperation, PowerRunErrorKind, PowerState, PowerUrl,
    operate,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::conformance::{self, DeviceBehaviour, TestDevice, run, until};
use crate::fake::{Decoded, DeviceQuirks, FakeDevice, FakeProtocol};
use crate::fake_modbus::{decode_rtu, decode_tcp};

#[derive(Clone, Default)]
struct Waveshare;

impl FakeProtocol for Waveshare {
    const RELAY: usize = 5;
    const POWER_IF_ON: bool = true;
    type Session = ();

    fn url(&self, addr: SocketAddr, parameters: &str) -> String {
        format!("waveshare://{addr}/5?{parameters}")
    }

    fn url_of_missing_outlet(&self, _: SocketAddr) -> Option<String> {
        None
    }

    fn decode(&self, (): &mut (), relays: [bool; 8], received: &[u8]) -> Decoded {
        decode_tcp(relays, received)
    }
}

/// The same, with the board wired to the normally closed contact.
#[derive(Clone, Default)]
struct Inverted;

impl FakeProtocol for Inverted {
    const RELAY: usize = 5;
    const POWER_IF_ON: bool = false;
    type Session = ();

    fn url(&self, addr: SocketAddr, parameters: &str) -> String {
        format!("waveshare://{addr}/5?invert=true&{parameters}")
    }

    fn url_of_missing_outlet(&self, _: SocketAddr) -> Option<String> {
        None
    }

    fn decode(&self, (): &mut (), relays: [bool; 8], received: &[u8]) -> Decoded {
        decode_tcp(relays, received)
    }
}

/// In its other mode: RTU frames over TCP.
#[derive(Clone, Default)]
struct Transparent;

impl FakeProtocol for Transparent {
    const RELAY: usize = 5;
    const POWER_IF_ON: bool = true;
    type Session = ();

    fn url(&self, addr: SocketAddr, parameters: &str) -> String {
        format!("waveshare://{addr}/5?framing=rtu&{parameters}")
    }

    fn url_of_missing_outlet(&self, _: SocketAddr) -> Option<String> {
        None
    }

    fn decode(&self, (): &mut (), relays: [bool; 8], received: &[u8]) -> Decoded {
        decode_rtu(relays, received)
    }
}

const OFF: Duration = Duration::from_secs(1);

async fn with_quirks(quirks: DeviceQuirks) -> FakeDevice<Waveshare> {
    FakeDevice::with(Waveshare, quirks, DeviceBehaviour::Normal, PowerState::On).await
}

#[tokio::test]
async fn waveshare_outlets_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<FakeDevice<Waveshare>>()).await;
}

#[tokio::test]
async fn inverted_waveshare_outlets_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<FakeDevice<Inverted>>()).await;
}

#[tokio::test]
async fn a_power_cycle_is_one_order_to_the_relay_board_and_is_read_during_and_after_it() {
    let device = FakeDevice::<Waveshare>::on().await;
    let evidence = run(PowerOperation::Cycle, &device.url("off=1050ms")).await.unwrap();
    assert_eq!((&evidence["observed"], device.state()), (&"on".into(), PowerState::On));
    assert!(evidence.contains_key("off_at") && evidence.contains_key("on_at"), "{evidence:?}");
    {
        let state = device.lock();
        assert_eq!(state.orders.len(), 1);
        assert_eq!(state.orders[0].reverts_after, Some(Duration::from_millis(1100)));
        // FC05 at 0x0400 + 5, 11 ticks.
        let is_flash = |request: &&Vec<u8>| request[6..] == [1, 5, 0x04, 5, 0, 11];
        assert_eq!(state.requests.iter().filter(is_flash).count(), 1, "{:?}", state.requests);
        // All others read all coils.
        let is_read = |request: &&Vec<u8>| request[6..] == [1, 1, 0, 0, 0, 8];
        assert_eq!(state.requests.iter().filter(is_read).count(), state.requests.len() - 1);
    }

    let device = FakeDevice::<Transparent>::on().await;
    run(PowerOperation::Cycle, &device.url("off=1s")).await.unwrap();
    assert_eq!(device.lock().requests[1][..6], [1, 5, 0x04, 5, 0, 10]);
    assert_eq!((device.state(), device.received_orders()), (PowerState::On, vec![PowerState::Off]));

    let device = FakeDevice::<Inverted>::on().await;
    run(PowerOperation::Cycle, &device.url("off=1s")).await.unwrap();
    assert_eq!(device.lock().requests[1][6..], [1, 5, 0x02, 5, 0, 10]);
    assert_eq!((device.state(), device.received_orders()), (PowerState::On, vec![PowerState::Off]));
}

#[tokio::test]
async fn the_relay_board_restores_the_power_when_the_server_is_gone() {
    let device = FakeDevice::<Waveshare>::on().await;
    let url: PowerUrl = device.url("off=1s").parse().unwrap();
    let context = conformance::context(conformance::LONG_TIMEOUT);
    let never = CancellationToken::new();
    // The run is dropped, as by a process that dies.
    tokio::select! {
        ended = operate(&url, PowerOperation::Cycle, &context, &never) => unreachable!("{ended:?}"),
        () = until("the power is off", || device.state() == PowerState::Off) => {}
    }
    let context = PowerContext { interrupted_runs: 1, ..context };
    // The next one finds it off, waits for the relay board, and sends no order.
    let evidence = operate(&url, PowerOperation::Cycle, &context, &never).await.unwrap();
    assert_eq!((&evidence["observed"], &evidence["interrupted"]), (&"on".into(), &1.into()));
    assert_eq!(device.received_orders(), [PowerState::Off]);
    // A later one finds it on, and does not take the power away again.
    let failed = operate(&url, PowerOperation::Cycle, &context, &never).await.unwrap_err();
    assert!(failed.reason.contains("not cycled again"), "{failed}");
    assert_eq!((failed.kind, device.received_orders().len()), (PowerRunErrorKind::Failed, 1));
}

#[tokio::test]
async fn nothing_is_sent_after_the_lease_expired_during_the_off_time() {
    let device = FakeDevice::<Waveshare>::on().await;
    let url: PowerUrl = device.url("off=1s").parse().unwrap();
    let lease = ProcessLease::default();
    let context = PowerContext {
        clock: Arc::new(SystemClock),
        lease: lease.clone(),
        call_limit: conformance::LONG_TIMEOUT,
        interrupted_runs: 0,
        credentials: Credentials::default(),
        commands: PowerCommands::default(),
    };
    let never = CancellationToken::new();
    let (ended, ()) = tokio::join!(operate(&url, PowerOperation::Cycle, &context, &never), async {
        until("the power is off", || device.state() == PowerState::Off).await;
        lease.extend(Instant::now());
    });
    assert!(ended.unwrap_err().reason.contains("lease expired"));
    until("the relay board restored the power", || device.state() == PowerState::On).await;
    assert_eq!(device.received_orders(), [PowerState::Off]);
}

#[tokio::test]
async fn a_cycle_is_one_order_at_relay_boards_with_quirks() {
    let rest = Duration::from_millis(40);
    for (quirks, parameters) in [
        (DeviceQuirks { closes_after_answer: true, ..DeviceQuirks::default() }, "off=2s"),
        (DeviceQuirks { half_answers: 1, ..DeviceQuirks::default() }, "off=2s"),
        (DeviceQuirks { lost_confirmations: 1, ..DeviceQuirks::default() }, "off=2s"),
        (DeviceQuirks { rest: Some(rest), ..DeviceQuirks::default() }, "off=2s&rest=200ms"),
        (
            DeviceQuirks { rest: Some(rest), closes_after_answer: true, ..DeviceQuirks::default() },
            "off=2s&rest=200ms",
        ),
    ] {
        let device = with_quirks(quirks).await;
        let evidence = run(PowerOperation::Cycle, &device.url(parameters)).await.unwrap();
        assert_eq!(evidence["observed"], "on", "{quirks:?}");
        assert_eq!(device.received_orders(), [PowerState::Off], "{quirks:?}");
        assert_eq!(device.lock().turned_away, 0, "{quirks:?}");
    }
}

#[tokio::test]
async fn a_relay_board_that_confirms_a_cycle_and_does_nothing_fails() {
    let device = FakeDevice::<Waveshare>::start(DeviceBehaviour::Lies, PowerState::On).await;
    let failed = run(PowerOperation::Cycle, &device.url("off=1s")).await.unwrap_err();
    assert_eq!(failed.reason, "the power was switched off and still reads on");
    assert_eq!((failed.kind, &failed.evidence["observed"]), (PowerRunErrorKind::Failed, &"on".into()));
}

#[test]
fn a_bad_url_is_refused_and_a_good_one_names_the_same_outlet_as_modbus() {
    for (text, right) in [
        ("waveshare://relay.lab", "0 to 7, CH1 of the relay board is 0: `waveshare://HOST[:502]/CHANNEL["),
        ("waveshare://relay.lab/8", "0 to 7"),
        ("waveshare://relay.lab/+1", "0 to 7"),
        ("waveshare://relay.lab:0/1", "1 to 65535"),
        ("waveshare://relay.lab/1?unit=0", "1 to 247, or 255"),
        ("waveshare://relay.lab/1?readback=coil", "unknown parameter `readback`"),
        ("waveshare://relay.lab/1?rest=6s", "5s"),
    ] {
        let error = text.parse::<PowerUrl>().unwrap_err().to_string();
        assert!(error.contains(right), "{text}: {error}");
    }
    let url: PowerUrl = "waveshare://Relay.lab/05?rest=500ms".parse().unwrap();
    let modbus: PowerUrl = "modbus://relay.lab:502/5".parse().unwrap();
    assert_eq!((url.outlet(), url.resource()), (modbus.outlet(), modbus.resource()));
    let shortest = OFF + Duration::from_millis(500);
    let longest = Duration::from_millis(3_276_700);
    assert_eq!(url.capabilities().cycle_timing, CycleTiming::Device { shortest, longest });
}
