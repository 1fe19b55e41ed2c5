//! `lifeguard device why`: explains why boards are in their states.

use serde_json::Value;

use super::output::{self, row, text};

/// Describes one board: the explanation, and what an operator can request.
pub(super) fn describe(why: &Value) -> String {
    let label = why["label"].as_str().map(|label| format!(": {}", output::shown(label)));
    let label = label.unwrap_or_default();
    let mut lines =
        vec![format!("{}  {}{label} ({})", text(why, "name"), text(why, "state"), text(why, "kind"))];
    let sentences = why["sentences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(sentences.map(|sentence| output::shown(sentence).replace('\n', " ")));
    let requests: Vec<Vec<String>> = why["requests"].as_array().into_iter().flatten().map(request).collect();
    if !requests.is_empty() {
        lines.push("Requests".to_owned());
        lines.extend(output::table(&requests).lines().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

fn request(request: &Value) -> Vec<String> {
    let required_args: Vec<&str> =
        request["required_args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let note = match request["refusal_reason"].as_str() {
        Some(reason) => format!("refused now: {reason}"),
        None if required_args.is_empty() => String::new(),
        None => format!("needs {}", required_args.join(", ")),
    };
    row([text(request, "event"), text(request, "about"), note])
}
