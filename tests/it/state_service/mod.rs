//! Tests of the StateService interface with requests recorded from the original.

mod recorded;
mod shared;
mod time;

use std::collections::BTreeSet;

/// A StateService file whose first state waits for this many requests.
pub(crate) fn waits_for(many: i64) -> String {
    format!(
        "current_state: a\nstates:\n- {{name: a, func: increment, current: {{key: n, value: 0}}, \
         target: {{name: b, when: {{key: n, value: {many}}}}}}}\n- {{name: b}}\n"
    )
}

/// The IDs of documented differences.
pub(crate) fn differences() -> BTreeSet<String> {
    let page = include_str!("../../../docs/stateservice.md");
    let table = page.split("\n## Differences\n").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let ids = rows.flat_map(|row| row.split('|').next().unwrap_or_default().split(','));
    ids.map(|id| id.trim().to_owned()).collect()
}
