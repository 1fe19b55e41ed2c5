//! StateService's states, in our language (Source: StateService 2.0.3, its README and its program).
//!
//! A state with `func: increment` becomes one that rests until the event of its own name has come often enough; one with
//! `func: time` becomes one with a deadline; one without `func` is an end. What the program would stumble over while it
//! runs is refused here, where it stands.

mod count;
mod note;
mod read;
mod write;

use chrono::{DateTime, NaiveDateTime, Utc};
use machine::source_text::{self as source, FaultCollector};
use machine::{CheckReport, Definition, MachineName, SourceFault, SourceFaults, Vocabulary, check};

pub use note::ImportNote;

/// A StateService file in our language.
#[derive(Debug)]
pub struct ImportedDefinition {
    /// The definition's text.
    pub source: String,
    /// The definition.
    pub definition: Definition,
    /// The name of the state that the file calls current.
    pub current: String,
    /// What StateService takes no notice of, and nobody else does.
    pub notes: Vec<ImportNote>,
}

/// Whether `text` is a definition of ours already: it says `machine`, and no `current_state`.
#[must_use]
pub fn is_definition(text: &str) -> bool {
    let root = source::read(text, &mut FaultCollector::default());
    root.is_some_and(|root| root.child("machine").is_some() && root.child("current_state").is_none())
}

/// Translates a StateService file into a definition of `machine`. `local` gives the moment that a clock on the wall means,
/// for times without an offset; `vocabulary` is what the definition may name: the ends of actions are no names for events.
///
/// # Errors
///
/// [`Faults`], with everything that is wrong with the file, each with its line and column.
pub fn import(
    text: &str,
    machine: &MachineName,
    local: &dyn Fn(NaiveDateTime) -> DateTime<Utc>,
    vocabulary: &Vocabulary,
) -> Result<ImportedDefinition, SourceFaults> {
    let (mut faults, mut notes) = (FaultCollector::default(), Vec::new());
    let read =
        source::read(text, &mut faults).and_then(|root| read::read(&root, local, &mut faults, &mut notes));
    match read {
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
