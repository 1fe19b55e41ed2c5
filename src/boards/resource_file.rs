//! Files with the settings of all resources, and with the loads of hardware.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::current::{format_current, parse_current};
use crate::engine::{LimitOverrides, ResourceSettings};
use crate::formatting::duration;
use crate::machine::source_text::{self, FaultCollector, SourceContent, SourceFields, SourceNode};
use crate::machine::{Rule, SourceFaults, parse_span};

/// The longest name of a resource, in bytes.
pub const MAX_RESOURCE_NAME_BYTES: usize = 500;
/// The longest description of a resource, in bytes.
pub const MAX_RESOURCE_ABOUT_BYTES: usize = 500;
/// The longest gap, settle time and window.
pub const MAX_LIMIT_SPAN: Duration = Duration::from_hours(24);
/// The longest off time that a resource can demand: with its connections, a power cycle has to end within the minute that
/// its state allows.
pub const MAX_MIN_OFF: Duration = Duration::from_secs(45);

const KEYS: [&str; 8] = ["about", "within", "capacity", "gap", "settle", "window", "budget", "min_off"];

/// The settings of all resources, and the currents that hardware draws when it is switched on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceFile {
    /// The settings, by resource.
    pub resources: BTreeMap<String, ResourceSettings>,
    /// The loads in milliampere, by hardware.
    pub loads: BTreeMap<String, u32>,
}

/// Says what is wrong with the name of a resource.
#[must_use]
pub fn refuse_resource_name(name: &str) -> Option<&'static str> {
    let is_bad =
        name.is_empty() || name.len() > MAX_RESOURCE_NAME_BYTES || name.chars().any(char::is_control);
    is_bad.then_some("the name of a resource has 1 to 500 bytes without control characters")
}

impl ResourceFile {
    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// All its faults, with their positions.
    pub fn read(text: &str) -> Result<Self, SourceFaults> {
        let mut faults = FaultCollector::default();
        let file = source_text::read(text, &mut faults).map(|root| read_root(&root, &mut faults));
        file.filter(|_| !faults.has_errors()).ok_or_else(|| SourceFaults(faults.finish()))
    }

    /// Formats it as the text of a file.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = String::from("resources:");
        for (name, settings) in &self.resources {
            _ = write!(text, "\n  {}: {}", scalar(name), format_settings(settings));
        }
        if self.resources.is_empty() {
            text.push_str(" {}");
        }
        text.push_str("\nhardware:");
        for (hardware, ma) in &self.loads {
            _ = write!(text, "\n  {}: {{ load: {} }}", scalar(hardware), format_current(*ma));
        }
        if self.loads.is_empty() {
            text.push_str(" {}");
        }
        text.push('\n');
        text
    }
}

/// Formats settings as a mapping of one line.
#[must_use]
pub fn format_settings(settings: &ResourceSettings) -> String {
    let ResourceSettings { overrides, within, window_ms, budget_ma, min_off_ms, about } = settings;
    let LimitOverrides { capacity, gap_ms, settle_ms } = overrides;
    let span = |ms: u64| duration(Duration::from_millis(ms));
    let positive = |ms: &u64| (*ms > 0).then(|| span(*ms));
    let values = [
        ("about", about.as_deref().map(scalar)),
        ("within", within.as_deref().map(scalar)),
        ("capacity", capacity.map(|units| units.to_string())),
        ("gap", gap_ms.map(span)),
        ("settle", settle_ms.map(span)),
        ("window", positive(window_ms)),
        ("budget", budget_ma.map(format_current)),
        ("min_off", positive(min_off_ms)),
    ];
    let values = values.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", value?)));
    let values: Vec<String> = values.collect();
    if values.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", values.join(", ")) }
}

/// Formats a text as a scalar of YAML, in quotes unless it is a word that can only be a text.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let is_special = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    if is_word && !is_special { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

fn read_root(root: &SourceNode, faults: &mut FaultCollector) -> ResourceFile {
    let fields = root.fields("a file of resources", &["resources", "hardware"], faults);
    let mut file = ResourceFile::default();
    let entries = |key, expected, faults: &mut FaultCollector| {
        fields.get(key).map_or(&[][..], |node| node.entries(expected, faults))
    };
    let resources = entries("resources", "a mapping from resources to their limits", faults);
    for (key, node) in resources {
        if let Some(refusal) = refuse_resource_name(&key.text) {
            faults.add(key.at, Rule::Name, refusal);
        }
        let settings = read_settings(node, faults);
        let names = || resources.iter().map(|(key, _)| key.text.as_str());
        if let Some(within) = &settings.within
            && !names().any(|name| name == within)
        {
            let at = node.child("within").map_or(node.at, |(_, node)| node.at);
            faults.add_unknown(at, Rule::UnknownResource, "resource", within, names());
        }
        file.resources.insert(key.text.clone(), settings);
    }
    for (key, node) in entries("hardware", "a mapping from hardware to its load", faults) {
        let fields = node.fields("a mapping such as `{ load: 2A }`", &["load"], faults);
        let Some(node) = fields.get("load") else {
            faults.add(node.at, Rule::Form, "`load` is missing");
            continue;
        };
        file.loads.extend(current(node, faults).map(|ma| (key.text.clone(), ma)));
    }
    file
}

