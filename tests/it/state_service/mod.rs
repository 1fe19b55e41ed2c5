//! StateService's face: what was recorded from the original is sent to ours.

mod recorded;
mod shared;
mod time;

/// A machine that waits for so many.
pub(crate) fn waits_for(many: i64) -> String {
    format!(
        "current_state: a\nstates:\n- {{name: a, func: increment, current: {{key: n, value: 0}}, \
         target: {{name: b, when: {{key: n, value: {many}}}}}}}\n- {{name: b}}\n"
    )
}
