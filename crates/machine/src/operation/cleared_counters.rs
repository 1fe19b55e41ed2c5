//! The counters that a sequence of operations clears.

use std::collections::BTreeSet;

use super::operation_kind::CounterEffect;
use crate::names::CounterName;

/// Counters that are set back to their initial count, or may be.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClearedCounters<'d> {
    is_all: bool,
    some: BTreeSet<&'d CounterName>,
}

impl<'d> ClearedCounters<'d> {
    /// Adds what an operation with this effect clears.
    pub(crate) fn add(&mut self, effect: CounterEffect<'d>) {
        match effect {
            CounterEffect::ClearsAll => self.is_all = true,
            CounterEffect::Clears(counter) => _ = self.some.insert(counter),
            CounterEffect::Counts(_) | CounterEffect::Nothing => {}
        }
    }

    /// Adds the counters in `other`.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.is_all |= other.is_all;
        self.some.extend(&other.some);
    }

    /// Whether `counter` is among them.
    pub(crate) fn has(&self, counter: &CounterName) -> bool {
        self.is_all || self.some.contains(counter)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_all && self.some.is_empty()
    }
}
