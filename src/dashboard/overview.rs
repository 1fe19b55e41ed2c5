//! The boards by state, as they are read from the database.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;

use crate::boards::store::lists::{self, BoardFilter, BoardListRow};
use crate::machine::{Definition, MachineName, StateKind, is_failed_state_name};
use crate::store::{Snapshot, StoreError, instances};

/// How many boards the page shows at most; of a farm that has more, those that need hands come first.
const MAX_SHOWN_BOARDS: i64 = 1000;

/// What the page shows.
pub(super) struct FarmOverview {
    pub(super) counts: BTreeMap<(u8, String), i64>,
    pub(super) boards: Vec<BoardListRow>,
}

impl FarmOverview {
    /// Reads how many boards there are in each state, and those that are shown.
    pub(super) async fn read(
        snapshot: &mut Snapshot,
        machine: &MachineName,
        definition: Option<&Definition>,
    ) -> Result<Self, StoreError> {
        let counts = instances::count_by_state(snapshot, machine).await?;
        let ranked =
            |(state, count): (String, i64)| ((page_rank(state_kind(definition, &state)), state), count);
        let counts: BTreeMap<_, _> = counts.into_iter().map(ranked).collect();
        let mut left = MAX_SHOWN_BOARDS;
        let mut states = Vec::new();
        for ((_, state), count) in &counts {
            // Whole states, or else one could not tell whether a board is missing.
            if *count <= left {
                left -= count;
                states.push(state.clone());
            }
        }
        if states.is_empty() {
            return Ok(Self { counts, boards: Vec::new() });
        }
        let filter = BoardFilter { states, ..BoardFilter::default() };
        let shown = lists::read(snapshot, machine, &filter, "", MAX_SHOWN_BOARDS).try_collect().await?;
        Ok(Self { counts, boards: shown })
    }
}

/// Where a state of this kind stands on the page: what needs hands, what is under way, what rests.
pub(super) fn page_rank(kind: StateKind) -> u8 {
    match kind {
        StateKind::Failed => 0,
        StateKind::Working => 1,
        StateKind::Resting | StateKind::Final => 2,
    }
}

/// What being in `state` means; where no definition in force has it, its name says whether it needs hands.
fn state_kind(definition: Option<&Definition>, state: &str) -> StateKind {
    let known = definition.and_then(|definition| definition.states.get(state));
    known.map_or(if is_failed_state_name(state) { StateKind::Failed } else { StateKind::Working }, |known| {
        known.kind
    })
}
