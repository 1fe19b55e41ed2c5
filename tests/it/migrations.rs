//! Tests of migrations with rows of earlier releases, and of earlier releases running on the new schema.

use lifeguard::engine::replay::{ReplayRequest, replay};
use lifeguard::machine::MachineName;
use lifeguard::store::history::{self, HistoryContent};
use lifeguard::store::instances::InstanceId;
use lifeguard::store::{MIGRATOR, Store};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::database::empty_database;
use crate::replay::{assert_history_gives_instances, boards};
use crate::world::World;

/// The last migration before compensations were stored in the rows of actions, and the one that added them.
const BEFORE_COMPENSATION: i64 = 20_261_130_070_000;
const COMPENSATION: i64 = 20_261_201_030_000;

#[tokio::test]
async fn actions_of_the_previous_release_get_their_compensation_while_it_still_runs() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    MIGRATOR.run_to(BEFORE_COMPENSATION, &mut connection).await.unwrap();
    let rows = include_str!("../../fixtures/migrations/20261201030000_compensation.sql");
    sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    MIGRATOR.run_to(COMPENSATION, &mut connection).await.unwrap();
    let written_by_the_release_before =
        "INSERT INTO action (instance_id, visit, seq, action, settings, status, asked_at)
        VALUES (2, 3, 1, 'power-cycle', '{}', 'WAITING', '2026-11-30T09:00:00Z'),
               (2, 3, 2, 'poll', '{}', 'WAITING', '2026-11-30T09:00:00Z')";
    sqlx::raw_sql(written_by_the_release_before).execute(&mut connection).await.unwrap();
    let read = "SELECT action, rescue, compensation FROM action ORDER BY action_id";
    let read: Vec<(String, bool, Option<String>)> =
        sqlx::query_as(read).fetch_all(&mut connection).await.unwrap();
    let read: Vec<_> =
        read.iter().map(|(action, rescue, left)| (&**action, *rescue, left.as_deref())).collect();
    let (cycle, poll) = (("power-cycle", false, Some("power-on")), ("poll", false, None));
    assert_eq!(read, [cycle, poll, ("power-on", true, None), cycle, cycle, poll]);
}

/// The last migration before history was partitioned, for its sample rows.
const BEFORE_PARTITIONS: i64 = 20_261_122_000_003;

#[tokio::test]
async fn facts_in_history_of_all_releases_are_read() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    MIGRATOR.run_to(BEFORE_PARTITIONS, &mut connection).await.unwrap();
    let rows = include_str!("../../fixtures/migrations/20261124000001_history.sql");
    sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    let store = Store::open(database.connect_options()).await.unwrap();
    let written = "INSERT INTO history (at, instance_id, visit, kind, from_state, event, source, device, facts) VALUES
        ('2026-12-01T00:00:00Z', 1, 8, 'event', 'Ready', 'rq-reimage', 'operator', '{\"images\": [\"before\"]}', NULL),
        ('2026-12-01T00:00:01Z', 1, 9, 'event', 'Ready', 'rq-reimage', 'operator', NULL, '{\"images\": [\"now\"]}')";
    sqlx::raw_sql(written).execute(&mut connection).await.unwrap();
    let entries = history::list_all(&mut store.reader().await.unwrap(), InstanceId(1)).await.unwrap();
    let facts = entries.into_iter().filter_map(|entry| match entry.content {
        HistoryContent::Stimulus(stimulus) => {
            Some(Value::Object(stimulus.facts)).filter(|facts| *facts != json!({}))
        }
        HistoryContent::Note(_) | HistoryContent::Unreadable(_) => None,
    });
    let expected = ["linux", "before", "now"].map(|image| json!({ "images": [image] }));
    assert_eq!(facts.collect::<Vec<_>>(), expected);
}

/// The last migration of the release that wrote the sample farm.
const OF_FARM: i64 = 20_261_130_070_000;

