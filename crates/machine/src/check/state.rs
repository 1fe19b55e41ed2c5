//! States, their actions and their time limits.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::{Map, Value};

use super::super::definition::{ActionInvocation, State, StateKind, Timeout, TimeoutDue, TimeoutLimit};
use super::super::fault::FaultCollector;
use super::super::names::{CounterName, EventName};
use super::super::rule::Rule;
use super::super::source::{SourceContent, SourceFields, SourceKey, SourceNode};
use super::super::span::{is_in_calendar_units, parse_span};
use super::super::vocabulary::SettingFault;
use super::known_names::KnownNames;
use super::{hold, labels, transition};
use crate::operation::Operation;
use crate::parse_helpers::{about_text, is_true, required, required_name};

/// The maximum duration: ten years.
const MAX_DURATION: Duration = Duration::from_hours(10 * 366 * 24);

/// Checks the state that `key` names.
pub(super) fn check(
    key: &SourceKey,
    node: &SourceNode,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> State {
    let keys = [
        "about",
        "label",
        "resting",
        "final",
        "entry",
        "hold",
        "invoke",
        "timeout",
        "left_to_deadline",
        "always",
        "on",
    ];
    let fields = node.fields("a state; `{}` for one without anything", &keys, faults);
    let (kind, rests) = kind(key, fields, faults);
    let label = fields.get("label").and_then(|node| labels::label(node, faults));
    let about = about_text(fields, faults);
    let mut state = State { kind, label, is_declared_resting: rests, about, ..State::default() };
    if let Some(node) = fields.get("entry") {
        state.entry = Operation::parse_all(node, known.names(), faults);
    }
    state.hold = fields.get("hold").map(|node| hold::check(node, known, faults)).unwrap_or_default();
    for node in fields.get("invoke").map_or(&[][..], SourceNode::one_or_many) {
        state.invoke.extend(invoke(node, known, faults));
    }
    state.timeout = fields.get("timeout").and_then(|node| timeout(key, node, &state.invoke, known, faults));
    if let Some(node) = fields.get("always") {
        state.always = transition::check_always(node, known, faults);
    }
    if let Some(node) = fields.get("on") {
        let on = transition::check_on(node, known, faults);
        state.on = on.into_iter().map(|(_, event, transitions)| (event, transitions)).collect();
    }
    left_to_deadline(key, fields, &mut state, faults);
    state
}

/// Whether all its actions were parsed: the outcomes of an unknown action, which has been reported, are unknown too.
fn knows_actions(fields: SourceFields<'_>, state: &State) -> bool {
    fields.get("invoke").map_or(0, |node| node.one_or_many().len()) == state.invoke.len()
}

/// Parses the outcomes of the state's actions that are ignored, because the time limit decides what follows.
fn left_to_deadline(
    key: &SourceKey,
    fields: SourceFields<'_>,
    state: &mut State,
    faults: &mut FaultCollector,
) {
    let Some(node) = fields.get("left_to_deadline") else { return };
    let ends: Vec<String> = state
        .invoke
        .iter()
        .flat_map(|invoke| ["failed", "ok"].map(|end| format!("{}-{end}", invoke.action)))
        .collect();
    for element in node.one_or_many() {
        let Some(text) = element.text("the end of an action, such as `ACTION-failed`", faults) else {
            continue;
        };
        if knows_actions(fields, state) && !ends.iter().any(|end| end == text) {
            let known = ends.iter().map(String::as_str);
            faults.add_unknown(element.at, Rule::UnknownEvent, "end of an action of this state", text, known);
        } else if state.on.get(text).is_some_and(|on| on.iter().any(|transition| transition.guard.is_none()))
        {
            let message =
                format!("`on` handles `{text}` without a condition, so nothing is left to the deadline");
            faults.add(element.at, Rule::Form, message);
        } else {
            state.left_to_deadline.extend(EventName::new(text));
        }
    }
    if !node.one_or_many().is_empty() && fields.get("timeout").is_none() {
        let message = format!("`{}` has no `timeout`, so there is no deadline to leave it to", key.text);
        faults.add(node.at, Rule::UnhandledFailed, message);
    }
}

/// Returns the state's kind, and whether it is declared resting.
fn kind(key: &SourceKey, fields: SourceFields<'_>, faults: &mut FaultCollector) -> (StateKind, bool) {
    let resting = fields.get("resting").is_some_and(|node| is_true(node, faults));
    let is_final = fields.get("final").is_some_and(|node| is_true(node, faults));
    if resting && is_final {
        let at = fields.position_of("final").unwrap_or(key.at);
        faults.add(at, Rule::Form, "a state is either `resting`, and may be left again, or `final`");
    }
    let kind = match (is_final, resting, has_failed(&key.text)) {
        (true, _, _) => StateKind::Final,
        (false, _, true) => StateKind::Failed,
        (false, true, false) => StateKind::Resting,
        (false, false, false) => StateKind::Working,
    };
    (kind, resting)
}

/// Whether a state's name says that an operator is needed.
fn has_failed(name: &str) -> bool {
    name.starts_with("Failed") || name.starts_with("failed")
}

fn invoke(
    node: &SourceNode,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> Option<ActionInvocation> {
    if let SourceContent::Text(text) = &node.content {
        let action = known.action(node.at, text, faults)?;
        let invoke = ActionInvocation { action, limit: None, with: Map::new() };
        check_settings(&invoke, node, None, known, faults);
        return Some(invoke);
    }
    let fields = node.fields("an action, or `{ action, limit, with }`", &["action", "limit", "with"], faults);
    let action = required(node, fields, "action", faults)?;
    let action =
        action.text("the name of an action", faults).and_then(|text| known.action(action.at, text, faults));
    let limit = fields.get("limit").map(|node| duration(node, faults));
    let with = match fields.get("with") {
        None => Map::new(),
        Some(node) => {
            node.entries("a mapping of settings", faults);
            match node.to_json() {
                Value::Object(with) => with,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    Map::new()
                }
            }
        }
    };
    let invoke = ActionInvocation { action: action?, limit: limit.flatten(), with };
    check_settings(&invoke, node, fields.get("with"), known, faults);
    Some(invoke)
}

/// Checks the settings of an action, which are in `with`, if given.
fn check_settings(
    invoke: &ActionInvocation,
    node: &SourceNode,
    with: Option<&SourceNode>,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) {
    for SettingFault { key, message } in
        known.vocabulary.actions().check_settings(&invoke.action, &invoke.with)
    {
        let key = key.as_ref().zip(with).and_then(|(key, with)| with.child(key));
        faults.add(key.map_or(node.at, |(key, _)| key.at), Rule::Settings, message);
    }
}

fn timeout(
    state: &SourceKey,
    node: &SourceNode,
    invoke: &[ActionInvocation],
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> Option<Timeout> {
    let keys = ["after", "at", "target", "keep", "limit", "exceeded", "count"];
    let fields = node.fields("a time limit such as `{ after: 60s, target: … }`", &keys, faults);
    let due = match (fields.get("after"), fields.get("at")) {
        (Some(after), None) => duration(after, faults).map(TimeoutDue::After),
        (None, Some(at)) => time(at, faults).map(TimeoutDue::At),
        (None, None) => {
            faults.add(node.at, Rule::Form, "a time limit says `after:` (a duration) or `at:` (a time)");
            None
        }
        (Some(_), Some(at)) => {
            faults.add(at.at, Rule::Form, "a time limit has either `after` or `at`");
            None
        }
    };
    let target =
        required(node, fields, "target", faults).and_then(|node| known.state(node, "target", faults));
    let keep = fields.get("keep");
    if let Some(node) = keep {
        check_keep(node, faults);
        if target.as_ref().is_some_and(|target| target.as_str() != state.text) {
            faults.add(
                node.at,
                Rule::Form,
                format!("`keep` is for a time limit that leads back to `{}`", state.text),
            );
        }
        if invoke.is_empty() {
            faults.add(node.at, Rule::Form, format!("`{}` invokes no action that could be kept", state.text));
        }
    }
    let limit = limit(state, fields, known, faults);
    Some(Timeout { due: due?, target: target?, limit, keeps_actions: keep.is_some() })
}

fn check_keep(node: &SourceNode, faults: &mut FaultCollector) {
    match node.text("`actions`", faults) {
        Some("actions") | None => {}
        Some(other) => faults.add_unknown(node.at, Rule::Form, "thing to keep", other, ["actions"]),
    }
}

fn limit(
    state: &SourceKey,
    fields: SourceFields<'_>,
    known: &KnownNames<'_>,
    faults: &mut FaultCollector,
) -> Option<TimeoutLimit> {
    let exceeded = fields.get("exceeded").map(|node| known.state(node, "target", faults));
    let Some(node) = fields.get("limit") else {
        for key in ["exceeded", "count"] {
            if let Some(at) = fields.position_of(key) {
                faults.add(
                    at,
                    Rule::Form,
                    format!("`{key}` without `limit`: add how often the time limit may expire"),
                );
            }
        }
        return None;
    };
    if exceeded.is_none() {
        let at = fields.position_of("limit").unwrap_or(node.at);
        faults.add(at, Rule::Form, "`limit` without `exceeded`: add which state follows");
    }
    let counter = match fields.get("count") {
        Some(node) => required_name(node, "a counter", faults),
        None => CounterName::new(&state.text).ok(),
    };
    let max_count = match &node.content {
        SourceContent::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        SourceContent::Null
        | SourceContent::Bool(_)
        | SourceContent::Text(_)
        | SourceContent::List(_)
        | SourceContent::Map(_) => None,
    }
    .or_else(|| {
        faults.add(node.at, Rule::Form, "`limit` is a whole number from 0 to 4294967295");
        None
    });
    Some(TimeoutLimit { counter: counter?, max_count: max_count?, exceeded: exceeded.flatten()? })
}

pub(super) fn duration(node: &SourceNode, faults: &mut FaultCollector) -> Option<Duration> {
    let example = "write it like `60s`, `5m` or `1h 30m`";
    let text = match &node.content {
        SourceContent::Number(number) => {
            faults.add(node.at, Rule::Form, format!("the duration `{number}` has no unit; {example}"));
            return None;
        }
        SourceContent::Null
        | SourceContent::Bool(_)
        | SourceContent::Text(_)
        | SourceContent::List(_)
        | SourceContent::Map(_) => node.text("a duration", faults)?,
    };
    let message = match parse_span(text) {
        Ok(duration) if duration.is_zero() => "a duration must be greater than zero".to_owned(),
        Ok(duration) if duration > MAX_DURATION => format!("`{text}` is more than ten years"),
        Ok(duration) => {
            if is_in_calendar_units(text) {
                let days = duration.as_secs() / 86_400;
                let message = format!(
                    "`{text}` is {days} days and some hours: months and years are averages; write it in days"
                );
                faults.add(node.at, Rule::LongDuration, message);
            }
            return Some(duration);
        }
        Err(error) => format!("bad duration `{text}`: {error}; {example}"),
    };
    faults.add(node.at, Rule::Form, message);
    None
}

fn time(node: &SourceNode, faults: &mut FaultCollector) -> Option<DateTime<Utc>> {
    let text = node.text("a time", faults)?;
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc));
    let time = time
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc()));
    if time.is_err() {
        faults.add(node.at, Rule::Form, format!("bad time `{text}`; write it like `3000-01-01T12:00:00Z`"));
    }
    time.ok()
}
