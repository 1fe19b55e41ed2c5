//! The values of a profile: spans, shares, numbers.

use std::time::Duration;

use machine::Distribution;
use machine::Rule;
use machine::parse_span;
use machine::text::Collector;
use machine::text::{Content, Fields, Node};

/// No span is longer: a hundred years.
const MAX_SPAN: Duration = Duration::from_hours(100 * 8766);
/// Seconds of a day and of a year.
const DAY: f64 = 86_400.0;
const YEAR: f64 = 365.25 * DAY;

/// How a span by chance is written.
const FORMS: &str = "`30s`, `{ from: 10s, to: 20s }`, `{ median: 45s, p95: 90s }`, `{ mean: 2d }`, `{ per_day: 2 }` or \
                     `{ per_year: 4 }`";

/// The span by chance that `node` is.
pub(super) fn distribution(node: &Node, faults: &mut Collector) -> Option<Distribution> {
    let entries = match &node.content {
        Content::Map(entries) => entries,
        Content::Text(_) | Content::Number(_) => {
            return seconds(node, faults).map(Distribution::Constant);
        }
        Content::Null | Content::Bool(_) | Content::List(_) => {
            node.refuse(&format!("a span: {FORMS}"), faults);
            return None;
        }
    };
    let keys = ["from", "to", "median", "p95", "mean", "per_day", "per_year"];
    let fields = node.fields("a span", &keys, faults);
    let written: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    let get = |key| fields.get(key);
    if written.iter().any(|key| !keys.contains(key)) {
        return None;
    }
    match (get("from").zip(get("to")), get("median").zip(get("p95")), written.as_slice()) {
        (Some((from, to)), _, [_, _]) => {
            let (from, to) = (seconds(from, faults)?, seconds(to, faults)?);
            in_order(node, from, to, "`from` is not above `to`", faults)?;
            Some(Distribution::Uniform { from, to })
        }
        (_, Some((median, p95)), [_, _]) => {
            let (median, p95) = (positive(median, faults)?, positive(p95, faults)?);
            in_order(node, median, p95, "`median` is not above `p95`", faults)?;
            Some(Distribution::log_normal(median, p95))
        }
        (_, _, ["mean"]) => Some(Distribution::Exponential { mean: positive(get("mean")?, faults)? }),
        (_, _, ["per_day"]) => Some(Distribution::rate(times(get("per_day")?, faults)?, DAY)),
        (_, _, ["per_year"]) => Some(Distribution::rate(times(get("per_year")?, faults)?, YEAR)),
        _ => {
            faults.add(node.at, Rule::Form, format!("this is no span; write {FORMS}"));
            None
        }
    }
}

/// The span by chance that `key` says, which must be there.
pub(super) fn required_span(
    parent: &Node,
    fields: Fields<'_>,
    key: &str,
    faults: &mut Collector,
) -> Option<Distribution> {
    let node = fields.get(key);
    if node.is_none() {
        faults.add(parent.at, Rule::Form, format!("`{key}` is missing"));
    }
    distribution(node?, faults)
}

fn in_order(node: &Node, least: f64, most: f64, right: &str, faults: &mut Collector) -> Option<()> {
    if least > most {
        faults.add(node.at, Rule::Form, right);
        return None;
    }
    Some(())
}

/// The span that `node` is, in milliseconds.
pub(super) fn milliseconds(node: &Node, faults: &mut Collector) -> Option<u64> {
    span(node, faults).and_then(|span| u64::try_from(span.as_millis()).ok())
}

fn seconds(node: &Node, faults: &mut Collector) -> Option<f64> {
    span(node, faults).map(|span| span.as_secs_f64())
}

fn positive(node: &Node, faults: &mut Collector) -> Option<f64> {
    let seconds = seconds(node, faults)?;
    if seconds <= 0.0 {
        faults.add(node.at, Rule::Form, "a median or mean is more than nothing");
        return None;
    }
    Some(seconds)
}

fn span(node: &Node, faults: &mut Collector) -> Option<Duration> {
    let example = "write it like `45s`, `5m` or `2d 12h`";
    let text = match &node.content {
        Content::Number(number) => {
            faults.add(node.at, Rule::Form, format!("the span `{number}` has no unit; {example}"));
            return None;
        }
        Content::Null | Content::Bool(_) | Content::Text(_) | Content::List(_) | Content::Map(_) => {
            node.text("a span", faults)?
        }
    };
    let message = match parse_span(text) {
        Ok(span) if span > MAX_SPAN => format!("`{text}` is more than a hundred years"),
        Ok(span) => return Some(span),
        Err(error) => format!("bad span `{text}`: {error}; {example}"),
    };
    faults.add(node.at, Rule::Form, message);
    None
}

/// How often something happens: a number above nothing.
fn times(node: &Node, faults: &mut Collector) -> Option<f64> {
    let number = match &node.content {
        Content::Number(number) => number.as_f64(),
        Content::Null | Content::Bool(_) | Content::Text(_) | Content::List(_) | Content::Map(_) => None,
    };
    let number = number.filter(|number| *number > 0.0 && *number <= 1e9);
    if number.is_none() {
        faults.add(
            node.at,
            Rule::Form,
            "how often is a number above 0, such as `2` or `0.5`; leave out what never happens",
        );
    }
    number
}

/// A share from 0 to 1, written as `2%` or `0.02`.
pub(super) fn share(node: &Node, faults: &mut Collector) -> Option<f64> {
    let share = match &node.content {
        Content::Number(number) => number.as_f64(),
        Content::Text(text) => {
            let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            percent.map(|percent| percent / 100.0)
        }
        Content::Null | Content::Bool(_) | Content::List(_) | Content::Map(_) => None,
    };
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    if share.is_none() {
        faults.add(node.at, Rule::Form, "a share is from `0%` to `100%`, or a number from 0 to 1");
    }
    share
}

/// A whole number from 1 to `most`.
pub(super) fn count(node: &Node, most: usize, faults: &mut Collector) -> Option<usize> {
    let number = match &node.content {
        Content::Number(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
        Content::Null | Content::Bool(_) | Content::Text(_) | Content::List(_) | Content::Map(_) => None,
    };
    let number = number.filter(|number| (1..=most).contains(number));
    if number.is_none() {
        faults.add(node.at, Rule::Form, format!("expected a whole number from 1 to {most}"));
    }
    number
}
