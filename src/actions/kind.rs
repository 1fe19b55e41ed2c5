//! What every kind of action has to say of itself.
//!
//! A kind implements [`TypedActionKind`], whose settings are a type of its own. Everybody else uses [`ActionKind`], which takes settings
//! as the machine definition has them and can be kept in a list with other kinds.

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

/// What is true of a kind of action whatever its settings are.
#[derive(Debug, Clone)]
pub struct ActionDescription {
    /// By which definitions invoke it.
    pub name: &'static str,
    /// What it does, for people: a sentence or two.
    pub about: &'static str,
    /// The longest that a run may take where the definition does not say otherwise.
    pub limit: Duration,
    /// What it means when a run does not end within its limit: trouble of our own, or nothing where that is a failure.
    pub late_trouble: Option<Trouble>,
    /// The action that makes up for this one where it began and was not seen to end.
    pub compensation: Option<&'static str>,
    /// The compensations that are not needed any more once this action succeeded at the same resource.
    pub supersedes: &'static [&'static str],
    /// The facts of the instance that it works with.
    pub facts: &'static [&'static str],
    /// Those of them whose change begins a running one anew.
    pub restarted_by_facts: &'static [&'static str],
    /// Where it may run.
    pub run_location: RunLocation,
    /// How it goes in a simulated farm whose profile does not say.
    pub simulation: SimulatedAction,
    /// What a run does with settings that it does not take: an earlier release may have accepted them.
    pub bad_settings: BadSettingsPolicy,
}

impl ActionDescription {
    /// The description of an action that has nothing special about it.
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

    /// The events that it may end in.
    #[must_use]
    pub fn outcomes(&self) -> [String; 2] {
        ["ok", "failed"].map(|outcome| format!("{}-{outcome}", self.name))
    }
}

/// Where an action may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunLocation {
    /// Only in the server's own process: it needs what the server has, such as its boot tree.
    InServer,
    /// In the server, or on a worker elsewhere.
    Anywhere,
}

/// What a run does with settings that its kind does not take. They are refused where a definition is loaded; a definition
/// that came into force before is still followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadSettingsPolicy {
    /// It fails as misconfigured.
    Fail,
    /// It does without those that are wrong.
    Ignore,
    /// It reports them as misconfigured, and does nothing until it is cancelled.
    Wait,
}

/// A number of units of a resource, held while an action runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceClaim {
    /// The resource, in one spelling: all claims of the same one have the same text. Where there are several, any of them
    /// will do, and the first that is free is taken.
    pub any_of: Vec<String>,
    /// How many units the action needs.
    pub units: u32,
    /// How many units there are.
    pub capacity: u32,
    /// The time between two grants.
    pub gap: Duration,
    /// The time between a release and the next grant.
    pub settle: Duration,
}

impl ResourceClaim {
    /// All of a resource that only one action may hold at a time.
    #[must_use]
    pub fn exclusive(resource: String) -> Self {
        Self::one_of(vec![resource])
    }

    /// The same of whichever of these is free first.
    #[must_use]
    pub fn one_of(any_of: Vec<String>) -> Self {
        Self { any_of, units: 1, capacity: 1, gap: Duration::ZERO, settle: Duration::ZERO }
    }
}

/// One kind of action, with its settings as a type.
#[async_trait]
pub trait TypedActionKind: Send + Sync + 'static {
    /// What a definition may say under `with:`.
    type Settings: ActionSettings;

    /// What is true of it whatever its settings are.
    fn description(&self) -> ActionDescription;

    /// The resources that it holds while it runs with these settings for an instance with these facts.
    fn claims(&self, settings: &Self::Settings, facts: &Facts) -> Vec<ResourceClaim> {
        let (_, _) = (settings, facts);
        Vec::new()
    }

    /// Why a run does nothing for an instance with these facts, where it does nothing.
    fn idle_reason(&self, facts: &Facts) -> Option<String> {
        let _ = facts;
        None
    }

    /// Carries `job` out, or says why not.
    ///
    /// It may be run again for the same job, after a crash or beside a late twin, and must end in the same place however
    /// often it runs. *Accepted is not happened*: an action succeeds by what was observed.
    ///
    /// The caller bounds the time and may cancel; a cancelled run stops at the next moment at which the instance is left in
    /// a sane condition (never unpowered in the middle of a power cycle) and returns.
    ///
    /// Before each write to a device it asks `job.lease` whether it may: without a lease it writes nothing, not even to
    /// give power back, for the device may be another process's by then.
    ///
    /// # Errors
    ///
    /// [`UnfinishedAction`] when what the action is for was not observed: as failed, or as suspended where trouble of our own
    /// stood in the way.
    async fn run(
        &self,
        job: &Job,
        settings: &Self::Settings,
        cancel: &CancellationToken,
    ) -> Result<Evidence, UnfinishedAction>;
}

/// One kind of action, whatever its settings are.
#[async_trait]
pub trait ActionKind: Send + Sync + 'static {
    /// What is true of it whatever its settings are.
    fn description(&self) -> ActionDescription;

    /// The settings that there are, with their defaults.
    fn settings(&self) -> Vec<SettingInfo>;

    /// Says what is wrong with settings, and what would be right.
    fn check_settings(&self, given: &Map<String, Value>) -> Vec<SettingFault>;

    /// The resources that it holds while it runs; none, where its settings are no good.
    fn claims(&self, given: &Map<String, Value>, facts: &Facts) -> Vec<ResourceClaim>;

    /// Why a run does nothing for an instance with these facts, where it does nothing.
    fn idle_reason(&self, facts: &Facts) -> Option<String>;

    /// Carries `job` out, as [`TypedActionKind::run_in_slot`] does.
    ///
    /// # Errors
    ///
    /// [`UnfinishedAction`], also where the job's settings are no good.
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

    fn check_settings(&self, given: &Map<String, Value>) -> Vec<SettingFault> {
        settings::read::<T::Settings>(given).err().unwrap_or_default()
    }

    fn claims(&self, given: &Map<String, Value>, facts: &Facts) -> Vec<ResourceClaim> {
        if given.is_empty() {
            // Mostly, and while others wait for a decision.
            return TypedActionKind::claims(self, &T::Settings::default(), facts);
        }
        let read = match TypedActionKind::description(self).bad_settings {
            BadSettingsPolicy::Ignore => settings::read_valid::<T::Settings>(given),
            BadSettingsPolicy::Fail | BadSettingsPolicy::Wait => settings::read::<T::Settings>(given),
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
        let reason = format!("the settings of `{}` are wrong: {}", description.name, faults.join("; "));
        match description.bad_settings {
            BadSettingsPolicy::Fail | BadSettingsPolicy::Ignore => {
                Err(UnfinishedAction::misconfigured(reason))
            }
            BadSettingsPolicy::Wait => {
                job.findings.report(Finding::Misconfigured(reason));
                cancel.cancelled().await;
                Err(UnfinishedAction::failed("abandoned", Evidence::new()))
            }
        }
    }
}
