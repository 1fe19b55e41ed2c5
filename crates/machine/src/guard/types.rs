//! What kind of value each part of a condition has, as far as that can be told before it is evaluated.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};

use super::super::rule::Rule;
use super::super::vocabulary::{FactKind, FactObject, VARIABLES};
use super::predict;
use super::ranges::literal_text;
use super::scope::GuardFault;

/// A kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Number,
    Text,
    List,
    Mapping,
    /// A model's answer: a text or a list of texts, as the event's values are a plain list or rows; that is known when it
    /// comes.
    Prediction,
    Nothing,
    /// It is told by what others send.
    Any,
}

impl Kind {
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

    /// Whether a value of this kind may be one of `kinds`.
    fn may_be(self, kinds: &[Self]) -> bool {
        let may_be_text_or_list = self == Self::Prediction;
        self == Self::Any
            || kinds.contains(&self)
            || (may_be_text_or_list && (kinds.contains(&Self::Text) || kinds.contains(&Self::List)))
    }
}

/// Finds the parts of a condition that take a value for one of another kind.
pub(super) fn check(program: &IdedExpr, source: &SourceInfo, facts: &[FactObject]) -> Vec<GuardFault> {
    let mut typer = Typer { source, facts, bound: Vec::new(), faults: Vec::new() };
    typer.demand_boolean(program);
    typer.faults
}

struct Typer<'a> {
    source: &'a SourceInfo,
    facts: &'a [FactObject],
    /// The variables of the macro that the walk is in.
    bound: Vec<&'a str>,
    faults: Vec<GuardFault>,
}

impl<'a> Typer<'a> {
    fn add(&mut self, at: &IdedExpr, message: String) {
        let offset = self.source.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        self.faults.push(GuardFault { offset, rule: Rule::GuardType, message });
    }

    fn is_variable(&self, node: &IdedExpr, name: &str) -> bool {
        matches!(&node.expr, Expr::Ident(ident) if ident == name) && !self.bound.contains(&name)
    }

    /// Whether it is one of the objects that the definition and faces give.
    fn is_object(&self, node: &IdedExpr) -> bool {
        VARIABLES.iter().any(|known| self.is_variable(node, known))
            || self.facts.iter().any(|facts| self.is_variable(node, &facts.name))
    }

    fn demand_boolean(&mut self, node: &'a IdedExpr) {
        let kind = self.kind(node);
        if !kind.may_be(&[Kind::Boolean]) {
            let kind = kind.words();
            self.add(
                node,
                format!("a condition is true or false, and this is {kind}; compare it with something"),
            );
        }
    }

    /// The kind of `node`, which `what` takes only if it is one of `kinds`; once that is refused, no more is made of it.
    fn demand(&mut self, node: &'a IdedExpr, kinds: &[Kind], what: &str) -> Kind {
        let kind = self.kind(node);
        if !kind.may_be(kinds) {
            let wanted: Vec<&str> = kinds.iter().map(|kind| kind.words()).collect();
            self.add(node, format!("{what} takes {}, and this is {}", wanted.join(" or "), kind.words()));
            return Kind::Any;
        }
        kind
    }

