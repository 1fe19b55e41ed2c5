//! Actions as operators see them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::super::StoreError;
use super::super::claims::{Claim, GrantedUnits, claims_of};
use super::super::instances::InstanceId;
use super::action::ActionId;
use crate::machine::MachineName;

/// An action as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionSummary {
    /// Its ID.
    pub id: ActionId,
    /// The kind of action.
    pub action: String,
    /// `WAITING` or `RUNNING`.
    pub status: String,
    /// Whether its visit has ended and it is being stopped.
    pub is_cancelled: bool,
    /// The resources that it needs.
    pub claims: Vec<Claim>,
    /// The units that it holds.
    pub granted: Vec<GrantedUnits>,
    /// When it was invoked.
    pub asked_at: DateTime<Utc>,
    /// When it began to run.
    pub began_at: Option<DateTime<Utc>>,
    /// Whether it is the compensation of an action whose visit has ended.
    pub is_compensation: bool,
    /// When it was suspended by a local fault.
    pub suspended_at: Option<DateTime<Utc>>,
    /// The resource whose incident suspended it.
    pub incident: Option<String>,
    /// Why it is suspended or, while it runs, why it makes no progress.
    pub reason: Option<String>,
    /// How often it began without an observed end.
    pub attempts: i32,
}

impl ActionSummary {
    /// Whether it waits for resources.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.began_at.is_none() && self.granted.is_empty() && !self.claims.is_empty()
    }

    /// Returns the resources that it holds or waits for, in words; `None` if it needs none.
    #[must_use]
    pub fn resource(&self) -> Option<String> {
        let names: Vec<String> = if self.granted.is_empty() {
            self.claims.iter().map(|claim| claim.queue_name().into_owned()).collect()
        } else {
            let own = self.granted.iter().filter(|units| !units.is_of_container());
            own.map(|units| units.resource.clone()).collect()
        };
        (!names.is_empty()).then(|| names.join(" and "))
    }
}

/// Lists the actions of an instance, in order.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_summaries(
    db: &mut PgConnection,
    instance: InstanceId,
) -> Result<Vec<ActionSummary>, StoreError> {
    let rows = sqlx::query_as!(
        ActionSummaryRow,
        r#"SELECT action_id, action, status, cancelled, rescue, claims AS "claims: Json<Vec<Claim>>",
                  granted AS "granted: Json<Vec<GrantedUnits>>", place, asked_at, began_at, attempts,
                  CASE WHEN trouble IS NULL OR trouble NOT LIKE 'incident %' THEN suspended_at END AS suspended_at,
                  CASE WHEN trouble IS NULL OR trouble NOT LIKE 'incident %' THEN reason END AS reason,
                  CASE WHEN trouble LIKE 'incident %' THEN substr(trouble, 10) END AS incident
             FROM action WHERE instance_id = $1 ORDER BY visit, seq"#,
        instance.0,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(ActionSummary::from).collect())
}

/// Lists the names of the instances of `machine` that wait in the queue of a resource, under the conditions of
/// [`list_waiters`](super::super::resources::list_waiters).
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_queued_names(
    db: &mut PgConnection,
    machine: &MachineName,
) -> Result<HashSet<String>, StoreError> {
    let names = sqlx::query_scalar!(
        "SELECT DISTINCT i.name FROM action a JOIN instance i USING (instance_id)
          WHERE a.status = 'WAITING' AND (a.trouble IS NULL OR a.trouble LIKE 'incident %') AND a.granted IS NULL
            AND coalesce(a.queue, a.place) IS NOT NULL AND i.machine = $1
            AND (a.trouble IS NOT NULL
                 OR NOT EXISTS (SELECT FROM action b WHERE b.instance_id = a.instance_id AND b.granted IS NOT NULL))",
        machine.as_str(),
    )
    .fetch_all(db)
    .await?;
    Ok(names.into_iter().collect())
}

struct ActionSummaryRow {
    action_id: i64,
    action: String,
    status: String,
    cancelled: bool,
    rescue: bool,
    claims: Option<Json<Vec<Claim>>>,
    granted: Option<Json<Vec<GrantedUnits>>>,
    place: Option<String>,
    asked_at: DateTime<Utc>,
    began_at: Option<DateTime<Utc>>,
    suspended_at: Option<DateTime<Utc>>,
    reason: Option<String>,
    incident: Option<String>,
    attempts: i32,
}

impl From<ActionSummaryRow> for ActionSummary {
    fn from(row: ActionSummaryRow) -> Self {
        Self {
            id: ActionId(row.action_id),
            action: row.action,
            status: row.status,
            is_cancelled: row.cancelled,
            claims: claims_of(row.claims.map(|Json(claims)| claims), row.place.as_deref()),
            granted: row.granted.map(|Json(granted)| granted).unwrap_or_default(),
            asked_at: row.asked_at,
            began_at: row.began_at,
            is_compensation: row.rescue,
            suspended_at: row.suspended_at,
            incident: row.incident,
            reason: row.reason,
            attempts: row.attempts,
        }
    }
}
