//! A face unknown to the program: coffee machines with their own facts, actions and resource, and linked orders. All of
//! it is in this file; `docs/adding-a-face.md` explains it step by step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lifeguard::actions::{
    ActionDescription, ActionRegistry, ActionSettings, Evidence, Facts, Job, NoSettings, ResourceClaim,
    SettingField, TypedActionKind, UnfinishedAction, span,
};
use lifeguard::clock::ManualClock;
use lifeguard::engine::replay::{ReplayRequest, replay};
use lifeguard::engine::{
    self, ChangedFacts, DefinitionOrigin, Engine, EngineError, Face, Faces, FactChange, LimitOverrides,
    LinkTarget, LinkTargets, LoadedDefinition, NewFacts, ResourceSettings, ResourceView, Retention,
    SettingsUpdate, Submission,
};
use lifeguard::machine::{
    self, Cause, EventName, EventSource, FactKind, FactObject, Instance, LinkName, MachineName, Outcome,
    SenderName, SettingFault, Vocabulary,
};
use lifeguard::model::Models;
use lifeguard::store::history::{self, HistoryContent};
use lifeguard::store::instances::{InstanceId, InstanceKey, LockedInstance};
use lifeguard::store::{DbConnection, InstanceFacts, SharedFacts, Store, StoreError, Tx};
use lifeguard::worker::Worker;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::database::{TestDatabase, database};
use crate::world::{World, wait_until};

const MAKER: &str = "\
machine: maker
initial: Idle
links: { order: { machine: order, about: whose coffee it makes } }
resources: { circuit: { capacity: 8, about: what is on one fuse } }
events:
  ordered: { from: { machine: order }, args: [by, visit], about: somebody wants coffee }
  rq-brew: { from: operator, about: make coffee for nobody in particular }
  rq-stop: { from: operator, about: stop brewing }
  rq-mend: { from: operator, about: it works again }
  jammed: { from: maker, about: its grinder does not turn }
states:
  Idle:
    about: it waits for orders
    resting: true
    on:
      ordered:
        - { if: maker.beans < 10, refuse: there are too few beans }
        - { target: Brewing, do: { link: { order: { name: $args.by, visit: $args.visit } } } }
      rq-brew:
        - { if: maker.beans < 10, refuse: there are too few beans }
        - Brewing
      served-refused: { do: { set: { left_over: $args.reason } } }
  Brewing:
    about: it makes coffee
    hold: { circuit: 1 }
    invoke: [{ action: brew, with: { cups: 2 } }]
    timeout: { after: 10m, target: FailedBrewing }
    on:
      brew-ok: { target: Idle, do: [{ raise: { event: served, to: order, visit: linked } }, { unlink: order }] }
      brew-failed: FailedBrewing
      jammed: FailedBrewing
      rq-stop: FailedBrewing
  FailedBrewing: { about: somebody has to look after it, on: { rq-mend: Idle } }
";

const ORDER: &str = "\
machine: order
initial: Waiting
links: { maker: { machine: maker, about: who makes it } }
events:
  served: { from: { machine: maker }, about: the coffee is there }
  rq-cancel: { from: operator, about: nobody wants it any more }
states:
  Waiting:
    about: the coffee is being made
    resting: true
    entry: { raise: { event: ordered, to: maker, args: { by: $instance.name, visit: $instance.visit } } }
    on:
      ordered-refused: { target: Refused, do: { set: { why: $args.reason } } }
      served: Served
      rq-cancel: Cancelled
  Served: { about: the coffee is there, final: true }
  Refused: { about: no machine makes it, final: true }
  Cancelled: { about: nobody wants it, final: true }
";

// --- The vocabulary of definitions. ---

const FACE: &str = "maker";
const SENDER: SenderName = SenderName::of("maker");

fn vocabulary(kinds: &Arc<ActionRegistry>) -> Vocabulary {
    let facts = FactObject::new("maker", &[("beans", FactKind::Number)]);
    Vocabulary::new(Arc::<ActionRegistry>::clone(kinds))
        .with_sender(SENDER)
        .unwrap()
        .with_facts(facts)
        .unwrap()
}

