//! Boards as a table.

use serde_json::Value;

use crate::cli::api_client::{ApiClient, ApiClientError};
use crate::cli::describe::{label, local_time};
use crate::cli::output::{self, row, text};

/// The number of boards in one request.
const BOARDS_PER_PAGE: u32 = 5000;

/// Reads all boards page by page, so that no answer exceeds the client's timeout.
pub(super) async fn list_all(
    client: &ApiClient,
    query: Vec<(&str, String)>,
) -> Result<Value, ApiClientError> {
    let ask = async |after: Option<String>| {
        let more = [("limit", Some(BOARDS_PER_PAGE.to_string())), ("after", after)];
        let more = more.into_iter().filter_map(|(key, value)| Some((key, value?)));
        client.get(&["devices"], &query.iter().cloned().chain(more).collect::<Vec<_>>()).await
    };
    let mut answer = ask(None).await?;
    while let Some(next) = answer["next"].as_str().map(str::to_owned) {
        let mut page = ask(Some(next)).await?;
        if let (Some(devices), Some(more)) =
            (answer["devices"].as_array_mut(), page["devices"].as_array_mut())
        {
            devices.append(more);
        }
        answer["next"] = page["next"].take();
    }
    Ok(answer)
}

/// The table.
pub(super) fn device_table(answer: &Value) -> String {
    let heading =
        ["NAME", "STATE", "SINCE", "DEADLINE", "IMAGE", "HARDWARE", "ENVIRONMENT", "REASON", "COMMENTS"];
    let mut rows = vec![row(heading.map(str::to_owned))];
    for device in answer["devices"].as_array().into_iter().flatten() {
        rows.push(row([
            text(device, "name"),
            text(device, "state"),
            local_time(device, "since"),
            local_time(device, "deadline"),
            text(device, "image"),
            text(device, "hardware"),
            text(device, "environment"),
            output::clipped(&reason(device)),
            output::clipped(&text(device, "comments")),
        ]));
    }
    output::table(&rows)
}

/// Why a board is in its state: how many tries have failed, its problem, and the label of the state.
fn reason(device: &Value) -> String {
    let tries = device["failed_tries"].as_i64().map(|tries| format!("{tries} × "));
    let no_problem = if tries.is_some() { "no success" } else { "" };
    let problem = tries.unwrap_or_default() + device["problem"].as_str().unwrap_or(no_problem);
    [problem, label(device)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}
