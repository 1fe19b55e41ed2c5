//! Incidents: resources that do not answer.
//!
//! ```text
//! actions of two instances fail within a minute, because their resource, or what it powers, does not answer
//!   │  the incident opens: an instance of the machine `incident`, one for each resource
//!   │  these actions wait again, and no other action starts at the resource; deadlines and counters stand still
//!   ▼
//! the incident's own action probes the resource ── it answers ──▶ closed: the actions start in the order of their queue
//! ```
//!
//! A compensation is never blocked. Where it succeeds, or an action that began earlier, the resource answers, so that closes
//! the incident too.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use device_io::UnreachableDevice;
use serde::Serialize;
use serde_json::{Map, Value};

use super::error::EngineError;
use super::handle::Engine;
use super::refusal::FaceRefusal;
use super::retry_pause::pause_before_retry;
use super::work_item::Submission;
use crate::actions::{ActionEnding, Evidence, Facts, JobSubject, Trouble, UnfinishedAction};
use crate::formatting::with_causes;
use crate::machine::{Cause, Definition, EventName, EventSource, MachineName, Outcome, is_instance_name};
use crate::store::actions::RunningAction;
use crate::store::claims::GrantedUnits;
use crate::store::incidents::{
    self, CLOSED_STATE, FailureStanding, INCIDENT_MACHINE, Incident, IncidentFilter, RecordedFailure,
    ResourceFailure,
};
use crate::store::instances::InstanceKey;
use crate::store::{Store, StoreError};

/// The events of an incident, which operators can send too.
const OPEN_EVENT: &str = "open";
const CLOSE_EVENT: &str = "close";

/// The sender of what a server decides by itself.
const SENDER: &str = "lifeguard";

/// The longest name that is taken over from a resource as it is; longer ones end in a digest.
const MAX_PLAIN_NAME_BYTES: usize = 40;

/// An incident as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentView {
    /// The name of its instance.
    pub name: String,
    /// The resource that does not answer.
    pub resource: String,
    /// Whether it is open.
    #[serde(rename = "open")]
    pub is_open: bool,
    /// Whether the resource answers, while what it powers does not.
    #[serde(rename = "silent")]
    pub is_silent: bool,
    /// When it opened.
    pub opened_at: Option<DateTime<Utc>>,
    /// When it closed; nothing while it is open.
    pub closed_at: Option<DateTime<Utc>>,
    /// Why the last probe failed; before the first, why it opened.
    pub reason: Option<String>,
    /// The number of instances that wait for the resource.
    pub waiting: i64,
    /// When the resource is probed again; nothing while a probe runs.
    pub next_probe_at: Option<DateTime<Utc>>,
}

impl From<Incident> for IncidentView {
    fn from(incident: Incident) -> Self {
        let Incident {
            name, resource, opened_at, closed_at, reason, next_probe_at, waiting, is_silent, ..
        } = incident;
        let is_open = closed_at.is_none();
        Self { name, resource, is_open, is_silent, opened_at, closed_at, reason, waiting, next_probe_at }
    }
}

/// The run of an action, as far as an incident needs it.
#[derive(Clone, Copy)]
pub(super) struct EndedAttempt<'a> {
    pub(super) action: &'a RunningAction,
    pub(super) subject: &'a JobSubject,
    pub(super) facts: &'a Facts,
    pub(super) granted: &'a [GrantedUnits],
}

