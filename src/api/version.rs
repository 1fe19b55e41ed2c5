//! Versions of the program, the API, the schema and the database.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;

use super::context::{ApiContext, ApiRoutes};
use crate::store::MIGRATOR;

/// The version of the API, with which its paths begin.
const API_VERSION: &str = "v1";

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![("/api/v1/version", get(show))]
}

/// The versions.
#[derive(Debug, Serialize)]
struct VersionView {
    /// That of the program.
    version: &'static str,
    api: &'static str,
    /// The newest migration of this program, which its database has.
    schema: Option<i64>,
    /// That of the PostgreSQL server; nothing while the database is unavailable.
    postgresql: Option<String>,
}

/// `GET /api/v1/version`: the versions of this program, its interface, its schema and its database server.
async fn show(State(api): State<Arc<ApiContext>>) -> Json<VersionView> {
    // Known from the start of the connection, without a statement.
    let number = api.engine.store().reader().await.ok().and_then(|db| db.server_version_num());
    Json(VersionView {
        version: env!("CARGO_PKG_VERSION"),
        api: API_VERSION,
        schema: MIGRATOR.iter().map(|migration| migration.version).max(),
        postgresql: number.map(|number| format!("{}.{}", number / 10_000, number % 10_000)),
    })
}
