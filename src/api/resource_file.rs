//! Export and import of the settings of all resources.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::context::ApiContext;
use super::definition_text::DefinitionText;
use super::problem::Problem;
use super::query_parameters::QueryParameters;
use crate::boards::{ImportMode, LoadChange, ResourceFile, ResourceImport, format_current, format_settings};
use crate::engine::{ResourceSettings, SettingsChange};

/// The format of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnswerFormat {
    #[default]
    Json,
    Yaml,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatFields {
    #[serde(default)]
    format: AnswerFormat,
}

/// The query of the list of resources.
#[derive(Debug)]
pub(super) struct FormatQuery(AnswerFormat);

impl FormatQuery {
    pub(super) fn is_yaml(&self) -> bool {
        self.0 == AnswerFormat::Yaml
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FormatQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let QueryParameters(FormatFields { format }) =
            QueryParameters::from_request_parts(parts, state).await?;
        Ok(Self(format))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportQuery {
    #[serde(default)]
    dry_run: bool,
}

/// The settings of all resources as a file.
pub(super) async fn export(api: &ApiContext) -> Result<Response, Problem> {
    let text = api.boards.export_resources().await?.to_yaml();
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"))], text).into_response())
}

/// `PUT /api/v1/resources?dry_run=`: makes the settings of all resources those of the file in the body, in one transaction.
/// With `?dry_run=true` it only reports what that would change.
pub(super) async fn import(
    State(api): State<Arc<ApiContext>>,
    QueryParameters(ImportQuery { dry_run }): QueryParameters<ImportQuery>,
    DefinitionText { text, permit: _permit }: DefinitionText,
) -> Result<Json<Value>, Problem> {
    let file = ResourceFile::read(&text).map_err(|faults| {
        let detail = faults.display("resources").to_string();
        let faults: Vec<_> = faults.iter().cloned().collect();
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_resources", detail).with("faults", faults)
    })?;
    let mode = if dry_run { ImportMode::DryRun } else { ImportMode::Apply };
    let ResourceImport { changes, loads, warnings } = api.boards.import_resources(file, mode).await?;
    let mut answer = json!({
        "changes": changes.iter().map(change).collect::<Vec<_>>(),
        "hardware": loads.iter().map(load).collect::<Vec<_>>(),
        "dry_run": dry_run,
    });
    if !warnings.is_empty() {
        answer["warnings"] = warnings.into();
    }
    Ok(Json(answer))
}

/// The settings before and after, as in a file; null for none.
fn change(SettingsChange { name, before, after }: &SettingsChange) -> Value {
    let text = |settings: &ResourceSettings| {
        (*settings != ResourceSettings::default()).then(|| format_settings(settings))
    };
    json!({ "name": name, "before": text(before), "after": text(after) })
}

fn load(LoadChange { hardware, before, after }: &LoadChange) -> Value {
    json!({ "hardware": hardware, "before": before.map(format_current), "after": after.map(format_current) })
}
