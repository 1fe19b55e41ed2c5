//! Static types of conditions, as far as they are known before evaluation.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};

use super::super::rule::Rule;
use super::super::vocabulary::{FactKind, FactObject, GUARD_VARIABLES};
use super::predict;
use super::ranges::literal_text;
use super::scope::GuardFault;

/// A static type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GuardType {
    Boolean,
    Number,
    Text,
    List,
    Mapping,
    /// A model's answer: a text or a list of texts, depending on the event's values.
    Prediction,
    Nothing,
    /// Unknown: it depends on data from clients.
    Any,
}

impl GuardType {
    fn words(self) -> &'static str {
        match self {
            Self::Boolean => "a truth value",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Mapping => "a mapping",
            Self::Prediction => "a model's answer",
            Self::Nothing => "nothing",
            Self::Any => "anything",
        }
    }

    /// Whether a value of this type may have one of the types `kinds`.
    fn may_be(self, kinds: &[Self]) -> bool {
        let may_be_text_or_list = self == Self::Prediction;
        self == Self::Any
            || kinds.contains(&self)
            || (may_be_text_or_list && (kinds.contains(&Self::Text) || kinds.contains(&Self::List)))
    }
}

/// Returns the type errors of a condition.
pub(super) fn check(program: &IdedExpr, source: &SourceInfo, facts: &[FactObject]) -> Vec<GuardFault> {
    let mut typer = GuardTypeChecker { source, facts, bound: Vec::new(), faults: Vec::new() };
    typer.demand_boolean(program);
    typer.faults
}

struct GuardTypeChecker<'a> {
    source: &'a SourceInfo,
    facts: &'a [FactObject],
    /// The variables of the enclosing macro.
    bound: Vec<&'a str>,
    faults: Vec<GuardFault>,
}

impl<'a> GuardTypeChecker<'a> {
    fn add(&mut self, at: &IdedExpr, message: String) {
        let offset = self.source.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        self.faults.push(GuardFault { offset, rule: Rule::GuardType, message });
    }

    fn is_variable(&self, node: &IdedExpr, name: &str) -> bool {
        matches!(&node.expr, Expr::Ident(ident) if ident == name) && !self.bound.contains(&name)
    }

    /// Whether it is one of the objects of the definition or of a face.
    fn is_object(&self, node: &IdedExpr) -> bool {
        GUARD_VARIABLES.iter().any(|known| self.is_variable(node, known))
            || self.facts.iter().any(|facts| self.is_variable(node, &facts.name))
    }

    fn demand_boolean(&mut self, node: &'a IdedExpr) {
        let kind = self.kind(node);
        if !kind.may_be(&[GuardType::Boolean]) {
            let kind = kind.words();
            self.add(
                node,
                format!("a condition is true or false, and this is {kind}; compare it with something"),
            );
        }
    }

    /// Returns the type of `node`, which `what` requires to be one of `kinds`; after a fault it is `Any`, to avoid
    /// further faults.
    fn demand(&mut self, node: &'a IdedExpr, kinds: &[GuardType], what: &str) -> GuardType {
        let kind = self.kind(node);
        if !kind.may_be(kinds) {
            let wanted: Vec<&str> = kinds.iter().map(|kind| kind.words()).collect();
            self.add(node, format!("{what} takes {}, and this is {}", wanted.join(" or "), kind.words()));
            return GuardType::Any;
        }
        kind
    }

