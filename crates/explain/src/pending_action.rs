//! What an instance has still to do.

use chrono::{DateTime, Utc};
use serde::Serialize;

use formatting::since;

/// An action that is still to be done or being done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingAction {
    /// Which action.
    pub action: String,
    /// When it began to run; nothing while it waits.
    pub began_at: Option<DateTime<Utc>>,
    /// What it holds or needs that others need as well.
    pub resource: Option<String>,
    /// How many instances hold that or come before it.
    pub ahead: i64,
    /// Who holds it now, where that is another instance.
    pub holder: Option<String>,
    /// When its turn may come, while it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_at: Option<DateTime<Utc>>,
    /// Whether it belongs to a state that has been left.
    pub is_leftover: bool,
    /// Since when it is suspended, because trouble that says nothing about the instance stands in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<DateTime<Utc>>,
    /// Why it is suspended; or, while it runs, why it does not do what people may expect of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PendingAction {
    /// Since when and why it is suspended, in words.
    pub(crate) fn suspension_text(&self, now: DateTime<Utc>) -> Option<String> {
        let since = since(self.suspended_at?, now);
        let why = self.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        Some(format!("{} is suspended {since} by trouble that says nothing about it{why}", self.action))
    }
}
