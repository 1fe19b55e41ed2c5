//! Time, as everything that belongs to the farm sees it.
//!
//! Deadlines, power gaps, boot times and poll intervals run on a [`Clock`] that the process is given, so that tests
//! move it by hand ([`ManualClock`]) and the demo runs it faster ([`ScaledClock`]). What belongs to the machine that we
//! run on — a worker's lease, a database connection — runs on real time and says so where it does.

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
