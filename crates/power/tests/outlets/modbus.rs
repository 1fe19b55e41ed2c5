//! Conformance tests of `modbus://`, at a relay board of the farm.

use std::net::SocketAddr;

use farm::relay::{RelayBehaviour, RelayBoard};
use power::PowerState;

use crate::conformance::{self, DeviceBehaviour, TestDevice};

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
