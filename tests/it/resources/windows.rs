//! Tests of resources within each other: windows, budgets and containers hold whichever process grants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lifeguard::engine::{self, Face, Faces, SettingsUpdate};
use lifeguard::machine::MachineName;
use lifeguard::store::actions::{ActionId, StartableAction};
use lifeguard::store::claims::{Claim, ResourceLimits};
use lifeguard::store::instances::InstanceId;
use lifeguard::store::queue::{self, LimitOverrides, ResourceSettings};
use lifeguard::store::{DbConnection, InstanceFacts, StoreError, actions};

use super::{TestProcess, at, claim};
use crate::actions::actions_read;
use crate::database::database;

/// A face whose instances add loads by their numbers: odd ones 3 A, even ones 5 A.
struct LoadFace;

fn load_ma(id: InstanceId) -> u32 {
    if id.0 % 2 == 0 { 5000 } else { 3000 }
}

#[async_trait]
impl Face for LoadFace {
    fn name(&self) -> &'static str {
        "loads"
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

    async fn read_loads(
        &self,
        _: &mut DbConnection,
        ids: &[InstanceId],
    ) -> Result<Vec<(InstanceId, u32)>, StoreError> {
        Ok(ids.iter().map(|id| (*id, load_ma(*id))).collect())
    }
}

/// A claim on an unlimited device by an action that adds load.
fn adding(device: &str) -> Vec<Claim> {
    vec![Claim { adds_load: true, limits: ResourceLimits::default(), ..claim(device, 1, 0, 0) }]
}

/// A claim on a device that has one operation at a time.
fn switching(device: &str) -> Vec<Claim> {
    vec![Claim { adds_load: true, ..claim(device, 1, 0, 0) }]
}

fn limits(capacity: Option<u32>, window: u64) -> ResourceSettings {
    ResourceSettings {
        overrides: LimitOverrides { capacity, ..LimitOverrides::default() },
        window_ms: window * 1000,
        ..ResourceSettings::default()
    }
}

fn within(container: &str) -> ResourceSettings {
    ResourceSettings { within: Some(container.to_owned()), ..ResourceSettings::default() }
}

