//! `unlink: NAME` or `unlink: [NAME, NAME]`: removes links.

use super::change::Change;
use super::names::Names;
use super::operate::Operate;
use crate::fault::Collector;
use crate::names::LinkName;
use crate::source::Node;

/// The links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlink(pub Vec<LinkName>);

impl Operate for Unlink {
    const KEY: &'static str = "unlink";

    fn parse(node: &Node, names: Names<'_>, faults: &mut Collector) -> Option<Self> {
        let link = |node: &Node| {
            let text = node.text("the name of a link", faults)?;
            names.link(node, text, faults).map(|(link, _)| link.clone())
        };
        Some(Self(node.one_or_many().iter().filter_map(link).collect()))
    }

    fn apply(&self, change: &mut Change<'_>) {
        for link in &self.0 {
            change.instance.links.remove(link);
        }
    }

    fn describe(&self) -> String {
        let links: Vec<&str> = self.0.iter().map(LinkName::as_str).collect();
        format!("unlink {}", links.join(", "))
    }
}
