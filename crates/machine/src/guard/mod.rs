//! Guards: conditions on transitions, in CEL.
//!
//! A condition comes with a definition and reads data from clients, so its form and its work are bounded: its length,
//! its nesting, its functions, and the number of values that macros iterate over. Nothing fails at run time: a
//! condition that cannot be evaluated does not hold.

mod check;
mod predict;
mod ranges;
mod scope;
mod types;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use cel::parser::{Expression, Parser};
use cel::{Context, Env, Value};
use serde_json::Map;

use super::names::CounterName;
use super::prediction::{ModelAnswers, ModelQuestion};
use super::rule::Rule;
use check::{GuardFindings, MAX_GUARD_OPERATORS};
use ranges::ConditionResult;
pub(super) use ranges::CounterRanges;
pub(super) use scope::{GuardEvaluation, GuardFault, GuardScope};

/// The maximum length of a condition, in characters.
const MAX_GUARD_LENGTH: usize = 1000;
/// The maximum nesting depth of brackets, including conditionals (`?:`).
///
/// A level uses 160 KiB of the parser's stack in a debug build (measured), and threads have 2 MiB.
const MAX_GUARD_NESTING: usize = 6;
/// The maximum number of values that a condition with a macro (`exists`, `all`) may iterate over.
///
/// Macros do not nest, so such a condition takes at most the square of this many steps.
const MAX_GUARD_VALUES: usize = 1000;

static CEL_ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A condition, parsed and checked.
#[derive(Debug, Clone)]
pub struct Guard {
    text: String,
    program: Expression,
    has_macro: bool,
    /// The object by which it reads facts.
    facts: Option<String>,
    reads_args: bool,
    questions: BTreeSet<ModelQuestion>,
}

/// The values that a condition may read.
#[derive(Debug, Clone, Copy)]
pub struct GuardVariables<'a> {
    /// The instance's counters; missing ones are zero.
    pub counters: &'a BTreeMap<CounterName, i64>,
    /// The instance's data.
    pub data: &'a Map<String, serde_json::Value>,
    /// The event's arguments, or none.
    pub args: &'a Map<String, serde_json::Value>,
    /// Facts about what the instance represents.
    pub facts: &'a Map<String, serde_json::Value>,
    /// The models' answers.
    pub predicted: &'a ModelAnswers,
}

impl Guard {
    /// Parses and checks `text`, which may use the names in `scope`.
    pub(super) fn new(text: &str, scope: GuardScope<'_>) -> Result<Self, Vec<GuardFault>> {
        let fault =
            |offset, message: String| Err(vec![GuardFault { offset, rule: Rule::GuardForm, message }]);
        if text.chars().count() > MAX_GUARD_LENGTH {
            return fault(0, format!("a condition has at most {MAX_GUARD_LENGTH} characters"));
        }
        if let Some(offset) = nesting_overflow(text) {
            return fault(offset, "this condition is too long or nested too deeply: split it".to_owned());
        }
        let parser =
            Parser::default().max_recursion_depth(u16::try_from(MAX_GUARD_NESTING).unwrap_or(u16::MAX));
        match parser.parse_with_source_info(text) {
            Ok((mut program, source)) => {
                let GuardFindings { has_macro, questions } = check::check(&program, &source, scope)?;
                predict::replace(&mut program);
                let references = program.references();
                let facts = scope.facts.iter().find(|facts| references.has_variable(&facts.name));
                let facts = facts.map(|facts| facts.name.clone());
                let reads_args = references.has_variable("args");
                Ok(Self { text: text.to_owned(), program, has_macro, facts, reads_args, questions })
            }
            Err(errors) => Err(errors.errors.iter().map(|error| syntax_fault(text, error)).collect()),
        }
    }

    /// Returns the condition as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it reads facts.
    #[must_use]
    pub fn reads_facts(&self) -> bool {
        self.facts.is_some()
    }

