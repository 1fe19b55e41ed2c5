//! Actions of an instance that have not ended.

use chrono::{DateTime, Utc};
use serde::Serialize;

use formatting::{count, elapsed, since};

/// An action that waits or runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingAction {
    /// Its name.
    pub action: String,
    /// When it started; nothing while it waits.
    pub started_at: Option<DateTime<Utc>>,
    /// The shared resource that it holds or needs.
    pub resource: Option<String>,
    /// How many instances hold the resource or come before it in its queue.
    pub requests_ahead: i64,
    /// The instances that hold the resource, where others do.
    pub holder: Option<String>,
    /// When the resource may be granted, while the action waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_at: Option<DateTime<Utc>>,
    /// Whether its outcome is no longer awaited: its state has been left, or it is a compensation.
    pub is_leftover: bool,
    /// Whether it is the compensation of an action that was interrupted: what that one left behind is still to be undone.
    pub is_compensation: bool,
    /// Since when it is suspended by a local fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<DateTime<Utc>>,
    /// Why it is suspended; while it runs, why it does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The open incident at its resource, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<ResourceIncident>,
}

/// An open incident at a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceIncident {
    /// The resource that does not answer.
    pub resource: String,
    /// When it opened.
    pub opened_at: Option<DateTime<Utc>>,
    /// Why the last probe failed; before the first, why it opened.
    pub reason: Option<String>,
    /// The number of instances that wait for the resource.
    pub waiting: i64,
    /// When the resource is probed again; nothing while a probe runs.
    pub next_probe_at: Option<DateTime<Utc>>,
}

impl ResourceIncident {
    /// Describes it for an instance of `machine`: `incident at modbus://relay-3.lab:502, open for 3 min: no answer within 5 s;
    /// 14 boards wait; next probe in 8 s`.
    #[must_use]
    pub fn describe(&self, machine: &str, now: DateTime<Utc>) -> String {
        let Self { resource, opened_at, reason, waiting, next_probe_at } = self;
        let open = opened_at.map(|at| format!(", open for {}", elapsed(now - at))).unwrap_or_default();
        let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let verb = if *waiting == 1 { "waits" } else { "wait" };
        let probe = match next_probe_at.filter(|at| *at > now) {
            Some(at) => format!("next probe in {}", elapsed(at - now)),
            None => "it is being probed".to_owned(),
        };
        format!("incident at {resource}{open}{reason}; {} {verb}; {probe}", count(*waiting, machine))
    }
}

impl PendingAction {
    /// Describes the incident that it waits for, where it does.
    pub(crate) fn incident_text(&self, machine: &str, now: DateTime<Utc>) -> Option<String> {
        let incident = self.incident.as_ref()?.describe(machine, now);
        Some(format!("{} waits for {incident}", self.action))
    }

    /// Describes what a compensation that does not run waits for.
    pub(crate) fn compensation_wait_text(&self, now: DateTime<Utc>) -> String {
        let Self { action, suspended_at, reason, resource, requests_ahead, .. } = self;
        match (suspended_at, resource) {
            (Some(at), _) => {
                let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
                format!("{action} could not be completed, {}{reason}; it is tried again", since(*at, now))
            }
            (None, Some(resource)) if *requests_ahead > 0 => {
                format!("{action} waits for {resource}, {} ahead", count(*requests_ahead, "request"))
            }
            (None, _) => format!("{action} is about to start"),
        }
    }

    /// Describes its suspension, where it is suspended.
    pub(crate) fn suspension_text(&self, now: DateTime<Utc>) -> Option<String> {
        let since = since(self.suspended_at?, now);
        let reason = self.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        Some(format!("{} is suspended {since} by a local fault{reason}", self.action))
    }
}
