//! A farm: boards on relay boards, each of which lives in a task of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use random::Random;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::board::{Registration, SimulatedBoard, Status};
use super::life::live;
use super::network::Network;
use super::options::FarmOptions;
use super::relay::{Behaviour, RelayBoard};
use super::tree::HARDWARE;

/// How many boards hang on one relay board.
const COILS: u16 = 8;
/// Every fourth board has power while its coil is off.
const INVERTED_EVERY: u16 = 4;
/// Where the boards' addresses begin.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
/// How long a relay board's bad moment lasts, in farm time.
const BAD_MOMENT: Duration = Duration::from_mins(1);

/// Says why there is no farm. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum FarmError {
    /// A relay board has no port.
    #[error("cannot start a simulated relay board")]
    Relay(#[source] io::Error),
    /// A board has no address or port of its own.
    #[error("cannot connect the simulated board {name}")]
    Board {
        /// Which board.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A farm that runs until it is stopped or dropped.
pub struct Farm {
    relays: Vec<Arc<RelayBoard>>,
    boards: Vec<Arc<SimulatedBoard>>,
    tasks: JoinSet<()>,
}

impl Farm {
    /// Starts a farm; no board has power yet.
    ///
    /// # Errors
    ///
    /// [`FarmError`] when an address or a port cannot be had.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(options: &FarmOptions) -> Result<Self, FarmError> {
        let mut farm = Self { relays: Vec::new(), boards: Vec::new(), tasks: JoinSet::new() };
        let dead = options.faults.draw_dead(options.boards, &mut Random::new(options.seed));
        for index in 0..options.boards {
            let coil = index % COILS;
            if coil == 0 {
                farm.add_relay(options)?;
            }
            let Some(relay) = farm.relays.last() else { continue };
            let board = Arc::new(new_board(options, index, relay.addr())?);
            board.set_dead(dead.contains(&index));
            relay.switch(coil, board.is_inverted);
            let wire = relay.coil(coil);
            let living = Arc::clone(&board);
            farm.tasks.spawn(async move { live(&living, wire).await });
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

    /// The relay board at `index`: it has the coils of the boards from `8 * index` on.
    #[must_use]
    pub fn relay(&self, index: usize) -> Option<&RelayBoard> {
        self.relays.get(index).map(AsRef::as_ref)
    }

    /// Ends everything; on return no socket of a board is open any more.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    fn add_relay(&mut self, options: &FarmOptions) -> Result<(), FarmError> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let clock = Arc::clone(&options.clock);
        let relay = RelayBoard::start_on(clock, listen, COILS, Behaviour::OneClientAtATime)
            .map(Arc::new)
            .map_err(FarmError::Relay)?;
        if options.faults.relay > 0.0 {
            let random = Random::stream(options.seed, !(self.relays.len() as u64));
            let clock = Arc::clone(&options.clock);
            self.tasks.spawn(misbehave(Arc::clone(&relay), clock, random, options.faults.relay));
        }
        self.relays.push(relay);
        Ok(())
    }
}

fn new_board(options: &FarmOptions, index: u16, relay: SocketAddr) -> Result<SimulatedBoard, FarmError> {
    let name = format!("board-{:03}", index + 1);
    let address = Ipv4Addr::from(u32::from(FIRST_ADDRESS) + u32::from(index));
    let network = Network::new(&name, address, &options.server, options.tftp)
        .map_err(|source| FarmError::Board { name: name.clone(), source })?;
    let is_inverted = index % INVERTED_EVERY == INVERTED_EVERY - 1;
    let invert = if is_inverted { "&invert=true" } else { "" };
    let [high, low] = index.to_be_bytes();
    let hardware = HARDWARE[usize::from(index) % HARDWARE.len()];
    Ok(SimulatedBoard {
        registration: Registration {
            name,
            fqdn: address.to_string(),
            // Locally administered: no maker has these.
            mac: format!("02:4c:47:00:{high:02x}:{low:02x}"),
            power_url: format!("modbus://{relay}/{}?unit=1&off=2s{invert}", index % COILS),
            poll_url: format!("tcp://{}", network.poll()),
            hardware: hardware.to_owned(),
            environment: "farm".to_owned(),
        },
        clock: Arc::clone(&options.clock),
        times: options.times,
        speaks_visits: options.speaks_visits,
        network,
        seed: Random::stream(options.seed, u64::from(index)).number(),
        faults: watch::Sender::new(options.faults),
        is_dead: watch::Sender::new(false),
        status: watch::Sender::new(Status { card: options.card.clone(), ..Status::default() }),
        is_inverted,
    })
}

/// Gives a relay board its bad moments, each at the chance `rate`.
async fn misbehave(relay: Arc<RelayBoard>, clock: Arc<dyn Clock>, mut random: Random, rate: f64) {
    loop {
        clock.sleep(BAD_MOMENT).await;
        if random.fraction() >= rate {
            continue;
        }
        let coil = u16::try_from(random.below(usize::from(2 * COILS))).unwrap_or(COILS);
        let bad = if coil < COILS { Behaviour::Lying { coil } } else { Behaviour::Hanging };
        tracing::debug!(relay = %relay.addr(), ?bad, "a simulated relay board misbehaves");
        relay.set_behaviour(bad);
        clock.sleep(BAD_MOMENT).await;
        relay.set_behaviour(Behaviour::OneClientAtATime);
    }
}
