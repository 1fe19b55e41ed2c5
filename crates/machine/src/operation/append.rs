//! `append: { to: NAME, value: VALUE, last: COUNT }`: adds a value to a list in the instance's data, which keeps the
//! last ones.

use serde_json::Value;

use super::context::OperationContext;
use super::names::OperationNames;
use super::operation_kind::OperationKind;
use super::value::OperationValue;
use crate::fault::FaultCollector;
use crate::parse_helpers::required;
use crate::rule::Rule;
use crate::source::{SourceContent, SourceNode};

/// The maximum length of a list: it is stored again with each transition, and each value may be as long as a
/// request.
const MAX_APPENDED_VALUES: usize = 20;

/// Appends a value to a list.
#[derive(Debug, Clone, PartialEq)]
pub struct AppendOperation {
    /// The data entry with the list. A value of another kind is replaced by a list.
    pub to: String,
    /// The value. A missing value, a list or an object is not appended.
    pub value: OperationValue,
    /// The maximum length of the list.
    pub last: usize,
}

impl OperationKind for AppendOperation {
    const KEY: &'static str = "append";

    fn parse(node: &SourceNode, _: OperationNames<'_>, faults: &mut FaultCollector) -> Option<Self> {
        let fields = node.fields(
            "a value such as `{ to: NAME, value: …, last: 10 }`",
            &["to", "value", "last"],
            faults,
        );
        let to = required(node, fields, "to", faults);
        let to = to.and_then(|node| node.text("the name of a list in the data", faults));
        let value = required(node, fields, "value", faults).and_then(|node| value(node, faults));
        let last = required(node, fields, "last", faults).and_then(|node| last(node, faults));
        Some(Self { to: to?.to_owned(), value: value?, last: last? })
    }

    fn apply(&self, change: &mut OperationContext<'_>) {
        let Some(value) = change.value(&self.value).filter(is_single) else { return };
        let mut list = match change.instance.data.remove(&self.to) {
            Some(Value::Array(list)) => list,
            Some(_) | None => Vec::new(),
        };
        list.push(value);
        list.drain(..list.len().saturating_sub(self.last));
        change.instance.data.insert(self.to.clone(), Value::Array(list));
    }

    fn describe(&self) -> String {
        let Self { to, value, last } = self;
        format!("append {value} to {to}, keep the last {last}")
    }
}

fn value(node: &SourceNode, faults: &mut FaultCollector) -> Option<OperationValue> {
    let setting = OperationValue::parse(node, faults)?;
    if matches!(&setting, OperationValue::Value(value) if !is_single(value)) {
        node.refuse("a text, a number, `true` or `false`", faults);
        return None;
    }
    Some(setting)
}

fn last(node: &SourceNode, faults: &mut FaultCollector) -> Option<usize> {
    let count = match &node.content {
        SourceContent::Number(number) => number.as_u64().and_then(|count| usize::try_from(count).ok()),
        SourceContent::Null
        | SourceContent::Bool(_)
        | SourceContent::Text(_)
        | SourceContent::List(_)
        | SourceContent::Map(_) => None,
    };
    let count = count.filter(|count| (1..=MAX_APPENDED_VALUES).contains(count));
    if count.is_none() {
        let message = format!("`last` is the maximum length of the list, from 1 to {MAX_APPENDED_VALUES}");
        faults.add(node.at, Rule::Form, message);
    }
    count
}

