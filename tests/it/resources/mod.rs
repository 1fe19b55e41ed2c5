//! Tests of resources: grants never exceed capacity, follow the queue, and released units are granted again.

mod killed_servers;
mod selectors;
mod settings;
mod windows;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lifeguard::engine::{self, Faces, PassOnPlan, SettingsUpdate, StartableActions};
use lifeguard::machine::{ActionInvocation, ActionName, Instance, Links, MachineName, StateName, Visit};
use lifeguard::store::actions::{self, ActionId, NewAction, StartableAction, Suspension, WorkerId};
use lifeguard::store::batches::{self, ActionChanges, Batch, BatchResult, DecidedUpdate};
use lifeguard::store::changes::ChangeOrigin;
use lifeguard::store::claims::{Claim, GrantedUnits, ResourceLimits};
use lifeguard::store::definitions::ActivationId;
use lifeguard::store::instances::{self, InstanceId};
use lifeguard::store::links::LinkedIds;
use lifeguard::store::queue::{LimitOverrides, ResourceSettings};
use lifeguard::store::{Store, resources, workers};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::database::{TestDatabase, database};
use crate::rack::Rack;
use crate::versions::{changed, load};
use crate::world::{World, wait_until};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn with_changes(decision: DecidedUpdate, changes: ActionChanges) -> DecidedUpdate {
    DecidedUpdate { actions: Some(Box::new(changes)), ..decision }
}

fn claim(resource: &str, capacity: u32, gap: u64, settle: u64) -> Claim {
    let span = Duration::from_secs;
    Claim {
        any_of: vec![resource.to_owned()],
        units: 1,
        limits: ResourceLimits::new(Some(capacity), span(gap), span(settle)),
        select: None,
        hold: None,
        adds_load: false,
        probes: false,
    }
}

/// A process using the database.
struct TestProcess {
    store: Store,
    worker: WorkerId,
    faces: Faces,
}

impl TestProcess {
    async fn new(database: &TestDatabase) -> Self {
        let store = Store::open(database.connect_options()).await.unwrap();
        let worker = workers::register(&store, "one", Duration::from_hours(1), Duration::ZERO).await.unwrap();
        Self { store, worker: worker.id, faces: Faces::default() }
    }

