//! Rebuilds the embedded schema when a migration is added, and makes the statements that write a batch.
//!
//! `src/store/batches/write.sql` holds one statement with sections. Each variant of it becomes a macro around
//! [`sqlx::query_as!`], so that it is checked as it is compiled; `src/store/batches/write.rs` includes these macros.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

const BATCH_SQL: &str = "src/store/batches/write.sql";

/// The macros, each with the sections that its statement has.
const BATCH_STATEMENTS: [(&str, &[&str]); 4] = [
    ("write_moves", &["unlinked"]),
    ("write_actions", &["unlinked", "actions"]),
    ("write_resources", &["unlinked", "actions", "resources"]),
    ("write_links", &["links", "actions", "resources"]),
];

#[expect(clippy::disallowed_methods, reason = "a build script has no fs_err")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed={BATCH_SQL}");
    let text = std::fs::read_to_string(BATCH_SQL)?;
    let mut macros = String::new();
    for (name, sections) in BATCH_STATEMENTS {
        let statement = statement_with(&text, sections)?;
        write!(
            macros,
            "macro_rules! {name} {{\n    ($row:path, $($argument:expr),*) => {{\n        \
             sqlx::query_as!($row, r#\"{statement}\"#, $($argument),*)\n    }};\n}}\n",
        )?;
    }
    let folder = std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?;
    std::fs::write(Path::new(&folder).join("batch_statements.rs"), macros)?;
    Ok(())
}

/// Returns the statement that has only these of its sections, without comments.
fn statement_with(text: &str, sections: &[&str]) -> Result<String, String> {
    let mut statement = String::new();
    let mut open = Vec::new();
    for line in text.lines() {
        let comment = line.trim_start().strip_prefix("--").map(str::trim);
        if let Some(section) = comment.and_then(|comment| comment.strip_prefix("begin ")) {
            if !BATCH_STATEMENTS.iter().any(|(_, known)| known.contains(&section)) {
                return Err(format!("{BATCH_SQL}: unknown section `{section}`"));
            }
            open.push(section);
        } else if let Some(section) = comment.and_then(|comment| comment.strip_prefix("end ")) {
            if open.pop() != Some(section) {
                return Err(format!("{BATCH_SQL}: `end {section}` without its `begin`"));
            }
        } else if comment.is_none()
            && !line.is_empty()
            && open.iter().all(|section| sections.contains(section))
        {
            statement.push_str(line);
            statement.push('\n');
        }
    }
    if open.is_empty() { Ok(statement) } else { Err(format!("{BATCH_SQL}: no end of {open:?}")) }
}
