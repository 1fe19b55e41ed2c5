//! Findings of running actions that are not written yet: facts about instances and configuration errors.
//!
//! Findings are not decisions. Findings that are lost in a crash are found again by the next run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::actions::{Facts, Finding};
use crate::store::DatabaseLife;
use crate::store::actions::ActionId;
use crate::store::instances::InstanceId;

/// A finding of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReportedFinding {
    /// The life of the database that the numbers of the action and the instance belong to.
    pub(super) life: DatabaseLife,
    pub(super) instance: InstanceId,
    pub(super) finding: Finding,
}

/// The findings that are not written yet, the latest of each action.
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

    /// Adds the facts about an instance that are not written yet.
    pub(super) fn add_facts(&self, instance: InstanceId, facts: &mut Facts) {
        self.with(|all| {
            for reported in all.values().filter(|reported| reported.instance == instance) {
                if let Finding::Fact { name, value } = &reported.finding {
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
    fn facts_count_before_they_are_written() {
        let (pending, instance) = (PendingFindings::default(), InstanceId(1));
        let finding = Finding::Fact { name: "answered_url", value: "tcp://b1:22".into() };
        pending.with(|findings| {
            _ = findings
                .insert(ActionId(1), ReportedFinding { life: DatabaseLife::nth(1), instance, finding });
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
