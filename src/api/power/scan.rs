//! Scans of devices for their outlets.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{self, PendingAnswer};
use crate::actions::{DeviceUrlError, ScanUrl, is_power_inverted, power_outlet};
use crate::api::client::{ClientKey, RequestSender};
use crate::api::context::{ApiContext, ApiRoutes};
use crate::api::json_body::JsonBody;
use crate::api::problem::Problem;
use crate::boards::BoardOutlet;
use crate::engine::EngineError;
use crate::outlets::OutletRequest;

/// The routes of this file.
pub(in crate::api) fn routes() -> ApiRoutes {
    vec![("/api/v1/power/scan", post(scan))]
}

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewScan {
    url: String,
    /// How long to wait for the end.
    timeout_s: Option<u32>,
}

/// `POST /api/v1/power/scan`: reads which outlets a device has, and answers with their power URLs and their boards.
async fn scan(
    State(api): State<Arc<ApiContext>>,
    RequestSender(sender): RequestSender,
    client: ClientKey,
    JsonBody(NewScan { url: text, timeout_s }): JsonBody<NewScan>,
) -> Result<Response, Problem> {
    let timeout = answer::timeout(timeout_s)?;
    let url: ScanUrl = text.parse().map_err(|error: DeviceUrlError| Problem::invalid(error.to_string()))?;
    if let Some(refusal) = api.boards.refuse_other_scheme(url.device()).await? {
        return Err(EngineError::from(refusal).into());
    }
    let asked = Map::from_iter([
        ("operation".to_owned(), json!("scan")),
        ("device".to_owned(), json!(url.device())),
        ("resource".to_owned(), json!(url.resource())),
    ]);
    let request = OutletRequest::Scan(url, text);
    let started = api.outlets.begin(&request, Map::new(), sender.clone()).await?;
    // Of boards that share an outlet, the first one counts.
    let used = api.boards.outlets().await?.into_iter().rev();
    let used: BTreeMap<String, BoardOutlet> = used.map(|used| (used.outlet.clone(), used)).collect();
    let pending = PendingAnswer { started, asked, boards: Vec::new() };
    pending.wait(&api, (client, sender), timeout, |answer| add_outlets(answer, &used)).await
}

/// Adds the outlets that were found, each with the board that uses it; null where none does. Where the board is wired in the
/// other way than the scan read, the outlet is shown as the board's own power URL reads it.
fn add_outlets(answer: &mut Map<String, Value>, used: &BTreeMap<String, BoardOutlet>) {
    let Some(Value::Object(mut evidence)) = answer.remove("evidence") else { return };
    for found in evidence.get_mut("outlets").and_then(Value::as_array_mut).into_iter().flatten() {
        let url = found["url"].as_str().unwrap_or_default().to_owned();
        let of_board = power_outlet(&url).and_then(|outlet| used.get(&outlet));
        found["board"] = json!(of_board.map(|of_board| &of_board.board));
        let Some(BoardOutlet { power_url, .. }) = of_board else { continue };
        if is_power_inverted(power_url) != is_power_inverted(&url) {
            found["url"] = json!(power_url);
            found["observed"] = match found["observed"].as_str() {
                Some("on") => json!("off"),
                Some("off") => json!("on"),
                _ => continue,
            };
        }
    }
    answer.extend(evidence);
}
