//! Reads the instances that others are linked to.

use std::collections::HashSet;

use super::handle::Engine;
use super::pending_update::PendingUpdate;
use super::pending_updates::PendingUpdates;
use crate::machine::{InstanceAddress, MachineName};
use crate::store::batches;
use crate::store::instances::{InstanceId, InstanceKey};
use crate::store::{PooledConnection, StoreError};

/// Reads instances, and records which of them do not exist.
pub(super) async fn read(
    engine: &Engine,
    db: &mut PooledConnection,
    pending: &mut PendingUpdates,
    targets: HashSet<InstanceKey>,
) -> Result<(), StoreError> {
    let ids: Vec<InstanceKey> =
        targets.iter().filter(|target| matches!(target, InstanceKey::Id(_))).cloned().collect();
    // Only numbers are looked up in the cache: a cached name can be outdated, and no write would detect that.
    let cached = engine.inner.instance_cache.find(db.life(), ids.iter()).into_iter().flatten();
    for versioned in cached.filter(|versioned| versioned.has_read_facts) {
        pending.add(PendingUpdate::from_cache(versioned, engine.kinds()));
    }
    read_in_transaction(engine, db, pending, targets).await
}

/// Reads instances within a transaction, without the cache.
pub(super) async fn read_in_transaction(
    engine: &Engine,
    db: &mut crate::store::DbConnection,
    pending: &mut PendingUpdates,
    targets: HashSet<InstanceKey>,
) -> Result<(), StoreError> {
    let (mut ids, mut named): (Vec<InstanceId>, Vec<(MachineName, String)>) = (Vec::new(), Vec::new());
    for target in &targets {
        match target {
            InstanceKey::Id(id) if pending.get(*id).is_some() => {}
            InstanceKey::Id(id) => ids.push(*id),
            InstanceKey::Name(machine, name) => named.push((machine.clone(), name.clone())),
        }
    }
    if !ids.is_empty() || !named.is_empty() {
        let mut read = batches::read(db, &ids, &named).await?;
        engine.inner.faces.add_facts(db, read.iter_mut()).await?;
        for versioned in read {
            let (machine, name) = (versioned.instance.machine.clone(), versioned.instance.name.clone());
            pending.note_name(InstanceAddress { machine, name }, versioned.id);
            pending.add(PendingUpdate::new(versioned, engine.kinds()));
        }
    }
    for target in targets {
        pending.note_missing(target);
    }
    Ok(())
}
