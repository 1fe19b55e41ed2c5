//! A farm: boards on relay boards, each in its own task.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use random::Random;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::board::{BoardRegistration, BoardStatus, SimulatedBoard};
use super::board_task::run_board;
use super::network::BoardNetwork;
use super::options::FarmOptions;
use super::relay::{RelayBehaviour, RelayBoard};
use super::tree::HARDWARE_TYPES;

/// Every fourth board has power while its coil is off.
const INVERTED_EVERY: u16 = 4;
/// The first board's address.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
/// How long a fault of a relay board lasts, in farm time.
const RELAY_FAULT_TIME: Duration = Duration::from_mins(1);

/// Error of starting a farm; everything started has been stopped.
#[derive(Debug, thiserror::Error)]
pub enum FarmError {
    /// A relay board cannot be started.
    #[error("cannot start a simulated relay board")]
    Relay(#[source] io::Error),
    /// A board cannot bind its address or port.
    #[error("cannot connect the simulated board {name}")]
    Board {
        /// The board's name.
        name: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// A running farm; it ends when it is stopped or dropped.
pub struct SimulatedFarm {
    relays: Vec<Arc<RelayBoard>>,
    boards: Vec<Arc<SimulatedBoard>>,
    tasks: JoinSet<()>,
}

impl SimulatedFarm {
    /// Starts a farm; all boards are off.
    ///
    /// # Errors
    ///
    /// [`FarmError`] when an address or port cannot be bound.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(options: &FarmOptions) -> Result<Self, FarmError> {
        let mut farm = Self { relays: Vec::new(), boards: Vec::new(), tasks: JoinSet::new() };
        let dead = options.faults.draw_dead(options.boards, &mut Random::new(options.seed));
        for index in 0..options.boards {
            let coil = index % options.boards_per_relay;
            if coil == 0 {
                farm.add_relay(options)?;
            }
            let Some(relay) = farm.relays.last() else { continue };
            let board = Arc::new(new_board(options, index, relay.addr())?);
            board.set_dead(dead.contains(&index));
            relay.switch(coil, board.is_inverted);
            let wire = relay.coil(coil);
            let running = Arc::clone(&board);
            farm.tasks.spawn(async move { run_board(&running, wire).await });
            farm.boards.push(board);
        }
        Ok(farm)
    }

    /// The boards, in the order of their names.
    pub fn boards(&self) -> impl ExactSizeIterator<Item = &SimulatedBoard> {
        self.boards.iter().map(AsRef::as_ref)
    }

    /// The board at `index`, from 0: `board-001` is at 0.
    #[must_use]
    pub fn board(&self, index: usize) -> Option<&SimulatedBoard> {
        self.boards.get(index).map(AsRef::as_ref)
    }

    /// The relay board at `index`: it has the coils of the boards from `8 * index` on, where it has 8 of them.
    #[must_use]
    pub fn relay(&self, index: usize) -> Option<&RelayBoard> {
        self.relays.get(index).map(AsRef::as_ref)
    }

    /// Stops all boards and relay boards; on return all their sockets are closed.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    fn add_relay(&mut self, options: &FarmOptions) -> Result<(), FarmError> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let clock = Arc::clone(&options.clock);
        let relay = RelayBoard::start_with_clock(
            clock,
            listen,
            options.boards_per_relay,
            RelayBehaviour::OneClientAtATime,
        )
        .map(Arc::new)
        .map_err(FarmError::Relay)?;
        if options.faults.relay_fault > 0.0 {
            let random = Random::stream(options.seed, !(self.relays.len() as u64));
            let clock = Arc::clone(&options.clock);
            let (relay, coils, rate) =
                (Arc::clone(&relay), options.boards_per_relay, options.faults.relay_fault);
            self.tasks.spawn(inject_relay_faults(relay, coils, clock, random, rate));
        }
        self.relays.push(relay);
        Ok(())
    }
}

fn new_board(options: &FarmOptions, index: u16, relay: SocketAddr) -> Result<SimulatedBoard, FarmError> {
    let name = format!("board-{:03}", index + 1);
    let address = Ipv4Addr::from(u32::from(FIRST_ADDRESS) + u32::from(index));
    let network = BoardNetwork::new(&name, address, &options.server, options.tftp)
        .map_err(|source| FarmError::Board { name: name.clone(), source })?;
    let is_inverted = index % INVERTED_EVERY == INVERTED_EVERY - 1;
    let invert = if is_inverted { "&invert=true" } else { "" };
    let [high, low] = index.to_be_bytes();
    let hardware = HARDWARE_TYPES[usize::from(index) % HARDWARE_TYPES.len()];
    Ok(SimulatedBoard {
        registration: BoardRegistration {
            name,
            fqdn: address.to_string(),
            // Locally administered addresses, used by no vendor.
            mac: format!("02:4c:47:00:{high:02x}:{low:02x}"),
            power_url: format!("modbus://{relay}/{}?unit=1&off=2s{invert}", index % options.boards_per_relay),
            poll_url: format!("tcp://{}", network.poll()),
            hardware: hardware.to_owned(),
            environment: "farm".to_owned(),
        },
        clock: Arc::clone(&options.clock),
        timings: options.timings,
        has_visit_in_reports: options.has_visit_in_reports,
        network,
        seed: Random::stream(options.seed, u64::from(index)).next_u64(),
        faults: watch::Sender::new(options.faults),
        is_dead: watch::Sender::new(false),
        status: watch::Sender::new(BoardStatus {
            card_image: options.card_image.clone(),
            ..BoardStatus::default()
        }),
        is_inverted,
    })
}

/// Injects faults into a relay board, each with the probability `rate`.
async fn inject_relay_faults(
    relay: Arc<RelayBoard>,
    coils: u16,
    clock: Arc<dyn Clock>,
    mut random: Random,
    rate: f64,
) {
    loop {
        clock.sleep(RELAY_FAULT_TIME).await;
        if random.next_fraction() >= rate {
            continue;
        }
        let coil = u16::try_from(random.next_below(2 * usize::from(coils))).unwrap_or(coils);
        let fault = if coil < coils { RelayBehaviour::Lying { coil } } else { RelayBehaviour::Hanging };
        tracing::debug!(relay = %relay.addr(), ?fault, "simulated relay board fault injected");
        relay.set_behaviour(fault);
        clock.sleep(RELAY_FAULT_TIME).await;
        relay.set_behaviour(RelayBehaviour::OneClientAtATime);
    }
}
