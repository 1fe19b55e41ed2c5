//! Limits the rate of reports of a board that change nothing.
//!
//! Reports are delayed and never refused: the wget of a boot loader gives up at the first refusal. Delayed reports of a board
//! are released together, and equal ones become one entry of history. The limit starts again with each visit of a state.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::sleep_real_time;
use crate::machine::Visit;

/// How many reports that change nothing are answered without delay, in a row.
const MAX_REPORT_BURST: u32 = 10;
/// The delay of further reports, in real time. After this time without any report, one more is answered
/// without delay.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of boards that are tracked; boards without recent reports are removed.
const MAX_TRACKED_BOARDS: usize = 10_000;

/// The rates of boards whose recent reports changed nothing.
#[derive(Debug, Default)]
pub struct ReportRateLimiter {
    boards: Mutex<HashMap<String, BoardReportRate>>,
    /// The number of tracked boards, so that the lock is not needed while there are none.
    count: AtomicUsize,
}

#[derive(Debug)]
struct BoardReportRate {
    visit: Visit,
    /// How many more reports were answered without delay at `since`.
    left: u32,
    /// The time of the last report that changed nothing.
    since: Instant,
}

impl BoardReportRate {
    fn left_at(&self, now: Instant) -> u32 {
        let intervals = now.saturating_duration_since(self.since).as_secs() / REPORT_INTERVAL.as_secs();
        self.left.saturating_add(u32::try_from(intervals).unwrap_or(MAX_REPORT_BURST)).min(MAX_REPORT_BURST)
    }
}

impl ReportRateLimiter {
    /// Delays a report of `board`, where it is over the limit.
    pub(super) async fn wait(&self, board: &str) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let due_at = {
            let boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
            boards
                .get(board)
                .filter(|rate| rate.left_at(Instant::now()) == 0)
                .map(|rate| rate.since + REPORT_INTERVAL)
        };
        if let Some(due_at) = due_at {
            sleep_real_time(due_at.saturating_duration_since(Instant::now())).await;
        }
    }

    /// Notes that a report of `board` changed nothing in this visit.
    pub(super) fn note_ignored(&self, board: &str, visit: Visit) {
        let now = Instant::now();
        let mut boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rate) = boards.get_mut(board) {
            let left = if rate.visit == visit { rate.left_at(now) } else { MAX_REPORT_BURST };
            *rate = BoardReportRate { visit, left: left.saturating_sub(1), since: now };
        } else {
            if boards.len() >= MAX_TRACKED_BOARDS {
                boards.retain(|_, rate| rate.left_at(now) < MAX_REPORT_BURST);
            }
            if boards.len() < MAX_TRACKED_BOARDS {
                boards.insert(
                    board.to_owned(),
                    BoardReportRate { visit, left: MAX_REPORT_BURST - 1, since: now },
                );
            }
        }
        self.count.store(boards.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn repeated_reports_that_change_nothing_are_delayed_for_their_board_only() {
        let limiter = ReportRateLimiter::default();
        for _ in 0..10 {
            assert!(limiter.wait("b1").now_or_never().is_some());
            limiter.note_ignored("b1", Visit(1));
        }
        assert!(limiter.wait("b1").now_or_never().is_none(), "the next report is delayed");
        assert!(limiter.wait("b2").now_or_never().is_some(), "another board is not delayed");
        let started = Instant::now();
        tokio::join!(limiter.wait("b1"), limiter.wait("b1"));
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(9));
        assert!((min..max).contains(&started.elapsed()), "both are released together");
        limiter.note_ignored("b1", Visit(2));
        assert!(limiter.wait("b1").now_or_never().is_some(), "its state has changed");
    }

    #[test]
    fn boards_without_recent_reports_are_removed_at_the_limit() {
        let limiter = ReportRateLimiter::default();
        for board in 0..=10_000 {
            limiter.note_ignored(&board.to_string(), Visit(1));
        }
        assert_eq!(limiter.boards.lock().unwrap().len(), 10_000, "all have recent reports");
        let long_ago = Instant::now().checked_sub(REPORT_INTERVAL * MAX_REPORT_BURST).unwrap();
        limiter.boards.lock().unwrap().values_mut().for_each(|rate| rate.since = long_ago);
        limiter.note_ignored("b1", Visit(1));
        assert_eq!(limiter.boards.lock().unwrap().len(), 1);
    }
}
