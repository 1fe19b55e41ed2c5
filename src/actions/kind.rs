//! The traits of a kind of action.
//!
//! A kind implements [`TypedActionKind`], whose settings are a type of its own. All others use [`ActionKind`], which takes the
//! settings as the machine definition has them and is object-safe.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::ending::{Evidence, UnfinishedAction};
use super::finding::Finding;
use super::job::{Facts, Job};
use super::settings::{self, ActionSettings, SettingInfo};
use super::trouble::Trouble;
use crate::machine::SettingFault;
use crate::machine::SimulatedAction;

/// The properties of a kind of action that do not depend on its settings.
#[derive(Debug, Clone)]
pub struct ActionDescription {
    /// The name by which definitions invoke it.
    pub name: &'static str,
    /// A description of one or two sentences.
    pub about: &'static str,
    /// The time limit of a run, where the definition does not set another.
    pub limit: Duration,
    /// The local fault that a run beyond its limit means; nothing where it is a failure.
    pub late_trouble: Option<Trouble>,
    /// The action that compensates this one where it started and was not seen to end.
    pub compensation: Option<&'static str>,
    /// The compensations that are no longer needed once this action has succeeded at the same resource.
    pub supersedes: &'static [&'static str],
    /// The facts of the instance that it uses.
    pub facts: &'static [&'static str],
    /// Those of them whose change restarts a running action.
    pub restarted_by_facts: &'static [&'static str],
    /// Where it can run.
    pub run_location: RunLocation,
    /// Its behaviour in a simulated farm whose profile does not set it.
    pub simulation: SimulatedAction,
    /// What a run does with invalid settings, which an earlier release may have accepted.
    pub bad_settings: BadSettingsPolicy,
}

impl ActionDescription {
    /// A description with defaults.
    #[must_use]
    pub fn new(name: &'static str, about: &'static str, limit: Duration) -> Self {
        Self {
            name,
            about,
            limit,
            late_trouble: None,
            compensation: None,
            supersedes: &[],
            facts: &[],
            restarted_by_facts: &[],
            run_location: RunLocation::Anywhere,
            simulation: SimulatedAction::of_server(),
            bad_settings: BadSettingsPolicy::Fail,
        }
    }

    /// Lists the events that it can end in.
    #[must_use]
    pub fn outcomes(&self) -> [String; 2] {
        ["ok", "failed"].map(|outcome| format!("{}-{outcome}", self.name))
    }
}

/// Where an action can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunLocation {
    /// Only in the process of the server: it needs the server's files, such as its boot tree.
    InServer,
    /// In the server, or on a worker elsewhere.
    Anywhere,
}

/// What a run does with invalid settings. They are refused when a definition is loaded; a definition that was activated by
/// an earlier release can still have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadSettingsPolicy {
    /// The run fails as misconfigured.
    Fail,
    /// The run ignores the invalid settings.
    Ignore,
    /// The run reports a misconfiguration, and does nothing until it is cancelled.
    Wait,
}

/// A number of units of a resource, held while an action runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceClaim {
    /// The normalized names of the acceptable resources; the first one that is free is taken.
    pub any_of: Vec<String>,
    /// The number of units that the action needs.
    pub units: u32,
    /// The number of units of the resource; `None`: unlimited.
    pub capacity: Option<u32>,
    /// The time between two grants.
    pub gap: Duration,
    /// The time between a release and the next grant.
    pub settle: Duration,
    /// Whether the action adds the load of its instance to the resource: it claims as much of all that contains the
    /// resource, where there is one.
    pub adds_load: bool,
    /// Whether the action only asks whether the resource answers: it is granted also while there is an incident there.
    pub probes: bool,
}

impl ResourceClaim {
    /// A claim on all of a resource that only one action can hold at a time.
    #[must_use]
    pub fn exclusive(resource: String) -> Self {
        Self::one_of(vec![resource])
    }

    /// A claim on all of the first of these resources that is free.
    #[must_use]
    pub fn one_of(any_of: Vec<String>) -> Self {
        Self {
            any_of,
            units: 1,
            capacity: Some(1),
            gap: Duration::ZERO,
            settle: Duration::ZERO,
            adds_load: false,
            probes: false,
        }
    }

    /// A claim on a resource that any number of actions can use, unless an operator limits it.
    #[must_use]
    pub fn shared(resource: String) -> Self {
        Self { capacity: None, ..Self::exclusive(resource) }
    }

    /// The same claim, of an action that adds load.
    #[must_use]
    pub fn adding_load(self) -> Self {
        Self { adds_load: true, ..self }
    }

    /// The same claim, of an action that only asks whether the resource answers.
    #[must_use]
    pub fn probing(self) -> Self {
        Self { probes: true, ..self }
    }
}

