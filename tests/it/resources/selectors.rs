//! Tests of selectors: a state holds any of the resources that a face selects, in the face's order.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lifeguard::engine::{Face, Faces};
use lifeguard::machine::MachineName;
use lifeguard::store::claims::Claim;
use lifeguard::store::instances::InstanceId;
use lifeguard::store::{DbConnection, InstanceFacts, StoreError};

use super::{TestProcess, at, claim};
use crate::database::database;

/// A face with workers, some of which are available.
struct SelectorFace(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Face for SelectorFace {
    fn name(&self) -> &'static str {
        "workers"
    }

    fn is_face_of(&self, _: &MachineName) -> bool {
        false
    }

    async fn read_facts(
        &self,
        _: &mut DbConnection,
        _: &[InstanceId],
    ) -> Result<Vec<(InstanceId, Arc<dyn InstanceFacts>)>, StoreError> {
        Ok(Vec::new())
    }

    fn selectors(&self) -> &[&str] {
        &["idle-workers"]
    }

    async fn select(&self, _: &mut DbConnection, _: &str, _: InstanceId) -> Result<Vec<String>, StoreError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

#[tokio::test]
async fn any_selected_candidate_is_granted_and_released_ones_go_to_matching_requests() {
    let database = database().await;
    let known = Arc::new(Mutex::new(vec!["w2".to_owned(), "w1".to_owned()]));
    let faces = Faces::new(vec![Arc::new(SelectorFace(Arc::clone(&known)))]);
    let one = TestProcess { faces, ..TestProcess::new(&database).await };
    let of = |selector: &str| Claim {
        any_of: Vec::new(),
        select: Some(selector.to_owned()),
        hold: Some("worker".to_owned()),
        ..claim("", 1, 0, 0)
    };
    for name in ["b0", "b1", "b2"] {
        one.ask(name, vec![of("idle-workers")], None, at(0)).await;
    }
    one.ask("lost", vec![of("no-such")], None, at(0)).await;
    let looked = one.look(at(1)).await;
    let chosen: Vec<_> =
        looked.actions.iter().map(|one| (one.instance, one.grant.units[0].resource.as_str())).collect();
    let [(first, "w2"), (_, "w1")] = chosen[..] else { panic!("{chosen:?}") };
    assert_eq!(one.start(&looked.actions, at(1)).await.len(), 2);
    assert_eq!((one.holders("w2").await, one.holders("w1").await), (vec!["b0".into()], vec!["b1".into()]));
    assert!(one.look(at(2)).await.actions.is_empty(), "both are in use");
    // Another one is known at the next look.
    known.lock().unwrap().push("w3".to_owned());
    let looked = one.look(at(3)).await;
    assert_eq!(looked.actions[0].grant.units[0].resource, "w3");
    assert_eq!(one.start(&looked.actions, at(3)).await.len(), 1);
    one.ask("b3", vec![of("idle-workers")], None, at(4)).await;
    one.leave(first, "worker", at(5)).await;
    assert_eq!(one.holders("w2").await, ["b3"], "granted on");
}