fn read_settings(node: &SourceNode, faults: &mut FaultCollector) -> ResourceSettings {
    let fields = node.fields("the limits of a resource", &KEYS, faults);
    let overrides = LimitOverrides {
        capacity: fields.get("capacity").and_then(|node| capacity(node, faults)),
        gap_ms: span(fields, "gap", MAX_LIMIT_SPAN, faults),
        settle_ms: span(fields, "settle", MAX_LIMIT_SPAN, faults),
    };
    let about = fields.get("about").and_then(|node| Some((node, node.text("a description", faults)?)));
    if let Some((node, about)) = about
        && about.len() > MAX_RESOURCE_ABOUT_BYTES
    {
        faults.add(node.at, Rule::Form, "a description has at most 500 bytes");
    }
    ResourceSettings {
        overrides,
        within: fields
            .get("within")
            .and_then(|node| node.text("the name of a resource", faults))
            .map(str::to_owned),
        window_ms: span(fields, "window", MAX_LIMIT_SPAN, faults).unwrap_or_default(),
        budget_ma: fields.get("budget").and_then(|node| current(node, faults)),
        min_off_ms: span(fields, "min_off", MAX_MIN_OFF, faults).unwrap_or_default(),
        about: about.map(|(_, about)| about.to_owned()),
    }
}

fn capacity(node: &SourceNode, faults: &mut FaultCollector) -> Option<u32> {
    let units = if let SourceContent::Number(number) = &node.content { number.as_u64() } else { None };
    let units =
        units.filter(|units| i32::try_from(*units).is_ok()).and_then(|units| u32::try_from(units).ok());
    if units.is_none() {
        faults.add(node.at, Rule::Form, "the capacity of a resource is 0 to 2147483647 units");
    }
    units
}

fn span(fields: SourceFields<'_>, key: &str, max: Duration, faults: &mut FaultCollector) -> Option<u64> {
    let node = fields.get(key)?;
    let Some(text) = node.as_text() else {
        node.refuse("a span such as `500ms`, with its unit", faults);
        return None;
    };
    let message = match parse_span(text) {
        Ok(span) if span > max => format!("`{text}` is too long: at most {}", duration(max)),
        Ok(span) => return u64::try_from(span.as_millis()).ok(),
        Err(error) => format!("bad span `{text}`: {error}; write it like `5s` or `500ms`"),
    };
    faults.add(node.at, Rule::Form, message);
    None
}

fn current(node: &SourceNode, faults: &mut FaultCollector) -> Option<u32> {
    let Some(text) = node.as_text() else {
        node.refuse("a current such as `16A`, with its unit", faults);
        return None;
    };
    parse_current(text).inspect_err(|error| faults.add(node.at, Rule::Form, error)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
resources:
  circuit-1: { within: site, capacity: 3, window: 10s, budget: 16A }
  \"modbus://relay-3.lab:502\": { within: circuit-1, settle: 500ms, min_off: 5s }
  site: { about: \"the cage, left\", capacity: 20, gap: 1s }
hardware:
  panda: { load: 1.2A }
";

    #[test]
    fn what_is_exported_is_imported_as_it_was() {
        let file = ResourceFile::read(FILE).unwrap();
        assert_eq!(file.to_yaml(), FILE);
        assert_eq!(file.loads["panda"], 1200);
        assert_eq!(file.resources["circuit-1"].within.as_deref(), Some("site"));
        let empty = ResourceFile::default();
        assert_eq!(ResourceFile::read(&empty.to_yaml()).unwrap(), empty);
        for name in ["no", "12", "a: b", "# x", "\"q\"", "ü", "true", "a\\b"] {
            let named = ResourceFile {
                resources: BTreeMap::from([(name.to_owned(), ResourceSettings::default())]),
                ..ResourceFile::default()
            };
            assert_eq!(ResourceFile::read(&named.to_yaml()).unwrap(), named, "{name}");
        }
    }

    #[test]
    fn each_fault_has_its_position_and_says_what_would_be_right() {
        for (text, expected) in [
            (
                "resources:\n  a: { window: 10 }\n",
                "f:2:16: error[form]: expected a span such as `500ms`, with its unit",
            ),
            ("resources:\n  a: { within: circiut }\n  circuit: {}\n", "f:2:16: error[unknown-resource]"),
            ("resources:\n  a: { widnow: 10s }\n", "f:2:8: error[form]"),
            ("resources:\n  a: { budget: 16 }\n", "f:2:16: error[form]: expected a current such as `16A`"),
            ("resources:\n  a: { min_off: 50s }\n", "f:2:17: error[form]: `50s` is too long: at most 45s"),
            ("resources:\n  a: { capacity: -1 }\n", "f:2:18: error[form]"),
            ("resources: { a: {}, a: {} }\n", "is present twice"),
            ("hardware: { panda: {} }\n", "`load` is missing"),
            ("resources: [a]\n", "expected a mapping from resources"),
        ] {
            let faults = ResourceFile::read(text).unwrap_err().display("f").to_string();
            assert!(faults.contains(expected), "{text}: {faults}");
        }
    }
}
