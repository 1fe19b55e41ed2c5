//! A profile's text: everything that is wrong with it is found at once.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::derive;
use super::model::{Class, Layout, OperatorRequest, Outage, Profile, Report, When};
use super::names::Names;
use super::value::{count, distribution, milliseconds, share};
use machine::ActionCatalogue;
use machine::Distribution;
use machine::Faults;
use machine::Rule;
use machine::Sender;
use machine::text::{self as source, Fields, Key, Node};
use machine::text::{Collector, Position};
use machine::{ActionName, EventName};
use machine::{Definition, Event};
use machine::{SimulatedAction, Site};

/// No relay board and no circuit has more than this of its parts.
const MAX_PARTS: usize = 10_000;

pub(super) fn profile(
    text: &str,
    definition: &Definition,
    actions: &dyn ActionCatalogue,
) -> Result<Profile, Faults> {
    let mut faults = Collector::default();
    let profile = if text.trim().is_empty() {
        // What is no value at all has no place either; an empty mapping has.
        source::read("{}", &mut faults)
    } else {
        source::read(text, &mut faults)
    }
    .map(|root| Reader { names: Names::new(definition), kinds: actions, faults: &mut faults }.profile(&root));
    profile.filter(|_| !faults.has_errors()).ok_or_else(|| Faults(faults.finish()))
}

struct Reader<'a> {
    names: Names<'a>,
    kinds: &'a dyn ActionCatalogue,
    faults: &'a mut Collector,
}

