//! A new, migrated database for each test, on one PostgreSQL for the whole test process.
//!
//! The server is the private PostgreSQL without durability, in a [`GuardedDir`], which is removed with the test
//! process. It runs on a thread with its own runtime, because a test's runtime ends with the test. With
//! `LIFEGUARD_TEST_DATABASE_URL` that server is used instead; its user must be allowed to create databases, and a
//! killed test process then leaves its databases `lifeguard_test_…` behind.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, mpsc};

use lifeguard::store::MIGRATOR;
use lifeguard::store::private::{CommitDurability, PrivatePostgres, PrivatePostgresOptions};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::sync::{mpsc as requests, oneshot};
use tokio::task::JoinSet;

use crate::guarded_dir::GuardedDir;

static SERVER: LazyLock<TestPostgres> = LazyLock::new(TestPostgres::start);

/// A test's own database, dropped with this value.
pub(crate) struct TestDatabase {
    name: String,
}

/// Creates a database with all migrations applied.
pub(crate) async fn database() -> TestDatabase {
    copy_of(|server| server.template.clone()).await
}

/// Creates an empty database.
pub(crate) async fn empty_database() -> TestDatabase {
    copy_of(|_| "template0".to_owned()).await
}

async fn copy_of(template: impl FnOnce(&TestPostgres) -> String) -> TestDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    // The first one waits for the server to start, and must not block its runtime meanwhile.
    let server = tokio::task::spawn_blocking(|| &*SERVER).await.unwrap();
    let name = name_of(NUMBER.fetch_add(1, Ordering::Relaxed));
    let (done, made) = oneshot::channel();
    let template = template(server);
    let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
    server.requests.send(DatabaseRequest { sql, done: Box::new(|| _ = done.send(())) }).unwrap();
    made.await.expect("the server's thread made the database");
    TestDatabase { name }
}

impl TestDatabase {
    /// How to connect to it.
    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        SERVER.admin.clone().database(&self.name)
    }

    /// The same as a URL, for another process.
    pub(crate) fn url(&self) -> String {
        self.connect_options().to_url_lossy().to_string()
    }

    /// A pool of connections to it.
    pub(crate) async fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(10).connect_with(self.connect_options()).await.unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (done, dropped) = mpsc::channel();
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let request = DatabaseRequest { sql, done: Box::new(move || _ = done.send(())) };
        // Without the server's thread there is no server, and no database to drop. It is another thread, so that
        // waiting here blocks no test.
        if SERVER.requests.send(request).is_ok() {
            let _ = dropped.recv();
        }
    }
}

/// A statement for the server's thread, and the channel for its completion.
struct DatabaseRequest {
    sql: String,
    done: Box<dyn FnOnce() + Send>,
}

/// The server of this test process.
struct TestPostgres {
    admin: PgConnectOptions,
    template: String,
    requests: requests::UnboundedSender<DatabaseRequest>,
}

impl TestPostgres {
    /// Starts the server's thread and waits until the template exists.
    fn start() -> Self {
        let (ready, is_ready) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(&ready));
        });
        is_ready.recv().expect("the test server starts")
    }
}

/// Runs the server and executes requests until the process ends.
async fn serve(ready: &mpsc::Sender<TestPostgres>) {
    // Both live as long as the thread; the guardian removes them with the process.
    let _own;
    let admin = if let Some(url) = std::env::var_os("LIFEGUARD_TEST_DATABASE_URL") {
        url.to_str().unwrap().parse::<PgConnectOptions>().unwrap()
    } else {
        let dir = GuardedDir::new();
        let settings = vec![("max_connections".to_owned(), "500".to_owned())];
        let options = PrivatePostgresOptions {
            durability: CommitDurability::Fast,
            settings,
            ..PrivatePostgresOptions::new(dir.path())
        };
        let postgres = PrivatePostgres::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        let options = postgres.connect_options().database("postgres");
        _own = (postgres, dir);
        options
    };
    let template = format!("lifeguard_test_{}_template", std::process::id());
    let pool = PgPoolOptions::new().max_connections(4).connect_with(admin.clone()).await.unwrap();
    // Another process with this ID may have been killed on a server that is not our own.
    run(&pool, format!("DROP DATABASE IF EXISTS {template} WITH (FORCE)")).await;
    run(&pool, format!("CREATE DATABASE {template}")).await;
    let mut connection = PgConnection::connect_with(&admin.clone().database(&template)).await.unwrap();
    MIGRATOR.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let (requests, mut requested) = requests::unbounded_channel::<DatabaseRequest>();
    ready.send(TestPostgres { admin, template, requests }).unwrap();
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            Some(DatabaseRequest { sql, done }) = requested.recv() => {
                let pool = pool.clone();
                running.spawn(async move {
                    run(&pool, sql).await;
                    done();
                });
            }
            Some(ended) = running.join_next() => ended.unwrap(),
        }
    }
}

/// Runs a statement that administers databases.
async fn run(pool: &PgPool, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(pool).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// The name of a database of this process.
fn name_of(number: u32) -> String {
    format!("lifeguard_test_{}_{number}", std::process::id())
}

#[tokio::test]
async fn each_test_has_its_own_temporary_database() {
    let other = database().await;
    let one = database().await;
    let pool = one.pool().await;
    sqlx::query("CREATE TABLE mark (n int)").execute(&pool).await.unwrap();
    let url = other.url().parse::<PgConnectOptions>().unwrap();
    let mut connection = PgConnection::connect_with(&url).await.unwrap();
    let mark = sqlx::query_scalar::<_, Option<String>>("SELECT to_regclass('mark')::text");
    assert_eq!(mark.fetch_one(&mut connection).await.unwrap(), None);

    // Dropped under an open connection.
    let name = one.name.clone();
    drop(one);

    let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM pg_database WHERE datname = $1");
    assert_eq!(left.bind(name).fetch_one(&mut connection).await.unwrap(), 0);
}
