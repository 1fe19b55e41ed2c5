//! The help page of a kind of action, for authors of definitions.

use std::fmt::Write as _;

use super::kind::{ActionDescription, ActionKind, RunLocation};
use super::settings::SettingInfo;
use crate::formatting;

/// The maximum width of a line of text, in characters.
const MAX_LINE_WIDTH: usize = 100;

/// Describes a kind: what it does, its settings with their defaults, its events and its time limit.
#[must_use]
pub fn describe_kind(kind: &dyn ActionKind) -> String {
    let description = kind.description();
    let mut page = format!("{} (action)\n\n{}\n", description.name, wrap_text(description.about));
    page += "\nSettings (`with:`)\n\n";
    match kind.settings() {
        settings if settings.is_empty() => page += "    none\n",
        settings => settings.iter().for_each(|info| add_setting(&mut page, info)),
    }
    // Writing to a string does not fail.
    if !description.facts.is_empty() {
        let facts = description.facts.join(", ");
        let _ = write!(page, "\nFacts of the instance that it uses\n\n    {facts}\n");
    }
    let _ = write!(page, "\nIt ends in\n\n    {}\n", description.outcomes().join(", "));
    let _ = write!(
        page,
        "\nLimit\n\n    {}, unless `limit:` says otherwise\n",
        formatting::duration(description.limit)
    );
    if let Some(compensation) = description.compensation {
        let _ = write!(page, "\nIf it is interrupted\n\n    {compensation} is run\n");
    }
    let _ = write!(page, "\nIt runs\n\n    {}\n", run_location(&description));
    page
}

fn add_setting(page: &mut String, info: &SettingInfo) {
    let default = match &info.default {
        Some(default) => format!("{default} if left out"),
        None => "may be left out".to_owned(),
    };
    let _ = write!(
        page,
        "    {}: {}; {default}\n        {}\n",
        info.field.name, info.field.form, info.field.about
    );
}

fn run_location(description: &ActionDescription) -> &'static str {
    match description.run_location {
        RunLocation::InServer => "in the server",
        RunLocation::Anywhere => "in the server, or on a worker elsewhere",
    }
}

/// Breaks running text into lines.
fn wrap_text(text: &str) -> String {
    let mut filled = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > MAX_LINE_WIDTH {
            filled.push('\n');
            column = 0;
        } else if column > 0 {
            filled.push(' ');
            column += 1;
        }
        filled += word;
        column += width;
    }
    filled
}
