//! Actions that have not ended, for people.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::resource_snapshot::WaitForecast;
use crate::explain::PendingAction;
use crate::store::actions::ActionSummary;

/// An action that waits or runs, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenAction {
    /// The action, with its place in the queue.
    #[serde(flatten)]
    pub pending: PendingAction,
    /// `WAITING` or `RUNNING`.
    pub status: String,
    /// Whether its visit has ended and it is being stopped.
    #[serde(rename = "cancelled")]
    pub is_cancelled: bool,
    /// When the state requested it.
    pub asked_at: DateTime<Utc>,
    /// How often it was started without being seen to end.
    pub attempts: i32,
}

impl OpenAction {
    /// The view of `action`; `forecast` is that of its instance.
    #[must_use]
    pub fn new(action: &ActionSummary, forecast: &WaitForecast) -> Self {
        let incident = forecast.incidents.iter().find(|incident| incident.blocks(action));
        let incident = incident.map(|blocking| blocking.incident.clone());
        let forecast = forecast.of(action);
        Self {
            pending: PendingAction {
                action: action.action.clone(),
                started_at: action.began_at,
                resource: action.resource(),
                requests_ahead: i64::try_from(forecast.ahead).unwrap_or(i64::MAX),
                holder: (!forecast.holders.is_empty()).then(|| forecast.holders.join(", ")),
                expected_at: forecast.expected_at.filter(|_| incident.is_none()),
                is_leftover: action.is_cancelled || action.is_compensation,
                is_compensation: action.is_compensation,
                suspended_at: action.suspended_at,
                reason: action.reason.clone(),
                incident,
            },
            status: action.status.clone(),
            is_cancelled: action.is_cancelled,
            asked_at: action.asked_at,
            attempts: action.attempts,
        }
    }
}
