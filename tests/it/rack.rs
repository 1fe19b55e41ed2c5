//! Boards whose power is switched by one simulated relay board.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeguard::farm::relay::{RelayBehaviour, RelayBoard};
use serde_json::{Value, json};

use crate::world::{World, yield_briefly};

/// A relay board with a powered board at each coil; it serves one client at a time.
pub(crate) struct Rack {
    pub(crate) relay: RelayBoard,
}

impl Rack {
    /// Starts the relay board under the world's clock.
    pub(crate) fn new(world: &World, coils: u16) -> Self {
        let clock = Arc::new(world.clock.clone());
        let listen = ([127, 0, 0, 1], 0).into();
        let relay =
            RelayBoard::start_with_clock(clock, listen, coils, RelayBehaviour::OneClientAtATime).unwrap();
        for coil in 0..coils {
            relay.switch(coil, true);
        }
        Self { relay }
    }

    /// The resource that power actions for its boards hold.
    pub(crate) fn resource(&self) -> String {
        format!("modbus://{}", self.relay.addr())
    }

    /// A board's power facts: its off time is short compared with every deadline.
    pub(crate) fn power_facts(&self, coil: u16) -> Value {
        json!({ "power_url": format!("{}/{coil}?off=50ms", self.resource()) })
    }

    /// A board's power facts with an off time that ends only when the test advances the clock.
    pub(crate) fn slow_power_facts(&self, coil: u16) -> Value {
        json!({ "power_url": format!("{}/{coil}?off=45s", self.resource()) })
    }

    /// Whether the board at `coil` has power.
    pub(crate) fn is_on(&self, coil: u16) -> bool {
        *self.relay.coil(coil).borrow()
    }

    /// Waits until the board at `coil` is on or off.
    pub(crate) async fn until(&self, coil: u16, on: bool) {
        let give_up_at = Instant::now() + Duration::from_mins(1);
        while self.is_on(coil) != on {
            assert!(Instant::now() < give_up_at, "coil {coil} never was {on}");
            yield_briefly().await;
        }
    }

    /// The changes of the coils since the boards were switched on: `(coil, on)`.
    pub(crate) fn switched(&self, coils: usize) -> Vec<(u16, bool)> {
        self.relay
            .coil_changes()
            .iter()
            .skip(coils)
            .map(|operation| (operation.coil, operation.is_on))
            .collect()
    }
}
