//! Writes the states of a StateService file as a machine definition.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use machine::source_text::SourcePosition;
use machine::{ActionCatalogue, MachineName, StateName, is_failed_state_name};

use super::read::{DeclaredState, StateServiceFile, WaitCondition};

/// The text of a definition, and the positions in the file that its lines were generated from.
pub(super) struct GeneratedText {
    pub(super) text: String,
    /// First lines with their positions, in order.
    positions: Vec<(u64, SourcePosition)>,
}

impl GeneratedText {
    /// The position in the file that line `line` was generated from.
    pub(super) fn position(&self, line: u64) -> SourcePosition {
        let position = self.positions.iter().rfind(|(from, _)| *from <= line);
        position.map_or(SourcePosition { line: 1, column: 1 }, |(_, at)| *at)
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
    for state in &states.states {
        let WaitCondition::Count { begins, .. } = state.waits_for else { continue };
        if begins > 0 {
            _ = writeln!(counters, "  {}: {begins}", named(&state.name));
        }
        let about = quoted(&format!("something that belongs to {} is done", state.name));
        _ = writeln!(events, "  {}: {{ from: operator, about: {about} }}", named(&state.name));
    }
    if !events.is_empty() {
        _ = write!(text, "\nevents:\n{events}");
    }
    if !counters.is_empty() {
        _ = write!(text, "\n# Where counters begin that do not begin at zero.\ncounters:\n{counters}");
    }
    text += "\nstates:\n";
    let reached = reached(states);
    let (mut positions, mut line) = (Vec::new(), text.lines().count() as u64 + 1);
    for state in &states.states {
        let name = named(&state.name);
        let label =
            if name == state.name { String::new() } else { format!("    label: {}\n", quoted(&state.name)) };
        let step = step(state, name, &named, reached.contains(state.name.as_str()));
        let text_of_state = format!("  {name}:\n{label}{step}");
        positions.push((line, state.at));
        line += text_of_state.lines().count() as u64;
        text += &text_of_state;
    }
    GeneratedText { text, positions }
}

fn step<'a>(
    state: &'a DeclaredState,
    name: &str,
    named: &impl Fn(&'a str) -> &'a str,
    is_reached: bool,
) -> String {
    match &state.waits_for {
        WaitCondition::End if is_reached => "    about: the end\n    final: true\n".to_owned(),
        // A final state that nothing leads to, for example because the machine has passed a branch already.
        WaitCondition::End => "    about: the end, which only force leads to\n    resting: true\n".to_owned(),
        WaitCondition::Count { begins, before, target } => {
            let about = match before.map(|before| before + 1 - u64::from(*begins)) {
                Some(1) => "waits until something that belongs to it is done".to_owned(),
                Some(enough) => format!("waits until {enough} things that belong to it are done"),
                None => "counts without end".to_owned(),
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

/// The states reachable from the first one.
fn reached(states: &StateServiceFile) -> BTreeSet<&str> {
    let by_name: BTreeMap<&str, &DeclaredState> =
        states.states.iter().map(|state| (state.name.as_str(), state)).collect();
    let mut reached = BTreeSet::new();
    let mut at = Some(states.current.as_str());
    while let Some(name) = at.filter(|name| reached.insert(*name)) {
        at = by_name.get(name).and_then(|state| state.waits_for.target());
    }
    reached
}

/// The names of the states in the definition, by their names in the file.
fn names<'a>(states: &'a StateServiceFile, actions: &dyn ActionCatalogue) -> BTreeMap<&'a str, String> {
    let named = states.states.iter().map(|state| (state.name.as_str(), name(&state.name, actions)));
    let mut names: BTreeMap<&str, String> = named.collect();
    let mut taken: BTreeSet<String> =
        names.iter().filter(|(label, name)| label == name).map(|(label, _)| (*label).to_owned()).collect();
    for (_, name) in names.iter_mut().filter(|(label, name)| *label != name) {
        let generated = name.clone();
        let mut next = 2;
        while !taken.insert(name.clone()) {
            *name = format!("{generated}-{next}");
            next += 1;
        }
    }
    names
}

/// The name of a state in the definition: its own where that is valid, otherwise one derived from it.
///
/// A derived name depends only on the state's own name, so that instances keep their state when the file changes.
fn name(label: &str, actions: &dyn ActionCatalogue) -> String {
    let is_end_of_action = ["-ok", "-failed"]
        .iter()
        .any(|end| label.strip_suffix(end).is_some_and(|action| actions.contains(action)));
    // In a definition, `Failed…` marks states that need an operator; StateService's names do not mean that.
    let is_reserved = is_end_of_action || is_failed_state_name(label) || is_yaml_word(label);
    if StateName::new(label).is_ok() && !is_reserved {
        return label.to_owned();
    }
    let plain: String =
        label.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("s-{plain}-{:08x}", fnv(label))
}

/// Whether YAML reads the word as something other than a text.
fn is_yaml_word(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&word.as_str())
}

/// FNV-1a, 32 bits (Source: the IETF draft on the FNV hash).
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The text in double quotes: YAML accepts JSON's escapes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
