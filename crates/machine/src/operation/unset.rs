//! `unset: NAME` or `unset: [NAME, NAME]`: removes entries of the instance's data.

use super::change::Change;
use super::names::Names;
use super::operate::Operate;
use crate::fault::Collector;
use crate::source::Node;

/// The entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset(pub Vec<String>);

impl Operate for Unset {
    const KEY: &'static str = "unset";

    fn parse(node: &Node, _: Names<'_>, faults: &mut Collector) -> Option<Self> {
        let keys = node.one_or_many().iter();
        Some(Self(keys.filter_map(|key| key.text("what to unset", faults).map(str::to_owned)).collect()))
    }

    fn apply(&self, change: &mut Change<'_>) {
        for key in &self.0 {
            change.instance.data.remove(key);
        }
    }

    fn describe(&self) -> String {
        format!("unset {}", self.0.join(", "))
    }
}