#[tokio::test]
async fn the_history_of_the_previous_release_replays_to_its_instances() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    MIGRATOR.run_to(OF_FARM, &mut connection).await.unwrap();
    let farm = include_str!("../../fixtures/migrations/20261130070000_farm.sql");
    sqlx::raw_sql(farm).execute(&mut connection).await.unwrap();
    let store = Store::open(database.connect_options()).await.unwrap();
    assert_history_gives_instances(&store).await;
    let wanted = ReplayRequest {
        machine: MachineName::new("door").unwrap(),
        name: None,
        since: None,
        what_if_definition: None,
    };
    let door = replay(&store, lifeguard::boards::vocabulary(), &wanted).await.unwrap();
    assert_eq!((door.instances, door.forgotten, door.difference), (1, 0, None));
    let states: Vec<(String, String)> = boards(&store)
        .await
        .into_iter()
        .map(|board| (board.instance.name.clone(), board.instance.state.to_string()))
        .collect();
    let locked = ("board-001".to_owned(), "LockedOut".to_owned());
    assert!(states.len() == 6 && states.contains(&locked), "{states:?}");
}

/// The last migration before there were incidents.
const BEFORE_INCIDENTS: i64 = 20_261_202_010_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_release_before_incidents_is_served_and_replays_unchanged() {
    let database = empty_database().await;
    let mut connection = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    MIGRATOR.run_to(OF_FARM, &mut connection).await.unwrap();
    let farm = include_str!("../../fixtures/migrations/20261130070000_farm.sql");
    sqlx::raw_sql(farm).execute(&mut connection).await.unwrap();
    MIGRATOR.run_to(BEFORE_INCIDENTS, &mut connection).await.unwrap();
    let all = "SELECT to_jsonb(ARRAY[(SELECT jsonb_agg(to_jsonb(i) ORDER BY i.instance_id) FROM instance i),
                                     (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.action_id) FROM action a),
                                     (SELECT jsonb_agg(to_jsonb(h) ORDER BY h.history_id) FROM history h)])";
    let before: Value = sqlx::query_scalar(all).fetch_one(&mut connection).await.unwrap();
    MIGRATOR.run(&mut connection).await.unwrap();
    let after: Value = sqlx::query_scalar(all).fetch_one(&mut connection).await.unwrap();
    assert_eq!(before, after);

    let store = Store::open(database.connect_options()).await.unwrap();
    assert_history_gives_instances(&store).await;
    let states = async || {
        let boards = boards(&store).await.into_iter();
        boards.map(|board| (board.instance.name.clone(), board.instance.state.clone())).collect::<Vec<_>>()
    };
    let stored = states().await;
    let world = World::at_url(&database.url()).await.unwrap();
    assert_eq!(states().await, stored);
    assert_eq!(world.get("/api/v1/incidents?all=true").await, json!({ "incidents": [] }));
    let (status, machine) = world.call(reqwest::Method::GET, "/api/v1/machines/incident", None).await;
    assert_eq!(status, 200, "{machine}");
    assert_history_gives_instances(&store).await;
}

/// The last migration before activations got their present name.
const BEFORE_PLAIN_NAMES: i64 = 20_261_201_070_000;

