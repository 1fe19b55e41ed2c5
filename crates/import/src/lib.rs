//! Translation of StateService files into machine definitions (Source: StateService 2.0.3, README and program).
//!
//! A state with `func: increment` becomes a resting state that counts the event of its own name; a state with `func: time`
//! becomes one with a deadline; a state without `func` is final. Faults that StateService meets only while it runs are
//! refused with their position.

mod count;
mod note;
mod read;
mod write;

use chrono::{DateTime, NaiveDateTime, Utc};
use machine::source_text::{self, FaultCollector, ForeignFormat, SourceNode};
use machine::{CheckReport, Definition, MachineName, SourceFault, SourceFaults, Vocabulary, check};

pub use note::ImportNote;

/// A translated StateService file.
#[derive(Debug)]
pub struct ImportedDefinition {
    /// The text of the definition.
    pub source: String,
    /// The definition.
    pub definition: Definition,
    /// The name of the file's current state.
    pub current: String,
    /// Notes on parts of the file that have no effect.
    pub notes: Vec<ImportNote>,
}

/// Whether `text` is a machine definition already: it has `machine` and no `current_state`.
#[must_use]
pub fn is_definition(text: &str) -> bool {
    let root = source_text::read(text, &mut FaultCollector::default());
    root.is_some_and(|root| is_root_of_definition(&root))
}

fn is_root_of_definition(root: &SourceNode) -> bool {
    root.child("machine").is_some() && root.child("current_state").is_none()
}

/// Describes a file that is not of StateService, with advice; `None` if it may be.
fn describe_other_format(text: &str, root: Option<&SourceNode>) -> Option<String> {
    if root.is_some_and(is_root_of_definition) {
        let advice = "nothing has to be imported; `lifeguard machine load FILE` activates it";
        return Some(format!("this is a machine definition already: {advice}"));
    }
    match ForeignFormat::recognize(text, root) {
        None | Some(ForeignFormat::StateService) => None,
        Some(format) => Some(format.to_string()),
    }
}

/// Translates a StateService file into a definition of `machine`.
///
/// `local` resolves local times, for times without an offset. `vocabulary` lists the known actions: the names of their ends
/// are not used as names of events.
///
/// # Errors
///
/// [`SourceFaults`]: all faults of the file, each with line and column.
pub fn import(
    text: &str,
    machine: &MachineName,
    local: &dyn Fn(NaiveDateTime) -> DateTime<Utc>,
    vocabulary: &Vocabulary,
) -> Result<ImportedDefinition, SourceFaults> {
    let (mut faults, mut notes) = (FaultCollector::default(), Vec::new());
    let root = source_text::read(text, &mut faults);
    if let Some(message) = describe_other_format(text, root.as_ref()) {
        // Other faults would only distract.
        return Err(SourceFaults(FaultCollector::of_foreign_file(message).finish()));
    }
    let file = root.and_then(|root| read::read(&root, local, &mut faults, &mut notes));
    match file {
        Some(states) if !faults.has_errors() => {
            notes.sort_by_key(|note: &ImportNote| (note.line, note.column));
            let written = write::definition(machine, &states, vocabulary.actions());
            let CheckReport { definition, faults: found } = check(&written.text, vocabulary);
            if let Some(definition) = definition {
                return Ok(ImportedDefinition {
                    source: written.text,
                    definition,
                    current: states.current,
                    notes,
                });
            }
            for fault in found.into_iter().filter(SourceFault::is_error) {
                faults.add(written.position(fault.line), fault.rule, fault.message);
            }
        }
        Some(_) | None => {}
    }
    Err(SourceFaults(faults.finish()))
}

#[cfg(test)]
mod tests;
