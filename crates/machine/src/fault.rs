//! What is wrong with a definition, and where.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::rule::{Rule, Severity};

/// How many errors are collected, and how many warnings: more help nobody, and looking for what was meant takes time.
const MAX_FAULTS: usize = 100;

/// A place in a definition's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SourcePosition {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
}

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFault {
    /// The line, from 1.
    pub line: u64,
    /// The column in characters, from 1.
    pub column: u64,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The rule that is broken.
    pub rule: Rule,
}

impl SourceFault {
    /// Whether the definition is refused for it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.rule.severity() == Severity::Error
    }

    /// The fault as `FILE:LINE:COLUMN: error[RULE]: MESSAGE`.
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

/// Why a definition is refused, in the order of its text: one error at least and a hundred at most.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.display("definition"))]
pub struct SourceFaults(pub Vec<SourceFault>);

impl SourceFaults {
    /// The faults, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &SourceFault> {
        self.0.iter()
    }

    /// The faults as `FILE:LINE:COLUMN: error[RULE]: MESSAGE`, a line each.
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

/// Collects faults, so that an author sees all of them at once.
#[derive(Debug, Default)]
pub struct FaultCollector(Vec<SourceFault>);

impl FaultCollector {
    /// Notes a fault.
    pub fn add(&mut self, at: SourcePosition, rule: Rule, message: impl Into<String>) {
        if self.is_full(rule.severity()) {
            return;
        }
        self.0.push(SourceFault { line: at.line, column: at.column, message: message.into(), rule });
    }

    /// Notes that `name` is not one of `known`, and says which of those it may have been meant to be.
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

    /// Whether no more faults are collected of this severity: what is odd does not keep errors out.
    fn is_full(&self, severity: Severity) -> bool {
        self.0.iter().filter(|fault| fault.rule.severity() == severity).count() >= MAX_FAULTS
    }

    /// Whether the definition is to be refused.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(SourceFault::is_error)
    }

    /// The faults, in the order of the text.
    #[must_use]
    pub fn finish(mut self) -> Vec<SourceFault> {
        // An alias of the text repeats the faults of what it stands for.
        self.0.sort();
        self.0.dedup();
        self.0
    }
}

/// The most known names that a message lists when none is like the unknown one.
const MAX_LISTED_NAMES: usize = 12;

/// Says that `name` is not one of `known`, and what would be.
pub(crate) fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let shown: String = name.chars().take(80).collect();
    format!("unknown {kind} `{shown}`{}", suggestion(&shown, known))
}

/// Says which of `known` a name that is none of them may have been meant to be, in words that follow that: the one that
/// is like it, or else all, if they are few.
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

/// The one of `known` that is like `name`, if any is.
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
