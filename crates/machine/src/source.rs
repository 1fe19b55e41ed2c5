//! A definition's YAML as a tree in which every key and value has its position in the text.
//!
//! This is a generic tree instead of one type per mapping, because serde stops at the first error and loses positions
//! inside untagged enums. Authors need all faults with their positions.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use super::fault::{FaultCollector, SourcePosition};
use super::rule::Rule;
use super::storable;

/// The maximum size of a definition, in bytes.
pub const MAX_SOURCE_BYTES: usize = 4 << 20;

/// The maximum nesting depth: a definition needs a dozen levels, and each uses stack.
const MAX_SOURCE_DEPTH: usize = 24;

/// A value with its position.
#[derive(Debug, Clone)]
pub struct SourceNode {
    /// Its position.
    pub at: SourcePosition,
    /// Its width in the text in characters, including quotes.
    width: u64,
    /// The value.
    pub content: SourceContent,
}

/// A key with its position.
#[derive(Debug, Clone)]
pub struct SourceKey {
    /// Its position.
    pub at: SourcePosition,
    /// The key.
    pub text: String,
}

/// The content of a value.
#[derive(Debug, Clone)]
pub enum SourceContent {
    /// Null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<SourceNode>),
    /// A mapping, in text order.
    Map(Vec<(SourceKey, SourceNode)>),
}

/// Parses a text.
pub fn read(text: &str, faults: &mut FaultCollector) -> Option<SourceNode> {
    if text.len() > MAX_SOURCE_BYTES {
        faults.add(SourcePosition { line: 1, column: 1 }, Rule::Yaml, "a definition has at most 4 MiB");
        return None;
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_SOURCE_DEPTH, flow_nesting_limit: MAX_SOURCE_DEPTH },
        // `SourceNode::entries` reports these, with all other faults.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        // `no` and `on` are texts.
        strict_booleans: true,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
    };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(node) => Some(node),
        Err(error) => {
            let at = error.location().map_or(SourcePosition { line: 1, column: 1 }, position);
            let message = error.without_snippet().to_string();
            let message = message.lines().next().unwrap_or("not YAML");
            // The position is reported once, before the message.
            faults.add(at, Rule::Yaml, message.split(" at line ").next().unwrap_or(message));
            None
        }
    }
}

fn position(location: Location) -> SourcePosition {
    SourcePosition { line: location.line().max(1), column: location.column().max(1) }
}

