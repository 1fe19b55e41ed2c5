//! The boards by state, as they are read from the database.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;

use crate::boards::store::lists::{self, Filter, Listed};
use crate::machine::{Definition, Kind, MachineName, says_failed};
use crate::store::{Snapshot, StoreError, instances};

/// How many boards the page shows at most; of a farm that has more, those that need hands come first.
const MAX_SHOWN: i64 = 1000;

/// What the page shows.
pub(super) struct Farm {
    pub(super) counts: BTreeMap<(u8, String), i64>,
    pub(super) shown: Vec<Listed>,
}

impl Farm {
    /// Reads how many boards there are in each state, and those that are shown.
    pub(super) async fn read(
        snapshot: &mut Snapshot,
        machine: &MachineName,
        definition: Option<&Definition>,
    ) -> Result<Self, StoreError> {
        let counts = instances::count_by_state(snapshot, machine).await?;
        let ranked = |(state, count): (String, i64)| ((rank(kind(definition, &state)), state), count);
        let counts: BTreeMap<_, _> = counts.into_iter().map(ranked).collect();
        let mut left = MAX_SHOWN;
        let mut states = Vec::new();
        for ((_, state), count) in &counts {
            // Whole states, or else one could not tell whether a board is missing.
            if *count <= left {
                left -= count;
                states.push(state.clone());
            }
        }
        if states.is_empty() {
            return Ok(Self { counts, shown: Vec::new() });
        }
        let filter = Filter { states, ..Filter::default() };
        let shown = lists::read(snapshot, machine, &filter, "", MAX_SHOWN).try_collect().await?;
        Ok(Self { counts, shown })
    }
}

/// Where a state of this kind stands on the page: what needs hands, what is under way, what rests.
pub(super) fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Failed => 0,
        Kind::Working => 1,
        Kind::Resting | Kind::Final => 2,
    }
}

/// What being in `state` means; where no definition in force has it, its name says whether it needs hands.
fn kind(definition: Option<&Definition>, state: &str) -> Kind {
    let known = definition.and_then(|definition| definition.states.get(state));
    known.map_or(if says_failed(state) { Kind::Failed } else { Kind::Working }, |known| known.kind)
}