impl Engine {
    /// Suspends an action whose failure is its resource's, where there is an incident or this is the failure that opens one.
    /// The failure of a single instance stays a failure.
    ///
    /// The database is asked until it answers; without a lease the result does not matter any more.
    pub(super) async fn settle_failure(
        &self,
        attempt: EndedAttempt<'_>,
        result: Result<Evidence, UnfinishedAction>,
    ) -> Result<Evidence, UnfinishedAction> {
        let EndedAttempt { action, subject, .. } = &attempt;
        let unfinished = match result {
            Ok(evidence) => {
                let used = self.used_resources_of(&attempt);
                if !used.is_empty() && subject.machine.as_str() != INCIDENT_MACHINE {
                    self.clear_resources(&used, subject).await;
                }
                return Ok(evidence);
            }
            Err(unfinished) => unfinished,
        };
        let is_failure = matches!(unfinished.kind, ActionEnding::Failed | ActionEnding::Unrestored { .. });
        let Some(unreachable) = unfinished.unreachable.clone().filter(|_| is_failure) else {
            return Err(unfinished);
        };
        // Who only asks whether the resource answers has the answer.
        if action.is_compensation || action.claims.iter().any(|claim| claim.probes) {
            return Err(unfinished);
        }
        let open_at = loop {
            match self.join_incident(&attempt, &unreachable, &unfinished.reason).await {
                Ok(open_at) => break open_at,
                Err(EngineError::Stopping) => break None,
                Err(_) if self.inner.running.is_stopping_all() => break None,
                Err(EngineError::Store(error)) if error.is_transient() => pause_before_retry().await,
                Err(EngineError::Busy) => pause_before_retry().await,
                Err(error) => {
                    let resource = &unreachable.resource;
                    tracing::error!(error = %with_causes(&error), %resource, "cannot open incident");
                    break None;
                }
            }
        };
        let Some(open_at) = open_at else { return Err(unfinished) };
        let has_acted = unreachable.has_acted || matches!(unfinished.kind, ActionEnding::Unrestored { .. });
        let trouble = Trouble::Incident(open_at);
        Err(UnfinishedAction { kind: ActionEnding::Suspended { trouble, has_acted }, ..unfinished })
    }

