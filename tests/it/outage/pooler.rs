//! Tests with PgBouncer in front of the database.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use lifeguard::store::DatabaseUrl;
use lifeguard::store::Store;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpStream;

use super::cluster::{TestCluster, as_postgres, own_dir};
use super::setting;
use crate::foreign_programs::tool;
use crate::guarded_dir::GuardedDir;
use crate::world::{World, wait_until};

/// A running PgBouncer, stopped on drop.
struct Pooler {
    child: Child,
    port: u16,
}

impl Pooler {
    async fn start(program: &Path, dir: &Path, cluster: &TestCluster, pool_mode: &str) -> Self {
        own_dir(dir);
        // Free at this moment; it is not assigned to another process soon.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "[databases]\n* = host={} user=lifeguard\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\nmax_client_conn = 200\ndefault_pool_size = 60\n\
             ignore_startup_parameters = extra_float_digits, options\nlogfile = {}\n",
            cluster.run_dir().display(),
            dir.join("log").display(),
        );
        let file = dir.join("pgbouncer.ini");
        fs_err::write(&file, config).unwrap();
        let mut command = as_postgres(program);
        let child = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the pooler listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok())
            .await;
        Self { child, port }
    }

    fn url(&self) -> String {
        format!("postgresql://lifeguard@127.0.0.1:{}/lifeguard?sslmode=disable", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_are_durable_behind_a_pooler_in_session_mode() {
    let Some(program) = tool("pgbouncer", "pgbouncer") else { return };
    let dir = GuardedDir::new();
    let cluster = TestCluster::start(&dir.path().join("one"), "").await;
    let pool = cluster.pool("lifeguard").await;
    sqlx::query("ALTER ROLE lifeguard SET synchronous_commit = off").execute(&pool).await.unwrap();
    let pooler = Pooler::start(&program, &dir.path().join("pooler"), &cluster, "session").await;
    let url: DatabaseUrl = pooler.url().parse().unwrap();
    let store = Store::open(url.parse().unwrap()).await.unwrap();
    assert_eq!(setting(&store, "synchronous_commit").await, "on");
    assert_eq!(setting(&store, "lock_timeout").await, "2s");
    store.close().await;

    let world = World::at_url(&pooler.url()).await.unwrap();
    world.register("b1", json!({})).await;
    world.force("b1", "LockedOut").await;
    // The database crashes and restarts behind the pooler.
    cluster.crash();
    cluster.launch();
    wait_until("the server is ready", async || {
        world.call(Method::GET, "/readyz", None).await.0 == StatusCode::OK
    })
    .await;
    assert_eq!(world.state("b1").await, "LockedOut");
    world.force("b1", "Maintenance").await;
    world.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_is_refused_with_the_reason() {
    let Some(program) = tool("pgbouncer", "pgbouncer") else { return };
    let dir = GuardedDir::new();
    let cluster = TestCluster::start(&dir.path().join("one"), "").await;
    let pooler = Pooler::start(&program, &dir.path().join("pooler"), &cluster, "transaction").await;
    let url: DatabaseUrl = pooler.url().parse().unwrap();
    let refused = Store::open(url.parse().unwrap()).await.expect_err("it cannot work");
    let cause = refused.cause().expect("a cause").to_string();
    assert!(cause.contains("pool_mode = session"), "{cause}");
}
