//! Actions of an instance that have not ended.

use chrono::{DateTime, Utc};
use serde::Serialize;

use formatting::since;

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
    /// Whether it belongs to a state that has been left.
    pub is_leftover: bool,
    /// Since when it is suspended by a local fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<DateTime<Utc>>,
    /// Why it is suspended; while it runs, why it does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PendingAction {
    /// Describes its suspension, where it is suspended.
    pub(crate) fn suspension_text(&self, now: DateTime<Utc>) -> Option<String> {
        let since = since(self.suspended_at?, now);
        let reason = self.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        Some(format!("{} is suspended {since} by a local fault{reason}", self.action))
    }
}
