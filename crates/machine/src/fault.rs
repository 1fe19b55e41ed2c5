//! Faults in a definition, with their positions.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::rule::{Rule, Severity};

/// The maximum number of reported errors, and of warnings. More do not help the author, and suggestions take time.
const MAX_FAULTS: usize = 100;

/// A position in a definition's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SourcePosition {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
}

/// A fault in a definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFault {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
    /// What is wrong, and how to correct it.
    pub message: String,
    /// The violated rule.
    pub rule: Rule,
}

impl SourceFault {
    /// Whether it is an error: the definition is refused.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.rule.severity() == Severity::Error
    }

    /// Formats the fault as `FILE:LINE:COLUMN: error[RULE]: MESSAGE`.
    #[must_use]
    pub fn display(&self, file: &str) -> impl fmt::Display {
        let Self { line, column, message, rule } = self;
        fmt::from_fn(move |f| write!(f, "{file}:{line}:{column}: {}[{rule}]: {message}", rule.severity()))
    }
}

impl Serialize for SourceFault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fault = serializer.serialize_struct("Fault", 5)?;
        fault.serialize_field("rule", &self.rule)?;
        fault.serialize_field("severity", &self.rule.severity())?;
        fault.serialize_field("line", &self.line)?;
        fault.serialize_field("column", &self.column)?;
        fault.serialize_field("message", &self.message)?;
        fault.end()
    }
}

/// The faults for which a definition is refused, in text order: 1 to 100 errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.display("definition"))]
pub struct SourceFaults(pub Vec<SourceFault>);

impl SourceFaults {
    /// Returns the faults in text order.
    pub fn iter(&self) -> impl Iterator<Item = &SourceFault> {
        self.0.iter()
    }

    /// Formats the faults as `FILE:LINE:COLUMN: error[RULE]: MESSAGE`, one per line.
    #[must_use]
    pub fn display(&self, file: &str) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            for (index, fault) in self.0.iter().enumerate() {
                let newline = if index == 0 { "" } else { "\n" };
                write!(f, "{newline}{}", fault.display(file))?;
            }
            Ok(())
        })
    }
}

/// Collects faults, so that the author sees all of them at once.
#[derive(Debug, Default)]
pub struct FaultCollector {
    faults: Vec<SourceFault>,
    /// The rules whose violation does not refuse the definition.
    tolerated: &'static [Rule],
}

impl FaultCollector {
    /// Creates a collector that accepts violations of the `tolerated` rules.
    pub(crate) fn tolerating(tolerated: &'static [Rule]) -> Self {
        Self { faults: Vec::new(), tolerated }
    }

    /// Creates a collector with the only fault of a file of another format.
    #[must_use]
    pub fn of_foreign_file(message: impl Into<String>) -> Self {
        let mut faults = Self::default();
        faults.add(SourcePosition { line: 1, column: 1 }, Rule::Form, message);
        faults
    }

    /// Adds a fault.
    pub fn add(&mut self, at: SourcePosition, rule: Rule, message: impl Into<String>) {
        if self.is_full(rule.severity()) {
            return;
        }
        self.faults.push(SourceFault { line: at.line, column: at.column, message: message.into(), rule });
    }

    /// Adds the fault that `name` is not one of `known`, with a suggestion.
    pub fn add_unknown<'a>(
        &mut self,
        at: SourcePosition,
        rule: Rule,
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        if !self.is_full(rule.severity()) {
            self.add(at, rule, unknown(kind, name, known));
        }
    }

    /// Whether the maximum number of faults of this severity is reached; warnings do not displace errors.
    fn is_full(&self, severity: Severity) -> bool {
        let counted =
            |fault: &&SourceFault| fault.rule.severity() == severity && !self.tolerated.contains(&fault.rule);
        self.faults.iter().filter(counted).count() >= MAX_FAULTS
    }

    /// Whether the definition is refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.faults.iter().any(|fault| fault.is_error() && !self.tolerated.contains(&fault.rule))
    }

    /// Returns the faults in text order.
    #[must_use]
    pub fn finish(mut self) -> Vec<SourceFault> {
        // A YAML alias repeats the faults of its anchor.
        self.faults.sort();
        self.faults.dedup();
        self.faults
    }
}

/// The maximum number of known names in a message without a suggestion.
const MAX_LISTED_NAMES: usize = 12;

/// Returns the message that `name` is not one of `known`, with a suggestion.
pub(crate) fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let shown: String = name.chars().take(80).collect();
    format!("unknown {kind} `{shown}`{}", suggestion(&shown, known))
}

/// Returns a suggestion to append to a message about an unknown name: the most similar known name, or all of them if
/// they are few.
#[must_use]
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let shown: String = name.chars().take(80).collect();
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(&shown, known.iter().copied()) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None if known.is_empty() => "; there is none".to_owned(),
        None if known.len() > MAX_LISTED_NAMES => String::new(),
        None => format!("; known: {}", known.join(", ")),
    }
}

/// Returns the most similar of the `known` names, if one is similar enough.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            let length = candidate.chars().count();
            *distance < length && *distance * 5 <= length.max(3) * 2
        })
        .min();
    near.map(|(_, candidate)| candidate)
}
