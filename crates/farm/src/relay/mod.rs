//! A simulated relay board: Modbus TCP, with a wire at each coil.

mod behaviour;
mod board;
mod coil_change;
mod coils;
mod frame;
mod serve;

pub use behaviour::RelayBehaviour;
pub use board::RelayBoard;
pub use coil_change::CoilChange;