// --- The facts of coffee machines, in their own table. ---

const TABLE: &str = "CREATE TABLE maker (
    instance_id bigint PRIMARY KEY REFERENCES instance ON DELETE CASCADE,
    beans       bigint NOT NULL,
    grinders    text[] NOT NULL
)";

#[derive(Debug, Clone, sqlx::FromRow)]
struct Maker {
    /// In grams.
    beans: i64,
    /// The grinders available to it.
    grinders: Vec<String>,
}

impl InstanceFacts for Maker {
    fn face(&self) -> &'static str {
        FACE
    }

    fn for_guards(&self, _: &Instance, _: &SharedFacts) -> Map<String, Value> {
        Map::from_iter([("beans".to_owned(), json!(self.beans))])
    }

    fn for_actions(&self, _: &Instance, _: &SharedFacts) -> Map<String, Value> {
        Map::from_iter([("grinders".to_owned(), json!(self.grinders))])
    }
}

struct MakerFace;

#[async_trait]
impl Face for MakerFace {
    fn name(&self) -> &'static str {
        FACE
    }

    fn is_face_of(&self, machine: &MachineName) -> bool {
        machine.as_str() == "maker"
    }

    async fn read_facts(
        &self,
        db: &mut DbConnection,
        ids: &[InstanceId],
    ) -> Result<Vec<(InstanceId, Arc<dyn InstanceFacts>)>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let sql = "SELECT instance_id, beans, grinders FROM maker WHERE instance_id = ANY ($1)";
        let rows: Vec<(i64, i64, Vec<String>)> = sqlx::query_as(sql).bind(ids).fetch_all(db).await?;
        let facts = |(id, beans, grinders)| {
            (InstanceId(id), Arc::new(Maker { beans, grinders }) as Arc<dyn InstanceFacts>)
        };
        Ok(rows.into_iter().map(facts).collect())
    }
}

#[async_trait]
impl NewFacts for Maker {
    async fn insert(
        &self,
        tx: &mut Tx,
        id: InstanceId,
        _: DateTime<Utc>,
    ) -> Result<Arc<dyn InstanceFacts>, EngineError> {
        let insert = sqlx::query("INSERT INTO maker VALUES ($1, $2, $3)");
        let insert = insert.bind(id.0).bind(self.beans).bind(&self.grinders);
        insert.execute(&mut **tx).await.map_err(StoreError::from)?;
        Ok(Arc::new(self.clone()))
    }
}

/// Beans were filled in.
struct Beans(i64);

#[async_trait]
impl FactChange for Beans {
    async fn apply(&self, tx: &mut Tx, locked: &LockedInstance) -> Result<Option<ChangedFacts>, EngineError> {
        let update = "UPDATE maker SET beans = $2 WHERE instance_id = $1 AND beans <> $2";
        let update = sqlx::query(update).bind(locked.id.0).bind(self.0);
        let done = update.execute(&mut **tx).await.map_err(StoreError::from)?;
        let changed = Map::from_iter([("beans".to_owned(), json!(self.0))]);
        Ok((done.rows_affected() == 1).then_some(ChangedFacts { changed, claims: None }))
    }
}

// --- The actions. ---

/// The room of the machines.
#[derive(Default)]
struct CafeRoom {
    /// The machines whose water is hot.
    hot: BTreeSet<String>,
    /// The machines that were drained.
    drained: BTreeSet<String>,
}

type SharedRoom = Arc<watch::Sender<CafeRoom>>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BrewSettings {
    cups: u32,
    #[serde(with = "span")]
    steep: Duration,
}

impl Default for BrewSettings {
    fn default() -> Self {
        Self { cups: 1, steep: Duration::from_mins(4) }
    }
}