impl SourceNode {
    /// Returns the kind of value in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.content {
            SourceContent::Null => "nothing",
            SourceContent::Bool(_) => "a truth value",
            SourceContent::Number(_) => "a number",
            SourceContent::Text(_) => "a text",
            SourceContent::List(_) => "a list",
            SourceContent::Map(_) => "a mapping",
        }
    }

    /// Adds the fault that something else was expected.
    pub fn refuse(&self, expected: &str, faults: &mut FaultCollector) {
        faults.add(self.at, Rule::Form, format!("expected {expected}, found {}", self.kind()));
    }

    /// Returns the entries of a mapping; null counts as an empty one.
    pub fn entries(&self, expected: &str, faults: &mut FaultCollector) -> &[(SourceKey, SourceNode)] {
        match &self.content {
            SourceContent::Map(entries) => {
                let mut seen = BTreeSet::new();
                for (key, _) in entries {
                    if !seen.insert(&key.text) {
                        faults.add(key.at, Rule::Form, format!("`{}` is present twice", key.text));
                    }
                }
                entries
            }
            SourceContent::Null => &[],
            SourceContent::Bool(_)
            | SourceContent::Number(_)
            | SourceContent::Text(_)
            | SourceContent::List(_) => {
                self.refuse(expected, faults);
                &[]
            }
        }
    }

    /// Returns the entries of a mapping that has no keys except `known`.
    pub fn fields(&self, expected: &str, known: &[&str], faults: &mut FaultCollector) -> SourceFields<'_> {
        let entries = self.entries(expected, faults);
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                faults.add_unknown(key.at, Rule::Form, "key", &key.text, known.iter().copied());
            }
        }
        SourceFields(entries)
    }

    /// Returns the text, or adds a fault.
    pub fn text(&self, expected: &str, faults: &mut FaultCollector) -> Option<&str> {
        if let SourceContent::Text(text) = &self.content {
            return Some(text);
        }
        self.refuse(expected, faults);
        None
    }

    /// Returns the entries of a mapping, or none.
    #[must_use]
    pub fn members(&self) -> &[(SourceKey, SourceNode)] {
        if let SourceContent::Map(entries) = &self.content { entries } else { &[] }
    }

    /// Returns the text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let SourceContent::Text(text) = &self.content { Some(text) } else { None }
    }

    /// Returns the position of the character at `offset` of its own text `text`; its own position if that is unknown.
    #[must_use]
    pub fn position_within(&self, text: &str, offset: usize) -> SourcePosition {
        let length = text.chars().count() as u64;
        // A text wider than its characters and two quotes contains escapes or line breaks.
        let quote = match self.width.checked_sub(length) {
            Some(quotes @ (0 | 2)) if !text.contains('\n') => quotes / 2,
            _ => return self.at,
        };
        SourcePosition { line: self.at.line, column: self.at.column + quote + offset as u64 }
    }

    /// Returns the key and value of `key`, if it is a mapping with that key.
    #[must_use]
    pub fn child(&self, key: &str) -> Option<(&SourceKey, &SourceNode)> {
        let SourceContent::Map(entries) = &self.content else { return None };
        entries.iter().find(|(candidate, _)| candidate.text == key).map(|(key, node)| (key, node))
    }

    /// Returns the elements of a list; any other value is a list of one, and null is empty.
    #[must_use]
    pub fn one_or_many(&self) -> &[SourceNode] {
        match &self.content {
            SourceContent::List(elements) => elements,
            SourceContent::Null => &[],
            SourceContent::Bool(_)
            | SourceContent::Number(_)
            | SourceContent::Text(_)
            | SourceContent::Map(_) => std::slice::from_ref(self),
        }
    }

    /// Returns the value without positions.
    pub fn to_json(&self) -> Value {
        match &self.content {
            SourceContent::Null => Value::Null,
            SourceContent::Bool(value) => Value::Bool(*value),
            SourceContent::Number(number) => Value::Number(number.clone()),
            SourceContent::Text(text) => Value::String(text.clone()),
            SourceContent::List(elements) => elements.iter().map(SourceNode::to_json).collect(),
            SourceContent::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.text.clone(), node.to_json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }
}

/// The entries of a mapping with known keys.
#[derive(Debug, Clone, Copy)]
pub struct SourceFields<'a>(&'a [(SourceKey, SourceNode)]);

impl<'a> SourceFields<'a> {
    /// Returns the value of `key`.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a SourceNode> {
        self.0.iter().find(|(candidate, _)| candidate.text == key).map(|(_, node)| node)
    }

    /// Returns the position of `key`.
    #[must_use]
    pub fn position_of(self, key: &str) -> Option<SourcePosition> {
        self.0.iter().find(|(candidate, _)| candidate.text == key).map(|(candidate, _)| candidate.at)
    }

    /// Returns the entries in text order.
    #[must_use]
    pub fn entries(self) -> &'a [(SourceKey, SourceNode)] {
        self.0
    }
}

impl<'de> Deserialize<'de> for SourceNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<SourceContent>::deserialize(deserializer)?;
        let at = position(spanned.referenced);
        Ok(Self { at, width: spanned.referenced.span().len(), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for SourceKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        storable::text_is_storable(&spanned.value).map_err(serde::de::Error::custom)?;
        Ok(Self { at: position(spanned.referenced), text: spanned.value })
    }
}

impl<'de> Deserialize<'de> for SourceContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceContentVisitor)
    }
}

struct SourceContentVisitor;

impl<'de> Visitor<'de> for SourceContentVisitor {
    type Value = SourceContent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<SourceContent, E> {
        Ok(SourceContent::Null)
    }

    fn visit_none<E>(self) -> Result<SourceContent, E> {
        Ok(SourceContent::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<SourceContent, D::Error> {
        SourceContent::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<SourceContent, E> {
        Ok(SourceContent::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<SourceContent, E> {
        Ok(SourceContent::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<SourceContent, E> {
        Ok(SourceContent::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<SourceContent, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        // The number as it is read back from the database.
        storable::number(&number).map(SourceContent::Number).map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<SourceContent, E> {
        storable::text_is_storable(value).map_err(E::custom)?;
        Ok(SourceContent::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<SourceContent, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(SourceContent::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<SourceContent, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(SourceContent::Map(map))
    }
}
