//! Why a farm cannot be simulated.

use machine::StateName;

/// A board to which more happens in an hour does not come to rest.
pub(super) const MAX_DECISIONS_AN_HOUR: u32 = 20_000;
/// No more board-days than this: ten thousand boards for three years, or a million for ten days.
pub(super) const MAX_BOARD_DAYS: u64 = 12_000_000;
/// No more samples than this.
pub(super) const MAX_SAMPLES: u64 = 100_000;

/// Says why a farm cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// There is nothing to simulate.
    #[error("a simulation has at least one board and one day")]
    Nothing,
    /// It would take more memory and time than anybody has.
    #[error("{boards} boards for {days} days are {} board-days; at most {MAX_BOARD_DAYS} are simulated", u64::from(*boards) * u64::from(*days))]
    TooLarge {
        /// How many boards.
        boards: u32,
        /// For how many days.
        days: u32,
    },
    /// The samples would be too many, or none.
    #[error(
        "a sample every {every_s} s makes no time series of {days} days: one has 1 to {MAX_SAMPLES} samples"
    )]
    Samples {
        /// The time between samples.
        every_s: u64,
        /// For how many days.
        days: u32,
    },
    /// A board does not come to rest: time hardly passes between what happens to it.
    #[error(
        "board {board} does not come to rest: in state {state}, {hours} h after the beginning, it had more than \
         {} events within an hour; look at the spans in this state's time limit, `on` and profile",
        MAX_DECISIONS_AN_HOUR
    )]
    Storm {
        /// The board's number, from 1.
        board: u64,
        /// The state that it is in.
        state: StateName,
        /// When that was.
        hours: u64,
    },
}
