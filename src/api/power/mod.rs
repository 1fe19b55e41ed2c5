//! Power by hand: operations at outlets, the drivers, and scans of devices.

mod answer;
pub(super) mod drivers;
pub(super) mod operate;
pub(super) mod scan;
