//! The instance cache: instances as this process last wrote them, so that the next decision need not read them.
//!
//! Entries are validated on write: a decision on a row that another process has rewritten is not applied, and the instance is
//! removed from the cache and read again. Row versions are comparable within a life of the database only, so the cache is
//! emptied when the life changes.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::machine::MachineName;
use crate::store::DatabaseLife;
use crate::store::batches::VersionedInstance;
use crate::store::instances::{InstanceId, InstanceKey};

/// The maximum number of cached instances, at about a kilobyte each.
const MAX_CACHED_INSTANCES: usize = 32_768;

/// The instances cached by number and by name.
#[derive(Default)]
pub(super) struct InstanceCache {
    state: Mutex<InstanceCacheState>,
}

#[derive(Default)]
struct InstanceCacheState {
    /// The life of the database.
    life: DatabaseLife,
    instances: HashMap<InstanceId, VersionedInstance>,
    ids_by_name: HashMap<MachineName, HashMap<String, InstanceId>>,
    /// The order of insertion; removed instances can still be listed.
    order: VecDeque<InstanceId>,
}

impl InstanceCache {
    fn with<T>(&self, work: impl FnOnce(&mut InstanceCacheState) -> T) -> T {
        // A panic elsewhere can have left wrong entries, which are harmless.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds cached instances, in the order of `targets`.
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

    /// Caches instances.
    pub(super) fn insert(&self, life: DatabaseLife, versioned: impl Iterator<Item = VersionedInstance>) {
        self.with(|state| {
            if state.enter_life(life) {
                versioned.for_each(|versioned| state.insert(versioned));
            }
        });
    }

    /// Removes outdated instances.
    pub(super) fn remove(&self, ids: impl Iterator<Item = InstanceId>) {
        self.with(|state| ids.for_each(|id| state.remove(id)));
    }
}

impl InstanceCacheState {
    /// Whether `life` is the present one; a later one becomes the present one, with an empty cache.
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

    fn insert(&mut self, versioned: VersionedInstance) {
        let id = versioned.id;
        let new = match self.instances.entry(id) {
            Entry::Occupied(mut entry) => return *entry.get_mut() = versioned,
            Entry::Vacant(entry) => entry.insert(versioned),
        };
        let names = self.ids_by_name.entry(new.instance.machine.clone()).or_default();
        // An earlier instance of this name was removed.
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
