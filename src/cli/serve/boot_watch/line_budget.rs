//! A limit for log lines that any host on the network can cause.

use std::time::Duration;

use tokio::time::Instant;

/// The maximum number of lines in each span.
const MAX_LINES_PER_SPAN: u32 = 20;
const BUDGET_SPAN: Duration = Duration::from_secs(10);

/// Limits the number of log lines in each span of time.
#[derive(Debug)]
pub(super) struct LogLineBudget {
    begun: Instant,
    written: u32,
    suppressed: u64,
}

impl LogLineBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, written: 0, suppressed: 0 }
    }

    /// Whether one more line may be written. The first call after a span logs how many lines were suppressed in it.
    pub(super) fn take_line(&mut self, now: Instant) -> bool {
        if now - self.begun >= BUDGET_SPAN {
            if self.suppressed > 0 {
                tracing::warn!(suppressed = self.suppressed, "TFTP log lines suppressed");
            }
            *self = Self::new(now);
        }
        let has_room = self.written < MAX_LINES_PER_SPAN;
        if has_room {
            self.written += 1;
        } else {
            self.suppressed += 1;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_has_twenty_lines() {
        let begun = Instant::now();
        let mut budget = LogLineBudget::new(begun);
        assert_eq!((0..100).filter(|_| budget.take_line(begun)).count(), 20);
        assert!(!budget.take_line(begun + Duration::from_secs(9)));
        assert!(budget.take_line(begun + Duration::from_secs(10)));
        assert_eq!(budget.suppressed, 0);
    }
}
