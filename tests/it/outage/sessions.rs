//! Tests of connection settings, and of servers without a connection or without a writable one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lifeguard::store::{ConnectOptions, ConnectionBudget, DatabaseUrl, Store, StoreError};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use super::cluster::TestCluster;
use super::setting;
use crate::database::{TestDatabase, database};
use crate::guarded_dir::GuardedDir;
use crate::world::{World, await_within_timeout, wait_until};

/// Changes the test's database in a way that affects only new connections.
async fn alter(database: &TestDatabase, pool: &PgPool, change: &str) {
    let name = database.connect_options().get_database().unwrap().to_owned();
    let sql = format!("ALTER DATABASE {name} {change}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

/// Terminates all other connections of the database.
async fn end_connections(pool: &PgPool) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'lifeguard'";
    sqlx::query(sql).execute(pool).await.unwrap();
}

#[tokio::test]
async fn acknowledged_changes_are_durable_and_bounded_under_any_database_settings() {
    let database = database().await;
    let pool = database.pool().await;
    for (theirs, ours) in [
        ("off", "on"),
        ("local", "on"),
        ("remote_write", "on"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        alter(&database, &pool, &format!("SET synchronous_commit = {theirs}")).await;
        alter(&database, &pool, "SET lock_timeout = 0").await;
        alter(&database, &pool, "SET statement_timeout = 0").await;
        alter(&database, &pool, "SET default_transaction_isolation = 'serializable'").await;
        let store = Store::open(database.connect_options()).await.unwrap();
        assert_eq!(setting(&store, "synchronous_commit").await, ours, "{theirs}");
        assert_eq!(setting(&store, "lock_timeout").await, "2s");
        assert_eq!(setting(&store, "statement_timeout").await, "20s");
        assert_eq!(setting(&store, "transaction_isolation").await, "read committed");
        store.close().await;
    }
}

#[tokio::test]
async fn a_connection_that_rejects_its_settings_is_refused() {
    let database = database().await;
    let pool = database.pool().await;
    // It claims to have applied a setting that it has not.
    let sql = "CREATE SCHEMA odd;
               CREATE FUNCTION odd.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS 'SELECT $2'";
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    alter(&database, &pool, "SET search_path = odd, pg_catalog, public").await;
    let refused = Store::open(database.connect_options()).await.unwrap_err();
    assert_eq!(refused.cause().map(|cause| cause.code()), Some("setting"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporarily_read_only_database_is_used_again_at_once() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    world.register("b1", json!({})).await;
    alter(&world.database, &pool, "SET default_transaction_read_only = on").await;
    end_connections(&pool).await;
    let readyz = async || world.call(Method::GET, "/readyz", None).await;
    wait_until("it is known to be read-only", async || readyz().await.1["cause"] == "read_only").await;
    let (status, answer) = world.report("b1", "image-running").await;
    assert_eq!(
        (status, &answer["cause"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("read_only")),
        "{answer}"
    );

    let mut admin = PgConnection::connect_with(&world.database.connect_options()).await.unwrap();
    let name = world.database.connect_options().get_database().unwrap().to_owned();
    let sql = format!("BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    wait_until("it is ready", async || readyz().await.0 == StatusCode::OK).await;
    // Events, transactions and actions alike.
    world.register("b2", json!({})).await;
    world.force("b1", "LockedOut").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_becomes_read_only_is_detected() {
    let dir = GuardedDir::new();
    let cluster = TestCluster::start(&dir.path().join("one"), "").await;
    let world = World::at_url(&cluster.url()).await.unwrap();
    world.register("b1", json!({})).await;
    let pool = cluster.pool("postgres").await;
    let readyz = async || world.call(Method::GET, "/readyz", None).await;
    for (value, status) in [("on", StatusCode::SERVICE_UNAVAILABLE), ("off", StatusCode::OK)] {
        let sql = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
        sqlx::raw_sql("SELECT pg_reload_conf()").execute(&pool).await.unwrap();
        wait_until("the server knows", async || {
            let (found, answer) = readyz().await;
            found == status && (status == StatusCode::OK || answer["cause"] == "read_only")
        })
        .await;
    }
    world.force("b1", "LockedOut").await;
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_reported_only_while_it_lasts() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    world.register("b1", json!({})).await;
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$";
    sqlx::raw_sql(full).execute(&pool).await.unwrap();
    // For each of an event's tables that cannot grow.
    for (table, from, to) in [("change", "New", "LockedOut"), ("history", "LockedOut", "Maintenance")] {
        let trigger =
            format!("CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()");
        sqlx::raw_sql(AssertSqlSafe(trigger)).execute(&pool).await.unwrap();
        let force = json!({ "from": from, "to": to, "reason": "a test" });
        let forced = world.call(Method::POST, "/api/v1/devices/b1/force", Some(force)).await;
        assert_eq!((forced.0, &forced.1["cause"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("disk_full")));
        let (status, answer) = world.call(Method::GET, "/readyz", None).await;
        let problem = (status, &answer["cause"]);
        assert_eq!(problem, (StatusCode::SERVICE_UNAVAILABLE, &json!("disk_full")), "{table}: {answer}");
        assert_eq!(world.state("b1").await, from, "reads still work");

        let sql = format!("DROP TRIGGER full_disk ON {table}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
        wait_until("it is ready", async || {
            world.call(Method::GET, "/readyz", None).await.0 == StatusCode::OK
        })
        .await;
        world.force("b1", to).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_terminated_by_an_operator_are_not_an_outage() {
    let world = World::new().await;
    let pool = world.database.pool().await;
    world.register("b1", json!({})).await;
    for _ in 0..3 {
        end_connections(&pool).await;
        let (status, answer) = world.call(Method::GET, "/readyz", None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    // An event may still use a terminated connection.
    let force = json!({ "from": "New", "to": "LockedOut", "reason": "a test" });
    let path = "/api/v1/devices/b1/force";
    wait_until("an event is taken", async || {
        world.call(Method::POST, path, Some(force.clone())).await.0 == StatusCode::OK
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_the_connections_that_events_need() {
    let dir = GuardedDir::new();
    let cluster = TestCluster::start(&dir.path().join("one"), "-c max_connections=20").await;
    let world = World::at_url(&cluster.url()).await.unwrap();
    world.register("b1", json!({})).await;
    // Superusers may use the reserved connections too.
    let pool = cluster.pool("lifeguard").await;
    let mut taken = Vec::new();
    while let Ok(connection) = pool.acquire().await {
        taken.push(connection);
        if taken.len() == 20 {
            break;
        }
        let used = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
        let used: i64 = sqlx::query_scalar(used).fetch_one(&mut **taken.last_mut().unwrap()).await.unwrap();
        if used >= 20 {
            break;
        }
    }
    let (status, answer) = world.call(Method::GET, "/readyz", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    for to in ["LockedOut", "Maintenance", "LockedOut"] {
        world.force("b1", to).await;
    }
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_too_few_connections_reports_it_and_serves_once_it_has_enough() {
    let dir = GuardedDir::new();
    let cluster = TestCluster::start(&dir.path().join("one"), "").await;
    let pool = cluster.pool("lifeguard").await;
    // A user who is not a superuser and owns the database.
    sqlx::raw_sql("CREATE ROLE few LOGIN; ALTER DATABASE lifeguard OWNER TO few")
        .execute(&pool)
        .await
        .unwrap();
    let world = World::at_url(&cluster.url().replace("lifeguard@", "few@")).await.unwrap();
    world.register("b1", json!({})).await;
    sqlx::raw_sql("ALTER ROLE few CONNECTION LIMIT 1").execute(&pool).await.unwrap();
    end_connections(&pool).await;
    let readyz = async || world.call(Method::GET, "/readyz", None).await;
    wait_until("it reports what is missing", async || {
        let (status, answer) = readyz().await;
        status == StatusCode::SERVICE_UNAVAILABLE && answer["cause"] == "too_many_connections"
    })
    .await;
    sqlx::raw_sql("ALTER ROLE few CONNECTION LIMIT -1").execute(&pool).await.unwrap();
    wait_until("it is ready", async || readyz().await.0 == StatusCode::OK).await;
    world.force("b1", "LockedOut").await;
    world.server.stop().await.unwrap();
}

/// A cluster whose user `few` has a connection limit set by the test.
struct LimitedDatabase {
    cluster: TestCluster,
    pool: PgPool,
    _dir: GuardedDir,
}

impl LimitedDatabase {
    async fn start() -> Self {
        let dir = GuardedDir::new();
        let cluster = TestCluster::start(&dir.path().join("one"), "").await;
        let pool = cluster.pool("lifeguard").await;
        // A user who is not a superuser and owns the database.
        let few = "CREATE ROLE few LOGIN; ALTER DATABASE lifeguard OWNER TO few";
        sqlx::raw_sql(few).execute(&pool).await.unwrap();
        Self { cluster, pool, _dir: dir }
    }

    fn options(&self) -> ConnectOptions {
        let url: DatabaseUrl = self.cluster.url().replace("lifeguard@", "few@").parse().unwrap();
        url.parse().unwrap()
    }

    async fn limit(&self, connections: i32) {
        let sql = format!("ALTER ROLE few CONNECTION LIMIT {connections}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }

    /// The server's processes for the connections of `few`.
    async fn processes(&self) -> BTreeSet<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE usename = 'few'";
        sqlx::query_scalar::<_, i32>(sql).fetch_all(&self.pool).await.unwrap().into_iter().collect()
    }

    /// Waits until there are only this many. Four are: two that write events, one for the health check, one
    /// for reading.
    async fn until_there_are(&self, connections: usize) -> BTreeSet<i32> {
        wait_until("others have ended", async || self.processes().await.len() == connections).await;
        self.processes().await
    }

    /// How often `few` was refused a connection.
    fn refusals(&self) -> usize {
        let log = fs_err::read_to_string(self.cluster.run_dir().join("log")).unwrap();
        log.matches("too many connections for role").count()
    }
}

fn error_word(error: &StoreError) -> &'static str {
    error.cause().map_or("none", |cause| cause.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_free_connection_a_request_waits_a_few_seconds_for_the_next() {
    let scarce = LimitedDatabase::start().await;
    let store = Store::open(scarce.options()).await.unwrap();
    scarce.until_there_are(4).await;
    scarce.limit(5).await;
    let mut one = store.snapshot().await.unwrap();
    one.take_time(Duration::from_mins(1)).await.unwrap();
    let started = Instant::now();
    let refused = await_within_timeout("an end", store.snapshot()).await.unwrap_err();
    assert_eq!(error_word(&refused), "too_many_connections");
    assert!((4..30).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());

    drop(one);
    // On a busy machine the few seconds may pass before; then it is repeated.
    wait_until("the other has the one that becomes free", async || {
        let Ok(one) = store.snapshot().await else { return false };
        let before = scarce.refusals();
        let (other, ()) = tokio::join!(store.snapshot(), async {
            wait_until("the other is refused", async || scarce.refusals() > before).await;
            drop(one);
        });
        other.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_is_replaced_if_a_new_one_is_available() {
    let scarce = LimitedDatabase::start().await;
    let options = scarce.options().with_lifetime(Duration::from_millis(1));
    let store = Store::open(options).await.unwrap();
    let first = scarce.until_there_are(4).await;
    scarce.limit(4).await;
    let before = scarce.refusals();
    wait_until("another is tried for in vain", async || {
        store.check().await.unwrap();
        scarce.refusals() > before
    })
    .await;
    assert_eq!(scarce.processes().await, first);
    store.connect().await.unwrap();
    scarce.limit(-1).await;
    wait_until("those that write events are others", async || {
        store.check().await.unwrap();
        first.difference(&scarce.processes().await).count() == 2
    })
    .await;
    // The replaced ones are closed.
    scarce.until_there_are(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_connections_and_slow_statements_are_reported_differently() {
    let database = database().await;
    let store = Store::open(database.connect_options()).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(store.snapshot().await.unwrap());
    }
    let started = Instant::now();
    let refused = await_within_timeout("an end", store.snapshot()).await.unwrap_err();
    assert_eq!(error_word(&refused), "busy");
    assert!((4..30).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());

    // Longer than the statement timeout.
    assert_eq!(Store::MAX_STATEMENT_TIME, Duration::from_secs(25));
    let endless = store.within(Duration::from_millis(50), std::future::pending::<Result<(), StoreError>>());
    assert_eq!(error_word(&await_within_timeout("an end", endless).await.unwrap_err()), "silent");
}

#[test]
fn a_server_has_no_more_connections_than_it_may_and_four_snapshots_where_it_may_have_twenty_five() {
    for most in 8..=1000 {
        let ConnectionBudget { writers, readers, snapshots } = ConnectionBudget::of(most);
        assert_eq!(ConnectionBudget::of(most).total(), most);
        assert!(writers > 0 && readers > 0 && (1..=4).contains(&snapshots), "{most}");
    }
    assert_eq!((ConnectionBudget::of(10).snapshots, ConnectionBudget::of(25).snapshots), (1, 4));
    assert_eq!(
        (ConnectionBudget::default(), ConnectionBudget::of(7)),
        (ConnectionBudget::of(25), ConnectionBudget::of(8))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writable_host_of_several_is_used_also_after_a_failover() {
    let dir = GuardedDir::new();
    let one = TestCluster::start(&dir.path().join("one"), "").await;
    let two = one.standby(&dir.path().join("two"));
    let hosts = format!("{},{}", two.run_dir().display(), one.run_dir().display());
    let url =
        format!("postgresql://lifeguard@localhost/lifeguard?host={hosts}&target_session_attrs=read-write");
    let world = Box::pin(await_within_timeout("the server's start", World::at_url(&url))).await.unwrap();
    world.register("b1", json!({})).await;
    let primary = one.pool("lifeguard").await;
    let caught_up =
        "SELECT coalesce(bool_and(replay_lsn >= pg_current_wal_lsn()), false) FROM pg_stat_replication";
    wait_until("the standby has it", async || {
        sqlx::query_scalar(caught_up).fetch_one(&primary).await.unwrap()
    })
    .await;
    drop(primary);
    one.crash();
    two.promote();
    wait_until("the server is ready", async || {
        world.call(Method::GET, "/readyz", None).await.0 == StatusCode::OK
    })
    .await;
    world.force("b1", "LockedOut").await;
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_ignored_connection_parameter_prevents_the_start() {
    let refused = World::at_url("postgresql://lifeguard:sesam@localhost/lifeguard?gssencmode=disable").await;
    let refused = refused.err().expect("it does not start");
    assert!(refused.contains("--database-url") && refused.contains("`gssencmode`"), "{refused}");
    assert!(!refused.contains("sesam"), "{refused}");
}