impl TestProcess {
    async fn set(&self, settings: &[(&str, ResourceSettings)]) {
        for (name, settings) in settings {
            let mut tx = self.store.begin().await.unwrap();
            let update = SettingsUpdate::One((*name).to_owned(), settings.clone());
            engine::update_settings(&mut tx, update, at(0)).await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    async fn name(&self, instance: InstanceId) -> String {
        self.decided(instance).await.base.instance.name.clone()
    }

    async fn usage(&self, resource: &str) -> (u32, u32, usize) {
        let mut db = self.store.connect().await.unwrap();
        let state = queue::read_resources(&mut db, &[resource.to_owned()]).await.unwrap().remove(0);
        (state.in_use, state.load_ma, state.cooling.len())
    }
}

fn instances(actions: &[StartableAction]) -> Vec<InstanceId> {
    actions.iter().map(|action| action.instance).collect()
}

#[tokio::test]
async fn a_refused_grant_begins_no_gap() {
    let database = database().await;
    let (one, other) = (TestProcess::new(&database).await, TestProcess::new(&database).await);
    let gap = LimitOverrides { gap_ms: Some(10_000), ..LimitOverrides::default() };
    let circuit = || ResourceSettings { overrides: gap, ..within("site") };
    one.set(&[("site", limits(Some(5), 10)), ("circuit-1", circuit()), ("circuit-2", circuit())]).await;
    one.set(&[("pdu-1", within("circuit-1")), ("pdu-2", within("circuit-2"))]).await;
    for (name, pdu) in [("b1", "pdu-1"), ("b2", "pdu-2")] {
        one.ask(name, adding(pdu), None, at(0)).await;
    }
    let (first, second) = (one.look(at(1)).await, other.look(at(1)).await);
    assert_eq!((first.actions.len(), &first.actions), (2, &second.actions));
    assert_eq!(one.start(&first.actions[..1], at(1)).await.len(), 1);
    // Units of the site were granted since.
    assert_eq!(other.start(&second.actions[1..], at(1)).await, []);
    let again = other.look(at(2)).await;
    assert_eq!(instances(&again.actions), [second.actions[1].instance]);
    assert_eq!(other.start(&again.actions, at(2)).await.len(), 1);
}

#[tokio::test]
async fn a_release_overtakes_no_grant() {
    let database = database().await;
    let (one, other) = (TestProcess::new(&database).await, TestProcess::new(&database).await);
    one.set(&[("circuit", limits(Some(3), 10)), ("pdu", within("circuit"))]).await;
    for name in ["b0", "b1", "b2"] {
        one.ask(name, adding("pdu"), None, at(0)).await;
    }
    let first = one.look(at(1)).await;
    assert_eq!(one.start(&first.actions[..1], at(1)).await.len(), 1);
    let looked = other.look(at(2)).await;
    assert_eq!(looked.actions.len(), 2);
    one.end(first.actions[0].instance, at(3)).await;
    assert_eq!(other.start(&looked.actions, at(3)).await.len(), 2);
    assert_eq!(one.usage("circuit").await, (2, 0, 1));
}

#[tokio::test]
async fn a_grant_waits_for_a_settle_time_that_a_new_definition_introduced() {
    let database = database().await;
    let (one, other) = (TestProcess::new(&database).await, TestProcess::new(&database).await);
    one.ask("b0", vec![claim("pdu", 3, 0, 0)], None, at(0)).await;
    let first = one.look(at(1)).await;
    assert_eq!(one.start(&first.actions, at(1)).await.len(), 1);
    one.ask("b1", vec![claim("pdu", 3, 0, 4)], None, at(2)).await;
    let looked = other.look(at(2)).await;
    assert_eq!(looked.actions.len(), 1);
    one.end(first.actions[0].instance, at(3)).await;
    assert_eq!(other.start(&looked.actions, at(6)).await, []);
    // The clocks of servers differ a little.
    assert_eq!(other.start(&looked.actions, at(2)).await, []);
    assert_eq!(other.start(&looked.actions, at(7)).await.len(), 1);
}

#[tokio::test]
async fn two_concurrent_processes_never_switch_on_more_than_the_capacity_within_a_window() {
    let database = database().await;
    let (one, other) = (TestProcess::new(&database).await, TestProcess::new(&database).await);
    one.set(&[("circuit", limits(Some(2), 10)), ("pdu", within("circuit"))]).await;
    for number in 0..8 {
        one.ask(&format!("b{number}"), adding("pdu"), None, at(0)).await;
    }
    let (first, second) = (one.look(at(1)).await, other.look(at(1)).await);
    assert_eq!((first.actions.len(), &first.actions), (2, &second.actions));
    // The rest of the queue, as started by a process that has read a lower usage. Only the circuit's revision prevents it.
    let mut stale = second.actions.clone();
    for action in &mut stale {
        action.id = ActionId(action.id.0 + 2);
        action.instance = InstanceId(action.instance.0 + 2);
        action.grant.based_on.retain(|basis| basis.resource == "circuit");
        assert_eq!(action.grant.based_on.len(), 1);
    }
    assert_eq!(one.start(&first.actions, at(1)).await.len(), 2);
    assert_eq!(other.start(&stale, at(1)).await, []);
    assert_eq!(one.usage("circuit").await, (2, 0, 0));
    for (end, instance) in [(3, first.actions[0].instance), (5, first.actions[1].instance)] {
        one.end(instance, at(end)).await;
    }
    assert_eq!(one.usage("circuit").await, (0, 0, 2), "released, but not granted on");
    let waits = other.look(at(12)).await;
    assert_eq!((waits.actions.len(), waits.next_at), (0, Some(at(13))));
    let next = other.look(at(13)).await;
    assert_eq!((next.actions.len(), next.next_at), (1, Some(at(15))));
    assert_eq!(other.start(&next.actions, at(13)).await.len(), 1);
    assert_eq!(one.look(at(14)).await.actions.len(), 0);
    assert_eq!(one.look(at(15)).await.actions.len(), 1);
}

#[tokio::test]
async fn a_long_queue_is_not_read_for_what_needs_no_grant_nor_where_a_contained_device_is_released() {
    let database = database().await;
    let process = TestProcess::new(&database).await;
    process.set(&[("circuit", limits(Some(1), 10)), ("pdu-1", within("circuit"))]).await;
    for number in 0..100 {
        process.ask(&format!("b{number}"), adding(["pdu-1", "pdu-2"][number % 2]), None, at(0)).await;
    }
    sqlx::query("VACUUM ANALYZE action").execute(&database.pool().await).await.unwrap();
    let mut db = process.store.connect().await.unwrap();
    sqlx::query("BEGIN").execute(&mut *db).await.unwrap();
    let unqueued = engine::find_unqueued(&mut db, &[]).await.unwrap();
    assert_eq!((unqueued.actions.len(), actions_read(&mut db).await), (0, 0));
    let claimants = async |db: &mut DbConnection, released: &[&str]| {
        let released = released.iter().map(ToString::to_string).collect::<Vec<_>>();
        queue::list_claimants(db, 1000, &[], Some(&released)).await.unwrap().len()
    };
    assert_eq!((claimants(&mut db, &["pdu-1", "circuit"]).await, actions_read(&mut db).await), (0, 0));
    assert_eq!(claimants(&mut db, &["pdu-1", "pdu-2"]).await, 50);
    sqlx::query("ROLLBACK").execute(&mut *db).await.unwrap();
}

#[tokio::test]
async fn circuits_of_a_site_take_turns_whatever_was_queued_first() {
    let database = database().await;
    let process = TestProcess::new(&database).await;
    process.set(&[("site", limits(Some(1), 10)), ("c1", within("site")), ("c2", within("site"))]).await;
    process.set(&[("pdu1", within("c1")), ("pdu2", within("c1")), ("pdu3", within("c2"))]).await;
    let queue = [("b0", "pdu1"), ("b1", "pdu1"), ("b2", "pdu2"), ("b3", "pdu3"), ("b4", "pdu3")];
    for (second, (name, device)) in (0..).zip(queue) {
        process.ask(name, adding(device), None, at(second)).await;
    }
    let mut order = Vec::new();
    for second in [20, 40, 60, 80, 100] {
        let startable = process.look(at(second)).await.actions;
        assert_eq!(process.start(&startable, at(second)).await.len(), 1);
        order.push(process.name(startable[0].instance).await);
        process.end(startable[0].instance, at(second + 1)).await;
    }
    assert_eq!(order, ["b0", "b3", "b1", "b4", "b2"]);
}

#[tokio::test]
async fn a_release_counts_although_the_time_of_another_process_is_ahead() {
    let database = database().await;
    let (one, other) = (TestProcess::new(&database).await, TestProcess::new(&database).await);
    one.set(&[("circuit", limits(Some(1), 10)), ("pdu", within("circuit"))]).await;
    for name in ["b0", "b1"] {
        one.ask(name, adding("pdu"), None, at(0)).await;
    }
    let first = one.look(at(1)).await.actions;
    assert_eq!(one.start(&first, at(1)).await.len(), 1);
    one.end(first[0].instance, at(5)).await;
    // It read its clock before the release, and the state after it.
    let early = other.look(at(4)).await;
    assert_eq!((early.actions.len(), early.next_at), (0, Some(at(14))));
    // The clocks were set back since.
    assert_eq!(other.look(at(-3600)).await.actions.len(), 1);
}

/// What was granted: from when to when, and the load.
#[derive(Debug, Clone, Copy)]
struct GrantedSpan {
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
    load_ma: u32,
}

#[tokio::test]
async fn whichever_process_grants_no_window_has_more_than_the_capacity_or_the_budget() {
    const WINDOW_S: i64 = 7;
    let database = database().await;
    let faces = || Faces::new(vec![Arc::new(LoadFace) as Arc<dyn Face>]);
    let mut processes = Vec::new();
    for _ in 0..2 {
        processes.push(TestProcess { faces: faces(), ..TestProcess::new(&database).await });
    }
    let one = &processes[0];
    let budget = ResourceSettings { budget_ma: Some(11_000), ..limits(Some(3), WINDOW_S.unsigned_abs()) };
    let devices = ["d0", "d1", "d2", "d3"];
    one.set(&[("site", budget), ("circuit", within("site"))]).await;
    for device in devices {
        one.set(&[(device, within("circuit"))]).await;
    }
    for number in 0..24 {
        one.ask(&format!("b{number:02}"), switching(devices[number % 4]), None, at(0)).await;
    }
    let mut spans: BTreeMap<InstanceId, GrantedSpan> = BTreeMap::new();
    let mut now = 1;
    while spans.len() < 24 || spans.values().any(|span| span.to.is_none()) {
        // Both have read before either writes; every third round one of them reads again in between.
        let (first, mut second) = (processes[0].look(at(now)).await, processes[1].look(at(now)).await);
        let mut started = processes[0].start(&first.actions, at(now)).await;
        if now % 3 == 0 {
            second = processes[1].look(at(now)).await;
        }
        started.extend(processes[1].start(&second.actions, at(now)).await);
        for instance in started {
            let span = GrantedSpan { from: at(now), to: None, load_ma: load_ma(instance) };
            assert!(spans.insert(instance, span).is_none(), "{instance:?} is started once");
        }
        now += 1;
        for (number, (instance, span)) in (0..).zip(&mut spans) {
            if span.to.is_none() && (at(now) - span.from).num_seconds() > number % 3 {
                processes[usize::try_from(number % 2).unwrap()].end(*instance, at(now)).await;
                span.to = Some(at(now));
            }
        }
        assert!(now < 500, "{spans:?}");
    }
    // Each may have switched on at any moment between its grant and its end.
    for span in spans.values() {
        let window = chrono::TimeDelta::seconds(WINDOW_S);
        let overlapping: Vec<_> = spans
            .values()
            .filter(|other| other.from <= span.from && other.to.is_some_and(|to| to + window > span.from))
            .collect();
        let load: u32 = overlapping.iter().map(|span| span.load_ma).sum();
        assert!(overlapping.len() <= 3 && load <= 11_000, "{span:?}: {overlapping:?}");
    }
    // The limits are used: never a longer pause than they demand.
    let last = spans.values().map(|span| span.from).max().unwrap();
    assert!(last < at(1) + chrono::TimeDelta::seconds(24 / 2 * (WINDOW_S + 4)), "{last}");
}

#[tokio::test]
async fn what_contains_a_device_is_that_of_the_moment_of_the_grant() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    one.set(&[("left", limits(Some(1), 0)), ("right", limits(Some(1), 0)), ("d", within("left"))]).await;
    one.ask("b0", switching("d"), None, at(0)).await;
    let stale = one.look(at(1)).await;
    one.set(&[("d", within("right"))]).await;
    assert_eq!(one.start(&stale.actions, at(1)).await, [], "it was decided for the other circuit");
    let looked = one.look(at(1)).await;
    assert_eq!(one.start(&looked.actions, at(1)).await.len(), 1);
    assert_eq!((one.usage("left").await.0, one.usage("right").await.0), (0, 1));
    // It takes with it what it holds; what is granted from now on counts at the new circuit.
    one.set(&[("d", within("left"))]).await;
    one.end(looked.actions[0].instance, at(2)).await;
    assert_eq!((one.usage("left").await.0, one.usage("right").await.0), (0, 0));
}

#[tokio::test]
async fn units_of_a_killed_server_cool_from_its_end_on() {
    let database = database().await;
    let (one, other) = (TestProcess::new(&database).await, TestProcess::new(&database).await);
    one.set(&[("circuit", limits(Some(1), 10)), ("d0", within("circuit")), ("d1", within("circuit"))]).await;
    one.ask("b0", switching("d0"), None, at(0)).await;
    one.ask("b1", switching("d1"), None, at(0)).await;
    let looked = one.look(at(1)).await;
    assert_eq!(one.start(&looked.actions, at(1)).await.len(), 1);
    let mut tx = other.store.begin().await.unwrap();
    actions::hand_back(&mut tx, &[one.worker], None, at(20)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(other.usage("circuit").await, (0, 0, 1));
    assert_eq!(other.look(at(29)).await.actions, []);
    let looked = other.look(at(30)).await;
    assert_eq!(other.name(looked.actions[0].instance).await, "b0", "it goes on first");
}

#[tokio::test]
async fn a_release_is_not_granted_on_past_earlier_requests_at_other_devices() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    one.set(&[("circuit", limits(Some(1), 0)), ("d0", within("circuit")), ("d1", within("circuit"))]).await;
    one.ask("running", switching("d0"), None, at(0)).await;
    let looked = one.look(at(1)).await;
    one.start(&looked.actions, at(1)).await;
    one.ask("earlier", switching("d1"), None, at(2)).await;
    // An action that adds no load waits behind one that does, at the same device.
    one.ask("later", switching("d0"), None, at(3)).await;
    one.ask("read", vec![claim("d0", 1, 0, 0)], None, at(4)).await;
    one.end(looked.actions[0].instance, at(5)).await;
    assert_eq!(one.holders("circuit").await, Vec::<String>::new());
    let looked = one.look(at(5)).await;
    let [next] = &looked.actions[..] else { panic!("{looked:?}") };
    assert_eq!(one.name(next.instance).await, "earlier");
    // A circuit that is out of use keeps nothing from others.
    one.start(&looked.actions, at(5)).await;
    one.set(&[("circuit", limits(Some(0), 0))]).await;
    let looked = one.look(at(6)).await;
    let [next] = &looked.actions[..] else { panic!("{looked:?}") };
    assert_eq!(one.name(next.instance).await, "read");
}

#[tokio::test]
async fn one_queue_does_not_hide_the_others_however_long_it_is() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    one.set(&[("left", limits(Some(1), 0)), ("right", limits(Some(1), 0))]).await;
    one.set(&[("l", within("left")), ("r", within("right"))]).await;
    for number in 0..150 {
        one.ask(&format!("l{number:03}"), adding("l"), None, at(0)).await;
    }
    one.ask("r", adding("r"), None, at(1)).await;
    let looked = one.look(at(2)).await;
    let started = one.start(&looked.actions, at(2)).await;
    assert_eq!(instances(&looked.actions).len(), 2);
    assert_eq!(one.name(started[1]).await, "r");
}