    /// Records a failure at the resource of `unreachable`, opens an incident where another instance had one within a minute, and
    /// returns the resource with the open incident, if there is one.
    async fn join_incident(
        &self,
        attempt: &EndedAttempt<'_>,
        unreachable: &UnreachableDevice,
        reason: &str,
    ) -> Result<Option<String>, EngineError> {
        let EndedAttempt { action, subject, facts, .. } = attempt;
        let now = self.clock().now();
        let failure = ResourceFailure {
            resource: unreachable.resource.clone(),
            instance: action.instance,
            visit: action.visit,
            action: action.id,
            failed_at: now,
            is_suspected: unreachable.is_suspected,
        };
        let recorded = async {
            let mut tx = self.store().begin().await?;
            let standing = incidents::record_failure(&mut tx, &failure).await?;
            tx.commit().await?;
            Ok::<_, StoreError>(standing)
        };
        match self.store().within(Store::MAX_STATEMENT_TIME, recorded).await? {
            FailureStanding::Single | FailureStanding::Own => Ok(None),
            FailureStanding::Open(resource) => Ok(Some(resource)),
            FailureStanding::Shared(resource) => {
                let resource = resource.as_str();
                let used =
                    self.kinds().description(action.action.as_str()).map_or(&[][..], |kind| kind.facts);
                // The probe uses the same facts.
                let mut args: Map<String, Value> = used
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), facts.get(*name)?.clone())))
                    .collect();
                let opened_at = now.to_rfc3339_opts(SecondsFormat::Micros, true);
                for (name, text) in [("resource", resource), ("reason", reason), ("opened_at", &opened_at)] {
                    args.insert(name.to_owned(), Value::from(text));
                }
                let machine = incident_machine()?;
                let name = incident_name(resource);
                match self.create(&machine, &name, None, Some(SENDER.to_owned())).await {
                    Ok(_) | Err(EngineError::Exists(_)) => {}
                    Err(error) => return Err(error),
                }
                let event = Submission { sender: Some(SENDER.to_owned()), ..event(&name, OPEN_EVENT, args)? };
                let committed = self.submit(event).await?;
                if matches!(committed.outcome, Outcome::Moved { .. }) {
                    tracing::warn!(%resource, reason, instance = %subject.name, "incident opened");
                }
                if unreachable.is_suspected {
                    self.close_covered_incidents().await?;
                }
                self.retry_failed_actions().await?;
                Ok(Some(resource.to_owned()))
            }
        }
    }

    /// Closes each incident of silent boards at a resource that another open incident covers as well. Of two that open at the
    /// same time, the later one is seen here with the other.
    async fn close_covered_incidents(&self) -> Result<(), EngineError> {
        let open = incidents::list(&mut *self.store().reader().await?, IncidentFilter::Open).await?;
        for part in open.iter().filter(|incident| incident.is_of_silence) {
            let covers =
                |other: &&Incident| other.name != part.name && other.covered.contains(&part.resource);
            if let Some(whole) = open.iter().find(covers) {
                let reason = format!("part of the incident at {}", whole.resource);
                self.close_incident(&part.name, Some(SENDER.to_owned()), Some(reason)).await?;
            }
        }
        Ok(())
    }

    /// Lets the actions wait again whose failures came before their incidents opened; of a visit that has ended nothing is
    /// repeated.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails; the rest is repeated by any process.
    pub(super) async fn retry_failed_actions(&self) -> Result<(), EngineError> {
        let failures = incidents::list_to_retry(&mut *self.store().reader().await?).await?;
        for failure in failures {
            let RecordedFailure { resource, instance, visit, action, queued_at } = &failure;
            let cause = Cause::Retry { visit: *visit, action: action.clone() };
            let reason = Some(format!("incident at {resource}"));
            // Before what has waited for as long: it was at the front of the queue.
            let queue_at = Some(*queued_at - TimeDelta::microseconds(1));
            let retry = Submission { reason, queue_at, ..Submission::new(InstanceKey::Id(*instance), cause) };
            match self.submit(retry).await {
                Ok(_) | Err(EngineError::NoInstance(_) | EngineError::NoMachine(_)) => {}
                // The end of the action is about to be committed.
                Err(EngineError::Changed) => continue,
                Err(error) => return Err(error),
            }
            let mut tx = self.store().begin().await?;
            incidents::forget_failure(&mut tx, &failure).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Lists the granted resources that the action itself used. The first action of a state is granted also what the later ones
    /// need.
    fn used_resources_of(&self, attempt: &EndedAttempt<'_>) -> Vec<String> {
        let EndedAttempt { action, facts, granted, .. } = attempt;
        if granted.is_empty() {
            return Vec::new();
        }
        let own = self.kinds().claims(&action.action, &action.settings, facts);
        let is_own = |units: &&GrantedUnits| own.iter().any(|claim| claim.any_of.contains(&units.resource));
        granted.iter().filter(is_own).map(|units| units.resource.clone()).collect()
    }

    /// Forgets failures and closes incidents at these resources, because they answered: what else fails there is not the
    /// fault of the whole resource.
    async fn clear_resources(&self, resources: &[String], subject: &JobSubject) {
        let cleared = async {
            if !incidents::is_suspect(&mut *self.store().reader().await?, resources).await? {
                return Ok(());
            }
            let mut tx = self.store().begin().await?;
            incidents::forget_failures_at(&mut tx, resources).await?;
            tx.commit().await?;
            let filter = IncidentFilter::OpenAt(resources);
            let open = incidents::list(&mut *self.store().reader().await?, filter).await?;
            // That a resource answers does not end the silence of what it powers.
            for incident in open.into_iter().filter(|incident| !incident.is_of_silence) {
                let reason = format!("{} answered for {subject}", incident.resource);
                self.close_incident(&incident.name, Some(SENDER.to_owned()), Some(reason)).await?;
            }
            Ok::<_, EngineError>(())
        };
        // The next probe closes it otherwise.
        if let Err(error) = self.store().within(Store::MAX_STATEMENT_TIME, cleared).await {
            tracing::debug!(error = %with_causes(&error), "cannot close incident");
        }
    }

    /// Lists incidents, the open ones first.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn incidents(&self, filter: IncidentFilter<'_>) -> Result<Vec<IncidentView>, EngineError> {
        let incidents = incidents::list(&mut *self.store().reader().await?, filter).await?;
        Ok(incidents.into_iter().map(IncidentView::from).collect())
    }

    /// Lists the names of the instances that wait for the end of the incident `name`, in the order in which they go on.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] when the database fails.
    pub async fn incident_queue(&self, name: &str) -> Result<Vec<String>, EngineError> {
        Ok(incidents::list_waiting(&mut *self.store().reader().await?, name).await?)
    }

    /// Closes an incident for an operator, and returns whether it was open.
    ///
    /// # Errors
    ///
    /// The errors of [`submit`](Self::submit).
    pub async fn close_incident(
        &self,
        name: &str,
        sender: Option<String>,
        reason: Option<String>,
    ) -> Result<bool, EngineError> {
        let submission = close_event(name, reason)?;
        let committed = self.submit(Submission { sender, ..submission }).await?;
        Ok(matches!(committed.outcome, Outcome::Moved { .. }))
    }
}

