//! Instances as this process wrote them last, so that what happens next to them need not read them again.
//!
//! Nothing here has to be right: a decision on a row that another process has rewritten meanwhile is not applied, and then
//! the instance is forgotten and read. It is a matter of speed only, and of so much memory and no more. That holds within a
//! life of the database: in another one a row's version may be another row's, so nothing is remembered from one to the next.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::machine::MachineName;
use crate::store::DatabaseLife;
use crate::store::batches::VersionedInstance;
use crate::store::instances::{InstanceId, InstanceKey};

/// How many instances are remembered: a large farm's, at about a kilobyte each.
const MAX_CACHED_INSTANCES: usize = 32_768;

/// What is remembered.
#[derive(Default)]
pub(super) struct InstanceCache {
    state: Mutex<InstanceCacheState>,
}

#[derive(Default)]
struct InstanceCacheState {
    /// The life of the database that all of it is of.
    life: DatabaseLife,
    instances: HashMap<InstanceId, VersionedInstance>,
    ids_by_name: HashMap<MachineName, HashMap<String, InstanceId>>,
    /// In the order in which they came; one that was forgotten may still be here.
    order: VecDeque<InstanceId>,
}

impl InstanceCache {
    fn with<T>(&self, work: impl FnOnce(&mut InstanceCacheState) -> T) -> T {
        // A panic elsewhere can at worst have left something wrong, and that does no harm.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds what is remembered of some instances, in the order in which they are asked for.
    pub(super) fn find<'a>(
        &self,
        life: DatabaseLife,
        targets: impl Iterator<Item = &'a InstanceKey>,
    ) -> Vec<Option<VersionedInstance>> {
        self.with(|state| {
            let is_present = state.enter_life(life);
            targets.map(|target| state.find(target).filter(|_| is_present).cloned()).collect()
        })
    }

    /// Remembers instances as they are now.
    pub(super) fn insert(&self, life: DatabaseLife, seen: impl Iterator<Item = VersionedInstance>) {
        self.with(|state| {
            if state.enter_life(life) {
                seen.for_each(|seen| state.insert(seen));
            }
        });
    }

    /// Forgets instances of which something else is true by now.
    pub(super) fn remove(&self, ids: impl Iterator<Item = InstanceId>) {
        self.with(|state| ids.for_each(|id| state.remove(id)));
    }
}

impl InstanceCacheState {
    /// Whether `life` is the present one; where it is a later one, nothing is remembered any more.
    fn enter_life(&mut self, life: DatabaseLife) -> bool {
        if life > self.life {
            *self = Self { life, ..Self::default() };
        }
        life == self.life
    }

    fn find(&self, target: &InstanceKey) -> Option<&VersionedInstance> {
        let id = match target {
            InstanceKey::Id(id) => id,
            InstanceKey::Name(machine, name) => self.ids_by_name.get(machine)?.get(name)?,
        };
        self.instances.get(id)
    }

    fn insert(&mut self, seen: VersionedInstance) {
        let id = seen.id;
        let new = match self.instances.entry(id) {
            Entry::Occupied(mut known) => return *known.get_mut() = seen,
            Entry::Vacant(place) => place.insert(seen),
        };
        let names = self.ids_by_name.entry(new.instance.machine.clone()).or_default();
        // Whoever had the name before is gone.
        names.insert(new.instance.name.clone(), id);
        self.order.push_back(id);
        while self.order.len() > MAX_CACHED_INSTANCES {
            if let Some(oldest) = self.order.pop_front() {
                self.remove(oldest);
            }
        }
    }

    fn remove(&mut self, id: InstanceId) {
        let Some(VersionedInstance { instance, .. }) = self.instances.remove(&id) else { return };
        if let Some(names) = self.ids_by_name.get_mut(&instance.machine)
            && names.get(&instance.name) == Some(&id)
        {
            names.remove(&instance.name);
        }
    }
}
