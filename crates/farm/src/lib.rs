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
mod boot;
mod boot_config;
mod farm;
mod faults;
mod life;
mod network;
mod options;
pub mod relay;
mod times;
mod tree;

pub use board::{BoardActivity, BoardRegistration, SimulatedBoard, BoardStatus};
pub use boot_config::{BootConfigError, BootConfig, LiveTask};
pub use farm::{SimulatedFarm, FarmError};
pub use faults::{BoardFault, FaultRates};
pub use options::FarmOptions;
pub use random::Random;
pub use times::BoardTimings;
pub use tree::{HARDWARE_TYPES, IMAGES, boot_config_name, write_boot_tree};
