//! What definitions may name that the kernel does not know of itself: faces register it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::names::{ActionName, SelectorName, is_name};
use super::sender::{ACTION_SENDER, OPERATOR_SENDER, SenderName};
use super::simulation::SimulatedAction;

/// The names that definitions may use besides their own: senders, objects of facts, selectors of resources, actions.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    senders: Vec<SenderName>,
    facts: Vec<FactObject>,
    selectors: Vec<SelectorName>,
    actions: Arc<dyn ActionCatalogue>,
}

/// Why something cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadVocabulary {
    /// A definition could not write it.
    #[error("`{0}` is not a name")]
    NotAName(String),
    /// It means something else already.
    #[error("`{0}` is taken")]
    Taken(String),
}

impl Vocabulary {
    /// A vocabulary of actions alone.
    #[must_use]
    pub fn new(actions: Arc<dyn ActionCatalogue>) -> Self {
        Self { senders: Vec::new(), facts: Vec::new(), selectors: Vec::new(), actions }
    }

    /// Adds a sender of events.
    ///
    /// # Errors
    ///
    /// [`BadVocabulary`] when the name is none, or taken.
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

    /// Adds an object by which conditions read facts.
    ///
    /// # Errors
    ///
    /// [`BadVocabulary`] when its name is none, or taken.
    pub fn with_facts(mut self, facts: FactObject) -> Result<Self, BadVocabulary> {
        // A condition would take `a-b` for a difference.
        if !is_name(&facts.name) || facts.name.contains('-') {
            return Err(BadVocabulary::NotAName(facts.name));
        }
        if GUARD_VARIABLES.contains(&facts.name.as_str())
            || self.facts.iter().any(|one| one.name == facts.name)
        {
            return Err(BadVocabulary::Taken(facts.name));
        }
        self.facts.push(facts);
        Ok(self)
    }

    /// Adds a selector, by which a state holds any of the resources that a face says.
    ///
    /// # Errors
    ///
    /// [`BadVocabulary`] when the name is taken.
    pub fn with_selector(mut self, selector: SelectorName) -> Result<Self, BadVocabulary> {
        if self.selectors.contains(&selector) {
            return Err(BadVocabulary::Taken(selector.to_string()));
        }
        self.selectors.push(selector);
        Ok(self)
    }

    /// The same with actions whose settings are not looked at: for definitions that were accepted before.
    #[must_use]
    pub fn with_any_settings(&self) -> Self {
        Self { actions: Arc::new(AnySettingsCatalogue(Arc::clone(&self.actions))), ..self.clone() }
    }

    /// The registered senders.
    #[must_use]
    pub fn senders(&self) -> &[SenderName] {
        &self.senders
    }

    /// The registered objects of facts.
    #[must_use]
    pub fn facts(&self) -> &[FactObject] {
        &self.facts
    }

    /// The registered selectors of resources.
    #[must_use]
    pub fn selectors(&self) -> &[SelectorName] {
        &self.selectors
    }

    /// The actions that there are.
    #[must_use]
    pub fn actions(&self) -> &dyn ActionCatalogue {
        &*self.actions
    }
}

/// The variables that every condition may name; no face registers these.
pub(super) const GUARD_VARIABLES: [&str; 3] = ["args", "counters", "data"];

/// An object by which conditions read what is known of a thing from outside: `thing` in `thing.name == 't1'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactObject {
    /// Its name.
    pub name: String,
    /// What may be in it.
    pub fields: BTreeMap<String, FactKind>,
}

impl FactObject {
    /// The object `name` with `fields`.
    #[must_use]
    pub fn new(name: &str, fields: &[(&str, FactKind)]) -> Self {
        let fields = fields.iter().map(|(field, kind)| ((*field).to_owned(), *kind));
        Self { name: name.to_owned(), fields: fields.collect() }
    }
}

/// The kind of value that a fact has.
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

    /// Whether there is an action `name`.
    fn contains(&self, name: &str) -> bool {
        self.names().contains(&name)
    }

    /// Says what is wrong with the settings (`with:`) of an action.
    fn check_settings(&self, action: &ActionName, settings: &Map<String, Value>) -> Vec<SettingFault>;

    /// How an action goes in a simulated farm whose profile does not say.
    fn simulate(&self, action: &ActionName) -> SimulatedAction {
        let _ = action;
        SimulatedAction::of_server()
    }

    /// Says in a line for people what an action does with these settings, where there is something to say.
    fn describe(&self, action: &ActionName, settings: &Map<String, Value>) -> Option<String> {
        let _ = (action, settings);
        None
    }
}

/// What is wrong with the settings of an action.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingFault {
    /// The setting, where one of those that are given is wrong.
    pub key: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// The same actions, with any settings.
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

/// Actions of which nothing but the names is known: any settings will do.
#[derive(Debug, Clone, Default)]
pub struct NamedActions(Vec<String>);

impl NamedActions {
    /// The actions of these names.
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
