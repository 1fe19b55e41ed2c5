//! Spans of time, times, counts and lists as text: the one formatter of each for the whole workspace.
//!
//! A configured span is written as in definitions, options and URLs ([`duration`]: `1m 30s`), so that it can be found there
//! and pasted. A measured span is rounded for reading ([`elapsed`]: `8 min 25 s`, [`measured`]: `4.20 s`).

mod counts;
mod errors;
mod lists;
mod spans;
mod times;

pub use counts::count;
pub use errors::{with_causes, without_error_numbers};
pub use lists::list;
pub use spans::{duration, elapsed, measured};
pub use times::{since, time};
