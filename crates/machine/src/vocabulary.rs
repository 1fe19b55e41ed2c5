//! Names that faces register for use in definitions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::names::{ActionName, SelectorName, is_name};
use super::sender::{ACTION_SENDER, OPERATOR_SENDER, SenderName};
use super::simulation::SimulatedAction;

/// The registered names that definitions may use: senders, fact objects, resource selectors and actions.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    senders: Vec<SenderName>,
    facts: Vec<FactObject>,
    selectors: Vec<SelectorName>,
    actions: Arc<dyn ActionCatalogue>,
}

/// The reason why a name cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadVocabulary {
    /// It is not a valid name.
    #[error("`{0}` is not a name")]
    NotAName(String),
    /// It is already taken.
    #[error("`{0}` is taken")]
    Taken(String),
}

impl Vocabulary {
    /// Creates a vocabulary with actions only.
    #[must_use]
    pub fn new(actions: Arc<dyn ActionCatalogue>) -> Self {
        Self { senders: Vec::new(), facts: Vec::new(), selectors: Vec::new(), actions }
    }

    /// Registers a sender of events.
    ///
    /// # Errors
    ///
    /// [`BadVocabulary`] if the name is invalid or taken.
    pub fn with_sender(mut self, sender: SenderName) -> Result<Self, BadVocabulary> {
        let name = sender.as_str();
        if !is_name(name) {
            return Err(BadVocabulary::NotAName(name.to_owned()));
        }
        if [OPERATOR_SENDER, ACTION_SENDER].contains(&name) || self.senders.contains(&sender) {
            return Err(BadVocabulary::Taken(name.to_owned()));
        }
        self.senders.push(sender);
        Ok(self)
    }

    /// Registers an object by which guards read facts.
    ///
    /// # Errors
    ///
    /// [`BadVocabulary`] if its name is invalid or taken.
    pub fn with_facts(mut self, facts: FactObject) -> Result<Self, BadVocabulary> {
        // A guard would parse `a-b` as a subtraction.
        if !is_name(&facts.name) || facts.name.contains('-') {
            return Err(BadVocabulary::NotAName(facts.name));
        }
        if GUARD_VARIABLES.contains(&facts.name.as_str())
            || self.facts.iter().any(|object| object.name == facts.name)
        {
            return Err(BadVocabulary::Taken(facts.name));
        }
        self.facts.push(facts);
        Ok(self)
    }

    /// Registers a selector: a state may hold any of the resources that the face returns for it.
    ///
    /// # Errors
    ///
    /// [`BadVocabulary`] if the name is taken.
    pub fn with_selector(mut self, selector: SelectorName) -> Result<Self, BadVocabulary> {
        if self.selectors.contains(&selector) {
            return Err(BadVocabulary::Taken(selector.to_string()));
        }
        self.selectors.push(selector);
        Ok(self)
    }

    /// Returns the same vocabulary with unchecked action settings, for definitions that were accepted before.
    #[must_use]
    pub fn with_any_settings(&self) -> Self {
        Self { actions: Arc::new(AnySettingsCatalogue(Arc::clone(&self.actions))), ..self.clone() }
    }

    /// The registered senders.
    #[must_use]
    pub fn senders(&self) -> &[SenderName] {
        &self.senders
    }

    /// The registered fact objects.
    #[must_use]
    pub fn facts(&self) -> &[FactObject] {
        &self.facts
    }

    /// The registered resource selectors.
    #[must_use]
    pub fn selectors(&self) -> &[SelectorName] {
        &self.selectors
    }

    /// The available actions.
    #[must_use]
    pub fn actions(&self) -> &dyn ActionCatalogue {
        &*self.actions
    }
}

/// The variables that every guard may name.
pub(super) const GUARD_VARIABLES: [&str; 3] = ["args", "counters", "data"];

/// An object by which guards read facts: `thing` in `thing.name == 't1'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactObject {
    /// Its name.
    pub name: String,
    /// Its fields, with their kinds.
    pub fields: BTreeMap<String, FactKind>,
}

impl FactObject {
    /// Creates the object `name` with `fields`.
    #[must_use]
    pub fn new(name: &str, fields: &[(&str, FactKind)]) -> Self {
        let fields = fields.iter().map(|(field, kind)| ((*field).to_owned(), *kind));
        Self { name: name.to_owned(), fields: fields.collect() }
    }
}

/// The kind of a fact's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactKind {
    /// True or false.
    Boolean,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A list of texts.
    List,
    /// A mapping from texts to texts.
    Mapping,
}

/// The actions that definitions may invoke.
pub trait ActionCatalogue: fmt::Debug + Send + Sync {
    /// Their names, in alphabetical order.
    fn names(&self) -> Vec<&str>;

    /// Whether an action `name` exists.
    fn contains(&self, name: &str) -> bool {
        self.names().contains(&name)
    }

    /// Checks the settings (`with:`) of an action, and returns the faults.
    fn check_settings(&self, action: &ActionName, settings: &Map<String, Value>) -> Vec<SettingFault>;

    /// Returns the default simulation of an action, for profiles that do not set one.
    fn simulate(&self, action: &ActionName) -> SimulatedAction {
        let _ = action;
        SimulatedAction::of_server()
    }

    /// Describes in one line what an action does with these settings, if there is something to say.
    fn describe(&self, action: &ActionName, settings: &Map<String, Value>) -> Option<String> {
        let _ = (action, settings);
        None
    }
}

/// A fault in the settings of an action.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingFault {
    /// The key of the faulty setting, if one that is present is faulty.
    pub key: Option<String>,
    /// What is wrong, and how to correct it.
    pub message: String,
}

/// The same actions, with unchecked settings.
#[derive(Debug)]
struct AnySettingsCatalogue(Arc<dyn ActionCatalogue>);

impl ActionCatalogue for AnySettingsCatalogue {
    fn names(&self) -> Vec<&str> {
        self.0.names()
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn check_settings(&self, _: &ActionName, _: &Map<String, Value>) -> Vec<SettingFault> {
        Vec::new()
    }

    fn simulate(&self, action: &ActionName) -> SimulatedAction {
        self.0.simulate(action)
    }

    fn describe(&self, action: &ActionName, settings: &Map<String, Value>) -> Option<String> {
        self.0.describe(action, settings)
    }
}

/// Actions known by name only: any settings are accepted.
#[derive(Debug, Clone, Default)]
pub struct NamedActions(Vec<String>);

impl NamedActions {
    /// Creates a catalogue of these actions.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        Self(names)
    }
}

impl ActionCatalogue for NamedActions {
    fn names(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }

    fn check_settings(&self, _: &ActionName, _: &Map<String, Value>) -> Vec<SettingFault> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
