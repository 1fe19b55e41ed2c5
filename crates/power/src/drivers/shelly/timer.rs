//! Timers of devices that are on.

use crate::outlet::MAX_OFF_TIME;

/// Whether a device that is on and has a timer of so many seconds may be about to switch off within a cycle's time: by the
/// cycle of this run, or by that of an interrupted one. A longer timer is the owner's.
pub(super) fn is_of_cycle(timer_s: Option<f64>) -> bool {
    timer_s.is_none_or(|seconds| seconds <= MAX_OFF_TIME.as_secs_f64())
}