impl Reader<'_> {
    fn profile(mut self, root: &Node) -> Profile {
        let keys = ["available", "farm", "device", "actions", "states", "operators", "classes", "outages"];
        let fields = root.fields("a profile", &keys, self.faults);
        let available = match fields.get("available") {
            None => derive::available(&self.names),
            Some(node) => self.available(node),
        };
        let layout = fields.get("farm").map_or(derive::LAYOUT, |node| self.layout(node));
        let device = fields.get("device").map_or_else(derive::device, |node| self.device(node));
        let sound = self.sound(fields, &available);
        let requests = match fields.get("operators") {
            None => derive::requests(&self.names, &available),
            Some(node) => node.one_or_many().iter().filter_map(|node| self.request(node)).collect(),
        };
        let broken = match fields.get("classes") {
            None => derive::broken(&sound),
            Some(node) => self.broken(node, &sound),
        };
        let outages = fields.get("outages").map_or(&[][..], Node::one_or_many);
        let outages = outages.iter().filter_map(|node| self.outage(node)).collect();
        let classes = std::iter::once(sound).chain(broken).collect();
        Profile { available, layout, device, actions: self.names.actions, classes, requests, outages }
    }

    fn available(&mut self, node: &Node) -> Vec<bool> {
        let states = self.states(node.one_or_many());
        (0..self.names.states.len()).map(|state| states.contains(&state)).collect()
    }

    /// The states that `patterns` stand for.
    fn states(&mut self, patterns: &[Node]) -> BTreeSet<usize> {
        let mut states = BTreeSet::new();
        for node in patterns {
            if let Some(pattern) = node.text("the name of a state", self.faults) {
                states.extend(self.matching(node.at, pattern));
            }
        }
        states
    }

    fn matching(&mut self, at: Position, pattern: &str) -> Vec<usize> {
        let found = self.names.matching(pattern);
        if found.is_empty() {
            let known = self.names.states.iter().map(|name| name.as_str());
            self.faults.add_unknown(at, Rule::UnknownTarget, "state", pattern, known);
        }
        found
    }

    fn layout(&mut self, node: &Node) -> Layout {
        let keys =
            ["boards_per_relay_board", "relay_boards_per_circuit", "relay_board_rests", "power_on_gap"];
        let fields = node.fields("a farm", &keys, self.faults);
        let derived = derive::LAYOUT;
        let mut parts = |key, usual| {
            fields.get(key).and_then(|node| count(node, MAX_PARTS, self.faults)).unwrap_or(usual)
        };
        let boards_per_relay_board = parts("boards_per_relay_board", derived.boards_per_relay_board);
        let relay_boards_per_circuit = parts("relay_boards_per_circuit", derived.relay_boards_per_circuit);
        let mut span =
            |key, usual| fields.get(key).and_then(|node| milliseconds(node, self.faults)).unwrap_or(usual);
        Layout {
            boards_per_relay_board,
            relay_boards_per_circuit,
            rests_ms: span("relay_board_rests", derived.rests_ms),
            gap_ms: span("power_on_gap", derived.gap_ms),
        }
    }

    fn device(&mut self, node: &Node) -> Map<String, Value> {
        let facts = self.names.definition.facts.iter().flat_map(|facts| facts.fields.keys());
        // The name is the board's own.
        let known: Vec<&str> = facts.map(String::as_str).filter(|name| *name != "name").collect();
        let mut device = derive::device();
        for (key, node) in node.fields("what is known of a board", &known, self.faults).entries() {
            device.insert(key.text.clone(), node.to_json());
        }
        device
    }

    fn sound(&mut self, fields: Fields<'_>, available: &[bool]) -> Class {
        let derived = self.names.actions.iter().map(|name| self.kinds.simulate(name)).collect();
        let actions =
            fields.get("actions").map_or(&[][..], |node| self.entries(node, "a mapping of actions"));
        let mut sound = Class {
            name: "sound".to_owned(),
            share: 1.0,
            breaks: None,
            reports: derive::reports(&self.names, available),
            actions: derived,
        };
        self.actions(actions, &mut sound);
        let states = fields.get("states").map_or(&[][..], |node| self.entries(node, "a mapping of states"));
        self.reports(states, &mut sound);
        sound
    }

    fn entries<'n>(&mut self, node: &'n Node, expected: &str) -> &'n [(Key, Node)] {
        node.entries(expected, self.faults)
    }

    /// Writes down what is said of actions.
    fn actions(&mut self, entries: &[(Key, Node)], class: &mut Class) {
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

    fn action(&mut self, node: &Node, action: &mut SimulatedAction) {
        let keys = ["at", "takes", "fails", "fails_after", "dark_after"];
        let fields = node.fields("how an action goes", &keys, self.faults);
        let places = ["relay-board", "board", "server"];
        if let Some(node) = fields.get("at") {
            match node.text("`relay-board`, `board` or `server`", self.faults) {
                Some("relay-board") => action.at = Site::RelayBoard,
                Some("board") => action.at = Site::Board,
                Some("server") => action.at = Site::Server,
                Some(other) => self.faults.add_unknown(node.at, Rule::Form, "place", other, places),
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
        if let Some(dark_after) = span("dark_after") {
            action.dark_after = dark_after;
        }
        if let Some(fails) = fields.get("fails").and_then(|node| share(node, self.faults)) {
            action.fails = fails;
        }
    }

    /// Writes down what is said of states.
    fn reports(&mut self, entries: &[(Key, Node)], class: &mut Class) {
        let mut given = Vec::new();
        for (key, node) in entries {
            let states = self.matching(key.at, &key.text);
            let reports: Vec<Report> =
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
        // What names a state by more of its letters has the last word.
        given.sort_by_key(|(_, rank, _)| *rank);
        for (states, _, reports) in given {
            for state in states {
                if let Some(slot) = class.reports.get_mut(state) {
                    slot.clone_from(&reports);
                }
            }
        }
    }

    fn report(&mut self, node: &Node, states: &[usize]) -> Option<Report> {
        let fields = node.fields("a report", &["event", "args", "after", "chance"], self.faults);
        let (event, args) = self.event(node, fields, states, By::Report)?;
        let after = self.required_span(node, fields, "after")?;
        let chance = fields.get("chance").map_or(Some(1.0), |node| share(node, self.faults))?;
        Some(Report { event, args, after, chance })
    }

    /// The event that is sent in this way in `states`, with its arguments.
    fn event(
        &mut self,
        parent: &Node,
        fields: Fields<'_>,
        states: &[usize],
        by: By,
    ) -> Option<(EventName, Map<String, Value>)> {
        let Some(node) = fields.get("event") else {
            self.faults.add(parent.at, Rule::Form, "`event` is missing");
            return None;
        };
        let text = node.text("the name of an event", self.faults)?;
        let definition = self.names.definition;
        let Some((name, event)) = definition.events.get_key_value(text) else {
            let known = definition.events.iter().filter(|(_, event)| by.may_send(event));
            self.faults.add_unknown(
                node.at,
                Rule::UnknownEvent,
                "event",
                text,
                known.map(|(name, _)| name.as_str()),
            );
            return None;
        };
        if !by.may_send(event) {
            let sender = match by {
                By::Report => "a board",
                By::Operator => "an operator",
            };
            self.faults.add(node.at, Rule::Form, format!("`{text}` is no event that {sender} may send"));
            return None;
        }
        let takes = |state: &usize| {
            let state = self.names.states.get(*state).and_then(|state| definition.states.get(*state));
            state.is_some_and(|state| state.on.contains_key(name))
        };
        if !states.is_empty() && !states.iter().any(takes) {
            self.faults.add(node.at, Rule::Form, format!("no state that is meant here takes `{text}`"));
        }
        let args = self.args(parent, fields, event)?;
        Some((name.clone(), args))
    }

    fn args(&mut self, parent: &Node, fields: Fields<'_>, event: &Event) -> Option<Map<String, Value>> {
        let args = match fields.get("args").map(|node| (node, node.to_json())) {
            None => Map::new(),
            Some((_, Value::Object(args))) => args,
            Some((node, _)) => {
                node.refuse("a mapping of arguments", self.faults);
                return None;
            }
        };
        let missing = event.args.iter().filter(|argument| !args.contains_key(*argument));
        for argument in missing {
            self.faults.add(
                parent.at,
                Rule::Form,
                format!("the event needs the argument `{argument}`: say it under `args`"),
            );
        }
        Some(args)
    }

    fn required_span(&mut self, parent: &Node, fields: Fields<'_>, key: &str) -> Option<Distribution> {
        let node = fields.get(key);
        if node.is_none() {
            self.faults.add(parent.at, Rule::Form, format!("`{key}` is missing"));
        }
        distribution(node?, self.faults)
    }

    fn request(&mut self, node: &Node) -> Option<OperatorRequest> {
        let fields =
            node.fields("what operators do", &["in", "event", "args", "after", "mends"], self.faults);
        let Some(patterns) = fields.get("in") else {
            self.faults.add(node.at, Rule::Form, "`in` is missing: say in which states, as `in: [Ready]`");
            return None;
        };
        let states = self.states(patterns.one_or_many());
        let listed: Vec<usize> = states.iter().copied().collect();
        let (event, args) = self.event(node, fields, &listed, By::Operator)?;
        let after = self.required_span(node, fields, "after")?;
        let mends = fields.get("mends").map_or(Some(0.0), |node| share(node, self.faults))?;
        Some(OperatorRequest { states, event, args, after, mends })
    }

    fn broken(&mut self, node: &Node, sound: &Class) -> Vec<Class> {
        let mut classes = Vec::new();
        for (key, node) in self.entries(node, "a mapping of classes of boards") {
            let keys = ["share", "breaks", "states", "actions"];
            let fields = node.fields("a class of boards", &keys, self.faults);
            let mut class = Class { name: key.text.clone(), share: 0.0, ..sound.clone() };
            class.share = fields.get("share").and_then(|node| share(node, self.faults)).unwrap_or(0.0);
            class.breaks = fields.get("breaks").and_then(|node| distribution(node, self.faults));
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

    fn outage(&mut self, node: &Node) -> Option<Outage> {
        let fields = node.fields("an outage", &["at", "every", "lasts", "share"], self.faults);
        let when = match (fields.get("at"), fields.get("every")) {
            (Some(at), None) => milliseconds(at, self.faults).map(When::At),
            (None, Some(every)) => distribution(every, self.faults).map(When::Every),
            (Some(_), Some(_)) | (None, None) => {
                self.faults.add(
                    node.at,
                    Rule::Form,
                    "an outage says either `at:` (a span after the beginning) or `every:`",
                );
                None
            }
        };
        let lasts = self.required_span(node, fields, "lasts")?;
        let share = fields.get("share").map_or(Some(1.0), |node| share(node, self.faults))?;
        Some(Outage { when: when?, lasts, share })
    }
}

/// A name comes before any beginning of it, and a longer beginning before a shorter one.
fn rank(pattern: &str) -> usize {
    if pattern.ends_with('*') { pattern.len() } else { usize::MAX }
}

/// Who sends an event.
#[derive(Debug, Clone, Copy)]
enum By {
    /// What a face speaks for.
    Report,
    Operator,
}

impl By {
    fn may_send(self, event: &Event) -> bool {
        match self {
            Self::Report => event.reporter().is_some(),
            Self::Operator => event.from.contains(&Sender::Operator),
        }
    }
}