impl ActionSettings for BrewSettings {
    const FIELDS: &'static [SettingField] = &[
        SettingField { name: "cups", form: "a whole number from 1 to 12", about: "how many cups are made" },
        SettingField { name: "steep", form: "a time such as `4m`", about: "how long it steeps" },
    ];

    fn check(&self) -> Result<(), SettingFault> {
        match self.cups {
            1..=12 => Ok(()),
            cups => Err(SettingFault {
                key: Some("cups".to_owned()),
                message: format!("`cups`: {cups}; it is 1 to 12"),
            }),
        }
    }
}

struct Brew(SharedRoom);

#[async_trait]
impl TypedActionKind for Brew {
    type Settings = BrewSettings;

    fn description(&self) -> ActionDescription {
        ActionDescription {
            compensation: Some("drain"),
            facts: &["grinders"],
            ..ActionDescription::new("brew", "Grinds beans and makes coffee.", Duration::from_mins(5))
        }
    }

    /// Any grinder available to the machine; several machines may share one.
    fn claims(&self, _: &BrewSettings, facts: &Facts) -> Vec<ResourceClaim> {
        let grinders = facts.get("grinders").and_then(Value::as_array).into_iter().flatten();
        let grinders = grinders.filter_map(|name| Some(format!("grinder/{}", name.as_str()?)));
        let grinders: Vec<String> = grinders.collect();
        if grinders.is_empty() { Vec::new() } else { vec![ResourceClaim::one_of(grinders)] }
    }

    async fn run(
        &self,
        job: &Job,
        settings: &BrewSettings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction> {
        let (name, mut room) = (&job.subject.name, self.0.subscribe());
        tokio::select! {
            _ = room.wait_for(|room| room.hot.contains(name)) => {
                Ok(Evidence::from_iter([("cups".to_owned(), json!(settings.cups))]))
            }
            () = cancel.cancelled() => Err(UnfinishedAction::failed("it was stopped", Evidence::new())),
        }
    }
}

/// The compensation of a brew that started and did not finish.
struct Drain(SharedRoom);

#[async_trait]
impl TypedActionKind for Drain {
    type Settings = NoSettings;

    fn description(&self) -> ActionDescription {
        ActionDescription::new("drain", "Lets the water out.", Duration::from_mins(1))
    }

    async fn run(
        &self,
        job: &Job,
        _: &NoSettings,
        _: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction> {
        self.0.send_modify(|room| _ = room.drained.insert(job.subject.name.clone()));
        Ok(Evidence::new())
    }
}

// --- A server with coffee machines and nothing else. ---

struct Cafe {
    engine: Engine,
    vocabulary: Arc<Vocabulary>,
    room: SharedRoom,
    clock: ManualClock,
    database: Arc<TestDatabase>,
    driver: JoinSet<()>,
}

impl Cafe {
    async fn open() -> Self {
        let database = Arc::new(database().await);
        sqlx::query(TABLE).execute(&database.pool().await).await.unwrap();
        Self::start(database, ManualClock::new(World::noon()), SharedRoom::default()).await
    }

    /// Another server on the same database, in the same room.
    async fn beside(&self) -> Self {
        Self::start(Arc::clone(&self.database), self.clock.clone(), Arc::clone(&self.room)).await
    }

    async fn start(database: Arc<TestDatabase>, clock: ManualClock, room: SharedRoom) -> Self {
        let store = Store::open(database.connect_options()).await.unwrap();
        let kinds = ActionRegistry::default().with(Brew(Arc::clone(&room))).with(Drain(Arc::clone(&room)));
        let kinds = Arc::new(kinds);
        let vocabulary = Arc::new(vocabulary(&kinds));
        let loaded = [MAKER, ORDER].map(|source| LoadedDefinition {
            source: source.to_owned(),
            definition: Arc::new(machine::load(source, &vocabulary).unwrap()),
            provenance: DefinitionOrigin::File,
        });
        let parts = engine::EngineParts {
            store,
            clock: Arc::new(clock.clone()),
            worker: Worker::new(kinds, Arc::new(clock.clone())),
            models: Models::default(),
            vocabulary: Arc::clone(&vocabulary),
            faces: Faces::new(vec![Arc::new(MakerFace)]),
        };
        let options = engine::EngineOptions {
            retention: Retention::For(Duration::from_hours(24)),
            event_timeout: Engine::EVENT_TIMEOUT,
        };
        let engine = Engine::new(parts, loaded.into(), options).await.unwrap();
        let mut driver = JoinSet::new();
        let driven = engine.clone();
        driver.spawn(async move { driven.run(CancellationToken::new()).await });
        Self { engine, vocabulary, room, clock, database, driver }
    }

