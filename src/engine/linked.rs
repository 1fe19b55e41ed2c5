//! Reading instances to which others are linked.

use std::collections::HashSet;

use super::draft::Draft;
use super::drafts::Drafts;
use super::handle::Engine;
use crate::machine::{Address, MachineName};
use crate::store::groups;
use crate::store::instances::{InstanceId, Target};
use crate::store::{Pooled, StoreError};

/// Reads instances, and notes which of them are not there.
pub(super) async fn read(
    engine: &Engine,
    db: &mut Pooled,
    drafts: &mut Drafts,
    targets: HashSet<Target>,
) -> Result<(), StoreError> {
    let ids: Vec<Target> = targets.iter().filter(|target| matches!(target, Target::Id(_))).cloned().collect();
    // A number is always that of the same instance. What is cached by a name may be gone, and nothing would show that.
    for seen in engine.inner.recent.find(db.life(), ids.iter()).into_iter().flatten() {
        drafts.add(Draft::remembered(seen, engine.kinds()));
    }
    read_anew(engine, db, drafts, targets).await
}

/// The same for whoever reads and writes in one transaction.
pub(super) async fn read_anew(
    engine: &Engine,
    db: &mut crate::store::Connection,
    drafts: &mut Drafts,
    targets: HashSet<Target>,
) -> Result<(), StoreError> {
    let (mut ids, mut named): (Vec<InstanceId>, Vec<(MachineName, String)>) = (Vec::new(), Vec::new());
    for target in &targets {
        match target {
            Target::Id(id) if drafts.get(*id).is_some() => {}
            Target::Id(id) => ids.push(*id),
            Target::Name(machine, name) => named.push((machine.clone(), name.clone())),
        }
    }
    if !ids.is_empty() || !named.is_empty() {
        let mut read = groups::read(db, &ids, &named).await?;
        engine.inner.faces.add_facts(db, &mut read).await?;
        for seen in read {
            let (machine, name) = (seen.instance.machine.clone(), seen.instance.name.clone());
            drafts.note_name(Address { machine, name }, seen.id);
            drafts.add(Draft::new(seen, engine.kinds()));
        }
    }
    for target in targets {
        drafts.note_read(target);
    }
    Ok(())
}
