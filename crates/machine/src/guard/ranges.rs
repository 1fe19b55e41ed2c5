//! What a condition says of counters: between which numbers they are where it holds, and where it does not.

use std::collections::BTreeMap;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::super::names::CounterName;

/// The numbers from `least` to `most`; none where `least` is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) least: i64,
    pub(crate) most: i64,
}

impl Range {
    /// What a counter may be: it begins at zero and only grows until it is cleared.
    const ALL: Self = Self { least: 0, most: i64::MAX };
    const NONE: Self = Self { least: 1, most: 0 };

    fn is_empty(self) -> bool {
        self.least > self.most
    }

    fn is_within(self, other: Self) -> bool {
        self.is_empty() || (other.least <= self.least && self.most <= other.most)
    }

    fn both(self, other: Self) -> Self {
        Self { least: self.least.max(other.least), most: self.most.min(other.most) }
    }

    fn either(self, other: Self) -> Self {
        if self.is_empty() {
            other
        } else if other.is_empty() {
            self
        } else {
            Self { least: self.least.min(other.least), most: self.most.max(other.most) }
        }
    }
}

/// The ranges of counters; one that is not here may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ranges {
    of: BTreeMap<CounterName, Range>,
    /// It never comes to that.
    is_never: bool,
}

impl Ranges {
    pub(crate) fn never() -> Self {
        Self { of: BTreeMap::new(), is_never: true }
    }

    fn one(counter: CounterName, range: Range) -> Self {
        let range = range.both(Range::ALL);
        Self { is_never: range.is_empty(), of: BTreeMap::from([(counter, range)]) }
    }

    /// Whether no counters are like this.
    pub(crate) fn is_never(&self) -> bool {
        self.is_never
    }

    /// The counters that are bounded from above.
    pub(crate) fn bounded(&self) -> impl Iterator<Item = &CounterName> {
        self.of.iter().filter(|(_, range)| range.most < i64::MAX).map(|(counter, _)| counter)
    }

    /// Where both are so.
    pub(crate) fn both(mut self, other: &Self) -> Self {
        self.is_never |= other.is_never;
        for (counter, range) in &other.of {
            let here = self.of.entry(counter.clone()).or_insert(Range::ALL);
            *here = here.both(*range);
            self.is_never |= here.is_empty();
        }
        self
    }

    /// Where either is so, or a little more.
    fn either(self, other: &Self) -> Self {
        if self.is_never {
            return other.clone();
        }
        if other.is_never {
            return self;
        }
        let of = self.of.into_iter().filter_map(|(counter, range)| {
            let range = range.either(*other.of.get(&counter)?);
            Some((counter, range))
        });
        Self { of: of.collect(), is_never: false }
    }

    /// Whether all that is like this is like `other` too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.is_never
            || (!other.is_never
                && other.of.iter().all(|(counter, range)| {
                    self.of.get(counter).copied().unwrap_or(Range::ALL).is_within(*range)
                }))
    }
}

/// How a condition comes out: what cannot be evaluated is neither true nor false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comes {
    True,
    False,
    NotTrue,
    NotFalse,
}

/// The ranges that counters are in wherever `node` comes out like this.
pub(super) fn ranges(node: &IdedExpr, comes: Comes) -> Ranges {
    let is_true = matches!(comes, Comes::True | Comes::NotFalse);
    if let Some(value) = truth(node) {
        return if value == is_true { Ranges::default() } else { Ranges::never() };
    }
    match call(node) {
        Some((operators::LOGICAL_NOT, [part])) => {
            let turned = match comes {
                Comes::True => Comes::False,
                Comes::False => Comes::True,
                Comes::NotTrue => Comes::NotFalse,
                Comes::NotFalse => Comes::NotTrue,
            };
            ranges(part, turned)
        }
        // One false part makes it false, whatever the other is; `||` is the same for true.
        Some((name @ (operators::LOGICAL_AND | operators::LOGICAL_OR), [left, right])) => {
            let (left, right) = (ranges(left, comes), ranges(right, comes));
            let needs_both = (name == operators::LOGICAL_AND) == is_true;
            if needs_both { left.both(&right) } else { left.either(&right) }
        }
        Some((name, [left, right])) => comparison(name, left, right, comes).unwrap_or_default(),
        _ => Ranges::default(),
    }
}

