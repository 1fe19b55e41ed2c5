//! Static checks of conditions.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

use super::super::fault::unknown;
use super::super::names::CounterName;
use super::super::prediction::ModelQuestion;
use super::super::rule::Rule;
use super::super::vocabulary::{FactObject, GUARD_VARIABLES};
use super::scope::{GuardEvaluation, GuardFault, GuardScope};
use super::{predict, types};

/// The maximum number of nested operators, selections and indexes; `&&` and `||` do not count, because they do not
/// nest.
pub(super) const MAX_GUARD_OPERATORS: usize = 48;
/// The allowed functions of the CEL standard library.
pub(super) const GUARD_FUNCTIONS: [&str; 9] =
    ["bool", "contains", "double", "endsWith", "int", "size", "startsWith", "string", "uint"];
/// The allowed macros, which the parser has expanded.
const GUARD_MACROS: [&str; 4] = ["all", "exists", "exists_one", "has"];

/// The results of a check.
#[derive(Default)]
pub(super) struct GuardFindings {
    /// Whether it contains a macro that iterates over values.
    pub(super) has_macro: bool,
    /// Its questions to models.
    pub(super) questions: BTreeSet<ModelQuestion>,
}

/// Checks a condition, and returns what it contains.
pub(super) fn check(
    program: &IdedExpr,
    source: &SourceInfo,
    scope: GuardScope<'_>,
) -> Result<GuardFindings, Vec<GuardFault>> {
    let (bound, found, faults) = (Vec::new(), GuardFindings::default(), Vec::new());
    let mut checker = GuardChecker { source, scope, bound, found, faults };
    checker.walk(program, 0);
    if checker.faults.is_empty() {
        checker.faults = types::check(program, source, scope.facts);
    }
    if checker.faults.is_empty() { Ok(checker.found) } else { Err(checker.faults) }
}

struct GuardChecker<'a> {
    source: &'a SourceInfo,
    scope: GuardScope<'a>,
    /// The variables of the enclosing macro.
    bound: Vec<String>,
    found: GuardFindings,
    faults: Vec<GuardFault>,
}

