//! The keys of the instances of a batch.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::machine::MachineName;
use crate::store::batches::{self, VersionedInstance};
use crate::store::instances::{InstanceId, InstanceKey};
use crate::store::{DbConnection, StoreError};

/// Finds which of `targets` are not locked.
pub(super) async fn free_targets(
    db: &mut DbConnection,
    targets: &[Cow<'_, InstanceKey>],
) -> Result<HashSet<InstanceKey>, StoreError> {
    let (ids, named) = split_by_kind(targets.iter().map(AsRef::as_ref));
    let versioned = batches::read(db, &ids, &named).await?;
    let all: Vec<InstanceId> = versioned.iter().map(|versioned| versioned.id).collect();
    let free = batches::find_unlocked(db, &all).await?;
    Ok(versioned.iter().filter(|versioned| free.contains(&versioned.id)).flat_map(targets_of).collect())
}

/// Returns the keys of an instance.
pub(super) fn targets_of(versioned: &VersionedInstance) -> [InstanceKey; 2] {
    [
        InstanceKey::Id(versioned.id),
        InstanceKey::Name(versioned.instance.machine.clone(), versioned.instance.name.clone()),
    ]
}

/// Splits keys into numbers and names, each once.
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
