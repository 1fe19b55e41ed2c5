//! A bound on log lines that anybody on the network can cause.

use std::time::Duration;

use tokio::time::Instant;

/// How many lines there may be in one span.
const LINES: u32 = 20;
const SPAN: Duration = Duration::from_secs(10);

/// Says whether one more line may be written.
#[derive(Debug)]
pub(super) struct Budget {
    begun: Instant,
    written: u32,
    suppressed: u64,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, written: 0, suppressed: 0 }
    }

    /// Takes a line; a span's end tells how many were not written.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if now - self.begun >= SPAN {
            if self.suppressed > 0 {
                tracing::warn!(suppressed = self.suppressed, "TFTP log lines suppressed");
            }
            *self = Self::new(now);
        }
        let has_room = self.written < LINES;
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
        let mut budget = Budget::new(begun);
        assert_eq!((0..100).filter(|_| budget.take(begun)).count(), 20);
        assert!(!budget.take(begun + Duration::from_secs(9)));
        assert!(budget.take(begun + Duration::from_secs(10)));
        assert_eq!(budget.suppressed, 0);
    }
}