    fn kind(&mut self, node: &'a IdedExpr) -> GuardType {
        match &node.expr {
            Expr::Literal(literal) => literal_kind(literal),
            Expr::Ident(_) if self.is_object(node) => GuardType::Mapping,
            Expr::Select(select) => self.field_kind(node, select),
            Expr::List(list) => {
                for element in &list.elements {
                    self.kind(element);
                }
                GuardType::List
            }
            Expr::Call(call) => self.call_kind(node, call),
            Expr::Comprehension(comprehension) => {
                self.demand(&comprehension.iter_range, &[GuardType::List, GuardType::Mapping], "a macro");
                self.bound = vec![&comprehension.iter_var, &comprehension.accu_var];
                self.bound.extend(comprehension.iter_var2.as_deref());
                self.kind(&comprehension.loop_step);
                self.bound.clear();
                GuardType::Boolean
            }
            Expr::Ident(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => GuardType::Any,
        }
    }

    fn field_kind(&mut self, node: &IdedExpr, select: &'a SelectExpr) -> GuardType {
        let operand = self.kind(&select.operand);
        if !operand.may_be(&[GuardType::Mapping]) {
            self.add(node, format!("{} has no `{}`", operand.words(), select.field));
        }
        if select.test {
            return GuardType::Boolean;
        }
        self.member_kind(&select.operand, &select.field)
    }

    /// Returns the type of the field `field` of the variable `operand`.
    fn member_kind(&self, operand: &IdedExpr, field: &str) -> GuardType {
        if self.is_variable(operand, "counters") {
            return GuardType::Number;
        }
        let facts = self.facts.iter().find(|facts| self.is_variable(operand, &facts.name));
        match facts.and_then(|facts| facts.fields.get(field)) {
            Some(FactKind::Boolean) => GuardType::Boolean,
            Some(FactKind::Number) => GuardType::Number,
            Some(FactKind::Text) => GuardType::Text,
            Some(FactKind::List) => GuardType::List,
            Some(FactKind::Mapping) => GuardType::Mapping,
            None => GuardType::Any,
        }
    }

    fn call_kind(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> GuardType {
        let name = call.func_name.as_str();
        let operands: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        match (name, operands.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, parts) => {
                for part in parts {
                    self.demand_boolean(part);
                }
                GuardType::Boolean
            }
            (operators::NOT_STRICTLY_FALSE, _) => GuardType::Boolean,
            (operators::CONDITIONAL, [condition, yes, no]) => {
                self.demand_boolean(condition);
                let (yes, no) = (self.kind(yes), self.kind(no));
                if yes == no { yes } else { GuardType::Any }
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                let (left, right) = (self.kind(left), self.kind(right));
                self.compare(node, name, left, right);
                GuardType::Boolean
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                [left, right],
            ) => {
                let ordered = [GuardType::Number, GuardType::Text];
                let what = format!("`{}`", sign(name));
                let (left, right) = (self.demand(left, &ordered, &what), self.demand(right, &ordered, &what));
                self.compare(node, name, left, right);
                GuardType::Boolean
            }
            (operators::IN, [element, within]) => {
                self.kind(element);
                self.demand(within, &[GuardType::List, GuardType::Mapping], "`in`");
                GuardType::Boolean
            }
            (operators::INDEX, [operand, key]) => self.index_kind(operand, key),
            (operators::ADD, [left, right]) => {
                let summable = [GuardType::Number, GuardType::Text, GuardType::List];
                let left = self.demand(left, &summable, "`+`");
                let right = self.demand(right, &summable, "`+`");
                self.compare(node, name, left, right);
                if left == GuardType::Any { right } else { left }
            }
            (
                operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE,
                parts,
            ) => {
                let what = format!("`{}`", sign(name));
                for part in parts {
                    self.demand(part, &[GuardType::Number], &what);
                }
                GuardType::Number
            }
            (_, operands) => self.function_kind(node, name, operands),
        }
    }

    /// Adds a fault if two values of different types are compared or added.
    fn compare(&mut self, node: &IdedExpr, name: &str, left: GuardType, right: GuardType) {
        if !left.may_be(&[right]) && !right.may_be(&[left]) {
            let (left, right) = (left.words(), right.words());
            self.add(node, format!("`{}` stands between {left} and {right}: it cannot hold", sign(name)));
        }
    }

    fn index_kind(&mut self, operand: &'a IdedExpr, key: &'a IdedExpr) -> GuardType {
        let what = "an index";
        let within = self.demand(operand, &[GuardType::List, GuardType::Mapping], what);
        match within {
            GuardType::List => self.demand(key, &[GuardType::Number], "a list's index"),
            GuardType::Mapping => self.demand(key, &[GuardType::Text], "a mapping's key"),
            GuardType::Boolean
            | GuardType::Number
            | GuardType::Text
            | GuardType::Prediction
            | GuardType::Nothing
            | GuardType::Any => self.kind(key),
        };
        match literal_text(key) {
            Some(field) => self.member_kind(operand, field),
            None if self.is_variable(operand, "counters") => GuardType::Number,
            None => GuardType::Any,
        }
    }

    fn function_kind(&mut self, node: &'a IdedExpr, name: &str, operands: &[&'a IdedExpr]) -> GuardType {
        let scalar = [GuardType::Number, GuardType::Text];
        let (kinds, count, gives): (&[GuardType], usize, GuardType) = match name {
            "size" => (&[GuardType::Text, GuardType::List, GuardType::Mapping], 1, GuardType::Number),
            "int" | "uint" | "double" => (&scalar, 1, GuardType::Number),
            "string" => (&[GuardType::Number, GuardType::Text, GuardType::Boolean], 1, GuardType::Text),
            "bool" => (&[GuardType::Boolean, GuardType::Text], 1, GuardType::Boolean),
            predict::PREDICT_FUNCTION => return GuardType::Prediction,
            "contains" | "startsWith" | "endsWith" => (&[GuardType::Text], 2, GuardType::Boolean),
            _ => return GuardType::Any,
        };
        if operands.len() != count {
            let example = if count == 1 { format!("{name}(x)") } else { format!("x.{name}(y)") };
            self.add(node, format!("write it like `{example}`"));
        }
        for operand in operands {
            self.demand(operand, kinds, &format!("`{name}`"));
        }
        gives
    }
}

fn literal_kind(literal: &LiteralValue) -> GuardType {
    match literal {
        LiteralValue::Boolean(_) => GuardType::Boolean,
        LiteralValue::Bytes(_) | LiteralValue::String(_) => GuardType::Text,
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => GuardType::Number,
        LiteralValue::Null => GuardType::Nothing,
    }
}

/// Returns an operator's symbol.
fn sign(name: &str) -> &str {
    name.trim_matches('_')
}
