//! How often a board may report what changes nothing before it has to wait for its answers.
//!
//! It is never refused: a boot loader's wget gives up at the first refusal. Those that wait are let go on together, and
//! equal ones become one entry of history. With each visit of a state it begins anew.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::sleep_real_time;
use crate::machine::Visit;

/// How many such reports in a row are answered at once.
const MAX_REPORT_BURST: u32 = 10;
/// How long those that come after them wait for each other, in real time; after as long again without any, one more is
/// answered at once.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Of how many boards it is known; those that have been quiet are forgotten.
const MAX_TRACKED_BOARDS: usize = 10_000;

/// The pace of each board that reported what changed nothing lately.
#[derive(Debug, Default)]
pub struct ReportRateLimiter {
    boards: Mutex<HashMap<String, BoardReportRate>>,
    /// How many they are: mostly none, and then nothing else is looked at.
    count: AtomicUsize,
}

#[derive(Debug)]
struct BoardReportRate {
    visit: Visit,
    /// How many more are answered at once.
    left: u32,
    /// When that was so.
    since: Instant,
}

impl BoardReportRate {
    fn left_at(&self, now: Instant) -> u32 {
        let rested = now.saturating_duration_since(self.since).as_secs() / REPORT_INTERVAL.as_secs();
        self.left.saturating_add(u32::try_from(rested).unwrap_or(MAX_REPORT_BURST)).min(MAX_REPORT_BURST)
    }
}

impl ReportRateLimiter {
    /// Waits for the turn of `board`.
    pub(super) async fn wait(&self, board: &str) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let turn = {
            let boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
            boards
                .get(board)
                .filter(|pace| pace.left_at(Instant::now()) == 0)
                .map(|pace| pace.since + REPORT_INTERVAL)
        };
        if let Some(turn) = turn {
            sleep_real_time(turn.saturating_duration_since(Instant::now())).await;
        }
    }

    /// Notes that a report of `board` changed nothing in this visit.
    pub(super) fn note_ignored(&self, board: &str, visit: Visit) {
        let now = Instant::now();
        let mut boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pace) = boards.get_mut(board) {
            let left = if pace.visit == visit { pace.left_at(now) } else { MAX_REPORT_BURST };
            *pace = BoardReportRate { visit, left: left.saturating_sub(1), since: now };
        } else {
            if boards.len() >= MAX_TRACKED_BOARDS {
                boards.retain(|_, pace| pace.left_at(now) < MAX_REPORT_BURST);
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
    async fn a_board_that_reports_what_changes_nothing_again_and_again_waits_and_others_do_not() {
        let pace = ReportRateLimiter::default();
        for _ in 0..10 {
            assert!(pace.wait("b1").now_or_never().is_some());
            pace.note_ignored("b1", Visit(1));
        }
        assert!(pace.wait("b1").now_or_never().is_none(), "the next one waits");
        assert!(pace.wait("b2").now_or_never().is_some(), "another board does not");
        let begun = Instant::now();
        tokio::join!(pace.wait("b1"), pace.wait("b1"));
        let (least, most) = (Duration::from_millis(500), Duration::from_secs(9));
        assert!((least..most).contains(&begun.elapsed()), "both have the same turn");
        pace.note_ignored("b1", Visit(2));
        assert!(pace.wait("b1").now_or_never().is_some(), "its state has changed");
    }

    #[test]
    fn of_very_many_boards_those_are_forgotten_that_have_been_quiet() {
        let pace = ReportRateLimiter::default();
        for board in 0..=10_000 {
            pace.note_ignored(&board.to_string(), Visit(1));
        }
        assert_eq!(pace.boards.lock().unwrap().len(), 10_000, "none has been quiet yet");
        let long_ago = Instant::now().checked_sub(REPORT_INTERVAL * MAX_REPORT_BURST).unwrap();
        pace.boards.lock().unwrap().values_mut().for_each(|pace| pace.since = long_ago);
        pace.note_ignored("b1", Visit(1));
        assert_eq!(pace.boards.lock().unwrap().len(), 1);
    }
}
