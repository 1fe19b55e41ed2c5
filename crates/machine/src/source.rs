//! A definition's YAML as it was written: every key and value with its place in the text.
//!
//! A generic tree instead of one type per mapping, because serde stops at the first fault and forgets places inside
//! a choice of forms, and an author wants to see all faults, each where it is.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use super::fault::{Collector, Position};
use super::rule::Rule;
use super::storable;

/// The longest definition, in bytes.
pub const MAX_SIZE_BYTES: usize = 4 << 20;

/// How deep values may nest: a definition needs a dozen levels, and each takes of the stack.
const MAX_DEPTH: usize = 24;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it stands.
    pub at: Position,
    /// How many characters it takes in the text, quotes included.
    width: u64,
    /// What it is.
    pub content: Content,
}

/// A key with its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where it stands.
    pub at: Position,
    /// The key.
    pub text: String,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Content {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Map(Vec<(Key, Node)>),
}

/// Reads a text.
pub fn read(text: &str, faults: &mut Collector) -> Option<Node> {
    if text.len() > MAX_SIZE_BYTES {
        faults.add(Position { line: 1, column: 1 }, Rule::Yaml, "a definition has at most 4 MiB");
        return None;
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH },
        // Reported by `Node::fields`, with all other faults.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        // `no` and `on` are texts.
        strict_booleans: true,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
    };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(node) => Some(node),
        Err(error) => {
            let at = error.location().map_or(Position { line: 1, column: 1 }, position);
            let message = error.without_snippet().to_string();
            let message = message.lines().next().unwrap_or("not YAML");
            // The place is told once, before the message.
            faults.add(at, Rule::Yaml, message.split(" at line ").next().unwrap_or(message));
            None
        }
    }
}

fn position(location: Location) -> Position {
    Position { line: location.line().max(1), column: location.column().max(1) }
}

impl Node {
    /// What it is, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "a truth value",
            Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// Notes that it is not what belongs there.
    pub fn refuse(&self, expected: &str, faults: &mut Collector) {
        faults.add(self.at, Rule::Form, format!("expected {expected}, found {}", self.kind()));
    }

    /// Its entries, if it is a mapping; nothing written stands for an empty one.
    pub fn entries(&self, expected: &str, faults: &mut Collector) -> &[(Key, Node)] {
        match &self.content {
            Content::Map(entries) => {
                let mut seen = BTreeSet::new();
                for (key, _) in entries {
                    if !seen.insert(&key.text) {
                        faults.add(key.at, Rule::Form, format!("`{}` is here twice", key.text));
                    }
                }
                entries
            }
            Content::Null => &[],
            Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::List(_) => {
                self.refuse(expected, faults);
                &[]
            }
        }
    }

    /// Its entries, if it is a mapping with no other keys than `known`.
    pub fn fields(&self, expected: &str, known: &[&str], faults: &mut Collector) -> Fields<'_> {
        let entries = self.entries(expected, faults);
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                faults.add_unknown(key.at, Rule::Form, "key", &key.text, known.iter().copied());
            }
        }
        Fields(entries)
    }

    /// The text, if it is one.
    pub fn text(&self, expected: &str, faults: &mut Collector) -> Option<&str> {
        if let Content::Text(text) = &self.content {
            return Some(text);
        }
        self.refuse(expected, faults);
        None
    }

    /// Its entries, if it is a mapping.
    #[must_use]
    pub fn members(&self) -> &[(Key, Node)] {
        if let Content::Map(entries) = &self.content { entries } else { &[] }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Content::Text(text) = &self.content { Some(text) } else { None }
    }

    /// Where the character at `offset` of `text`, its own text, stands; its beginning where that cannot be told.
    #[must_use]
    pub fn position_within(&self, text: &str, offset: usize) -> Position {
        let length = text.chars().count() as u64;
        // A text that takes more than its characters and two quotes has escapes or line breaks.
        let quote = match self.width.checked_sub(length) {
            Some(quotes @ (0 | 2)) if !text.contains('\n') => quotes / 2,
            _ => return self.at,
        };
        Position { line: self.at.line, column: self.at.column + quote + offset as u64 }
    }

    /// The value of `key` with the key, if it is a mapping with that key.
    #[must_use]
    pub fn child(&self, key: &str) -> Option<(&Key, &Node)> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|(candidate, _)| candidate.text == key).map(|(key, node)| (key, node))
    }

    /// The elements of a list; anything else is its own only element, and nothing is none.
    #[must_use]
    pub fn one_or_many(&self) -> &[Node] {
        match &self.content {
            Content::List(elements) => elements,
            Content::Null => &[],
            Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::Map(_) => {
                std::slice::from_ref(self)
            }
        }
    }

    /// The value without places.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(elements) => elements.iter().map(Node::to_json).collect(),
            Content::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.text.clone(), node.to_json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }
}

/// The entries of a mapping whose keys are known.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a [(Key, Node)]);

impl<'a> Fields<'a> {
    /// The value of `key`.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a Node> {
        self.0.iter().find(|(candidate, _)| candidate.text == key).map(|(_, node)| node)
    }

    /// Where `key` stands.
    #[must_use]
    pub fn position_of(self, key: &str) -> Option<Position> {
        self.0.iter().find(|(candidate, _)| candidate.text == key).map(|(candidate, _)| candidate.at)
    }

    /// The entries as they were written.
    #[must_use]
    pub fn entries(self) -> &'a [(Key, Node)] {
        self.0
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        let at = position(spanned.referenced);
        Ok(Self { at, width: spanned.referenced.span().len(), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        storable::text_is_storable(&spanned.value).map_err(serde::de::Error::custom)?;
        Ok(Self { at: position(spanned.referenced), text: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        // As it will be read back from where it is stored.
        storable::number(&number).map(Content::Number).map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Content, E> {
        storable::text_is_storable(value).map_err(E::custom)?;
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Content::Map(map))
    }
}