impl GuardChecker<'_> {
    fn add(&mut self, at: &IdedExpr, rule: Rule, message: impl Into<String>) {
        let offset = self.source.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        self.faults.push(GuardFault { offset, rule, message: message.into() });
    }

    fn walk(&mut self, node: &IdedExpr, depth: usize) {
        // Bounded separately, so that evaluation is as bounded as parsing.
        if depth > MAX_GUARD_OPERATORS {
            return self.add(node, Rule::GuardForm, "this condition is too long: split it");
        }
        match &node.expr {
            Expr::Literal(_) => {}
            Expr::Ident(name) => self.walk_variable(node, name),
            Expr::Select(select) => {
                self.walk(&select.operand, depth + 1);
                self.walk_field(node, &select.operand, &select.field);
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.walk(element, depth + 1)),
            Expr::Call(call) => self.walk_call(node, call, depth),
            Expr::Comprehension(comprehension) => self.walk_macro(node, comprehension, depth),
            Expr::Map(_) | Expr::Struct(_) => {
                self.add(node, Rule::GuardForm, "a condition cannot contain `{…}`");
            }
            Expr::Unspecified => self.add(node, Rule::GuardForm, "this condition is not CEL"),
        }
    }

    fn is_variable(&self, node: &IdedExpr, name: &str) -> bool {
        matches!(&node.expr, Expr::Ident(ident) if ident == name)
            && !self.bound.iter().any(|bound| bound == name)
    }

    fn walk_variable(&mut self, node: &IdedExpr, name: &str) {
        let facts = self.scope.facts.iter().map(|facts| facts.name.as_str());
        let known = GUARD_VARIABLES.into_iter().chain(facts);
        if !known.clone().any(|known| known == name) && !self.bound.iter().any(|bound| bound == name) {
            self.add(node, Rule::UnknownVariable, unknown("variable", name, known));
        }
    }

    fn walk_field(&mut self, node: &IdedExpr, operand: &IdedExpr, field: &str) {
        if self.is_variable(operand, "counters") && !self.scope.counters.contains(field) {
            let known = self.scope.counters.iter().map(CounterName::as_str);
            self.add(node, Rule::UnknownCounter, unknown("counter", field, known));
        }
        let facts = self.scope.facts.iter().find(|facts| self.is_variable(operand, &facts.name));
        if let Some(FactObject { name, fields }) = facts.filter(|facts| !facts.fields.contains_key(field)) {
            let known = fields.keys().map(String::as_str);
            self.add(node, Rule::UnknownVariable, unknown(&format!("field of `{name}`"), field, known));
        }
    }

    fn walk_call(&mut self, node: &IdedExpr, call: &CallExpr, depth: usize) {
        let name = call.func_name.as_str();
        if name == predict::PREDICT_FUNCTION {
            return self.walk_question(node, call);
        }
        if GUARD_MACROS.contains(&name) {
            self.add(
                node,
                Rule::GuardForm,
                format!("`{name}` is not used like this; say `has(data.x)`, `list.exists(x, …)`"),
            );
        } else if !GUARD_FUNCTIONS.contains(&name) && !is_operator(name) {
            self.add(
                node,
                Rule::GuardForm,
                unknown(
                    "function",
                    name,
                    GUARD_FUNCTIONS.into_iter().chain([predict::PREDICT_FUNCTION]).chain(GUARD_MACROS),
                ),
            );
        }
        call.target.iter().for_each(|target| self.walk(target, depth + 1));
        call.args.iter().for_each(|argument| self.walk(argument, depth + 1));
        if let (operators::INDEX, [operand, key]) = (name, call.args.as_slice())
            && let Expr::Literal(LiteralValue::String(field)) = &key.expr
        {
            self.walk_field(node, operand, field.inner());
        }
    }

    fn walk_question(&mut self, node: &IdedExpr, call: &CallExpr) {
        let asked = match self.scope.evaluated_on {
            GuardEvaluation::Event => {
                predict::question(node, call, |operand| self.is_variable(operand, "args"))
            }
            GuardEvaluation::ActionEnd => {
                Err((node, "no model is asked when an action ends; ask it when an event comes"))
            }
            GuardEvaluation::Raised => {
                Err((node, "no model is asked when another machine raises an event; ask it when one is sent"))
            }
            GuardEvaluation::Entry => {
                Err((node, "no model is asked in `always`; ask it in `on`, when an event comes"))
            }
        };
        match asked {
            Ok(question) => _ = self.found.questions.insert(question),
            Err((at, message)) => self.add(at, Rule::GuardForm, message),
        }
    }

    fn walk_macro(&mut self, node: &IdedExpr, comprehension: &ComprehensionExpr, depth: usize) {
        self.found.has_macro = true;
        if !self.bound.is_empty() {
            return self.add(node, Rule::GuardForm, "a macro (`exists`, `all`) cannot stand inside another");
        }
        if matches!(comprehension.accu_init.expr, Expr::List(_)) {
            // Their results follow the key order of maps, which differs between evaluations.
            return self.add(
                node,
                Rule::GuardForm,
                "`map` and `filter` are not allowed in a condition; use `exists` or `all`",
            );
        }
        self.walk(&comprehension.iter_range, depth + 1);
        self.bound = vec![comprehension.iter_var.clone(), comprehension.accu_var.clone()];
        self.bound.extend(comprehension.iter_var2.clone());
        self.walk(&comprehension.loop_cond, depth + 1);
        self.walk(&comprehension.loop_step, depth + 1);
        self.walk(&comprehension.result, depth + 1);
        self.bound.clear();
    }
}

fn is_operator(name: &str) -> bool {
    matches!(
        name,
        operators::CONDITIONAL
            | operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::SUBSTRACT
            | operators::ADD
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::GREATER_EQUALS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::LESS
            | operators::NEGATE
            | operators::INDEX
            | operators::NOT_STRICTLY_FALSE
            | operators::IN
    )
}
