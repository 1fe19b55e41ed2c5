//! `/api/v1/version`.

use lifeguard::store::MIGRATOR;
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_versions_are_those_of_the_program_and_of_its_database_server() {
    let world = World::new().await;
    let version = world.get("/api/v1/version").await;
    let server: String = sqlx::query_scalar("SELECT current_setting('server_version')")
        .fetch_one(&mut *world.server.engine.store().reader().await.unwrap())
        .await
        .unwrap();
    let newest = MIGRATOR.iter().last().unwrap().version;
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&version["api"], &version["schema"]), (&json!("v1"), &json!(newest)));
    // A distribution may append its build to the number.
    let number = version["postgresql"].as_str().unwrap();
    assert!(server.split(' ').next() == Some(number), "{server}: {number}");
}
