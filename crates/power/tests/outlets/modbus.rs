//! A coil of the farm's relay board.

use std::net::SocketAddr;

use farm::relay::{Behaviour, RelayBoard};
use power::Supply;

use crate::conformance::{self, Conduct, TestDevice};

const COIL: u16 = 5;

struct Relay(RelayBoard);

fn behaviour(conduct: Conduct) -> Behaviour {
    match conduct {
        Conduct::Normal => Behaviour::Normal,
        Conduct::Refuses => Behaviour::Refusing,
        Conduct::Hangs => Behaviour::Hanging,
        Conduct::Mute => Behaviour::Mute,
        Conduct::Lies => Behaviour::Lying { coil: COIL },
        Conduct::Foreign => Behaviour::Rtu,
    }
}

impl TestDevice for Relay {
    async fn start(conduct: Conduct, supply: Supply) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let relay = RelayBoard::start(any_port, 8, behaviour(conduct)).unwrap();
        relay.switch(COIL, supply == Supply::On);
        Self(relay)
    }

    fn url(&self, options: &str) -> String {
        format!("modbus://{}/{COIL}?{options}", self.0.addr())
    }

    fn url_of_nothing(&self) -> String {
        format!("modbus://{}/9", self.0.addr())
    }

    fn supply(&self) -> Supply {
        if *self.0.coil(COIL).borrow() { Supply::On } else { Supply::Off }
    }

    fn orders(&self) -> Vec<Supply> {
        let supply = |on| if on { Supply::On } else { Supply::Off };
        self.0.writes().into_iter().map(|write| supply(write.on)).collect()
    }

    fn connections(&self) -> usize {
        self.0.connections()
    }

    async fn conduct(&self, conduct: Conduct) {
        self.0.set_behaviour(behaviour(conduct));
    }
}

#[tokio::test]
async fn modbus_outlets_do_what_every_outlet_does() {
    Box::pin(conformance::all::<Relay>()).await;
}