    /// Inserts an instance that requests an action with these claims.
    async fn ask(&self, name: &str, claims: Vec<Claim>, queue_at: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        let instance = Instance {
            machine: MachineName::new("board").unwrap(),
            name: name.to_owned(),
            state: StateName::new("S").unwrap(),
            visit: Visit(1),
            since: now,
            deadline_at: None,
            remaining: None,
            counters: BTreeMap::new(),
            data: Map::new(),
            links: Links::default(),
        };
        let mut tx = self.store.begin().await.unwrap();
        let id = instances::insert(&mut tx, &instance, &LinkedIds::new()).await.unwrap().unwrap();
        let invoke =
            ActionInvocation { action: ActionName::new("work").unwrap(), limit: None, with: Map::new() };
        let new = NewAction { invoke, claims, queue_at, compensation: None };
        actions::insert(&mut tx, id, Visit(1), &[new], now).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn look(&self, now: DateTime<Utc>) -> StartableActions {
        let mut db = self.store.connect().await.unwrap();
        let mut unqueued = engine::find_unqueued(&mut db, &[]).await.unwrap();
        let granted = engine::find_grantable(&mut db, &self.faces, &[], now).await.unwrap();
        unqueued.actions.extend(granted.actions);
        StartableActions { actions: unqueued.actions, ..granted }
    }

    /// Tries to start each of these; returns the started ones.
    async fn start(&self, startable: &[StartableAction], now: DateTime<Utc>) -> Vec<InstanceId> {
        let mut started = Vec::new();
        let mut startable = startable.to_vec();
        startable.sort_by_key(|one| one.instance);
        let mut decided = Vec::new();
        for one in &startable {
            let started = Some((one.id, one.grant.clone()));
            let decision = self.decided(one.instance).await;
            decided.push(with_changes(decision, ActionChanges { started, ..ActionChanges::default() }));
        }
        let applied = self.write(&decided, now).await;
        started.extend(startable.iter().map(|one| one.instance).filter(|id| !applied.overtaken.contains(id)));
        started
    }

    async fn decided(&self, instance: InstanceId) -> DecidedUpdate {
        let mut db = self.store.connect().await.unwrap();
        let seen = batches::read(&mut db, &[instance], &[]).await.unwrap().remove(0);
        DecidedUpdate {
            instance: Some(seen.instance.clone()),
            base: seen,
            left_visit: None,
            entries: Vec::new(),
            reentered: None,
            actions: None,
            linked: None,
            coupling: None,
            is_silent: false,
        }
    }

    async fn write(&self, decided: &[DecidedUpdate], now: DateTime<Utc>) -> BatchResult {
        let mut db = self.store.connect().await.unwrap();
        let passed = engine::pass_on(&mut db, decided, &self.faces, &[], now).await.unwrap();
        let PassOnPlan { dropped_holds: let_go, passed_on_grants: granted_on } = passed;
        let group = Batch { decided, dropped_holds: &let_go, passed_on_grants: &granted_on };
        let origin = ChangeOrigin(1);
        batches::write(&mut db, group, origin, ActivationId(i64::MAX), Some(self.worker), now).await.unwrap()
    }

    /// Ends the action of an instance and releases its resources.
    async fn end(&self, instance: InstanceId, now: DateTime<Utc>) {
        let mut db = self.store.connect().await.unwrap();
        let live = actions::list_live(&mut db, &[instance]).await.unwrap().remove(0).action;
        let (ended, released) = (vec![live.id], live.granted);
        let changes = ActionChanges { ended, released, ..ActionChanges::default() };
        let decision = with_changes(self.decided(instance).await, changes);
        assert!(self.write(&[decision], now).await.overtaken.is_empty());
    }

    /// Moves an instance out of the last state that held `name`.
    async fn leave(&self, instance: InstanceId, name: &str, now: DateTime<Utc>) {
        let dropped_holds = vec![name.to_owned()];
        let changes = ActionChanges { dropped_holds, ..ActionChanges::default() };
        let decision = with_changes(self.decided(instance).await, changes);
        assert!(self.write(&[decision], now).await.overtaken.is_empty());
    }

    /// The names of the instances whose actions run, or have been granted their claims.
    async fn holders(&self, resource: &str) -> Vec<String> {
        let mut db = self.store.reader().await.unwrap();
        let holders = resources::list_holders(&mut db, &[resource.to_owned()]).await.unwrap();
        holders.into_iter().map(|holder| holder.owner.name).collect()
    }

    /// Starts and ends actions until none is left; returns their order.
    async fn drain(&self, now: DateTime<Utc>, max: usize) -> Vec<String> {
        let mut names = Vec::new();
        while names.len() < max {
            let looked = self.look(now).await;
            let Some(one) = looked.actions.first() else { break };
            assert_eq!(self.start(std::slice::from_ref(one), now).await, [one.instance]);
            names.push(self.decided(one.instance).await.base.instance.name.clone());
            self.end(one.instance, now).await;
        }
        names
    }
}

#[tokio::test]
async fn two_concurrent_processes_never_grant_more_than_the_capacity() {
    for capacity in [1, 3] {
        let database = database().await;
        let (one, other) = (TestProcess::new(&database).await, TestProcess::new(&database).await);
        for number in 0..8 {
            one.ask(&format!("b{number}"), vec![claim("r", capacity, 0, 0)], None, at(0)).await;
        }
        let (first, second) = (one.look(at(1)).await, other.look(at(1)).await);
        assert_eq!(first.actions.len(), capacity as usize);
        assert_eq!(first.actions, second.actions);
        // The rest of the queue, as started by a process that has read a lower usage.
        let ids: Vec<ActionId> = first.actions.iter().map(|one| one.id).collect();
        let mut stale = second.actions.clone();
        for one in &mut stale {
            let behind = ActionId(one.id.0 + i64::from(capacity));
            one.instance = InstanceId(one.instance.0 + i64::from(capacity));
            one.id = behind;
        }
        assert!(stale.iter().all(|one| !ids.contains(&one.id)));
        assert_eq!(one.start(&first.actions, at(1)).await.len(), capacity as usize);
        assert_eq!(other.start(&stale, at(1)).await, [], "all of it is in use");
        assert_eq!(one.holders("r").await.len(), capacity as usize);
        assert!(other.look(at(1)).await.actions.is_empty());
        // The refused one is among those considered again.
        one.end(first.actions[0].instance, at(2)).await;
        assert_eq!(one.holders("r").await.len(), capacity as usize, "it was granted on at once");
    }
}

#[tokio::test]
async fn released_units_are_granted_in_queue_order_and_any_process_starts_the_action() {
    let database = database().await;
    let (one, other) = (TestProcess::new(&database).await, TestProcess::new(&database).await);
    for name in ["b0", "b1", "b2"] {
        one.ask(name, vec![claim("r", 1, 0, 0)], None, at(0)).await;
    }
    let looked = one.look(at(1)).await;
    let first = looked.actions[0].instance;
    one.start(&looked.actions, at(1)).await;
    one.end(first, at(2)).await;
    assert_eq!(one.holders("r").await, ["b1"], "before anybody looks again");
    let looked = other.look(at(2)).await;
    assert_eq!((looked.actions.len(), looked.actions[0].grant.based_on.len()), (1, 0));
    // It is not started for too long: others are granted meanwhile.
    let mut tx = one.store.begin().await.unwrap();
    assert_eq!(actions::revoke_grants(&mut tx, at(2)).await.unwrap(), 0, "it has not waited for so long");
    assert_eq!(actions::revoke_grants(&mut tx, at(3)).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert_eq!(one.holders("r").await, Vec::<String>::new());
    assert_eq!(other.start(&looked.actions, at(3)).await.len(), 1, "the instance was read after that");
    assert_eq!(one.drain(at(4), 9).await, Vec::<String>::new(), "it is in use");
}

#[tokio::test]
async fn gaps_and_settle_times_use_the_farm_s_clock() {
    let database = database().await;
    let (one, other) = (TestProcess::new(&database).await, TestProcess::new(&database).await);
    for number in 0..4 {
        one.ask(&format!("b{number}"), vec![claim("r", 2, 10, 4)], None, at(0)).await;
    }
    let looked = one.look(at(0)).await;
    assert_eq!((looked.actions.len(), looked.next_at), (1, Some(at(10))));
    assert_eq!(one.start(&looked.actions, at(0)).await.len(), 1);
    let held = looked.actions[0].instance;
    let looked = other.look(at(9)).await;
    assert_eq!((looked.actions.len(), looked.next_at), (0, Some(at(10))));
    let looked = other.look(at(10)).await;
    assert_eq!(other.start(&looked.actions, at(10)).await.len(), 1);
    // It has a settle time, so it is not granted at once.
    one.end(held, at(19)).await;
    assert_eq!(one.holders("r").await, ["b1"]);
    let looked = one.look(at(21)).await;
    assert_eq!((looked.actions.len(), looked.next_at), (0, Some(at(23))));
    assert_eq!(one.look(at(23)).await.actions.len(), 1);
    // The clock was set back by far more than any wait.
    let looked = one.look(at(-1000)).await;
    assert_eq!(one.start(&looked.actions, at(-1000)).await.len(), 1);
}

#[tokio::test]
async fn a_single_request_is_not_stuck_behind_five_hundred_earlier_ones() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    let bulk = async |number: i64| {
        let turn = at(0) + TimeDelta::minutes(number);
        one.ask(&format!("bulk{number:03}"), vec![claim("r", 1, 0, 0)], Some(turn), at(0)).await;
    };
    for number in 0..500 {
        bulk(number).await;
    }
    one.ask("single", vec![claim("r", 1, 0, 0)], None, at(90)).await;
    let order = one.drain(at(100), 6).await;
    assert_eq!(order, ["bulk000", "bulk001", "single", "bulk002", "bulk003", "bulk004"]);
}

#[tokio::test]
async fn several_resources_are_granted_together_and_one_of_several_by_choice() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    let both = |first: &str, second: &str| vec![claim(first, 1, 0, 0), claim(second, 1, 0, 0)];
    let any = Claim { any_of: vec!["x".to_owned(), "y".to_owned()], ..claim("x", 1, 0, 0) };
    one.ask("x1", vec![claim("x", 1, 0, 0)], None, at(0)).await;
    one.ask("xy", both("x", "y"), None, at(1)).await;
    one.ask("yx", both("y", "x"), None, at(2)).await;
    one.ask("any", vec![any], None, at(3)).await;
    let mut order = Vec::new();
    for now in 10.. {
        let looked = one.look(at(now)).await;
        let Some(first) = looked.actions.first() else { break };
        assert_eq!(looked.actions.len(), 1, "{looked:?}");
        let units: Vec<_> = first.grant.units.iter().map(|units| units.resource.clone()).collect();
        one.start(&looked.actions, at(now)).await;
        order.push(units.join("+"));
        one.end(first.instance, at(now)).await;
    }
    assert_eq!(order, ["x", "x+y", "y+x", "x"]);
}

