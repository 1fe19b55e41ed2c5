//! The instances that things are about, as groups of things name them.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::machine::MachineName;
use crate::store::batches::{self, VersionedInstance};
use crate::store::instances::{InstanceId, InstanceKey};
use crate::store::{DbConnection, StoreError};

/// Says which of `targets` nobody keeps locked.
pub(super) async fn free_targets(
    db: &mut DbConnection,
    targets: &[Cow<'_, InstanceKey>],
) -> Result<HashSet<InstanceKey>, StoreError> {
    let (ids, named) = split_by_kind(targets.iter().map(AsRef::as_ref));
    let seen = batches::read(db, &ids, &named).await?;
    let all: Vec<InstanceId> = seen.iter().map(|seen| seen.id).collect();
    let free = batches::find_unlocked(db, &all).await?;
    Ok(seen.iter().filter(|seen| free.contains(&seen.id)).flat_map(targets_of).collect())
}

/// The ways in which an instance is meant.
pub(super) fn targets_of(seen: &VersionedInstance) -> [InstanceKey; 2] {
    [InstanceKey::Id(seen.id), InstanceKey::Name(seen.instance.machine.clone(), seen.instance.name.clone())]
}

/// Numbers and names, each once.
pub(super) fn split_by_kind<'a>(
    targets: impl Iterator<Item = &'a InstanceKey>,
) -> (Vec<InstanceId>, Vec<(MachineName, String)>) {
    let (mut ids, mut named) = (HashSet::new(), HashSet::new());
    for target in targets {
        match target {
            InstanceKey::Id(id) => _ = ids.insert(*id),
            InstanceKey::Name(machine, name) => _ = named.insert((machine.clone(), name.clone())),
        }
    }
    (ids.into_iter().collect(), named.into_iter().collect())
}
