//! Simulated boards and relay boards: real sockets, fake hardware.
//!
//! For the demo and the tests. A farm communicates with Lifeguard only like hardware: coils by Modbus TCP, boot files
//! by TFTP, reports by HTTP, polls by TCP. It knows only the addresses of the HTTP and TFTP servers. Every board has
//! its own address in 127/8. Times use the [`Clock`](clock::Clock), random numbers come from one seed.
//!
//! ```text
//! relay board ── coil ──► board ─► boot: TFTP, reports ─► network
//!  (8 coils)                └─ random faults
//! ```

mod board;
mod board_task;
mod boot;
mod boot_config;
mod farm;
mod fault_rates;
mod network;
mod options;
pub mod relay;
mod timings;
mod tree;

pub use board::{BoardActivity, BoardRegistration, BoardStatus, SimulatedBoard};
pub use boot_config::{BootConfig, BootConfigError, LiveTask};
pub use farm::{FarmError, SimulatedFarm};
pub use fault_rates::{BoardFault, FaultRates};
pub use options::FarmOptions;
pub use random::Random;
pub use timings::BoardTimings;
pub use tree::{HARDWARE_TYPES, IMAGES, boot_config_name, write_boot_tree};