#[tokio::test]
async fn if_the_first_of_several_is_out_of_use_the_next_one_is_granted() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    let mut tx = one.store.begin().await.unwrap();
    let none = LimitOverrides { capacity: Some(0), ..LimitOverrides::default() };
    let settings = ResourceSettings { overrides: none, ..ResourceSettings::default() };
    let update = SettingsUpdate::One("x".to_owned(), settings);
    engine::update_settings(&mut tx, update, at(0)).await.unwrap();
    tx.commit().await.unwrap();
    let any = Claim { any_of: vec!["x".to_owned(), "y".to_owned()], ..claim("x", 1, 0, 0) };
    for name in ["b0", "b1"] {
        one.ask(name, vec![any.clone()], None, at(0)).await;
    }
    let looked = one.look(at(1)).await;
    let units: Vec<_> = looked.actions.iter().map(|one| one.grant.units[0].resource.as_str()).collect();
    assert_eq!(units, ["y"]);
    one.start(&looked.actions, at(1)).await;
    one.end(looked.actions[0].instance, at(2)).await;
    assert_eq!(one.holders("y").await, ["b1"], "granted on");
}

#[tokio::test]
async fn a_long_queue_for_an_unlimited_resource_is_processed_at_once() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    for number in 0..70 {
        let unlimited = Claim { limits: ResourceLimits::default(), ..claim("line", 1, 0, 0) };
        one.ask(&format!("b{number}"), vec![unlimited], None, at(0)).await;
    }
    let looked = one.look(at(1)).await;
    assert_eq!((looked.actions.len(), looked.has_more), (64, true));
    one.start(&looked.actions, at(1)).await;
    let looked = one.look(at(1)).await;
    assert_eq!((looked.actions.len(), looked.has_more), (6, false));
}