    fn kind(&mut self, node: &'a IdedExpr) -> Kind {
        match &node.expr {
            Expr::Literal(literal) => literal_kind(literal),
            Expr::Ident(_) if self.is_object(node) => Kind::Mapping,
            Expr::Select(select) => self.field_kind(node, select),
            Expr::List(list) => {
                for element in &list.elements {
                    self.kind(element);
                }
                Kind::List
            }
            Expr::Call(call) => self.call_kind(node, call),
            Expr::Comprehension(comprehension) => {
                self.demand(&comprehension.iter_range, &[Kind::List, Kind::Mapping], "a macro");
                self.bound = vec![&comprehension.iter_var, &comprehension.accu_var];
                self.bound.extend(comprehension.iter_var2.as_deref());
                self.kind(&comprehension.loop_step);
                self.bound.clear();
                Kind::Boolean
            }
            Expr::Ident(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => Kind::Any,
        }
    }

    fn field_kind(&mut self, node: &IdedExpr, select: &'a SelectExpr) -> Kind {
        let operand = self.kind(&select.operand);
        if !operand.may_be(&[Kind::Mapping]) {
            self.add(node, format!("{} has no `{}`", operand.words(), select.field));
        }
        if select.test {
            return Kind::Boolean;
        }
        self.member_kind(&select.operand, &select.field)
    }

    /// The kind of what the variable `operand` holds by the name of `field`.
    fn member_kind(&self, operand: &IdedExpr, field: &str) -> Kind {
        if self.is_variable(operand, "counters") {
            return Kind::Number;
        }
        let facts = self.facts.iter().find(|facts| self.is_variable(operand, &facts.name));
        match facts.and_then(|facts| facts.fields.get(field)) {
            Some(FactKind::Boolean) => Kind::Boolean,
            Some(FactKind::Number) => Kind::Number,
            Some(FactKind::Text) => Kind::Text,
            Some(FactKind::List) => Kind::List,
            Some(FactKind::Mapping) => Kind::Mapping,
            None => Kind::Any,
        }
    }

    fn call_kind(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Kind {
        let name = call.func_name.as_str();
        let operands: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        match (name, operands.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, parts) => {
                for part in parts {
                    self.demand_boolean(part);
                }
                Kind::Boolean
            }
            (operators::NOT_STRICTLY_FALSE, _) => Kind::Boolean,
            (operators::CONDITIONAL, [condition, yes, no]) => {
                self.demand_boolean(condition);
                let (yes, no) = (self.kind(yes), self.kind(no));
                if yes == no { yes } else { Kind::Any }
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                let (left, right) = (self.kind(left), self.kind(right));
                self.compare(node, name, left, right);
                Kind::Boolean
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                [left, right],
            ) => {
                let ordered = [Kind::Number, Kind::Text];
                let what = format!("`{}`", sign(name));
                let (left, right) = (self.demand(left, &ordered, &what), self.demand(right, &ordered, &what));
                self.compare(node, name, left, right);
                Kind::Boolean
            }
            (operators::IN, [element, within]) => {
                self.kind(element);
                self.demand(within, &[Kind::List, Kind::Mapping], "`in`");
                Kind::Boolean
            }
            (operators::INDEX, [operand, key]) => self.index_kind(operand, key),
            (operators::ADD, [left, right]) => {
                let summable = [Kind::Number, Kind::Text, Kind::List];
                let left = self.demand(left, &summable, "`+`");
                let right = self.demand(right, &summable, "`+`");
                self.compare(node, name, left, right);
                if left == Kind::Any { right } else { left }
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
                    self.demand(part, &[Kind::Number], &what);
                }
                Kind::Number
            }
            (_, operands) => self.function_kind(node, name, operands),
        }
    }

    /// Notes that two values are compared or added that are of different kinds.
    fn compare(&mut self, node: &IdedExpr, name: &str, left: Kind, right: Kind) {
        if !left.may_be(&[right]) && !right.may_be(&[left]) {
            let (left, right) = (left.words(), right.words());
            self.add(node, format!("`{}` stands between {left} and {right}: it cannot hold", sign(name)));
        }
    }

    fn index_kind(&mut self, operand: &'a IdedExpr, key: &'a IdedExpr) -> Kind {
        let what = "an index";
        let within = self.demand(operand, &[Kind::List, Kind::Mapping], what);
        match within {
            Kind::List => self.demand(key, &[Kind::Number], "a list's index"),
            Kind::Mapping => self.demand(key, &[Kind::Text], "a mapping's key"),
            Kind::Boolean | Kind::Number | Kind::Text | Kind::Prediction | Kind::Nothing | Kind::Any => {
                self.kind(key)
            }
        };
        match literal_text(key) {
            Some(field) => self.member_kind(operand, field),
            None if self.is_variable(operand, "counters") => Kind::Number,
            None => Kind::Any,
        }
    }

    fn function_kind(&mut self, node: &'a IdedExpr, name: &str, operands: &[&'a IdedExpr]) -> Kind {
        let scalar = [Kind::Number, Kind::Text];
        let (kinds, count, gives): (&[Kind], usize, Kind) = match name {
            "size" => (&[Kind::Text, Kind::List, Kind::Mapping], 1, Kind::Number),
            "int" | "uint" | "double" => (&scalar, 1, Kind::Number),
            "string" => (&[Kind::Number, Kind::Text, Kind::Boolean], 1, Kind::Text),
            "bool" => (&[Kind::Boolean, Kind::Text], 1, Kind::Boolean),
            predict::NAME => return Kind::Prediction,
            "contains" | "startsWith" | "endsWith" => (&[Kind::Text], 2, Kind::Boolean),
            _ => return Kind::Any,
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

fn literal_kind(literal: &LiteralValue) -> Kind {
    match literal {
        LiteralValue::Boolean(_) => Kind::Boolean,
        LiteralValue::Bytes(_) | LiteralValue::String(_) => Kind::Text,
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Kind::Number,
        LiteralValue::Null => Kind::Nothing,
    }
}

/// An operator as people write it.
fn sign(name: &str) -> &str {
    name.trim_matches('_')
}