    /// Creates a machine with beans.
    async fn buy(&self, name: &str, beans: i64, grinders: &[&str]) {
        let maker = Maker { beans, grinders: grinders.iter().map(|name| (*name).to_owned()).collect() };
        self.engine.create(&named("maker"), name, Some(&maker), None).await.unwrap();
    }

    /// Orders coffee from a machine; returns the order's state.
    async fn order(&self, name: &str, of: &str) -> String {
        let maker = LinkTarget { name: of.to_owned(), visit: None };
        let links = LinkTargets::from([(LinkName::new("maker").unwrap(), maker)]);
        let ordered = self.engine.create_linked((&named("order"), name), &links, None, None).await.unwrap();
        ordered.instance.state.to_string()
    }

    async fn fill(&self, maker: &str, beans: i64) {
        self.engine.change_facts(&target("maker", maker), &Beans(beans), None).await.unwrap();
    }

    async fn send(&self, (machine, name): (&str, &str), event: &str, source: EventSource) -> Outcome {
        let name = target(machine, name);
        let cause =
            Cause::Event { name: EventName::new(event).unwrap(), source, args: Map::new(), visit: None };
        self.engine.submit(Submission::new(name, cause)).await.unwrap().outcome
    }

    async fn request(&self, machine: &str, name: &str, event: &str) -> Outcome {
        self.send((machine, name), event, EventSource::Operator).await
    }

    fn heat(&self, maker: &str) {
        self.room.send_modify(|room| _ = room.hot.insert(maker.to_owned()));
    }

    async fn instance(&self, machine: &str, name: &str) -> (InstanceId, Arc<Instance>) {
        let seen = self.engine.find(&named(machine), name).await.unwrap().unwrap();
        (seen.id, seen.instance)
    }

    async fn state(&self, machine: &str, name: &str) -> String {
        self.instance(machine, name).await.1.state.to_string()
    }

    async fn until(&self, machine: &str, name: &str, state: &str) {
        wait_until(&format!("{name} is {state}"), async || self.state(machine, name).await == state).await;
    }

    /// The history of an instance, oldest first, one line per entry.
    async fn history(&self, machine: &str, name: &str) -> Vec<String> {
        let id = self.instance(machine, name).await.0;
        let mut db = self.engine.store().reader().await.unwrap();
        let entries = history::list(&mut db, id, None, 100).await.unwrap();
        let line = |entry: &history::HistoryEntry| {
            let came = match &entry.content {
                HistoryContent::Stimulus(stimulus) => match &stimulus.cause {
                    Cause::Event { name, .. } => name.to_string(),
                    Cause::Began { .. } => "began".to_owned(),
                    Cause::Created { .. } => "created".to_owned(),
                    Cause::Suspend { .. }
                    | Cause::Retry { .. }
                    | Cause::Deadline { .. }
                    | Cause::Force { .. } => {
                        panic!("unexpected stimulus: {stimulus:?}")
                    }
                },
                HistoryContent::Note(note) => note.clone(),
                HistoryContent::Unreadable(why) => panic!("{why}"),
            };
            let evidence = entry.evidence.as_ref().map(|all| Value::from(all.clone()).to_string());
            let more = [entry.reason.clone(), evidence].into_iter().flatten().map(|one| format!(" {one}"));
            format!("{came}: {} → {}{}", entry.from, entry.to, more.collect::<String>())
        };
        entries.iter().rev().map(line).collect()
    }

