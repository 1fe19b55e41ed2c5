//! How resources were used.

use crate::span_histogram::SpanHistogram;

/// How a resource, or resources that are alike, were used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourceTally {
    /// How long instances waited that claimed it.
    pub(crate) waited: SpanHistogram,
    pub(crate) longest_queue: LongestQueue,
    /// For how long units were in use, all together, and of the resource with the most.
    pub(crate) unit_ms: u64,
    pub(crate) longest_unit_ms: u64,
    /// The most units of one that were in use at a time.
    pub(crate) most: u32,
}

/// The longest queue there was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LongestQueue {
    pub(crate) instances: usize,
    pub(crate) at_ms: u64,
    /// At which of resources that are alike, from 0.
    pub(crate) resource: usize,
}

impl ResourceTally {
    /// A queue is this long.
    pub(crate) fn queue(&mut self, queue: LongestQueue) {
        self.longest_queue = longer(self.longest_queue, queue);
    }

    /// Takes how one resource was used in the end.
    pub(crate) fn used(&mut self, unit_ms: u64, most: u32) {
        self.unit_ms += unit_ms;
        self.longest_unit_ms = self.longest_unit_ms.max(unit_ms);
        self.most = self.most.max(most);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.waited.merge(&other.waited);
        self.queue(other.longest_queue);
        self.unit_ms += other.unit_ms;
        self.longest_unit_ms = self.longest_unit_ms.max(other.longest_unit_ms);
        self.most = self.most.max(other.most);
    }
}

/// The longer of two queues; of equal ones the earlier, at the resource with the lower number.
fn longer(one: LongestQueue, other: LongestQueue) -> LongestQueue {
    let rank = |queue: &LongestQueue| (std::cmp::Reverse(queue.instances), queue.at_ms, queue.resource);
    if rank(&other) < rank(&one) { other } else { one }
}