/// Whether a value is scalar: a list that is appended to itself would nest without end.
fn is_single(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Map, json};

    use super::*;
    use crate::testing::vocabulary;
    use crate::{
        Cause, CheckReport, Definition, EventName, EventSource, Instance, Outcome, Stimulus, check, create,
        decide,
    };

    fn checked(append: &str) -> CheckReport {
        let text = format!(
            "machine: m
initial: Trying
events: {{ failed: {{ from: operator }} }}
states:
  Trying:
    about: a try is under way
    resting: true
    on:
      failed:
        - {{ if: \"size(data.faults) == 2 && data.faults.all(one, one == args.fault)\", target: Failed }}
        - {{ target: Trying, do: {{ append: {append} }} }}
  Failed: {{ final: true, about: it failed three times in one way }}
"
        );
        check(&text, &vocabulary(&[]))
    }

    fn definition(append: &str) -> Definition {
        let CheckReport { definition, faults } = checked(append);
        definition.unwrap_or_else(|| panic!("{faults:?}"))
    }

    fn fail(definition: &Definition, instance: &Instance, args: Value) -> Instance {
        let (Value::Object(args), Ok(name)) = (args, EventName::new("failed")) else { panic!("no event") };
        let cause = Cause::Event { name, source: EventSource::Operator, args, visit: None };
        let decision = decide(definition, instance, &Stimulus::new(cause), DateTime::UNIX_EPOCH);
        assert!(matches!(decision.outcome, Outcome::Moved { .. }), "{:?}", decision.outcome);
        decision.instance
    }

    #[test]
    fn the_last_values_are_kept_in_order_and_conditions_read_them() {
        let definition = definition("{ to: faults, value: $args.fault, last: 2 }");
        let mut instance = create(&definition, "one", Map::new(), DateTime::UNIX_EPOCH).instance;
        for (fault, faults) in [
            (json!({ "fault": "card" }), json!(["card"])),
            (json!({ "fault": 7 }), json!(["card", 7])),
            (json!({ "fault": "net" }), json!([7, "net"])),
            (json!({}), json!([7, "net"])),
            (json!({ "fault": { "why": ["net"] } }), json!([7, "net"])),
            (json!({ "fault": "net" }), json!(["net", "net"])),
        ] {
            instance = fail(&definition, &instance, fault);
            assert_eq!((instance.state.as_str(), &instance.data["faults"]), ("Trying", &faults));
        }
        instance = fail(&definition, &instance, json!({ "fault": "net" }));
        assert_eq!(instance.state.as_str(), "Failed");
    }

    #[test]
    fn other_values_are_replaced_by_a_list_and_a_list_is_not_appended_to_itself() {
        let appended = |append: &str| {
            let definition = definition(append);
            let mut instance = create(&definition, "one", Map::new(), DateTime::UNIX_EPOCH).instance;
            instance.data.insert("faults".to_owned(), json!("a text of an earlier definition"));
            instance.data.insert("list".to_owned(), json!([1]));
            fail(&definition, &instance, json!({})).data
        };
        assert_eq!(appended("{ to: faults, value: $instance.name, last: 3 }")["faults"], json!(["one"]));
        assert_eq!(appended("{ to: list, value: $data.list, last: 3 }")["list"], json!([1]));
    }

    #[test]
    fn a_list_without_a_bound_or_of_lists_is_refused() {
        for (append, wrong) in [
            ("{ to: faults, value: 1 }", "`last` is missing"),
            ("{ to: faults, last: 1 }", "`value` is missing"),
            ("{ value: 1, last: 1 }", "`to` is missing"),
            ("{ to: faults, value: 1, last: 0 }", "`last` is the maximum length of the list, from 1 to 20"),
            ("{ to: faults, value: 1, last: 21 }", "`last` is the maximum length of the list, from 1 to 20"),
            ("{ to: faults, value: [1], last: 1 }", "expected a text, a number, `true` or `false`"),
            ("{ to: faults, value: $argument, last: 1 }", "`$argument` is none of"),
        ] {
            let CheckReport { definition, faults } = checked(append);
            assert!(definition.is_none() && faults[0].message.contains(wrong), "{append}: {faults:?}");
        }
    }

    #[test]
    fn it_is_described_in_words() {
        let append = AppendOperation {
            to: "faults".to_owned(),
            value: OperationValue::Argument("fault".to_owned()),
            last: 2,
        };
        assert_eq!(append.describe(), "append $args.fault to faults, keep the last 2");
    }
}
