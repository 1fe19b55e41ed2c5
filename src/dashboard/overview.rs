//! The boards by state, as they are read from the database.

use std::collections::{BTreeMap, HashSet};

use futures_util::TryStreamExt;

use crate::boards::store::lists::{self, BoardFilter, BoardListRow};
use crate::machine::{Definition, MachineName, StateKind, is_failed_state_name};
use crate::store::incidents::{self, Incident, IncidentFilter};
use crate::store::{Snapshot, StoreError, actions, instances};

/// The maximum number of boards that the page shows; in a larger farm, those that need attention come first.
const MAX_SHOWN_BOARDS: i64 = 1000;

/// The boards of a farm by state.
pub(super) struct FarmOverview {
    /// The number of boards by rank and state.
    pub(super) counts: BTreeMap<(u8, String), i64>,
    /// The boards that are shown.
    pub(super) boards: Vec<BoardListRow>,
    /// The names of the boards of which an action waits for resources.
    pub(super) queued: HashSet<String>,
    /// The open incidents.
    pub(super) incidents: Vec<Incident>,
}

impl FarmOverview {
    /// Reads the number of boards in each state, and the boards that are shown.
    pub(super) async fn read(
        snapshot: &mut Snapshot,
        machine: &MachineName,
        definition: Option<&Definition>,
    ) -> Result<Self, StoreError> {
        let incidents = incidents::list(snapshot, IncidentFilter::Open).await?;
        let counts = instances::count_by_state(snapshot, machine).await?;
        let ranked =
            |(state, count): (String, i64)| ((page_rank(state_kind(definition, &state)), state), count);
        let counts: BTreeMap<_, _> = counts.into_iter().map(ranked).collect();
        let mut remaining = MAX_SHOWN_BOARDS;
        let mut states = Vec::new();
        for ((_, state), count) in &counts {
            // A state is shown with all of its boards or with none, so that no board seems to be missing.
            if *count <= remaining {
                remaining -= count;
                states.push(state.clone());
            }
        }
        if states.is_empty() {
            return Ok(Self { counts, boards: Vec::new(), queued: HashSet::new(), incidents });
        }
        let filter = BoardFilter { states, ..BoardFilter::default() };
        let boards = lists::read(snapshot, machine, &filter, "", MAX_SHOWN_BOARDS)?.try_collect().await?;
        let queued = actions::list_queued_names(snapshot, machine).await?;
        Ok(Self { counts, boards, queued, incidents })
    }
}

/// The position of states of this kind on the page: those that need attention, then working ones, then resting ones.
pub(super) fn page_rank(kind: StateKind) -> u8 {
    match kind {
        StateKind::Failed => 0,
        StateKind::Working => 1,
        StateKind::Resting | StateKind::Final => 2,
    }
}

/// The kind of `state`; where no active definition has the state, its name says whether it is a failed one.
fn state_kind(definition: Option<&Definition>, state: &str) -> StateKind {
    let declared = definition.and_then(|definition| definition.states.get(state));
    let by_name = if is_failed_state_name(state) { StateKind::Failed } else { StateKind::Working };
    declared.map_or(by_name, |declared| declared.kind)
}
