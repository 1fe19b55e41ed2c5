//! Use of resources.

use crate::span_histogram::SpanHistogram;

/// Use of one resource, or of several of the same kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourceTally {
    /// Waits of instances that claimed it.
    pub(crate) waited: SpanHistogram,
    pub(crate) longest_queue: LongestQueue,
    /// Unit time in use in all, and of the most used resource.
    pub(crate) unit_ms: u64,
    pub(crate) longest_unit_ms: u64,
    /// Most units of one resource in use at a time.
    pub(crate) max_in_use: u32,
}

/// The longest queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LongestQueue {
    pub(crate) instances: usize,
    pub(crate) at_ms: u64,
    /// Index of the resource, from 0.
    pub(crate) resource: usize,
}

impl ResourceTally {
    /// Counts the length of a queue.
    pub(crate) fn queue(&mut self, queue: LongestQueue) {
        self.longest_queue = longer(self.longest_queue, queue);
    }

    /// Adds the use of one resource at the end.
    pub(crate) fn used(&mut self, unit_ms: u64, max_in_use: u32) {
        self.unit_ms += unit_ms;
        self.longest_unit_ms = self.longest_unit_ms.max(unit_ms);
        self.max_in_use = self.max_in_use.max(max_in_use);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.waited.merge(&other.waited);
        self.queue(other.longest_queue);
        self.unit_ms += other.unit_ms;
        self.longest_unit_ms = self.longest_unit_ms.max(other.longest_unit_ms);
        self.max_in_use = self.max_in_use.max(other.max_in_use);
    }
}

/// The longer of two queues; of equal ones the earlier, at the resource with the lower number.
fn longer(first: LongestQueue, other: LongestQueue) -> LongestQueue {
    let rank = |queue: &LongestQueue| (std::cmp::Reverse(queue.instances), queue.at_ms, queue.resource);
    if rank(&other) < rank(&first) { other } else { first }
}
