//! `set: { NAME: VALUE }`: sets entries of the instance's data.

use std::collections::BTreeMap;

use super::change::Change;
use super::names::Names;
use super::operate::Operate;
use super::setting::Setting;
use crate::fault::Collector;
use crate::source::{Key, Node};

/// The entries, and what they are set to.
#[derive(Debug, Clone, PartialEq)]
pub struct Set(pub BTreeMap<String, Setting>);

impl Operate for Set {
    const KEY: &'static str = "set";

    fn parse(node: &Node, _: Names<'_>, faults: &mut Collector) -> Option<Self> {
        let entries = node.entries("a mapping of what to set", faults);
        let setting = |(key, node): &(Key, Node)| Some((key.text.clone(), Setting::parse(node, faults)?));
        Some(Self(entries.iter().filter_map(setting).collect()))
    }

    fn apply(&self, change: &mut Change<'_>) {
        // All are read before any is written, so that two entries can change places.
        let values: Vec<_> = self.0.iter().map(|(key, setting)| (key, change.value(setting))).collect();
        for (key, value) in values {
            match value {
                Some(value) => _ = change.instance.data.insert(key.clone(), value),
                None => _ = change.instance.data.remove(key),
            }
        }
    }

    fn describe(&self) -> String {
        let settings: Vec<String> = self.0.iter().map(|(key, setting)| format!("{key} = {setting}")).collect();
        format!("set {}", settings.join(", "))
    }
}
