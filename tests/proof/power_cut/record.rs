//! What was seen of the return of the power: by relay boards and boards, and in history afterwards.

use chrono::{DateTime, Utc};

/// A time by the clock of this machine.
pub(super) type Moment = DateTime<Utc>;

/// One board, from the return of the power on.
#[derive(Debug, Clone)]
pub(super) struct ReturnedBoard {
    pub(super) name: String,
    /// The number of its relay board.
    pub(super) relay: usize,
    pub(super) load_ma: u32,
    /// Whether its power cycle had begun when the power returned: it may be repeated.
    pub(super) was_cycling: bool,
    /// The writes to its coil: whether they switch it on.
    pub(super) writes: Vec<(Moment, bool)>,
    /// When its coil changed, and whether that switched it on.
    pub(super) changes: Vec<(Moment, bool)>,
    /// How often the board itself came to have power.
    pub(super) power_ons: u64,
    /// Whether its image runs at the end.
    pub(super) is_running: bool,
    /// The states that it entered since the power was cut.
    pub(super) entered: Vec<String>,
    /// The state and the counters at the end.
    pub(super) end: (String, serde_json::Value),
}

impl ReturnedBoard {
    /// When it was switched on for the first time.
    pub(super) fn switched_on_at(&self) -> Option<Moment> {
        self.changes.iter().find(|(_, is_on)| *is_on).map(|(at, _)| *at)
    }

    /// Its first power cycle at the relay board: from the order to switch off to the order to switch on.
    pub(super) fn operation(&self) -> Option<(Moment, Moment)> {
        let (off_at, _) = self.writes.iter().find(|(_, is_on)| !is_on)?;
        let (on_at, _) = self.writes.iter().find(|(at, is_on)| *is_on && at >= off_at)?;
        Some((*off_at, *on_at))
    }
}

/// The return of the power.
#[derive(Debug, Clone)]
pub(super) struct ReturnRecord {
    /// When the relay boards had power again.
    pub(super) returned_at: Moment,
    /// When the last board was found silent: from then on all that are not on yet wait for their turn.
    pub(super) found_at: Moment,
    pub(super) boards: Vec<ReturnedBoard>,
}

impl ReturnRecord {
    /// When the last board was switched on.
    pub(super) fn ended_at(&self) -> Moment {
        self.boards.iter().filter_map(ReturnedBoard::switched_on_at).max().unwrap_or(self.returned_at)
    }
}
