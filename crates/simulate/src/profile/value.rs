//! The values of a profile: spans, shares, numbers.

use std::time::Duration;

use machine::Distribution;
use machine::Rule;
use machine::parse_span;
use machine::source_text::FaultCollector;
use machine::source_text::{SourceContent, SourceFields, SourceNode};

/// Maximum span: a hundred years.
const MAX_SPAN: Duration = Duration::from_hours(100 * 8766);
/// Maximum current, in milliampere: 1,000,000 A.
const MAX_CURRENT_MA: f64 = 1e9;
/// Seconds of a day and of a mean year.
const DAY_S: f64 = 86_400.0;
const YEAR_S: f64 = 365.25 * DAY_S;

/// The notations of a random span.
const DISTRIBUTION_FORMS: &str = "`30s`, `{ from: 10s, to: 20s }`, `{ median: 45s, p95: 90s }`, `{ mean: 2d }`, `{ per_day: 2 }` or \
                     `{ per_year: 4 }`";

/// Reads a random span.
pub(super) fn distribution(node: &SourceNode, faults: &mut FaultCollector) -> Option<Distribution> {
    let entries = match &node.content {
        SourceContent::Map(entries) => entries,
        SourceContent::Text(_) | SourceContent::Number(_) => {
            return seconds(node, faults).map(Distribution::Constant);
        }
        SourceContent::Null | SourceContent::Bool(_) | SourceContent::List(_) => {
            node.refuse(&format!("a span: {DISTRIBUTION_FORMS}"), faults);
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
        (_, _, ["per_day"]) => Some(Distribution::rate(rate(get("per_day")?, faults)?, DAY_S)),
        (_, _, ["per_year"]) => Some(Distribution::rate(rate(get("per_year")?, faults)?, YEAR_S)),
        _ => {
            faults.add(node.at, Rule::Form, format!("not a span; write {DISTRIBUTION_FORMS}"));
            None
        }
    }
}

/// Reads the required random span `key`.
pub(super) fn required_span(
    parent: &SourceNode,
    fields: SourceFields<'_>,
    key: &str,
    faults: &mut FaultCollector,
) -> Option<Distribution> {
    let node = fields.get(key);
    if node.is_none() {
        faults.add(parent.at, Rule::Form, format!("`{key}` is missing"));
    }
    distribution(node?, faults)
}

fn in_order(
    node: &SourceNode,
    lower: f64,
    upper: f64,
    message: &str,
    faults: &mut FaultCollector,
) -> Option<()> {
    if lower > upper {
        faults.add(node.at, Rule::Form, message);
        return None;
    }
    Some(())
}

/// Reads a span in milliseconds.
pub(super) fn milliseconds(node: &SourceNode, faults: &mut FaultCollector) -> Option<u64> {
    span(node, faults).and_then(|span| u64::try_from(span.as_millis()).ok())
}

fn seconds(node: &SourceNode, faults: &mut FaultCollector) -> Option<f64> {
    span(node, faults).map(|span| span.as_secs_f64())
}

fn positive(node: &SourceNode, faults: &mut FaultCollector) -> Option<f64> {
    let seconds = seconds(node, faults)?;
    if seconds <= 0.0 {
        faults.add(node.at, Rule::Form, "a median or mean must be above 0");
        return None;
    }
    Some(seconds)
}

fn span(node: &SourceNode, faults: &mut FaultCollector) -> Option<Duration> {
    let example = "write it like `45s`, `5m` or `2d 12h`";
    let text = match &node.content {
        SourceContent::Number(number) => {
            faults.add(node.at, Rule::Form, format!("the span `{number}` has no unit; {example}"));
            return None;
        }
        SourceContent::Null
        | SourceContent::Bool(_)
        | SourceContent::Text(_)
        | SourceContent::List(_)
        | SourceContent::Map(_) => node.text("a span", faults)?,
    };
    let message = match parse_span(text) {
        Ok(span) if span > MAX_SPAN => format!("`{text}` is more than a hundred years"),
        Ok(span) => return Some(span),
        Err(error) => format!("bad span `{text}`: {error}; {example}"),
    };
    faults.add(node.at, Rule::Form, message);
    None
}

/// Reads a rate: a number above 0.
fn rate(node: &SourceNode, faults: &mut FaultCollector) -> Option<f64> {
    let number = match &node.content {
        SourceContent::Number(number) => number.as_f64(),
        SourceContent::Null
        | SourceContent::Bool(_)
        | SourceContent::Text(_)
        | SourceContent::List(_)
        | SourceContent::Map(_) => None,
    };
    let number = number.filter(|number| *number > 0.0 && *number <= 1e9);
    if number.is_none() {
        faults.add(
            node.at,
            Rule::Form,
            "a rate is a number above 0, such as `2` or `0.5`; leave out what never happens",
        );
    }
    number
}

/// Reads a share from 0 to 1, written as `2%` or `0.02`.
pub(super) fn share(node: &SourceNode, faults: &mut FaultCollector) -> Option<f64> {
    let share = match &node.content {
        SourceContent::Number(number) => number.as_f64(),
        SourceContent::Text(text) => {
            let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            percent.map(|percent| percent / 100.0)
        }
        SourceContent::Null | SourceContent::Bool(_) | SourceContent::List(_) | SourceContent::Map(_) => None,
    };
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    if share.is_none() {
        faults.add(node.at, Rule::Form, "a share is from `0%` to `100%`, or a number from 0 to 1");
    }
    share
}

/// Reads a current in milliampere, written as `16A` or `800mA`.
pub(super) fn current(node: &SourceNode, faults: &mut FaultCollector) -> Option<u32> {
    let text = node.text("a current", faults)?;
    let number = |text: &str, unit: f64| {
        let number = text.trim().parse::<f64>().ok()? * unit;
        (0.0..=MAX_CURRENT_MA).contains(&number).then_some(number)
    };
    let milliampere = match text.strip_suffix("mA") {
        Some(text) => number(text, 1.0),
        None => text.strip_suffix('A').and_then(|text| number(text, 1000.0)),
    };
    if milliampere.is_none() {
        faults.add(
            node.at,
            Rule::Form,
            format!("bad current `{text}`: write it like `16A` or `800mA`, up to 1000000 A"),
        );
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a billion")]
    milliampere.map(|number| number.round() as u32)
}

/// Reads a whole number from 1 to `max`.
pub(super) fn count(node: &SourceNode, max: usize, faults: &mut FaultCollector) -> Option<usize> {
    let number = match &node.content {
        SourceContent::Number(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
        SourceContent::Null
        | SourceContent::Bool(_)
        | SourceContent::Text(_)
        | SourceContent::List(_)
        | SourceContent::Map(_) => None,
    };
    let number = number.filter(|number| (1..=max).contains(number));
    if number.is_none() {
        faults.add(node.at, Rule::Form, format!("expected a whole number from 1 to {max}"));
    }
    number
}