#[tokio::test]
async fn a_single_request_on_a_circuit_is_not_behind_a_bulk_of_five_hundred() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    let devices = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"];
    one.set(&[("circuit", limits(Some(2), 10))]).await;
    for device in devices {
        one.set(&[(device, within("circuit"))]).await;
    }
    for number in 0..500 {
        let turn = at(0) + Duration::from_mins(u64::try_from(number).unwrap());
        one.ask(&format!("bulk{number:03}"), switching(devices[number % 8]), Some(turn), at(0)).await;
    }
    one.ask("single", switching("d4"), None, at(90)).await;
    let mut rounds = Vec::new();
    for now in [100, 113, 126] {
        let looked = one.look(at(now)).await;
        let mut names = Vec::new();
        for instance in one.start(&looked.actions, at(now)).await {
            names.push(one.name(instance).await);
            one.end(instance, at(now + 3)).await;
        }
        names.sort();
        rounds.push(names);
    }
    assert_eq!(rounds, [["bulk000", "bulk001"], ["bulk002", "single"], ["bulk003", "bulk004"]]);
}

#[tokio::test]
async fn settings_that_contain_themselves_are_refused_and_unused_resources_are_forgotten() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    one.set(&[("site", limits(None, 0)), ("circuit", within("site"))]).await;
    let update = async |update| {
        let mut tx = one.store.begin().await.unwrap();
        let now = at(0) + Duration::from_mins(2);
        let changes =
            engine::update_settings(&mut tx, update, now).await.map_err(|error| error.to_string())?;
        tx.commit().await.unwrap();
        Ok::<usize, String>(changes.len())
    };
    let cycle = update(SettingsUpdate::One("site".to_owned(), within("circuit"))).await.unwrap_err();
    assert!(cycle.contains("contains itself"), "{cycle}");
    let contains = update(SettingsUpdate::Remove("site".to_owned())).await.unwrap_err();
    assert!(contains.contains("`circuit` is within `site`"), "{contains}");
    assert_eq!(update(SettingsUpdate::All(BTreeMap::new())).await, Ok(1), "the site has nothing set");
    let mut db = one.store.reader().await.unwrap();
    let left = lifeguard::store::resources::list_names(&mut db).await.unwrap();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn a_state_holds_the_resource_of_the_innermost_container_that_has_one() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    one.set(&[
        ("lab", ResourceSettings::default()),
        ("circuit", within("lab")),
        ("imaging@lab", limits(Some(1), 0)),
    ])
    .await;
    one.set(&[("d0", within("circuit")), ("d1", within("circuit"))]).await;
    let imaging = Claim {
        hold: Some("imaging".to_owned()),
        limits: ResourceLimits::default(),
        ..claim("imaging", 1, 0, 0)
    };
    for (name, device) in [("b0", "d0"), ("b1", "d1"), ("b2", "elsewhere")] {
        one.ask(name, [vec![imaging.clone()], switching(device)].concat(), None, at(0)).await;
    }
    let looked = one.look(at(1)).await;
    assert_eq!(one.start(&looked.actions, at(1)).await.len(), 2);
    let first = looked.actions[0].instance;
    assert_eq!(
        (one.holders("imaging@lab").await, one.holders("imaging").await),
        (vec!["b0".into()], vec!["b2".into()])
    );
    one.end(first, at(2)).await;
    assert_eq!(one.look(at(3)).await.actions, [], "its state holds the unit");
    one.leave(first, "imaging", at(4)).await;
    let looked = one.look(at(4)).await;
    assert_eq!(one.start(&looked.actions, at(4)).await.len(), 1);
    assert_eq!(one.holders("imaging@lab").await, ["b1"]);
}

#[tokio::test]
async fn of_more_waiting_actions_than_are_read_the_first_of_each_queue_is_among_them() {
    let database = database().await;
    let one = TestProcess::new(&database).await;
    one.set(&[("site", limits(Some(50), 10)), ("long", within("site")), ("short", within("site"))]).await;
    one.set(&[("long-pdu", within("long")), ("short-pdu", within("short"))]).await;
    for number in 0..20 {
        one.ask(&format!("a{number}"), adding("long-pdu"), None, at(number)).await;
    }
    one.ask("b", adding("short-pdu"), None, at(20)).await;
    one.ask("c", adding("alone"), None, at(21)).await;
    let mut db = one.store.reader().await.unwrap();
    let read = queue::list_claimants(&mut db, 4, &[], None).await.unwrap();
    let mut names = Vec::new();
    for claimant in read {
        names.push(one.name(claimant.instance).await);
    }
    assert_eq!(names, ["a0", "a1", "b", "c"]);
}