#[tokio::test]
async fn resources_are_locked_before_instances_also_when_units_are_only_released() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    one.ask("b0", vec![claim("r", 1, 0, 0)], None, at(0)).await;
    let looked = one.look(at(1)).await;
    one.start(&looked.actions, at(1)).await;
    let instance = looked.actions[0].instance;
    let pool = database.pool().await;
    let mut keeper = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM resource WHERE name = 'r' FOR UPDATE").execute(&mut *keeper).await.unwrap();
    let mut db = one.store.connect().await.unwrap();
    let live = actions::list_live(&mut db, &[instance]).await.unwrap().remove(0).action;
    let decision = one.decided(instance).await;
    let (ended, released) = (vec![live.id], live.granted);
    let decided = [with_changes(decision, ActionChanges { ended, released, ..ActionChanges::default() })];
    let group = Batch { decided: &decided, dropped_holds: &[], passed_on_grants: &[] };
    let under = ActivationId(i64::MAX);
    let writing = batches::write(&mut db, group, ChangeOrigin(1), under, Some(one.worker), at(2));
    let looking = async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        wait_until("it waits for the resource", async || {
            sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.unwrap() == 1
        })
        .await;
        let free = "SELECT instance_id FROM instance FOR UPDATE SKIP LOCKED";
        let free: Vec<i64> = sqlx::query_scalar(free).fetch_all(&pool).await.unwrap();
        keeper.rollback().await.unwrap();
        free
    };
    let (applied, free) = tokio::join!(writing, looking);
    assert_eq!(free, [instance.0], "it keeps no instance while it waits");
    assert_eq!(applied.unwrap().overtaken.len(), 0);
}

