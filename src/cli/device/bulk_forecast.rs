//! What a request to several boards will take: how many wait for resources, and when the last is expected to start.

use std::collections::BTreeSet;
use std::error::Error;

use chrono::DateTime;
use serde_json::{Value, json};

use crate::cli::api_client::ApiClient;
use crate::cli::describe::local_time;
use crate::cli::output;
use crate::formatting::count;

/// Prints how many of `names` wait, and until when; nothing where none does.
///
/// # Errors
///
/// When it cannot be printed. That the queue cannot be read is only a warning: the requests were accepted.
pub(super) async fn print(client: &ApiClient, names: &[String], as_json: bool) -> Result<(), Box<dyn Error>> {
    let answer = match client.get(&["queue"], &[]).await {
        Ok(answer) => answer,
        Err(error) => {
            output::complain(&format!("cannot read when the boards will start: {error}"));
            return Ok(());
        }
    };
    let Some(forecast) = forecast(&answer, names) else { return Ok(()) };
    Ok(output::print(&if as_json { forecast.to_string() } else { sentence(&forecast) })?)
}

/// The number of waiting boards, and the expected start of the last one; null where that of one is not known.
fn forecast(answer: &Value, names: &[String]) -> Option<Value> {
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let queue = answer["queue"].as_array().into_iter().flatten();
    let own = queue.filter(|action| action["name"].as_str().is_some_and(|name| names.contains(name)));
    let starts: Vec<Option<&str>> = own.map(|action| action["expected_at"].as_str()).collect();
    if starts.is_empty() {
        return None;
    }
    let known: Option<Vec<&str>> = starts.iter().copied().collect();
    let time = |text: &&str| DateTime::parse_from_rfc3339(text).ok();
    let last = known.and_then(|known| known.into_iter().max_by_key(time));
    Some(json!({ "queued": starts.len(), "last_expected_at": last }))
}

fn sentence(forecast: &Value) -> String {
    let queued = count(forecast["queued"].as_u64().unwrap_or_default(), "board");
    match forecast["last_expected_at"].as_str() {
        Some(_) => {
            format!(
                "{queued} queued; the last is expected to start at {}",
                local_time(forecast, "last_expected_at")
            )
        }
        None => format!("{queued} queued; when the last starts is not known yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_the_boards_counts_and_others_do_not() {
        let queue = json!({ "queue": [
            { "name": "b1", "expected_at": "2026-01-01T12:00:05Z" },
            { "name": "b2", "expected_at": "2026-01-01T12:00:15Z" },
            { "name": "other", "expected_at": "2026-01-01T13:00:00Z" },
            { "name": "b4", "expected_at": null },
        ] });
        let of = |names: &[&str]| {
            forecast(&queue, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            of(&["b2", "b1", "b3"]),
            Some(json!({ "queued": 2, "last_expected_at": "2026-01-01T12:00:15Z" }))
        );
        assert_eq!(of(&["b3"]), None);
        let unknown = of(&["b1", "b4"]).unwrap();
        assert_eq!(sentence(&unknown), "2 boards queued; when the last starts is not known yet");
        assert!(
            sentence(&of(&["b1"]).unwrap()).starts_with("1 board queued; the last is expected to start at ")
        );
    }
}
