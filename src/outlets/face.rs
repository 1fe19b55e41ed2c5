//! The face of outlets: what actions need to know is in the data of the instance, from the request.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::definition::OUTLET_MACHINE;
use crate::engine::{Face, FaceSummary};
use crate::machine::{Instance, MachineName};
use crate::store::instances::InstanceId;
use crate::store::{DbConnection, InstanceFacts, SharedFacts, StoreError};

/// The name of the face.
const FACE: &str = "outlets";
/// The data of an instance that are facts for its actions.
const FACTS: [&str; 2] = ["power_url", "scan_url"];

/// The face of outlets.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutletFace;

#[async_trait]
impl Face for OutletFace {
    fn name(&self) -> &'static str {
        FACE
    }

    fn is_face_of(&self, machine: &MachineName) -> bool {
        machine.as_str() == OUTLET_MACHINE
    }

    async fn read_facts(
        &self,
        _: &mut DbConnection,
        ids: &[InstanceId],
    ) -> Result<Vec<(InstanceId, Arc<dyn InstanceFacts>)>, StoreError> {
        Ok(ids.iter().map(|id| (*id, Arc::new(OutletFacts) as Arc<dyn InstanceFacts>)).collect())
    }

    async fn summarize(
        &self,
        _: &mut DbConnection,
        _: InstanceId,
        instance: &Instance,
        _: DateTime<Utc>,
    ) -> Result<FaceSummary, StoreError> {
        Ok(FaceSummary { action_facts: facts(instance), ..FaceSummary::default() })
    }
}

/// The facts of an outlet: what its instance's data say.
#[derive(Debug)]
struct OutletFacts;

impl InstanceFacts for OutletFacts {
    fn face(&self) -> &'static str {
        FACE
    }

    fn for_guards(&self, _: &Instance, _: &SharedFacts) -> Map<String, Value> {
        Map::new()
    }

    fn for_actions(&self, instance: &Instance, _: &SharedFacts) -> Map<String, Value> {
        facts(instance)
    }
}

fn facts(instance: &Instance) -> Map<String, Value> {
    let known = FACTS.iter().filter_map(|fact| Some(((*fact).to_owned(), instance.data.get(*fact)?.clone())));
    known.collect()
}
