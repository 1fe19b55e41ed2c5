//! A coil of the farm's relay board.

use std::net::SocketAddr;

use farm::relay::{RelayBehaviour, RelayBoard};
use power::PowerState;

use crate::conformance::{self, DeviceBehaviour, TestDevice};

const COIL: u16 = 5;

struct Relay(RelayBoard);

fn behaviour(conduct: DeviceBehaviour) -> RelayBehaviour {
    match conduct {
        DeviceBehaviour::Normal => RelayBehaviour::Normal,
        DeviceBehaviour::Refuses => RelayBehaviour::Refusing,
        DeviceBehaviour::Hangs => RelayBehaviour::Hanging,
        DeviceBehaviour::Mute => RelayBehaviour::Mute,
        DeviceBehaviour::Lies => RelayBehaviour::Lying { coil: COIL },
        DeviceBehaviour::Foreign => RelayBehaviour::Rtu,
    }
}

impl TestDevice for Relay {
    async fn start(conduct: DeviceBehaviour, supply: PowerState) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let relay = RelayBoard::start(any_port, 8, behaviour(conduct)).unwrap();
        relay.switch(COIL, supply == PowerState::On);
        Self(relay)
    }

    fn url(&self, options: &str) -> String {
        format!("modbus://{}/{COIL}?{options}", self.0.addr())
    }

    fn url_of_nothing(&self) -> String {
        format!("modbus://{}/9", self.0.addr())
    }

    fn supply(&self) -> PowerState {
        if *self.0.coil(COIL).borrow() { PowerState::On } else { PowerState::Off }
    }

    fn received_orders(&self) -> Vec<PowerState> {
        let supply = |on| if on { PowerState::On } else { PowerState::Off };
        self.0.writes().into_iter().map(|write| supply(write.is_on)).collect()
    }

    fn connections(&self) -> usize {
        self.0.connections()
    }

    async fn conduct(&self, conduct: DeviceBehaviour) {
        self.0.set_behaviour(behaviour(conduct));
    }
}

#[tokio::test]
async fn modbus_outlets_do_what_every_outlet_does() {
    Box::pin(conformance::run_conformance_tests::<Relay>()).await;
}