#[tokio::test]
async fn resources_held_by_a_state_are_released_when_it_is_left_or_its_instance_removed() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    let hold = Claim { hold: Some("imaging".to_owned()), ..claim("imaging", 1, 0, 0) };
    for name in ["b0", "b1", "b2"] {
        one.ask(name, vec![hold.clone()], None, at(0)).await;
    }
    let looked = one.look(at(1)).await;
    one.start(&looked.actions, at(1)).await;
    let first = looked.actions[0].instance;
    let decision = one.decided(first).await;
    let live = actions::list_live(&mut one.store.connect().await.unwrap(), &[first]).await.unwrap().remove(0);
    assert_eq!(live.action.granted, [], "its action holds nothing itself");
    let changes = ActionChanges { ended: vec![live.action.id], ..ActionChanges::default() };
    one.write(&[with_changes(decision, changes)], at(2)).await;
    assert_eq!(one.holders("imaging").await, ["b0"]);
    assert!(one.look(at(3)).await.actions.is_empty());
    one.leave(first, "imaging", at(4)).await;
    assert_eq!(one.holders("imaging").await, ["b1"], "granted on");
    let looked = one.look(at(4)).await;
    one.start(&looked.actions, at(4)).await;
    let mut tx = one.store.begin().await.unwrap();
    actions::cancel_all(&mut tx, looked.actions[0].instance).await.unwrap();
    instances::delete(&mut tx, looked.actions[0].instance).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(one.look(at(5)).await.actions.len(), 1, "of what is gone nothing is held");
}

#[tokio::test]
async fn a_holder_of_a_resource_is_not_blocked_by_an_earlier_waiting_request() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    let hold = Claim { hold: Some("b".to_owned()), ..claim("b", 1, 0, 0) };
    one.ask("holder", vec![hold], None, at(0)).await;
    let looked = one.look(at(1)).await;
    one.start(&looked.actions, at(1)).await;
    let holder = looked.actions[0].instance;
    one.end(holder, at(2)).await;
    for name in ["b0", "b1"] {
        one.ask(name, vec![claim("a", 1, 0, 0), claim("b", 1, 0, 0)], None, at(3)).await;
    }
    assert_eq!(one.look(at(4)).await.actions, []);
    let mut tx = one.store.begin().await.unwrap();
    let invoke = ActionInvocation { action: ActionName::new("work").unwrap(), limit: None, with: Map::new() };
    let new = NewAction { invoke, claims: vec![claim("a", 1, 0, 0)], queue_at: None, compensation: None };
    actions::insert(&mut tx, holder, Visit(1), &[new], at(5)).await.unwrap();
    tx.commit().await.unwrap();
    let looked = one.look(at(6)).await;
    assert_eq!(looked.actions.iter().map(|one| one.instance).collect::<Vec<_>>(), [holder]);
}

