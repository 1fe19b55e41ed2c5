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

pub use board::{Activity, Registration, SimulatedBoard, Status};
pub use boot_config::{BadBootConfig, BootConfig, Task};
pub use farm::{Farm, FarmError};
pub use faults::{Fault, Faults};
pub use options::FarmOptions;
pub use random::Random;
pub use times::Times;
pub use tree::{HARDWARE, IMAGES, boot_config_name, write_boot_tree};
