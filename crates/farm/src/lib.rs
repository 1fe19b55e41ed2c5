//! Simulated boards and relay boards: real sockets, fake hardware.
//!
//! For the demo and the tests. A farm speaks with Lifeguard only as hardware does, and knows nothing of it but where its
//! HTTP and TFTP servers are: coils by Modbus TCP, boot files by TFTP, reports by HTTP, polls by TCP. Every board has an
//! address of its own in 127/8. Times are the [`Clock`](clock::Clock)'s, chance comes from one seed.
//!
//! ```text
//! relay board ── coil ──► board ─► boot: TFTP, reports ─► network
//!  (8 coils)                └─ faults, by chance
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
