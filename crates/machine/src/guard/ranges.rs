//! The counter ranges in which a condition holds or does not hold.

use std::collections::BTreeMap;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::super::names::CounterName;

/// The numbers from `min` to `max`; empty if `min` is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CounterRange {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl CounterRange {
    /// All values of a counter: it is never negative.
    const ALL: Self = Self { min: 0, max: i64::MAX };
    const NONE: Self = Self { min: 1, max: 0 };

    fn is_empty(self) -> bool {
        self.min > self.max
    }

    fn is_within(self, other: Self) -> bool {
        self.is_empty() || (other.min <= self.min && self.max <= other.max)
    }

    fn intersect(self, other: Self) -> Self {
        Self { min: self.min.max(other.min), max: self.max.min(other.max) }
    }

    fn union(self, other: Self) -> Self {
        if self.is_empty() {
            other
        } else if other.is_empty() {
            self
        } else {
            Self { min: self.min.min(other.min), max: self.max.max(other.max) }
        }
    }
}

/// Ranges of counters; a counter without an entry is unrestricted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CounterRanges {
    by_counter: BTreeMap<CounterName, CounterRange>,
    /// Whether no combination of counters is possible.
    is_impossible: bool,
}

impl CounterRanges {
    pub(crate) fn impossible() -> Self {
        Self { by_counter: BTreeMap::new(), is_impossible: true }
    }

    fn one(counter: CounterName, range: CounterRange) -> Self {
        let range = range.intersect(CounterRange::ALL);
        Self { is_impossible: range.is_empty(), by_counter: BTreeMap::from([(counter, range)]) }
    }

    /// Whether no combination of counters is possible.
    pub(crate) fn is_impossible(&self) -> bool {
        self.is_impossible
    }

    /// Returns the counters with an upper bound.
    pub(crate) fn bounded_counters(&self) -> impl Iterator<Item = &CounterName> {
        self.by_counter.iter().filter(|(_, range)| range.max < i64::MAX).map(|(counter, _)| counter)
    }

    /// Returns the intersection.
    pub(crate) fn intersect(mut self, other: &Self) -> Self {
        self.is_impossible |= other.is_impossible;
        for (counter, range) in &other.by_counter {
            let here = self.by_counter.entry(counter.clone()).or_insert(CounterRange::ALL);
            *here = here.intersect(*range);
            self.is_impossible |= here.is_empty();
        }
        self
    }

    /// Returns a superset of the union.
    fn union(self, other: &Self) -> Self {
        if self.is_impossible {
            return other.clone();
        }
        if other.is_impossible {
            return self;
        }
        let of = self.by_counter.into_iter().filter_map(|(counter, range)| {
            let range = range.union(*other.by_counter.get(&counter)?);
            Some((counter, range))
        });
        Self { by_counter: of.collect(), is_impossible: false }
    }

    /// Whether it is a subset of `other`.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.is_impossible
            || (!other.is_impossible
                && other.by_counter.iter().all(|(counter, range)| {
                    self.by_counter.get(counter).copied().unwrap_or(CounterRange::ALL).is_within(*range)
                }))
    }
}

/// The result of a condition: one that cannot be evaluated is neither true nor false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConditionResult {
    True,
    False,
    NotTrue,
    NotFalse,
}

/// Returns the counter ranges in which `node` has this result.
pub(super) fn ranges(node: &IdedExpr, result: ConditionResult) -> CounterRanges {
    let is_true = matches!(result, ConditionResult::True | ConditionResult::NotFalse);
    if let Some(value) = literal_bool(node) {
        return if value == is_true { CounterRanges::default() } else { CounterRanges::impossible() };
    }
    match call(node) {
        Some((operators::LOGICAL_NOT, [part])) => {
            let negated = match result {
                ConditionResult::True => ConditionResult::False,
                ConditionResult::False => ConditionResult::True,
                ConditionResult::NotTrue => ConditionResult::NotFalse,
                ConditionResult::NotFalse => ConditionResult::NotTrue,
            };
            ranges(part, negated)
        }
        // One false operand makes `&&` false, regardless of the other; the same holds for `||` and true.
        Some((name @ (operators::LOGICAL_AND | operators::LOGICAL_OR), [left, right])) => {
            let (left, right) = (ranges(left, result), ranges(right, result));
            let needs_both = (name == operators::LOGICAL_AND) == is_true;
            if needs_both { left.intersect(&right) } else { left.union(&right) }
        }
        Some((name, [left, right])) => comparison(name, left, right, result).unwrap_or_default(),
        _ => CounterRanges::default(),
    }
}

/// Whether `node` depends on counter ranges only.
pub(super) fn is_ranges_only(node: &IdedExpr) -> bool {
    match call(node) {
        None => literal_bool(node).is_some(),
        Some((operators::LOGICAL_AND, [left, right])) => is_ranges_only(left) && is_ranges_only(right),
        Some((operators::NOT_EQUALS, _)) => false,
        Some((name, [left, right])) => comparison(name, left, right, ConditionResult::True).is_some(),
        Some(_) => false,
    }
}

/// Returns the counter range of a comparison of a counter with a number.
fn comparison(
    name: &str,
    left: &IdedExpr,
    right: &IdedExpr,
    result: ConditionResult,
) -> Option<CounterRanges> {
    let (counter, number, name) = match (counter(left), number(right)) {
        (Some(counter), Some(number)) => (counter, number, name),
        _ => (counter(right)?, number(left)?, mirrored_operator(name)),
    };
    let below = |max| CounterRange { max, ..CounterRange::ALL };
    let above = |min| CounterRange { min, ..CounterRange::ALL };
    let before = number.checked_sub(1).map_or(CounterRange::NONE, below);
    let after = number.checked_add(1).map_or(CounterRange::NONE, above);
    let equal = CounterRange { min: number, max: number };
    // A counter is never negative, so `!= 0` is a range too.
    let unequal = if number == 0 { after } else { CounterRange::ALL };
    let (holds, otherwise) = match name {
        operators::LESS => (before, above(number)),
        operators::LESS_EQUALS => (below(number), after),
        operators::GREATER => (after, below(number)),
        operators::GREATER_EQUALS => (above(number), before),
        operators::EQUALS => (equal, unequal),
        operators::NOT_EQUALS => (unequal, equal),
        _ => return None,
    };
    // A comparison of two integers is always true or false.
    let range =
        if matches!(result, ConditionResult::True | ConditionResult::NotFalse) { holds } else { otherwise };
    Some(CounterRanges::one(CounterName::new(counter).ok()?, range))
}

/// Returns the comparison with its operands swapped.
fn mirrored_operator(name: &str) -> &str {
    match name {
        operators::LESS => operators::GREATER,
        operators::LESS_EQUALS => operators::GREATER_EQUALS,
        operators::GREATER => operators::LESS,
        operators::GREATER_EQUALS => operators::LESS_EQUALS,
        other => other,
    }
}

/// Returns the counter that `node` refers to: `counters.x` or `counters['x']`.
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

fn literal_bool(node: &IdedExpr) -> Option<bool> {
    let Expr::Literal(LiteralValue::Boolean(value)) = &node.expr else { return None };
    Some(*value.inner())
}

fn number(node: &IdedExpr) -> Option<i64> {
    let Expr::Literal(LiteralValue::Int(number)) = &node.expr else { return None };
    Some(*number.inner())
}

/// Returns the text of a string literal.
pub(super) fn literal_text(node: &IdedExpr) -> Option<&str> {
    let Expr::Literal(LiteralValue::String(text)) = &node.expr else { return None };
    Some(text.inner())
}