/// Refuses a definition of incidents without the state by which it is known that one is over.
pub(super) fn check_definition(definition: &Definition) -> Result<(), FaceRefusal> {
    if definition.machine.as_str() != INCIDENT_MACHINE || definition.initial.as_str() == CLOSED_STATE {
        return Ok(());
    }
    let detail = format!(
        "the machine `{INCIDENT_MACHINE}` is that of incidents at resources: its initial state must be `{CLOSED_STATE}`; give \
         another machine another name"
    );
    Err(FaceRefusal::new("not_incidents", detail))
}

/// Builds an event of an incident.
fn event(name: &str, event: &str, args: Map<String, Value>) -> Result<Submission, EngineError> {
    let machine = incident_machine()?;
    let Ok(event) = EventName::new(event) else { return Err(EngineError::NoMachine(machine)) };
    let cause = Cause::Event { name: event, source: EventSource::Operator, args, visit: None };
    Ok(Submission::new(InstanceKey::Name(machine, name.to_owned()), cause))
}

fn close_event(name: &str, reason: Option<String>) -> Result<Submission, EngineError> {
    Ok(Submission { reason, ..event(name, CLOSE_EVENT, Map::new())? })
}

fn incident_machine() -> Result<MachineName, EngineError> {
    MachineName::new(INCIDENT_MACHINE)
        .map_err(|_| EngineError::NoMachine(MachineName::lossy(INCIDENT_MACHINE)))
}

/// The name of the incident at `resource`: `modbus_relay-3.lab_502` for `modbus://relay-3.lab:502`. Different resources have
/// different names.
fn incident_name(resource: &str) -> String {
    let plain = resource.replace("://", "_").replace(':', "_");
    if is_instance_name(&plain) && plain.len() <= MAX_PLAIN_NAME_BYTES && !resource.contains('_') {
        return plain;
    }
    let kept = plain.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let kept: String = kept.skip_while(|c| *c == '-').take(MAX_PLAIN_NAME_BYTES).collect();
    format!("{kept}-{:016x}", digest(resource)).trim_start_matches('-').to_owned()
}

/// The FNV-1a digest, which is the same in all releases.
fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_a_valid_name_of_its_own() {
        assert_eq!(incident_name("modbus://relay-3.lab:502"), "modbus_relay-3.lab_502");
        let resources = [
            "modbus://[fd00::7]:502",
            "modbus://relay_3.lab:502",
            "modbus://relay:3.lab_502",
            "x",
            "://",
            "",
            "modbus+rtu://relay-3.lab:502",
            &format!("http://{}:80", "very-long-label.".repeat(20)),
            &format!("http://{}:81", "very-long-label.".repeat(20)),
        ];
        let names: std::collections::BTreeSet<String> =
            resources.iter().map(|resource| incident_name(resource)).collect();
        assert_eq!(names.len(), resources.len());
        assert!(names.iter().all(|name| is_instance_name(name)), "{names:?}");
    }
}
