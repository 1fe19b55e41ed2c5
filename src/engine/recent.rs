//! Instances as this process wrote them last, so that what happens next to them need not read them again.
//!
//! Nothing here has to be right: a decision on a row that another process has rewritten meanwhile is not applied, and then
//! the instance is forgotten and read. It is a matter of speed only, and of so much memory and no more. That holds within a
//! life of the database: in another one a row's version may be another row's, so nothing is remembered from one to the next.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::machine::MachineName;
use crate::store::Life;
use crate::store::groups::Seen;
use crate::store::instances::{InstanceId, Target};

/// How many instances are remembered: a large farm's, at about a kilobyte each.
const MOST: usize = 32_768;

/// What is remembered.
#[derive(Default)]
pub(super) struct Recent {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The life of the database that all of it is of.
    life: Life,
    seen: HashMap<InstanceId, Seen>,
    names: HashMap<MachineName, HashMap<String, InstanceId>>,
    /// In the order in which they came; one that was forgotten may still be here.
    order: VecDeque<InstanceId>,
}

impl Recent {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // A panic elsewhere can at worst have left something wrong, and that does no harm.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds what is remembered of some instances, in the order in which they are asked for.
    pub(super) fn find<'a>(
        &self,
        life: Life,
        targets: impl Iterator<Item = &'a Target>,
    ) -> Vec<Option<Seen>> {
        self.with(|state| {
            let is_present = state.enter(life);
            targets.map(|target| state.find(target).filter(|_| is_present).cloned()).collect()
        })
    }

    /// Remembers instances as they are now.
    pub(super) fn remember(&self, life: Life, seen: impl Iterator<Item = Seen>) {
        self.with(|state| {
            if state.enter(life) {
                seen.for_each(|seen| state.remember(seen));
            }
        });
    }

    /// Forgets instances of which something else is true by now.
    pub(super) fn forget(&self, ids: impl Iterator<Item = InstanceId>) {
        self.with(|state| ids.for_each(|id| state.forget(id)));
    }
}

impl State {
    /// Whether `life` is the present one; where it is a later one, nothing is remembered any more.
    fn enter(&mut self, life: Life) -> bool {
        if life > self.life {
            *self = Self { life, ..Self::default() };
        }
        life == self.life
    }

    fn find(&self, target: &Target) -> Option<&Seen> {
        let id = match target {
            Target::Id(id) => id,
            Target::Name(machine, name) => self.names.get(machine)?.get(name)?,
        };
        self.seen.get(id)
    }

    fn remember(&mut self, seen: Seen) {
        let id = seen.id;
        let new = match self.seen.entry(id) {
            Entry::Occupied(mut known) => return *known.get_mut() = seen,
            Entry::Vacant(place) => place.insert(seen),
        };
        let names = self.names.entry(new.instance.machine.clone()).or_default();
        // Whoever had the name before is gone.
        names.insert(new.instance.name.clone(), id);
        self.order.push_back(id);
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, id: InstanceId) {
        let Some(Seen { instance, .. }) = self.seen.remove(&id) else { return };
        if let Some(names) = self.names.get_mut(&instance.machine)
            && names.get(&instance.name) == Some(&id)
        {
            names.remove(&instance.name);
        }
    }
}
