//! Boards as a table.

use serde_json::Value;

use crate::cli::api_client::{ApiClient, ApiClientError};
use crate::cli::describe::{add_labels, local_time};
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
    let listed = answer["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
    for device in listed {
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
    add_labels(&mut rows, listed);
    output::table(&rows)
}

/// How many tries have failed, and the problem of a board.
fn reason(device: &Value) -> String {
    let tries = device["failed_tries"].as_i64().map(|tries| format!("{tries} × "));
    let no_problem = if tries.is_some() { "no success" } else { "" };
    tries.unwrap_or_default() + device["problem"].as_str().unwrap_or(no_problem)
}
