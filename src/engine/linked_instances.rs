//! Reading instances to which others are linked.

use std::collections::HashSet;

use super::handle::Engine;
use super::pending_update::PendingUpdate;
use super::pending_updates::PendingUpdates;
use crate::machine::{InstanceAddress, MachineName};
use crate::store::batches;
use crate::store::instances::{InstanceId, InstanceKey};
use crate::store::{PooledConnection, StoreError};

/// Reads instances, and notes which of them are not there.
pub(super) async fn read(
    engine: &Engine,
    db: &mut PooledConnection,
    drafts: &mut PendingUpdates,
    targets: HashSet<InstanceKey>,
) -> Result<(), StoreError> {
    let ids: Vec<InstanceKey> =
        targets.iter().filter(|target| matches!(target, InstanceKey::Id(_))).cloned().collect();
    // A number is always that of the same instance. What is cached by a name may be gone, and nothing would show that.
    let cached = engine.inner.instance_cache.find(db.life(), ids.iter()).into_iter().flatten();
    for seen in cached.filter(|seen| seen.has_read_facts) {
        drafts.add(PendingUpdate::from_cache(seen, engine.kinds()));
    }
    read_in_transaction(engine, db, drafts, targets).await
}

/// The same for whoever reads and writes in one transaction.
pub(super) async fn read_in_transaction(
    engine: &Engine,
    db: &mut crate::store::DbConnection,
    drafts: &mut PendingUpdates,
    targets: HashSet<InstanceKey>,
) -> Result<(), StoreError> {
    let (mut ids, mut named): (Vec<InstanceId>, Vec<(MachineName, String)>) = (Vec::new(), Vec::new());
    for target in &targets {
        match target {
            InstanceKey::Id(id) if drafts.get(*id).is_some() => {}
            InstanceKey::Id(id) => ids.push(*id),
            InstanceKey::Name(machine, name) => named.push((machine.clone(), name.clone())),
        }
    }
    if !ids.is_empty() || !named.is_empty() {
        let mut read = batches::read(db, &ids, &named).await?;
        engine.inner.faces.add_facts(db, read.iter_mut()).await?;
        for seen in read {
            let (machine, name) = (seen.instance.machine.clone(), seen.instance.name.clone());
            drafts.note_name(InstanceAddress { machine, name }, seen.id);
            drafts.add(PendingUpdate::new(seen, engine.kinds()));
        }
    }
    for target in targets {
        drafts.note_missing(target);
    }
    Ok(())
}
