//! A bound on log lines that anybody on the network can cause.

use std::time::Duration;

use tokio::time::Instant;

/// How many lines there may be in one span.
const MAX_LINES_PER_SPAN: u32 = 20;
const BUDGET_SPAN: Duration = Duration::from_secs(10);

/// Says whether one more line may be written.
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

    /// Takes a line; a span's end tells how many were not written.
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
    fn a_span_has_twenty_lines_and_the_next_one_again() {
        let begun = Instant::now();
        let mut budget = LogLineBudget::new(begun);
        assert_eq!((0..100).filter(|_| budget.take_line(begun)).count(), 20);
        assert!(!budget.take_line(begun + Duration::from_secs(9)));
        assert!(budget.take_line(begun + Duration::from_secs(10)));
        assert_eq!(budget.suppressed, 0);
    }
}
