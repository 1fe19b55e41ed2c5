//! Writes a StateService file's states as a definition of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use machine::source_text::SourcePosition;
use machine::{ActionCatalogue, MachineName, StateName, is_failed_state_name};

use super::read::{DeclaredState, StateServiceFile, WaitCondition};

/// A definition's text, and which of its lines tell of what is where in the file.
pub(super) struct GeneratedText {
    pub(super) text: String,
    /// From which line on, in order.
    positions: Vec<(u64, SourcePosition)>,
}

impl GeneratedText {
    /// Where in the file stands what line `line` tells of.
    pub(super) fn position(&self, line: u64) -> SourcePosition {
        let place = self.positions.iter().rfind(|(from, _)| *from <= line);
        place.map_or(SourcePosition { line: 1, column: 1 }, |(_, at)| *at)
    }
}

/// Writes the definition.
pub(super) fn definition(
    machine: &MachineName,
    states: &StateServiceFile,
    actions: &dyn ActionCatalogue,
) -> GeneratedText {
    let names = names(states, actions);
    let named = |label: &str| names.get(label).map_or("", String::as_str);
    let mut text = format!(
        "# Translated from a StateService file.\n\
         #\n\
         # Each state that counts takes the event of its own name; the counter of that name says how often it has come,\n\
         # and is not cleared when the state is entered again.\n\
         \n\
         machine: {}\n\
         initial: {}\n",
        quoted(machine.as_str()),
        named(&states.current)
    );
    let (mut events, mut counters) = (String::new(), String::new());
    for one in &states.states {
        let WaitCondition::Count { begins, .. } = one.waits_for else { continue };
        if begins > 0 {
            _ = writeln!(counters, "  {}: {begins}", named(&one.name));
        }
        let about = quoted(&format!("something that belongs to {} is done", one.name));
        _ = writeln!(events, "  {}: {{ from: operator, about: {about} }}", named(&one.name));
    }
    if !events.is_empty() {
        _ = write!(text, "\nevents:\n{events}");
    }
    if !counters.is_empty() {
        _ = write!(text, "\n# Where counters begin that do not begin at zero.\ncounters:\n{counters}");
    }
    text += "\nstates:\n";
    let reached = reached(states);
    let (mut places, mut line) = (Vec::new(), text.lines().count() as u64 + 1);
    for one in &states.states {
        let name = named(&one.name);
        let label =
            if name == one.name { String::new() } else { format!("    label: {}\n", quoted(&one.name)) };
        let step = step(one, name, &named, reached.contains(one.name.as_str()));
        let state = format!("  {name}:\n{label}{step}");
        places.push((line, one.at));
        line += state.lines().count() as u64;
        text += &state;
    }
    GeneratedText { text, positions: places }
}

fn step<'a>(
    one: &'a DeclaredState,
    name: &str,
    named: &impl Fn(&'a str) -> &'a str,
    is_reached: bool,
) -> String {
    match &one.waits_for {
        WaitCondition::End if is_reached => "    about: the end\n    final: true\n".to_owned(),
        // An end that nothing leads to, as where the machine has passed a fork already.
        WaitCondition::End => "    about: the end, which only force leads to\n    resting: true\n".to_owned(),
        WaitCondition::Count { begins, before, target } => {
            let about = match before.map(|before| before + 1 - u64::from(*begins)) {
                Some(1) => "waits until something that belongs to it is done".to_owned(),
                Some(enough) => format!("waits until {enough} things that belong to it are done"),
                None => "counts for ever".to_owned(),
            };
            let begins =
                format!("    about: {}\n    resting: true\n    on:\n      {name}:\n", quoted(&about));
            let moves = before.map(|before| {
                format!(
                    "        - {{ if: 'counters[\"{name}\"] == {before}', target: {}, do: {{ count: {name} }} }}\n",
                    named(target)
                )
            });
            format!("{begins}{}        - do: {{ count: {name} }}\n", moves.unwrap_or_default())
        }
        WaitCondition::Time { at, target } => format!(
            "    about: waits for its time\n    resting: true\n    timeout: {{ at: {}, target: {} }}\n",
            at.format("%Y-%m-%dT%H:%M:%S%.fZ"),
            named(target)
        ),
    }
}

/// The states that the first one leads to.
fn reached(states: &StateServiceFile) -> BTreeSet<&str> {
    let by_name: BTreeMap<&str, &DeclaredState> =
        states.states.iter().map(|one| (one.name.as_str(), one)).collect();
    let mut reached = BTreeSet::new();
    let mut at = Some(states.current.as_str());
    while let Some(name) = at.filter(|name| reached.insert(*name)) {
        at = by_name.get(name).and_then(|one| one.waits_for.target());
    }
    reached
}

/// The names of the states in our language, each by its own.
fn names<'a>(states: &'a StateServiceFile, actions: &dyn ActionCatalogue) -> BTreeMap<&'a str, String> {
    let named = states.states.iter().map(|one| (one.name.as_str(), name(&one.name, actions)));
    let mut names: BTreeMap<&str, String> = named.collect();
    let mut taken: BTreeSet<String> =
        names.iter().filter(|(label, name)| label == name).map(|(label, _)| (*label).to_owned()).collect();
    for (_, name) in names.iter_mut().filter(|(label, name)| *label != name) {
        let made = name.clone();
        let mut next = 2;
        while !taken.insert(name.clone()) {
            *name = format!("{made}-{next}");
            next += 1;
        }
    }
    names
}

/// The name for a state in our language: its own where that is one, and otherwise one that is made of it, the same each
/// time, so that an instance finds its state again whatever else changes in the file.
fn name(label: &str, actions: &dyn ActionCatalogue) -> String {
    let is_end_of_action = ["-ok", "-failed"]
        .iter()
        .any(|end| label.strip_suffix(end).is_some_and(|action| actions.contains(action)));
    // A failed state of ours is one that a person has to look at, whatever StateService's is.
    let means_more = is_end_of_action || is_failed_state_name(label) || is_yaml_word(label);
    if StateName::new(label).is_ok() && !means_more {
        return label.to_owned();
    }
    let plain: String =
        label.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("s-{plain}-{:08x}", fnv(label))
}

/// Whether YAML takes the word for something else than a text.
fn is_yaml_word(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&word.as_str())
}

/// FNV-1a, 32 bits (Source: the IETF draft on the FNV hash).
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The text in YAML's double quotes, which take JSON's escapes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