#[tokio::test]
async fn compensations_do_not_wait_for_resources_held_by_states() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    let hold = Claim { hold: Some("imaging".to_owned()), ..claim("imaging", 1, 0, 0) };
    for name in ["b0", "b1"] {
        one.ask(name, vec![hold.clone(), claim("relay", 1, 0, 0)], None, at(0)).await;
    }
    let sql = "UPDATE action SET compensation = 'undo'";
    sqlx::query(sql).execute(&database.pool().await).await.unwrap();
    let looked = one.look(at(1)).await;
    assert_eq!(one.start(&looked.actions, at(1)).await.len(), 1);
    let (first, action) = (looked.actions[0].instance, looked.actions[0].id);
    // The state is left, and another instance holds its resource, before the action is found interrupted.
    let decision = one.decided(first).await;
    let decision = DecidedUpdate { left_visit: Some(Visit(1)), ..decision };
    let changes = ActionChanges { dropped_holds: vec!["imaging".to_owned()], ..ActionChanges::default() };
    one.write(&[with_changes(decision, changes)], at(2)).await;
    let suspension = Suspension {
        action,
        trouble: "test".to_owned(),
        reason: "it is not known how it ended".to_owned(),
        is_counted: true,
        is_compensation: true,
    };
    let decision = one.decided(first).await;
    let released = vec![GrantedUnits { resource: "relay".to_owned(), units: 1, hold: None, load: None }];
    let changes = ActionChanges { suspended: Some(suspension), released, ..ActionChanges::default() };
    one.write(&[with_changes(decision, changes)], at(3)).await;
    assert_eq!(one.holders("imaging").await, ["b1"]);
    let sql = "UPDATE action SET granted = NULL, granted_at = NULL WHERE instance_id <> $1";
    sqlx::query(sql).bind(first.0).execute(&database.pool().await).await.unwrap();
    let sql = "INSERT INTO hold (instance_id, name, resource, units, granted_at)
               SELECT instance_id, 'imaging', 'imaging', 1, now() FROM instance WHERE instance_id <> $1";
    sqlx::query(sql).bind(first.0).execute(&database.pool().await).await.unwrap();
    let looked = one.look(at(4)).await;
    let [rescue] = &looked.actions[..] else { panic!("{looked:?}") };
    let units: Vec<&str> = rescue.grant.units.iter().map(|units| units.resource.as_str()).collect();
    assert_eq!((rescue.instance, units), (first, vec!["relay"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_a_resource_with_its_queue_and_sets_its_limits() {
    let world = World::new().await;
    let rack = Rack::new(&world, 3);
    let path = format!("/api/v1/resources/{}", rack.resource().replace('/', "%2F"));
    let (status, set) = world.call(Method::PUT, &path, Some(json!({ "capacity": 0, "settle_s": 0.5 }))).await;
    assert_eq!((status, &set["overridden"]), (StatusCode::OK, &json!(["capacity", "settle"])), "{set}");
    for (name, coil) in [("b0", 0), ("b1", 1)] {
        world.register(name, rack.power_facts(coil)).await;
        assert_eq!(world.request(name, "rq-reboot", json!({})).await.0, 200);
    }
    let shown = world.get(&path).await;
    let names =
        |list: &Value| list.as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    assert_eq!((names(&shown["queue"]), names(&shown["holders"])), (vec![json!("b0"), json!("b1")], vec![]));
    assert_eq!((&shown["queue"][1]["requests_ahead"], &shown["in_use"]), (&json!(1), &json!(0)), "{shown}");
    assert_eq!(rack.switched(3), [], "none may start");
    let (status, set) = world.call(Method::PUT, &path, Some(json!({}))).await;
    assert_eq!(
        (status, &set["overridden"], &set["capacity"]),
        (StatusCode::OK, &json!([]), &json!(1)),
        "{set}"
    );
    for name in ["b0", "b1"] {
        world.pass_time_until(name, "it is rebooted", |device| device["state"] == "RebootComplete").await;
    }
    let all = world.get("/api/v1/resources").await;
    assert_eq!(
        (&all["resources"][0]["in_use"], &all["resources"][0]["queue"]),
        (&json!(0), &json!([])),
        "{all}"
    );
    let (status, refused) = world.call(Method::GET, "/api/v1/resources/none", None).await;
    assert_eq!((status, &refused["code"]), (StatusCode::NOT_FOUND, &json!("no_resource")));
    let (status, _) = world.call(Method::PUT, &path, Some(json!({ "gap_s": -1 }))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_a_resource_that_nothing_uses_are_set_with_a_warning() {
    let world = World::new().await;
    world.register("b1", json!({ "power_url": "modbus://relay-3.lab/5" })).await;
    let warnings = async |resource: &str| {
        let path = format!("/api/v1/resources/{resource}");
        let (status, set) = world.call(Method::PUT, &path, Some(json!({ "capacity": 3 }))).await;
        assert_eq!((status, &set["capacity"]), (StatusCode::OK, &json!(3)), "{set}");
        set["warnings"].clone()
    };
    assert_eq!(warnings("imaging").await, Value::Null, "a definition declares it");
    assert_eq!(
        warnings("modbus:%2F%2Frelay-3.lab:502").await,
        Value::Null,
        "a board's power is switched by it"
    );
    let unused = json!(["nothing uses the resource `imagin`; did you mean `imaging`?"]);
    for _ in 0..2 {
        assert_eq!(warnings("imagin").await, unused, "that it has limits does not make it used");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_waits_for_its_resource_and_releases_it_when_it_is_left() {
    let holding =
        |state: &str| (format!("  {state}:\n"), format!("  {state}:\n    hold: {{ imaging: 1 }}\n"));
    let holding = ["ReimageRebooting", "ReimageBooting"].map(holding);
    let without_holds = ("    hold: { imaging: 1 }\n", "");
    let mut changes = vec![without_holds, ("  imaging: { about:", "  imaging: { capacity: 1, about:")];
    changes.extend(holding.iter().map(|(from, to)| (from.as_str(), to.as_str())));
    let world = World::with_definition(&changed(&changes)).await;
    let rack = Rack::new(&world, 3);
    let imaging = world.get("/api/v1/resources/imaging").await;
    assert_eq!((&imaging["capacity"], &imaging["in_use"]), (&json!(1), &json!(0)), "as it is declared");
    world.image("base").await;
    for (name, coil) in [("b0", 0), ("b1", 1)] {
        world.register(name, rack.power_facts(coil)).await;
        let (status, answer) = world.request(name, "rq-reimage", json!({ "image": "base" })).await;
        assert_eq!(status, 200, "{answer}");
    }
    world.pass_time_until("b0", "it boots", |device| device["state"] == "ReimageBooting").await;
    let names =
        |list: &Value| list.as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    let imaging = world.get("/api/v1/resources/imaging").await;
    assert_eq!(
        (names(&imaging["holders"]), names(&imaging["queue"])),
        (vec![json!("b0")], vec![json!("b1")])
    );
    let waits = world.get("/api/v1/devices/b1").await;
    assert_eq!((&waits["state"], &waits["deadline"]), (&json!("ReimageRebooting"), &Value::Null), "{waits}");
    assert_eq!(waits["actions"][0]["requests_ahead"], 1, "{waits}");
    // Its try fails, and the next one still holds the resource.
    world.pass_deadline("b0").await;
    world.pass_time_until("b0", "it boots again", |device| device["state"] == "ReimageBooting").await;
    assert_eq!(world.state("b1").await, "ReimageRebooting");
    assert_eq!(world.report("b0", "live-running").await.1["outcome"], "moved");
    world.pass_time_until("b1", "it boots", |device| device["state"] == "ReimageBooting").await;
    let imaging = world.get("/api/v1/resources/imaging").await;
    assert_eq!((names(&imaging["holders"]), &imaging["in_use"]), (vec![json!("b1")], &json!(1)));
    // Activating another definition ends what only the previous one requested.
    let (status, loaded) = load(&world, &changed(&[without_holds]), "").await;
    assert_eq!(status, StatusCode::OK, "{loaded}");
    wait_until("nothing is held", async || world.get("/api/v1/resources/imaging").await["in_use"] == 0).await;
    assert_eq!(
        world.get("/api/v1/resources/imaging").await["capacity"],
        Value::Null,
        "it is declared without limits"
    );
}