#[tokio::test]
async fn the_previous_release_reads_adds_and_locks_activations_by_their_earlier_name() {
    let database = empty_database().await;
    let mut present = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    MIGRATOR.run_to(OF_FARM, &mut present).await.unwrap();
    let farm = include_str!("../../fixtures/migrations/20261130070000_farm.sql");
    sqlx::raw_sql(farm).execute(&mut present).await.unwrap();
    MIGRATOR.run_to(BEFORE_PLAIN_NAMES, &mut present).await.unwrap();
    let grants = "GRANT SELECT, INSERT, UPDATE ON adoption TO pg_monitor; GRANT SELECT ON adoption TO PUBLIC";
    sqlx::raw_sql(grants).execute(&mut present).await.unwrap();
    // Statements of that release, prepared before the migration as by a server that runs during an upgrade.
    let mut earlier = PgConnection::connect_with(&database.connect_options()).await.unwrap();
    let read_last = "SELECT max(adoption_id) FROM adoption";
    let check_last = "SELECT NOT EXISTS (SELECT FROM adoption WHERE adoption_id > $1 FOR KEY SHARE)";
    let last: i64 = sqlx::query_scalar(read_last).fetch_one(&mut earlier).await.unwrap();
    let is_last: bool = sqlx::query_scalar(check_last).bind(last).fetch_one(&mut earlier).await.unwrap();
    assert!(is_last);

    MIGRATOR.run(&mut present).await.unwrap();
    let is_last: bool = sqlx::query_scalar(check_last).bind(last).fetch_one(&mut earlier).await.unwrap();
    assert!(is_last);
    let rights = "SELECT bool_and(has_table_privilege('pg_monitor', 'adoption', privilege))
                         AND has_table_privilege('public', 'adoption', 'SELECT')
                         AND NOT has_table_privilege('public', 'adoption', 'INSERT')
                    FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) privilege";
    assert!(sqlx::query_scalar::<_, bool>(rights).fetch_one(&mut present).await.unwrap());

    // Changes of deadlines, which servers of both releases write, read and trim.
    let write = "INSERT INTO rearmed (xact, origin, instances, visits, deadlines) VALUES (7, NULL, '{1}', '{2}', '{now}')";
    sqlx::query(write).execute(&mut earlier).await.unwrap();
    let read = "SELECT count(*) FROM deadline_change WHERE xact = 7";
    assert_eq!(sqlx::query_scalar::<_, i64>(read).fetch_one(&mut present).await.unwrap(), 1);
    let trim = "DELETE FROM rearmed WHERE xact <= (SELECT xact FROM rearmed ORDER BY xact DESC LIMIT 1)";
    assert!(sqlx::query(trim).execute(&mut earlier).await.unwrap().rows_affected() >= 1);

    // Neither release activates a definition while the other writes decisions.
    let both = [
        ("LOCK TABLE activation IN ROW SHARE MODE", "LOCK TABLE adoption IN EXCLUSIVE MODE NOWAIT"),
        (
            "SELECT FROM activation WHERE activation_id > 99999 FOR KEY SHARE",
            "LOCK TABLE adoption IN EXCLUSIVE MODE NOWAIT",
        ),
        ("LOCK TABLE activation IN EXCLUSIVE MODE", "LOCK TABLE adoption IN ROW SHARE MODE NOWAIT"),
        ("LOCK TABLE adoption IN ROW SHARE MODE", "LOCK TABLE activation IN EXCLUSIVE MODE NOWAIT"),
        (
            "SELECT FROM adoption WHERE adoption_id > 99999 FOR KEY SHARE",
            "LOCK TABLE activation IN EXCLUSIVE MODE NOWAIT",
        ),
        ("LOCK TABLE adoption IN EXCLUSIVE MODE", "LOCK TABLE activation IN ROW SHARE MODE NOWAIT"),
    ];
    for (first, second) in both {
        let mut writing = present.begin().await.unwrap();
        sqlx::query(first).execute(&mut *writing).await.unwrap();
        let mut waiting = earlier.begin().await.unwrap();
        let refused = sqlx::query(second).execute(&mut *waiting).await.unwrap_err();
        let code = refused.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
        assert_eq!(code, "55P03", "{first}; {second}: {refused}");
        waiting.rollback().await.unwrap();
        writing.rollback().await.unwrap();
    }

    let add = "INSERT INTO adoption (machine, number, at, origin, sender, first_history)
               SELECT machine, number, at, 'loaded', 'operator', first_history FROM adoption ORDER BY adoption_id LIMIT 1
               RETURNING adoption_id, machine";
    let (added, machine): (i64, String) = sqlx::query_as(add).fetch_one(&mut earlier).await.unwrap();
    let active = lifeguard::store::definitions::read_active(&mut present).await.unwrap();
    assert!(added > last);
    assert_eq!(active.activation.0, added);
    let loaded = active.definitions.iter().find(|definition| definition.origin == "loaded");
    assert_eq!(loaded.map(|definition| definition.machine.as_str()), Some(machine.as_str()));
}
