//! What actions tell while they run: a fact about the instance, or that something is wrong with how it is configured.
//!
//! Neither is a decision about the instance. It is kept until it is written; what dies with the process is found again by the next
//! run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::actions::{Facts, Finding};
use crate::store::DatabaseLife;
use crate::store::actions::ActionId;
use crate::store::instances::InstanceId;

/// What an action told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReportedFinding {
    /// The life of the database in which the numbers of the action and the instance mean something.
    pub(super) life: DatabaseLife,
    pub(super) instance: InstanceId,
    pub(super) finding: Finding,
}

/// What was told and is not written yet, the latest of each action.
#[derive(Debug, Default)]
pub(super) struct PendingFindings {
    by_action: Mutex<BTreeMap<ActionId, ReportedFinding>>,
    pub(super) reported: Notify,
}

impl PendingFindings {
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<ActionId, ReportedFinding>) -> T) -> T {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        work(&mut self.by_action.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the facts that were found out about an instance and that the database does not know yet.
    pub(super) fn add_facts(&self, instance: InstanceId, facts: &mut Facts) {
        self.with(|all| {
            for told in all.values().filter(|told| told.instance == instance) {
                if let Finding::Fact { name, value } = &told.finding {
                    facts.insert((*name).to_owned(), value.clone());
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_counts_before_it_is_written() {
        let (pending, instance) = (PendingFindings::default(), InstanceId(1));
        let finding = Finding::Fact { name: "answered_url", value: "tcp://b1:22".into() };
        pending.with(|told| {
            _ = told.insert(ActionId(1), ReportedFinding { life: DatabaseLife::nth(1), instance, finding })
        });
        let facts_of = |instance| {
            let mut facts = Facts::new();
            pending.add_facts(instance, &mut facts);
            facts
        };
        assert_eq!(facts_of(instance)["answered_url"], "tcp://b1:22");
        assert!(facts_of(InstanceId(2)).is_empty());
    }
}
