//! Conformance tests of `modbus://`, at a relay board of the farm.

use std::net::SocketAddr;

use farm::relay::{RelayBehaviour, RelayBoard};
use power::{DEFAULT_CALL_TIMEOUT, PowerRunErrorKind, PowerState, PowerUrl, scan};
use tokio_util::sync::CancellationToken;

use crate::conformance::{self, DeviceBehaviour, TestDevice, context};

const COIL: u16 = 5;

struct Relay(RelayBoard);

fn relay_behaviour(behaviour: DeviceBehaviour) -> RelayBehaviour {
    match behaviour {
        DeviceBehaviour::Normal => RelayBehaviour::Normal,
        DeviceBehaviour::Refuses => RelayBehaviour::Refusing,
        DeviceBehaviour::Hangs => RelayBehaviour::Hanging,
        DeviceBehaviour::Mute => RelayBehaviour::Mute,
        DeviceBehaviour::Lies => RelayBehaviour::Lying { coil: COIL },
        DeviceBehaviour::Foreign => RelayBehaviour::Rtu,
    }
}

impl TestDevice for Relay {
    async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let relay = RelayBoard::start(any_port, 8, relay_behaviour(behaviour)).unwrap();
        relay.switch(COIL, state == PowerState::On);
        Self(relay)
    }

    fn url(&self, options: &str) -> String {
        format!("modbus://{}/{COIL}?{options}", self.0.addr())
    }

    fn url_of_missing_outlet(&self) -> Option<String> {
        Some(format!("modbus://{}/9", self.0.addr()))
    }

    fn state(&self) -> PowerState {
        if *self.0.coil(COIL).borrow() { PowerState::On } else { PowerState::Off }
    }

    fn received_orders(&self) -> Vec<PowerState> {
        let state = |on| if on { PowerState::On } else { PowerState::Off };
        self.0.writes().into_iter().map(|write| state(write.is_on)).collect()
    }

    fn connections(&self) -> usize {
        self.0.connections()
    }

    async fn set_behaviour(&self, behaviour: DeviceBehaviour) {
        self.0.set_behaviour(relay_behaviour(behaviour));
    }
}

#[tokio::test]
async fn modbus_outlets_pass_the_conformance_tests() {
    Box::pin(conformance::run_conformance_tests::<Relay>()).await;
}

/// Scans a relay board with these coils; returns the outlets found, the end of the scan, and its connections.
async fn scan_relay(coils: u16, behaviour: RelayBehaviour, options: &str) -> (Vec<String>, String, usize) {
    let relay = RelayBoard::start(SocketAddr::from(([127, 0, 0, 1], 0)), coils, behaviour).unwrap();
    relay.switch(1, true);
    let url = format!("modbus://{}{options}", relay.addr()).parse().unwrap();
    let found = scan(&url, &context(DEFAULT_CALL_TIMEOUT), &CancellationToken::new()).await.unwrap();
    assert!(relay.writes().is_empty(), "nothing is written");
    let shown = |outlet: &serde_json::Value| {
        let (url, observed) = (outlet["url"].as_str().unwrap(), outlet["observed"].as_str().unwrap());
        PowerUrl::read_new(url).unwrap();
        format!("{} {observed}", url.split_once(&format!("{}/", relay.addr())).unwrap().1)
    };
    let outlets = found["outlets"].as_array().unwrap().iter().map(shown).collect();
    (outlets, found["ended_by"].as_str().unwrap().to_owned(), relay.connections())
}

#[tokio::test]
async fn a_scan_reads_coils_by_banks_until_the_relay_board_has_no_more() {
    let expected = |coils: u16, options: &str| -> Vec<String> {
        let state = |coil| if coil == 1 { "on" } else { "off" };
        (0..coils).map(|coil| format!("{coil}{options} {}", state(coil))).collect()
    };
    let (outlets, ended_by, connections) = scan_relay(12, RelayBehaviour::Normal, "?unit=1").await;
    assert_eq!(outlets, expected(12, "?unit=1"));
    assert!(ended_by.contains("the relay board has no coil 12"), "{ended_by}");
    assert_eq!(connections, 1);
    // It refuses to read fewer than eight, so its outlets need `readback=all8`.
    let (outlets, ended_by, _) = scan_relay(8, RelayBehaviour::ReadsBanks { coils: 8 }, "").await;
    assert_eq!(outlets, expected(8, "?readback=all8"));
    assert!(ended_by.contains("coil 8"), "{ended_by}");
    let (outlets, _, _) = scan_relay(2, RelayBehaviour::CloseAfterAnswer, "").await;
    assert_eq!(outlets, expected(2, ""));
    let (outlets, ended_by, _) = scan_relay(100, RelayBehaviour::OneClientAtATime, "").await;
    assert_eq!((outlets.len(), ended_by.as_str()), (64, "no more than 64 outlets are read"));
}

#[tokio::test]
async fn a_device_url_that_cannot_be_scanned_is_refused_with_the_right_form() {
    for (text, right) in [
        ("modbus://relay-3.lab/5", "without an outlet: `modbus://HOST[:502]`"),
        ("modbus://relay-3.lab?readback=none", "`readback=none`"),
        ("modbus://relay-3.lab?unit=0", "1 to 247, or 255"),
        ("modbus://relay-3.lab?pulse=1s", "unknown parameter `pulse`"),
        ("pdudaemon://pdudaemon.lab", "cannot be found by reading; those of `modbus://HOST[:502]`"),
        ("ftp://relay-3.lab", "unknown scheme `ftp`; write `modbus://HOST[:502]` or"),
        ("relay-3.lab", "write `modbus://HOST[:502]`"),
    ] {
        let error = text.parse::<power::ScanUrl>().unwrap_err().to_string();
        assert!(error.contains(right) && error.contains("is not a device URL"), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_device_of_another_kind_is_reported_and_not_taken_for_one_without_outlets() {
    let relay = RelayBoard::start(SocketAddr::from(([127, 0, 0, 1], 0)), 8, RelayBehaviour::Rtu).unwrap();
    let url = format!("modbus://{}", relay.addr()).parse().unwrap();
    let failed = scan(&url, &context(DEFAULT_CALL_TIMEOUT), &CancellationToken::new()).await.unwrap_err();
    assert_eq!(failed.kind, PowerRunErrorKind::Misconfigured, "{failed}");
    assert!(failed.reason.contains("answered, but not with Modbus TCP"), "{failed}");
}

#[tokio::test]
async fn a_scan_of_a_device_that_says_nothing_ends_soon_and_names_the_scheme() {
    // Its connections are accepted by the system alone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    for scheme in ["modbus", "devantech"] {
        let url = format!("{scheme}://{addr}").parse().unwrap();
        let began = std::time::Instant::now();
        let failed = scan(&url, &context(DEFAULT_CALL_TIMEOUT), &CancellationToken::new()).await.unwrap_err();
        assert!(began.elapsed() < std::time::Duration::from_secs(8), "{scheme}: {:?}", began.elapsed());
        assert!(failed.reason.contains(&format!("within 3s; asked by `{scheme}://`")), "{failed}");
    }
}
