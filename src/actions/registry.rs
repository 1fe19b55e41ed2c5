//! The registry of action kinds. Only this module names them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ::power::{PowerOperation, PowerSettings};
use serde_json::{Map, Value};

use super::job::Facts;
use super::kind::{ActionDescription, ActionKind, ResourceClaim};
use super::notify::NotifyAction;
use super::notify_policy::NotifyPolicy;
use super::poll::PollAction;
use super::power::PowerAction;
use super::power_scan::PowerScanAction;
use super::probe::ProbeAction;
use crate::machine::SimulatedAction;
use crate::machine::{ActionCatalogue, ActionName, SettingFault};

/// The kinds of action of a server, by name.
#[derive(Clone, Default)]
pub struct ActionRegistry {
    by_name: BTreeMap<&'static str, RegisteredKind>,
}

#[derive(Clone)]
struct RegisteredKind {
    description: Arc<ActionDescription>,
    kind: Arc<dyn ActionKind>,
}

impl ActionRegistry {
    /// The kinds that instances of any machine can invoke. Power URLs can name these settings.
    #[must_use]
    pub fn standard(notify: NotifyPolicy, settings: &PowerSettings) -> Self {
        let power = |operation| PowerAction::new(operation).with_settings(settings.clone());
        Self::default()
            .with(NotifyAction::new(notify))
            .with(PollAction)
            .with(power(PowerOperation::Cycle))
            .with(power(PowerOperation::Off))
            .with(power(PowerOperation::On))
            .with(power(PowerOperation::Read))
            .with(PowerScanAction::new(settings.clone()))
            .with(ProbeAction::new(settings.clone()))
    }

    /// Adds a kind, or replaces the kind of the same name.
    #[must_use]
    pub fn with(mut self, kind: impl ActionKind) -> Self {
        let description = Arc::new(kind.description());
        self.by_name.insert(description.name, RegisteredKind { description, kind: Arc::new(kind) });
        self
    }

    /// Finds the kind of `action`.
    #[must_use]
    pub fn find(&self, action: &str) -> Option<&Arc<dyn ActionKind>> {
        self.by_name.get(action).map(|entry| &entry.kind)
    }

    /// Finds the description of `action`.
    #[must_use]
    pub fn description(&self, action: &str) -> Option<&Arc<ActionDescription>> {
        self.by_name.get(action).map(|entry| &entry.description)
    }

    /// Lists the resources that `action` claims.
    #[must_use]
    pub fn claims(
        &self,
        action: &ActionName,
        settings: &Map<String, Value>,
        facts: &Facts,
    ) -> Vec<ResourceClaim> {
        self.find(action.as_str()).map(|kind| kind.claims(settings, facts)).unwrap_or_default()
    }

    /// Finds the action that compensates `action` where it started and was not seen to end.
    #[must_use]
    pub fn compensation(&self, action: &ActionName) -> Option<ActionName> {
        ActionName::new(self.description(action.as_str())?.compensation?).ok()
    }

    /// Whether the success of `action` makes the compensation `compensation` unnecessary, where both hold the same resource.
    #[must_use]
    pub fn settles(&self, action: &ActionName, compensation: &ActionName) -> bool {
        self.description(action.as_str())
            .is_some_and(|description| description.supersedes.contains(&compensation.as_str()))
    }

    /// Lists the actions that are restarted when the fact `fact` of their instance changes.
    pub fn restarted_by(&self, fact: &str) -> impl Iterator<Item = &'static str> {
        let is_restarted =
            move |entry: &&RegisteredKind| entry.description.restarted_by_facts.contains(&fact);
        self.by_name.values().filter(is_restarted).map(|entry| entry.description.name)
    }

    /// Says why `action` does nothing for an instance with these facts, where it does nothing.
    #[must_use]
    pub fn idle_reason(&self, action: &str, facts: &Facts) -> Option<String> {
        self.find(action)?.idle_reason(facts)
    }
}

impl ActionCatalogue for ActionRegistry {
    fn names(&self) -> Vec<&str> {
        self.by_name.keys().copied().collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn check_settings(&self, action: &ActionName, settings: &Map<String, Value>) -> Vec<SettingFault> {
        self.find(action.as_str()).map(|kind| kind.check_settings(settings)).unwrap_or_default()
    }

    fn simulate(&self, action: &ActionName) -> SimulatedAction {
        let description = self.description(action.as_str());
        description.map_or_else(SimulatedAction::of_server, |description| description.simulation)
    }
}

impl fmt::Debug for ActionRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::settings::setting_fault;
    use super::*;

    fn registry() -> ActionRegistry {
        ActionRegistry::standard(NotifyPolicy::default(), &PowerSettings::default())
    }

    fn name(name: &str) -> ActionName {
        ActionName::new(name).unwrap()
    }

    #[test]
    fn power_actions_claim_their_relay_board_and_others_claim_nothing() {
        let registry = registry();
        let claims = |action: &str, url: &str| {
            let facts = Map::from_iter([("power_url".to_owned(), json!(url))]);
            registry.claims(&name(action), &Map::new(), &facts)
        };
        let relay = ResourceClaim::exclusive("modbus://relay-3.lab:502".to_owned());
        assert_eq!(claims("power-off", "modbus://Relay-3.lab/5"), std::slice::from_ref(&relay));
        assert_eq!(claims("power-read", "modbus://Relay-3.lab/5"), [relay.clone().probing()]);
        for action in ["power-on", "power-cycle"] {
            assert_eq!(claims(action, "modbus://Relay-3.lab/5"), [relay.clone().adding_load()]);
        }
        let daemon = ResourceClaim::shared("pdudaemon://daemon.lab:16421".to_owned());
        assert_eq!(claims("power-off", "pdudaemon://daemon.lab/pdu-1/5"), [daemon]);
        assert_eq!(claims("poll", "modbus://Relay-3.lab/5"), []);
        let device = Map::from_iter([("scan_url".to_owned(), json!("modbus://Relay-3.lab?unit=2"))]);
        assert_eq!(registry.claims(&name("power-scan"), &Map::new(), &device), [relay.probing()]);
        assert_eq!(claims("power-on", "modbus://"), []);
        assert_eq!(registry.claims(&name("power-on"), &Map::new(), &Map::new()), []);
    }

    #[test]
    fn an_interrupted_power_cycle_ends_with_the_power_on() {
        let registry = registry();
        let (cycle, on) = (name("power-cycle"), name("power-on"));
        assert_eq!(registry.compensation(&cycle), Some(on.clone()));
        assert_eq!([registry.compensation(&on), registry.compensation(&name("poll"))], [None, None]);
        assert!(registry.settles(&cycle, &on) && registry.settles(&on, &on));
        assert!(!registry.settles(&name("poll"), &on));
        assert!(registry.restarted_by("poll_url").eq(["poll"]));
    }

    #[test]
    fn settings_of_an_action_that_has_none_are_refused_and_were_ignored_before() {
        let given = json!({ "off": "4s" }).as_object().unwrap().clone();
        let faults = registry().check_settings(&name("power-cycle"), &given);
        assert_eq!(faults, [setting_fault("off", "unknown setting `off`. This action has no settings")]);
        let facts = Map::from_iter([("power_url".to_owned(), json!("modbus://relay-3.lab/5"))]);
        assert_eq!(registry().claims(&name("power-cycle"), &given, &facts).len(), 1);
    }
}
