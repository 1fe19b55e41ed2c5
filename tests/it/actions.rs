//! Rows of actions: which visit they speak for, and what leaving a state does to them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lifeguard::machine::{ActionName, Instance, Invoke, MachineName, StateName, Visit};
use lifeguard::store::actions::{self, NewAction, RunningAction, Startable, WorkerId};
use lifeguard::store::instances::{self, InstanceId};
use lifeguard::store::{Store, workers};
use serde_json::Map;

use crate::database::database;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// Begins the only action that may be started.
async fn start(store: &Store, worker: WorkerId) -> RunningAction {
    let mut tx = store.begin().await.unwrap();
    let startable = actions::list_startable(&mut tx, 10).await.unwrap();
    let [Startable { id, .. }] = startable[..] else { panic!("not one: {startable:?}") };
    let started = actions::start(&mut tx, id, worker, NOW).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    started
}

async fn leave(store: &Store, instance: InstanceId) -> bool {
    let mut tx = store.begin().await.unwrap();
    actions::cancel_state(&mut tx, instance).await.unwrap();
    let has_live = actions::has_live(&mut tx, instance).await.unwrap();
    tx.commit().await.unwrap();
    has_live
}

#[tokio::test]
async fn what_is_left_of_an_abandoned_power_cycle_outlives_every_state_and_speaks_for_none() {
    let database = database().await;
    let store = Store::open(database.connect_options()).await.unwrap();
    let instance = Instance {
        machine: MachineName::new("board").unwrap(),
        name: "b1".to_owned(),
        state: StateName::new("S").unwrap(),
        visit: Visit(1),
        entered_at: NOW,
        deadline_at: None,
        counters: BTreeMap::new(),
        data: Map::new(),
    };
    let invoke = Invoke { action: ActionName::new("power-cycle").unwrap(), limit: None, with: Map::new() };
    let new = NewAction { invoke, place: Some("relay".to_owned()) };
    let mut tx = store.begin().await.unwrap();
    let id = instances::insert(&mut tx, &instance).await.unwrap();
    actions::insert(&mut tx, id, Visit(1), &[new], NOW).await.unwrap();
    assert!(actions::has_live(&mut tx, id).await.unwrap());
    tx.commit().await.unwrap();
    let dies = workers::register(&store, "dies", Duration::from_mins(1)).await.unwrap();
    let lives = workers::register(&store, "lives", Duration::from_mins(1)).await.unwrap();

    let cycle = start(&store, dies).await;
    assert_eq!(cycle.speaks_for(Visit(7)), Visit(7), "its state has been entered anew and kept it");
    assert!(!leave(&store, id).await);
    let mut tx = store.begin().await.unwrap();
    actions::hand_back(&mut tx, &[dies], None).await.unwrap();
    tx.commit().await.unwrap();

    assert!(!leave(&store, id).await);
    let rescue = start(&store, lives).await;
    assert_eq!((rescue.action.as_str(), rescue.speaks_for(Visit(7))), ("power-on", Visit(1)));
    assert!(!leave(&store, id).await);
    let open = actions::list_open(&mut store.reader().await.unwrap(), id).await.unwrap();
    assert_eq!((open[0].status.as_str(), open[0].cancelled), ("RUNNING", false));
}