/// Whether `node` says nothing but what ranges counters are in.
pub(super) fn is_ranges_only(node: &IdedExpr) -> bool {
    match call(node) {
        None => truth(node).is_some(),
        Some((operators::LOGICAL_AND, [left, right])) => is_ranges_only(left) && is_ranges_only(right),
        Some((operators::NOT_EQUALS, _)) => false,
        Some((name, [left, right])) => comparison(name, left, right, Comes::True).is_some(),
        Some(_) => false,
    }
}

/// What a comparison of a counter with a number says of the counter.
fn comparison(name: &str, left: &IdedExpr, right: &IdedExpr, comes: Comes) -> Option<Ranges> {
    let (counter, number, name) = match (counter(left), number(right)) {
        (Some(counter), Some(number)) => (counter, number, name),
        _ => (counter(right)?, number(left)?, turned(name)),
    };
    let below = |most| Range { most, ..Range::ALL };
    let above = |least| Range { least, ..Range::ALL };
    let before = number.checked_sub(1).map_or(Range::NONE, below);
    let after = number.checked_add(1).map_or(Range::NONE, above);
    let equal = Range { least: number, most: number };
    // A counter is never below zero, so that not being zero is a range too.
    let unequal = if number == 0 { after } else { Range::ALL };
    let (holds, otherwise) = match name {
        operators::LESS => (before, above(number)),
        operators::LESS_EQUALS => (below(number), after),
        operators::GREATER => (after, below(number)),
        operators::GREATER_EQUALS => (above(number), before),
        operators::EQUALS => (equal, unequal),
        operators::NOT_EQUALS => (unequal, equal),
        _ => return None,
    };
    // A comparison of two whole numbers is always true or false.
    let range = if matches!(comes, Comes::True | Comes::NotFalse) { holds } else { otherwise };
    Some(Ranges::one(CounterName::new(counter).ok()?, range))
}

/// The comparison with its sides exchanged.
fn turned(name: &str) -> &str {
    match name {
        operators::LESS => operators::GREATER,
        operators::LESS_EQUALS => operators::GREATER_EQUALS,
        operators::GREATER => operators::LESS,
        operators::GREATER_EQUALS => operators::LESS_EQUALS,
        other => other,
    }
}

/// The counter that `node` is: `counters.x` or `counters['x']`.
fn counter(node: &IdedExpr) -> Option<&str> {
    let is_counters = |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if name == "counters");
    if let Expr::Select(select) = &node.expr {
        return (!select.test && is_counters(&select.operand)).then_some(select.field.as_str());
    }
    match call(node)? {
        (operators::INDEX, [operand, key]) if is_counters(operand) => literal_text(key),
        _ => None,
    }
}

fn call(node: &IdedExpr) -> Option<(&str, &[IdedExpr])> {
    let Expr::Call(call) = &node.expr else { return None };
    Some((&call.func_name, &call.args))
}

fn truth(node: &IdedExpr) -> Option<bool> {
    let Expr::Literal(LiteralValue::Boolean(value)) = &node.expr else { return None };
    Some(*value.inner())
}

fn number(node: &IdedExpr) -> Option<i64> {
    let Expr::Literal(LiteralValue::Int(number)) = &node.expr else { return None };
    Some(*number.inner())
}

/// The text that `node` is, word by word.
pub(super) fn literal_text(node: &IdedExpr) -> Option<&str> {
    let Expr::Literal(LiteralValue::String(text)) = &node.expr else { return None };
    Some(text.inner())
}
