//! `lifeguard device why`: why boards stand where they stand.

use serde_json::Value;

use super::describe::label;
use super::output::{self, row, text};

/// The answer for one board: what is said of it, and what may be asked for.
pub(super) fn describe(why: &Value) -> String {
    let label = Some(label(why)).filter(|label| !label.is_empty());
    let label = label.map(|label| format!(": {}", output::shown(&label))).unwrap_or_default();
    let mut lines =
        vec![format!("{}  {}{label} ({})", text(why, "name"), text(why, "state"), text(why, "kind"))];
    let sentences = why["sentences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(sentences.map(|sentence| output::shown(sentence).replace('\n', " ")));
    let may: Vec<Vec<String>> = why["may"].as_array().into_iter().flatten().map(request).collect();
    if !may.is_empty() {
        lines.push("An operator may ask for".to_owned());
        lines.extend(output::table(&may).lines().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

fn request(request: &Value) -> Vec<String> {
    let needs: Vec<&str> =
        request["needs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let note = match request["refused"].as_str() {
        Some(refused) => format!("refused now: {refused}"),
        None if needs.is_empty() => String::new(),
        None => format!("needs {}", needs.join(", ")),
    };
    row([text(request, "event"), text(request, "about"), note])
}
