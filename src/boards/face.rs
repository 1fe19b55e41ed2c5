//! The face of boards: provides to the engine what it needs to know about boards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::boot::{BootCoverage, describe_boot};
use super::face_name::FACE;
use super::facts::{ANSWERED_URL_FACT, BOOT_CONFIG_FACT, shared};
use super::store::{boots, devices, hardware_loads, images};
use super::{outlets, refusals};
use crate::engine::{Face, FaceRefusal, FaceSummary, InstanceRemoval, LearnedFact};
use crate::machine::{Instance, MachineName};
use crate::store::instances::InstanceId;
use crate::store::{DbConnection, InstanceFacts, SharedFacts, Store, StoreError};

/// The face of boards.
#[derive(Debug)]
pub struct BoardFace {
    machine: MachineName,
    coverage: Mutex<BootCoverage>,
    boot_fault: Mutex<Option<String>>,
}

impl BoardFace {
    /// Creates the face of the boards that are instances of `machine`.
    #[must_use]
    pub fn new(machine: MachineName) -> Self {
        Self { machine, coverage: Mutex::default(), boot_fault: Mutex::default() }
    }

    /// Returns the machine whose instances the boards are.
    #[must_use]
    pub fn machine(&self) -> &MachineName {
        &self.machine
    }

    /// Returns what requests of boards may have been missed.
    pub(super) fn coverage(&self) -> BootCoverage {
        *self.coverage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_coverage(&self, coverage: BootCoverage) {
        *self.coverage.lock().unwrap_or_else(PoisonError::into_inner) = coverage;
    }

    /// Returns why the boot tree cannot be read, for the operator; `None` if it can.
    pub(super) fn boot_fault(&self) -> Option<String> {
        self.boot_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_boot_fault(&self, fault: Option<String>) {
        *self.boot_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

#[async_trait]
impl Face for BoardFace {
    fn name(&self) -> &'static str {
        FACE
    }

    fn is_face_of(&self, machine: &MachineName) -> bool {
        self.machine == *machine
    }

    async fn read_facts(
        &self,
        db: &mut DbConnection,
        ids: &[InstanceId],
    ) -> Result<Vec<(InstanceId, Arc<dyn InstanceFacts>)>, StoreError> {
        let read = devices::read_facts(db, ids).await?;
        Ok(read.into_iter().map(|(id, facts)| (id, Arc::new(facts) as Arc<dyn InstanceFacts>)).collect())
    }

    async fn read_shared(&self, db: &mut DbConnection) -> Result<SharedFacts, StoreError> {
        Ok(shared(images::list_by_hardware(db).await?))
    }

    fn is_shared_fact(&self, fact: &str) -> bool {
        fact == BOOT_CONFIG_FACT
    }

    async fn read_silence(
        &self,
        db: &mut DbConnection,
        silent: &[InstanceId],
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<InstanceId, String>, StoreError> {
        let coverage = self.coverage();
        let boots = boots::read_boots(db, silent, now).await?;
        Ok(boots.into_iter().filter_map(|(id, boot)| Some((id, describe_boot(&boot, coverage)?))).collect())
    }

    async fn summarize(
        &self,
        db: &mut DbConnection,
        id: InstanceId,
        instance: &Instance,
        now: DateTime<Utc>,
    ) -> Result<FaceSummary, StoreError> {
        let facts = devices::read_facts(db, &[id]).await?.pop().map(|(_, facts)| facts);
        let boot = describe_boot(&boots::read_boot(db, id, now).await?, self.coverage());
        let mut summary = FaceSummary::default();
        summary.details.insert("boot".to_owned(), json!(boot));
        summary.progress = boot.map(|boot| format!("Of its present boot: {boot}."));
        if let Some(facts) = facts {
            let power = outlets::read_power(db, id, &facts.device).await?;
            let is_failure = instance.data.contains_key("failure") && facts.device.power_url.is_some();
            let changed = power.as_ref().filter(|_| is_failure);
            let changed =
                changed.and_then(|power| power.changed_url_sentence(&instance.name, instance.since, now));
            let sentences = power.as_ref().map(|power| power.sentence(now)).into_iter().chain(changed);
            summary.observation = sentences.reduce(|first, second| format!("{first} {second}"));
            summary.details.insert("observed_power".to_owned(), json!(power));
            let shared = self.read_shared(db).await?;
            summary.facts = facts.for_guards(instance, &shared);
            summary.action_facts = facts.for_actions(instance, &shared);
        }
        Ok(summary)
    }

    async fn record_facts(
        &self,
        db: &mut DbConnection,
        learned: &[LearnedFact<'_>],
    ) -> Result<Vec<InstanceId>, StoreError> {
        let answers: Vec<(InstanceId, &str)> = learned
            .iter()
            .filter(|fact| fact.name == ANSWERED_URL_FACT)
            .filter_map(|fact| Some((fact.instance, fact.value.as_str()?)))
            .collect();
        devices::save_answered_urls(db, &answers).await
    }

    async fn read_loads(
        &self,
        db: &mut DbConnection,
        ids: &[InstanceId],
    ) -> Result<Vec<(InstanceId, u32)>, StoreError> {
        hardware_loads::read(db, ids).await
    }

    async fn refuse_removal(
        &self,
        db: &mut DbConnection,
        InstanceRemoval { id, instance, is_compensation_owed }: InstanceRemoval<'_>,
    ) -> Result<Option<FaceRefusal>, StoreError> {
        if devices::find_device(db, id).await?.is_some()
            && let Some(refusal) = refusals::boot_link_refusal(instance)
        {
            return Ok(Some(refusal));
        }
        Ok(is_compensation_owed.then(|| refusals::power_owed_refusal(&instance.name)))
    }

    async fn start(&self, store: &Store) {
        outlets::assign_outlets(store).await;
    }
}