/// A kind of action, with its settings as a type.
#[async_trait]
pub trait TypedActionKind: Send + Sync + 'static {
    /// The settings that a definition can give under `with:`.
    type Settings: ActionSettings;

    /// Describes the kind.
    fn description(&self) -> ActionDescription;

    /// Lists the resources that it claims with these settings for an instance with these facts.
    fn claims(&self, settings: &Self::Settings, facts: &Facts) -> Vec<ResourceClaim> {
        let (_, _) = (settings, facts);
        Vec::new()
    }

    /// Says why a run does nothing for an instance with these facts, where it does nothing.
    fn idle_reason(&self, facts: &Facts) -> Option<String> {
        let _ = facts;
        None
    }

    /// Runs `job`.
    ///
    /// It can be run again for the same job, after a crash or beside a late duplicate, and must be idempotent. *Accepted is
    /// not happened*: an action succeeds only by what was observed.
    ///
    /// The caller limits the time and can cancel; a cancelled run stops at the next moment at which the device is left in a
    /// safe condition (never unpowered in the middle of a power cycle) and returns.
    ///
    /// Before each write to a device it checks `job.lease`. Without a lease it writes nothing, not even to restore power,
    /// because another process may use the device by then.
    ///
    /// # Errors
    ///
    /// [`UnfinishedAction`] when the purpose of the action was not observed: failed, or suspended where a local fault
    /// prevented it.
    async fn run(
        &self,
        job: &Job,
        settings: &Self::Settings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction>;
}

/// A kind of action, with untyped settings.
#[async_trait]
pub trait ActionKind: Send + Sync + 'static {
    /// Describes the kind.
    fn description(&self) -> ActionDescription;

    /// Lists the settings with their defaults.
    fn settings(&self) -> Vec<SettingInfo>;

    /// Checks settings and lists their faults.
    fn check_settings(&self, settings: &Map<String, Value>) -> Vec<SettingFault>;

    /// Lists the resources that it claims; none where its settings are invalid.
    fn claims(&self, settings: &Map<String, Value>, facts: &Facts) -> Vec<ResourceClaim>;

    /// Says why a run does nothing for an instance with these facts, where it does nothing.
    fn idle_reason(&self, facts: &Facts) -> Option<String>;

    /// Runs `job`, as [`TypedActionKind::run`] does.
    ///
    /// # Errors
    ///
    /// [`UnfinishedAction`], also where the settings of the job are invalid.
    async fn run(&self, job: &Job, cancel: &CancellationToken) -> Result<Evidence, UnfinishedAction>;
}

#[async_trait]
impl<T: TypedActionKind> ActionKind for T {
    fn description(&self) -> ActionDescription {
        TypedActionKind::description(self)
    }

    fn settings(&self) -> Vec<SettingInfo> {
        settings::list::<T::Settings>()
    }

    fn check_settings(&self, settings: &Map<String, Value>) -> Vec<SettingFault> {
        settings::read::<T::Settings>(settings).err().unwrap_or_default()
    }

    fn claims(&self, settings: &Map<String, Value>, facts: &Facts) -> Vec<ResourceClaim> {
        if settings.is_empty() {
            // The usual case, on the path of decisions.
            return TypedActionKind::claims(self, &T::Settings::default(), facts);
        }
        let read = match TypedActionKind::description(self).bad_settings {
            BadSettingsPolicy::Ignore => settings::read_valid::<T::Settings>(settings),
            BadSettingsPolicy::Fail | BadSettingsPolicy::Wait => settings::read::<T::Settings>(settings),
        };
        read.map(|settings| TypedActionKind::claims(self, &settings, facts)).unwrap_or_default()
    }

    fn idle_reason(&self, facts: &Facts) -> Option<String> {
        TypedActionKind::idle_reason(self, facts)
    }

    async fn run(&self, job: &Job, cancel: &CancellationToken) -> Result<Evidence, UnfinishedAction> {
        let description = TypedActionKind::description(self);
        let read = match description.bad_settings {
            BadSettingsPolicy::Ignore => settings::read_valid::<T::Settings>(&job.settings),
            BadSettingsPolicy::Fail | BadSettingsPolicy::Wait => settings::read::<T::Settings>(&job.settings),
        };
        let faults = match read {
            Ok(settings) => return TypedActionKind::run(self, job, &settings, cancel).await,
            Err(faults) => faults,
        };
        let faults: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
        let reason = format!("invalid settings of `{}`: {}", description.name, faults.join("; "));
        match description.bad_settings {
            BadSettingsPolicy::Fail | BadSettingsPolicy::Ignore => {
                Err(UnfinishedAction::misconfigured(reason))
            }
            BadSettingsPolicy::Wait => {
                job.findings.report(Finding::Misconfigured(reason));
                cancel.cancelled().await;
                Err(UnfinishedAction::failed("cancelled", Evidence::new()))
            }
        }
    }
}