    async fn resource(&self, name: &str) -> ResourceView {
        self.engine.resources(Some(name)).await.unwrap().remove(0)
    }

    /// The holders and the queue of a resource.
    async fn at(&self, resource: &str) -> (Vec<String>, Vec<String>) {
        let ResourceView { holders, queue, .. } = self.resource(resource).await;
        (holders.into_iter().map(|one| one.name).collect(), queue.into_iter().map(|one| one.name).collect())
    }

    async fn assert_replay_is_exact(&self) {
        for machine in ["maker", "order"] {
            let wanted =
                ReplayRequest { machine: named(machine), name: None, since: None, what_if_definition: None };
            let replayed = replay(self.engine.store(), &self.vocabulary, &wanted).await.unwrap();
            assert!(replayed.instances > 0, "{machine}: {replayed:?}");
            assert_eq!((replayed.difference, replayed.unreadable), (None, Vec::new()));
        }
    }
}

fn named(machine: &str) -> MachineName {
    MachineName::new(machine).unwrap()
}

fn target(machine: &str, name: &str) -> InstanceKey {
    InstanceKey::Name(named(machine), name.to_owned())
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn wrong_settings_of_the_action_are_refused_where_they_are_written() {
    let room = SharedRoom::default();
    let vocabulary =
        vocabulary(&Arc::new(ActionRegistry::default().with(Brew(Arc::clone(&room))).with(Drain(room))));
    let refused = |with: &str| {
        let text = MAKER.replace("{ cups: 2 }", with);
        machine::load(&text, &vocabulary).unwrap_err().display("maker.yaml").to_string()
    };
    for (with, at, message) in [
        ("{ cups: 13 }", "26:38", "`cups`: 13; it is 1 to 12"),
        ("{ cups: 2, steep: 4 }", "26:47", "it is a time such as `4m`"),
        ("{ cup: 2 }", "26:38", "did you mean `cups`?"),
    ] {
        let refused = refused(with);
        let begins = format!("maker.yaml:{at}: error[settings]: ");
        assert!(refused.starts_with(&begins) && refused.contains(message), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_reads_facts_of_the_face_and_follows_their_changes() {
    let cafe = Cafe::open().await;
    cafe.buy("m1", 5, &["left"]).await;
    let refused = cafe.request("maker", "m1", "rq-brew").await;
    assert!(format!("{refused:?}").contains("too few beans"), "{refused:?}");
    assert_eq!(cafe.order("o1", "m1").await, "Refused");
    cafe.fill("m1", 50).await;
    assert_eq!(cafe.order("o2", "m1").await, "Waiting");
    cafe.until("maker", "m1", "Brewing").await;
    let history = cafe.history("maker", "m1").await;
    assert_eq!(
        history[..5],
        [
            "created: Idle → Idle",
            "rq-brew: Idle → Idle there are too few beans",
            "ordered: Idle → Idle there are too few beans",
            r#"changed: Idle → Idle {"beans":50}"#,
            "ordered: Idle → Brewing",
        ]
    );
    // A report of the machine itself.
    cafe.send(("maker", "m1"), "jammed", EventSource::Face(SENDER)).await;
    assert_eq!(cafe.state("maker", "m1").await, "FailedBrewing");
    cafe.request("maker", "m1", "rq-mend").await;
    // The engine has cached its previous state by now.
    cafe.fill("m1", 0).await;
    let refused = cafe.request("maker", "m1", "rq-brew").await;
    assert!(format!("{refused:?}").contains("too few beans"), "{refused:?}");
    cafe.assert_replay_is_exact().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_that_share_a_grinder_are_served_one_after_the_other() {
    let cafe = Cafe::open().await;
    for (name, grinders) in [("m1", &["left"][..]), ("m2", &["left"]), ("m3", &["left", "right"])] {
        cafe.buy(name, 50, grinders).await;
        cafe.request("maker", name, "rq-brew").await;
    }
    wait_until("two grind", async || {
        cafe.at("grinder/left").await == (names(&["m1"]), names(&["m2"]))
            && cafe.at("grinder/right").await == (names(&["m3"]), Vec::new())
    })
    .await;
    // The chosen grinder is in history; without a choice it is omitted.
    let began = |history: Vec<String>| history.into_iter().find(|line| line.starts_with("began"));
    let granted = r#"began: Brewing → Brewing {"action":"brew","granted":["grinder/right"]}"#;
    assert_eq!(began(cafe.history("maker", "m3").await).as_deref(), Some(granted));
    let granted = r#"began: Brewing → Brewing {"action":"brew"}"#;
    assert_eq!(began(cafe.history("maker", "m1").await).as_deref(), Some(granted));
    assert_eq!(began(cafe.history("maker", "m2").await), None);
    cafe.heat("m2");
    cafe.heat("m1");
    cafe.until("maker", "m2", "Idle").await;
    let order = "SELECT i.name FROM history h JOIN instance i USING (instance_id)
                  WHERE i.name IN ('m1', 'm2') AND (h.kind = 'began' OR h.event = 'brew-ok') ORDER BY history_id";
    let order: Vec<String> = sqlx::query_scalar(order).fetch_all(&cafe.database.pool().await).await.unwrap();
    assert_eq!(order, ["m1", "m1", "m2", "m2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_is_served_in_the_transaction_in_which_the_machine_ends_or_neither_moves() {
    let cafe = Cafe::open().await;
    let pool = cafe.database.pool().await;
    cafe.buy("m1", 50, &["left"]).await;
    assert_eq!(cafe.order("o1", "m1").await, "Waiting");
    // A sequence number stays used even if the transaction is rolled back.
    let fault = "CREATE SEQUENCE tries;
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM nextval('tries'); RAISE 'the order cannot be written'; END $$;
        CREATE TRIGGER fail BEFORE UPDATE ON instance FOR EACH ROW
            WHEN (NEW.machine = 'order' AND NEW.state = 'Served') EXECUTE FUNCTION fail()";
    sqlx::raw_sql(fault).execute(&pool).await.unwrap();
    cafe.heat("m1");
    wait_until("it was tried", async || {
        sqlx::query_scalar::<_, bool>("SELECT is_called FROM tries").fetch_one(&pool).await.unwrap()
    })
    .await;
    assert_eq!(cafe.state("maker", "m1").await, "Brewing");
    assert_eq!(cafe.history("maker", "m1").await.len(), 3);
    assert_eq!(cafe.state("order", "o1").await, "Waiting");
    assert_eq!(cafe.history("order", "o1").await.len(), 1);
    sqlx::query("DROP TRIGGER fail ON instance").execute(&pool).await.unwrap();
    cafe.until("order", "o1", "Served").await;
    assert_eq!(cafe.state("maker", "m1").await, "Idle");
    let by = "SELECT count(*), count(DISTINCT xmin::text) FROM history WHERE event IN ('brew-ok', 'served')";
    assert_eq!(sqlx::query_as::<_, (i64, i64)>(by).fetch_one(&pool).await.unwrap(), (2, 1));
    cafe.assert_replay_is_exact().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_with_a_cancelled_order_moves_on_and_gets_the_refusal() {
    let cafe = Cafe::open().await;
    cafe.buy("m1", 50, &["left"]).await;
    cafe.order("o1", "m1").await;
    cafe.request("order", "o1", "rq-cancel").await;
    cafe.heat("m1");
    cafe.until("maker", "m1", "Idle").await;
    let history = cafe.history("maker", "m1").await;
    let stale = "stale: it speaks of visit 1, this is visit 2";
    assert_eq!(
        history[3..],
        [r#"brew-ok: Brewing → Idle {"cups":2}"#.to_owned(), "served-refused: Idle → Idle".to_owned()]
    );
    assert_eq!(
        cafe.instance("maker", "m1").await.1.data,
        Map::from_iter([("left_over".to_owned(), json!(stale))])
    );
    assert_eq!(cafe.state("order", "o1").await, "Cancelled");
    cafe.assert_replay_is_exact().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_work_of_a_killed_server_is_drained_by_another() {
    let killed = Cafe::open().await;
    killed.buy("m1", 50, &["left"]).await;
    killed.request("maker", "m1", "rq-brew").await;
    wait_until("it brews", async || killed.at("grinder/left").await.0 == names(&["m1"])).await;
    let cafe = killed.beside().await;
    drop(killed.driver);
    cafe.request("maker", "m1", "rq-stop").await;
    wait_until("it is drained", async || {
        cafe.history("maker", "m1").await.iter().any(|line| line.starts_with("drain-ok"))
    })
    .await;
    assert_eq!(cafe.room.borrow().drained, BTreeSet::from(["m1".to_owned()]));
    assert_eq!(cafe.at("grinder/left").await, (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_holds_the_circuit_and_releases_it_when_it_is_left() {
    let cafe = Cafe::open().await;
    let limit = LimitOverrides { capacity: Some(1), ..LimitOverrides::default() };
    let settings = ResourceSettings { overrides: limit, ..ResourceSettings::default() };
    let update = SettingsUpdate::One("circuit".to_owned(), settings);
    cafe.engine.update_resources(update).await.unwrap();
    for (name, grinder) in [("m1", "left"), ("m2", "right")] {
        cafe.buy(name, 50, &[grinder]).await;
        cafe.request("maker", name, "rq-brew").await;
    }
    wait_until("one brews", async || cafe.at("circuit").await == (names(&["m1"]), names(&["m2"]))).await;
    assert_eq!(cafe.instance("maker", "m2").await.1.deadline_at, None, "its time does not run yet");
    cafe.request("maker", "m1", "rq-stop").await;
    wait_until("the other brews", async || cafe.at("circuit").await == (names(&["m2"]), Vec::new())).await;
    cafe.request("maker", "m2", "rq-stop").await;
    wait_until("nobody holds it or waits for it", async || {
        cafe.at("circuit").await == (Vec::new(), Vec::new())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_generic_routes_show_machines_and_accept_events() {
    let cafe = Cafe::open().await;
    let (server, _serving) = api::serve(api::api_over(cafe.engine.clone())).await;
    let call = async |line: &str, body: &str| {
        let answer = api::send_to(server, line, &[], body.to_owned()).await;
        assert!(answer.status < 300, "{line}: {}", answer.text);
        answer.json()
    };
    let loaded = call("PUT /api/v1/machines/maker", &MAKER.replace("10m", "5m")).await;
    assert_eq!((&loaded["definition"], &loaded["active"]), (&json!(2), &json!(true)), "{loaded}");
    cafe.buy("m1", 50, &["left"]).await;
    let order = call("PUT /api/v1/machines/order/o1", r#"{"links": {"maker": "m1"}}"#).await;
    assert_eq!(order["state"], "Waiting", "{order}");
    let maker = call("GET /api/v1/machines/maker/m1", "").await;
    let link = json!({ "order": { "machine": "order", "name": "o1", "visit": 1 } });
    assert_eq!((&maker["state"], &maker["links"]), (&json!("Brewing"), &link));
    let answer = call("POST /api/v1/machines/maker/m1/events/jammed", "").await;
    assert_eq!((&answer["outcome"], &answer["to"]), (&json!("moved"), &json!("FailedBrewing")));
    let why = call("GET /api/v1/machines/maker/m1/why", "").await;
    assert!(why["sentences"].to_string().contains("it reported jammed"), "{why}");
    let replayed = call("POST /api/v1/machines/maker/replay", "").await;
    assert_eq!((&replayed["instances"], &replayed["difference"]), (&json!(1), &Value::Null), "{replayed}");
}
