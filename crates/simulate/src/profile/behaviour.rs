//! Reads the behaviour of one machine's instances.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::derive;
use super::model::{InitialLinking, InstanceClass, MachineBehaviour, OperatorRequest, PossibleReport};
use super::names::NumberedNames;
use super::sent_event::{ProfileSender, event};
use super::value::{count, distribution, required_span, share};
use machine::ActionCatalogue;
use machine::Rule;
use machine::source_text::{FaultCollector, SourcePosition};
use machine::source_text::{SourceContent, SourceFields, SourceKey, SourceNode};
use machine::{ActionName, LinkName};
use machine::{ActionSite, SimulatedAction};

/// Keys of a behaviour.
pub(super) const BEHAVIOUR_KEYS: [&str; 8] =
    ["available", "facts", "device", "actions", "states", "operators", "classes", "links"];
/// Maximum number of instances that share one.
const MAX_SHARING_INSTANCES: usize = 1_000_000;

pub(super) struct BehaviourReader<'a> {
    pub(super) names: NumberedNames<'a>,
    pub(super) kinds: &'a dyn ActionCatalogue,
    pub(super) faults: &'a mut FaultCollector,
}

impl BehaviourReader<'_> {
    pub(super) fn behaviour(&mut self, fields: SourceFields<'_>) -> MachineBehaviour {
        let available = match fields.get("available") {
            None => derive::available(&self.names),
            Some(node) => self.available(node),
        };
        let facts = self.facts(fields);
        let sound = self.sound(fields, &available);
        let requests = match fields.get("operators") {
            None => derive::requests(&self.names, &available),
            Some(node) => node.one_or_many().iter().filter_map(|node| self.request(node)).collect(),
        };
        let broken = match fields.get("classes") {
            None => derive::broken(&sound),
            Some(node) => self.broken(node, &sound),
        };
        let links = fields.get("links").map(|node| self.links(node)).unwrap_or_default();
        let classes = std::iter::once(sound).chain(broken).collect();
        MachineBehaviour { available, facts, actions: self.names.actions.clone(), classes, requests, links }
    }

    fn available(&mut self, node: &SourceNode) -> Vec<bool> {
        let states = self.states(node.one_or_many());
        (0..self.names.states.len()).map(|state| states.contains(&state)).collect()
    }

    /// The states that match `patterns`.
    fn states(&mut self, patterns: &[SourceNode]) -> BTreeSet<usize> {
        let mut states = BTreeSet::new();
        for node in patterns {
            if let Some(pattern) = node.text("the name of a state", self.faults) {
                states.extend(self.matching(node.at, pattern));
            }
        }
        states
    }

    fn matching(&mut self, at: SourcePosition, pattern: &str) -> Vec<usize> {
        let found = self.names.matching(pattern);
        if found.is_empty() {
            let known = self.names.states.iter().map(|name| name.as_str());
            self.faults.add_unknown(at, Rule::UnknownTarget, "state", pattern, known);
        }
        found
    }

    /// Reads the facts of instances; profiles of boards call them `device`.
    fn facts(&mut self, fields: SourceFields<'_>) -> Map<String, Value> {
        let declared = self.names.definition.facts.iter().flat_map(|facts| facts.fields.keys());
        // Each instance has its own name.
        let known: Vec<&str> = declared.map(String::as_str).filter(|name| *name != "name").collect();
        let mut facts = derive::facts(self.names.definition);
        for node in ["device", "facts"].into_iter().filter_map(|key| fields.get(key)) {
            let entries = node.fields("the facts of an instance", &known, self.faults);
            facts.extend(entries.entries().iter().map(|(key, node)| (key.text.clone(), node.to_json())));
        }
        facts
    }

    /// Reads the initial links of instances.
    fn links(&mut self, node: &SourceNode) -> BTreeMap<LinkName, InitialLinking> {
        let mut links = BTreeMap::new();
        let declared = &self.names.definition.links;
        for (key, node) in node.entries("a mapping of links", self.faults) {
            let Some((name, _)) = declared.get_key_value(key.text.as_str()) else {
                let known = declared.keys().map(LinkName::as_str);
                self.faults.add_unknown(key.at, Rule::UnknownLink, "link", &key.text, known);
                continue;
            };
            let linking = match &node.content {
                SourceContent::Text(text) if text == "none" => Some(InitialLinking::Unlinked),
                SourceContent::Map(_) => {
                    let fields = node.fields("the target of a link", &["shared_by"], self.faults);
                    let shared_by = fields.get("shared_by");
                    shared_by
                        .and_then(|node| count(node, MAX_SHARING_INSTANCES, self.faults))
                        .map(InitialLinking::SharedBy)
                }
                SourceContent::Null
                | SourceContent::Bool(_)
                | SourceContent::Number(_)
                | SourceContent::Text(_)
                | SourceContent::List(_) => {
                    node.refuse("`none` or `{ shared_by: N }`", self.faults);
                    None
                }
            };
            links.extend(linking.map(|linking| (name.clone(), linking)));
        }
        links
    }

    fn sound(&mut self, fields: SourceFields<'_>, available: &[bool]) -> InstanceClass {
        let derived = self.names.actions.iter().map(|name| self.kinds.simulate(name)).collect();
        let actions =
            fields.get("actions").map_or(&[][..], |node| self.entries(node, "a mapping of actions"));
        let mut sound = InstanceClass {
            name: "sound".to_owned(),
            share: 1.0,
            breaks_after: None,
            reports: derive::reports(&self.names, available),
            actions: derived,
        };
        self.actions(actions, &mut sound);
        let states = fields.get("states").map_or(&[][..], |node| self.entries(node, "a mapping of states"));
        self.reports(states, &mut sound);
        sound
    }

    fn entries<'n>(&mut self, node: &'n SourceNode, expected: &str) -> &'n [(SourceKey, SourceNode)] {
        node.entries(expected, self.faults)
    }

    /// Reads the behaviour of actions into `class`.
    fn actions(&mut self, entries: &[(SourceKey, SourceNode)], class: &mut InstanceClass) {
        for (key, node) in entries {
            let index = self.names.actions.iter().position(|name| name.as_str() == key.text);
            let Some(index) = index else {
                let known = self.names.actions.iter().map(ActionName::as_str);
                self.faults.add_unknown(key.at, Rule::UnknownAction, "action", &key.text, known);
                continue;
            };
            if let Some(action) = class.actions.get_mut(index) {
                self.action(node, action);
            }
        }
    }

    fn action(&mut self, node: &SourceNode, action: &mut SimulatedAction) {
        let keys = ["at", "takes", "fails", "fails_after", "dark_after"];
        let fields = node.fields("the behaviour of an action", &keys, self.faults);
        let sites = ["relay-board", "board", "server", "resource", "instance"];
        if let Some(node) = fields.get("at") {
            match node.text("`relay-board`, `board` or `server`", self.faults) {
                Some("relay-board" | "resource") => action.at = ActionSite::Resource,
                Some("board" | "instance") => action.at = ActionSite::Instance,
                Some("server") => action.at = ActionSite::Server,
                Some(other) => self.faults.add_unknown(node.at, Rule::Form, "site", other, sites),
                None => {}
            }
        }
        let mut span = |key| fields.get(key).and_then(|node| distribution(node, self.faults));
        if let Some(takes) = span("takes") {
            action.takes = takes;
        }
        if let Some(fails_after) = span("fails_after") {
            action.fails_after = fails_after;
        }
        if let Some(fails_after_outage) = span("dark_after") {
            action.fails_after_outage = fails_after_outage;
        }
        if let Some(failure_rate) = fields.get("fails").and_then(|node| share(node, self.faults)) {
            action.failure_rate = failure_rate;
        }
    }

    /// Reads the reports in states into `class`.
    fn reports(&mut self, entries: &[(SourceKey, SourceNode)], class: &mut InstanceClass) {
        let mut given = Vec::new();
        for (key, node) in entries {
            let states = self.matching(key.at, &key.text);
            let reports: Vec<PossibleReport> =
                node.one_or_many().iter().filter_map(|node| self.report(node, &states)).collect();
            if reports.iter().map(|report| report.chance).sum::<f64>() > 1.0 + 1e-9 {
                self.faults.add(
                    key.at,
                    Rule::Form,
                    format!("the chances in `{}` are more than 100% in all", key.text),
                );
            }
            given.push((states, rank(&key.text), reports));
        }
        // Longer patterns override shorter ones.
        given.sort_by_key(|(_, rank, _)| *rank);
        for (states, _, reports) in given {
            for state in states {
                if let Some(slot) = class.reports.get_mut(state) {
                    slot.clone_from(&reports);
                }
            }
        }
    }

    fn report(&mut self, node: &SourceNode, states: &[usize]) -> Option<PossibleReport> {
        let fields = node.fields("a report", &["event", "args", "after", "chance"], self.faults);
        let (event, args) = event(node, fields, (&self.names, states), ProfileSender::Report, self.faults)?;
        let after = required_span(node, fields, "after", self.faults)?;
        let chance = fields.get("chance").map_or(Some(1.0), |node| share(node, self.faults))?;
        Some(PossibleReport { event, args, after, chance })
    }

    fn request(&mut self, node: &SourceNode) -> Option<OperatorRequest> {
        let fields =
            node.fields("a request of operators", &["in", "event", "args", "after", "mends"], self.faults);
        let Some(patterns) = fields.get("in") else {
            self.faults.add(node.at, Rule::Form, "`in` is missing: name the states, such as `in: [Ready]`");
            return None;
        };
        let states = self.states(patterns.one_or_many());
        let listed: Vec<usize> = states.iter().copied().collect();
        let (event, args) =
            event(node, fields, (&self.names, &listed), ProfileSender::Operator, self.faults)?;
        let after = required_span(node, fields, "after", self.faults)?;
        let repair_rate = fields.get("mends").map_or(Some(0.0), |node| share(node, self.faults))?;
        Some(OperatorRequest { states, event, args, after, repair_rate })
    }

    fn broken(&mut self, node: &SourceNode, sound: &InstanceClass) -> Vec<InstanceClass> {
        let mut classes = Vec::new();
        for (key, node) in self.entries(node, "a mapping of classes of instances") {
            let keys = ["share", "breaks", "states", "actions"];
            let fields = node.fields("a class of instances", &keys, self.faults);
            let mut class = InstanceClass { name: key.text.clone(), share: 0.0, ..sound.clone() };
            class.share = fields.get("share").and_then(|node| share(node, self.faults)).unwrap_or(0.0);
            class.breaks_after = fields.get("breaks").and_then(|node| distribution(node, self.faults));
            let states =
                fields.get("states").map_or(&[][..], |node| self.entries(node, "a mapping of states"));
            self.reports(states, &mut class);
            let actions =
                fields.get("actions").map_or(&[][..], |node| self.entries(node, "a mapping of actions"));
            self.actions(actions, &mut class);
            classes.push(class);
        }
        if classes.iter().map(|class| class.share).sum::<f64>() > 1.0 + 1e-9 {
            self.faults.add(node.at, Rule::Form, "the shares of the classes are more than 100% in all");
        }
        classes
    }
}

/// The precedence of a pattern: names override prefixes, longer prefixes override shorter ones.
fn rank(pattern: &str) -> usize {
    if pattern.ends_with('*') { pattern.len() } else { usize::MAX }
}
