//! Indices of a definition's names.

use std::collections::BTreeSet;

use machine::Definition;
use machine::{ActionName, StateName};

/// The names of a definition, by index.
#[derive(Debug)]
pub(crate) struct NumberedNames<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) states: Vec<&'a StateName>,
    pub(crate) actions: Vec<ActionName>,
}

impl<'a> NumberedNames<'a> {
    pub(crate) fn new(definition: &'a Definition) -> Self {
        let invoked = definition.states.values().flat_map(|state| &state.invoke);
        let actions: BTreeSet<ActionName> = invoked.map(|invoke| invoke.action.clone()).collect();
        Self {
            definition,
            states: definition.states.keys().collect(),
            actions: actions.into_iter().collect(),
        }
    }

    /// The states that match `pattern`: a name, or a prefix followed by `*`.
    pub(super) fn matching(&self, pattern: &str) -> Vec<usize> {
        let is_match = |name: &StateName| match pattern.strip_suffix('*') {
            Some(prefix) => name.as_str().starts_with(prefix),
            None => name.as_str() == pattern,
        };
        (0..self.states.len()).filter(|index| is_match(self.states[*index])).collect()
    }
}
