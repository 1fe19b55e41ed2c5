//! A simulated relay board: Modbus TCP as real relay boards speak it, with a wire at each coil.

mod behaviour;
mod board;
mod coils;
mod frame;
mod operation;
mod serve;

pub use behaviour::RelayBehaviour;
pub use board::RelayBoard;
pub use operation::CoilChange;
