//! The farm's time.
//!
//! Deadlines, off times, boot times and poll intervals use a [`Clock`] passed as an argument: tests move it by hand
//! ([`ManualClock`]) and the demo runs it faster ([`ScaledClock`]). Times of this machine, such as a worker's lease or
//! a database timeout, use real time and say so.

mod clock;
mod manual;
mod pause;
mod scaled;
mod spans;
mod system;
mod wall;

pub use clock::Clock;
pub use manual::ManualClock;
pub use pause::sleep_real_time;
pub use scaled::ScaledClock;
pub use spans::time_after;
pub use system::SystemClock;
pub use wall::local_to_utc;