    /// Whether it depends on the arguments of an event, or on what models answer about them.
    #[must_use]
    pub fn reads_arguments(&self) -> bool {
        self.reads_args || !self.questions.is_empty()
    }

    /// Returns its questions to models.
    pub(super) fn questions(&self) -> &BTreeSet<ModelQuestion> {
        &self.questions
    }

    /// Returns the counter ranges in which it may hold.
    pub(super) fn ranges(&self) -> CounterRanges {
        ranges::ranges(&self.program, ConditionResult::True)
    }

    /// Returns the counter ranges in which it may fail to hold.
    pub(super) fn ranges_otherwise(&self) -> CounterRanges {
        ranges::ranges(&self.program, ConditionResult::NotTrue)
    }

    /// Whether it depends on counter ranges only, so that it holds exactly within them.
    pub(super) fn is_ranges_only(&self) -> bool {
        ranges::is_ranges_only(&self.program)
    }

    /// Returns the words in it, among them the counters that it reads.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        // `a-b` is the name of a counter or a subtraction.
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.text.split(move |c| !is_part(c)).chain(self.text.split(move |c| !is_part(c) && c != '-'))
    }

    /// Whether it holds. A condition that cannot be evaluated, because of a missing data entry or answer, does not
    /// hold.
    ///
    /// A condition with a macro does not hold if data, arguments and facts have more than 1,000 values in all.
    #[must_use]
    pub fn holds(&self, counters: &BTreeSet<CounterName>, variables: GuardVariables<'_>) -> bool {
        let GuardVariables { data, args, facts, predicted, .. } = variables;
        if self.has_macro && !value::has_at_most(MAX_GUARD_VALUES, [data, args, facts]) {
            return false;
        }
        let mut context = Context::with_env(Arc::clone(&CEL_ENVIRONMENT));
        context.add_variable_from_value("counters", value::counters(counters, variables.counters));
        context.add_variable_from_value("data", value::object(data));
        context.add_variable_from_value("args", value::object(args));
        if let Some(object) = &self.facts {
            context.add_variable_from_value(object.as_str(), value::object(facts));
        }
        for question in &self.questions {
            if let Some(answer) = predicted.find(question) {
                context.add_variable_from_value(question.to_string(), value::prediction(answer));
            }
        }
        matches!(Value::resolve(&self.program, &context), Ok(Value::Bool(true)))
    }
}

/// Returns the offset at which `text` needs a deeper recursion than a thread's stack allows.
///
/// The parser checks the nesting of brackets only after it has descended. Sequences of operators, selections or indexes
/// nest as deeply in the resulting tree. Characters in string literals count too, which is harmless.
fn nesting_overflow(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut conditionals = 0_usize;
    let mut operators = 0_usize;
    let mut last = ' ';
    for (offset, character) in text.chars().enumerate() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '?' => conditionals += 1,
            '=' if matches!(last, '=' | '!' | '<' | '>') => {}
            '.' | '!' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' => operators += 1,
            _ => {}
        }
        operators += usize::from(character == '[');
        last = character;
        if depth + conditionals > MAX_GUARD_NESTING || operators > MAX_GUARD_OPERATORS {
            return Some(offset);
        }
    }
    None
}

fn syntax_fault(text: &str, error: &cel::ParseError) -> GuardFault {
    let line = usize::try_from(error.pos.0).unwrap_or(1).max(1);
    let column = usize::try_from(error.pos.1).unwrap_or(1).max(1);
    let before: usize = text.split_inclusive('\n').take(line - 1).map(|line| line.chars().count()).sum();
    let message = error.msg.trim_start_matches("Syntax error: ");
    // The parser lists every token that could follow, which is nearly all of them.
    let message = message.split(" expecting {").next().unwrap_or(message);
    GuardFault {
        rule: Rule::GuardForm,
        offset: (before + column - 1).min(text.chars().count()),
        message: format!(
            "this condition is not CEL: {message}; write it like `args.fault == 'network' && counters.Booting < 3`"
        ),
    }
}

#[cfg(test)]
mod tests;
