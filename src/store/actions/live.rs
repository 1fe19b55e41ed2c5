//! Live actions of instances: waiting or running.

use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::super::StoreError;
use super::super::claims::{Claim, GrantedUnits, claims_of};
use super::super::instances::{InstanceId, checked_name_of_row};
use super::action::{ActionId, RunningAction, WorkerId};
use crate::machine::{ActionName, Visit};

/// The status of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionStatus {
    /// It waits to begin.
    Waiting,
    /// It runs.
    Running,
}

/// An action that has a row: it waits or runs.
#[derive(Debug, Clone)]
pub struct LiveAction {
    /// The action.
    pub action: RunningAction,
    /// Its position in its visit.
    pub seq: i32,
    /// Its status.
    pub status: ActionStatus,
    /// Whether it waits for a local fault to end.
    pub is_suspended: bool,
    /// Whether its visit has ended.
    pub is_cancelled: bool,
    /// The worker that runs it.
    pub worker: Option<WorkerId>,
    /// How often it began without an observed end.
    pub attempts: u32,
}

impl LiveAction {
    /// Whether it has to end before `other` may begin.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        // A suspended compensation blocks no other action: the next one at the same resource compensates as well.
        let is_suspended_compensation =
            self.action.is_compensation && self.status == ActionStatus::Waiting && self.is_suspended;
        !is_suspended_compensation && (self.action.visit, self.seq) < (other.action.visit, other.seq)
    }

    /// Whether it is a waiting compensation that `ended`, at the same resources, made unnecessary.
    #[must_use]
    pub fn is_superseded_by(&self, ended: &RunningAction) -> bool {
        self.action.is_compensation
            && self.status == ActionStatus::Waiting
            && self.action.id != ended.id
            && self.action.has_same_claims_as(ended)
    }

    /// Whether it waits in the same visit as `ended`.
    #[must_use]
    pub fn is_next_after(&self, ended: &RunningAction) -> bool {
        self.action.visit == ended.visit && self.status == ActionStatus::Waiting && !self.is_cancelled
    }
}

struct LiveRow {
    action_id: i64,
    instance_id: i64,
    visit: i64,
    seq: i32,
    action: String,
    settings: Json<Map<String, Value>>,
    limit_ms: Option<i64>,
    claims: Option<Json<Vec<Claim>>>,
    granted: Option<Json<Vec<GrantedUnits>>>,
    place: Option<String>,
    compensation: Option<String>,
    status: String,
    is_suspended: Option<bool>,
    cancelled: bool,
    rescue: bool,
    worker_id: Option<i64>,
    attempts: i32,
}

impl TryFrom<LiveRow> for LiveAction {
    type Error = StoreError;

    fn try_from(row: LiveRow) -> Result<Self, StoreError> {
        Ok(Self {
            action: RunningAction {
                id: ActionId(row.action_id),
                instance: InstanceId(row.instance_id),
                visit: Visit(row.visit),
                is_compensation: row.rescue,
                action: checked_name_of_row(ActionName::new(&row.action))?,
                settings: row.settings.0,
                limit: row.limit_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
                claims: claims_of(row.claims.map(|claims| claims.0), row.place.as_deref()),
                granted: row.granted.map(|granted| granted.0).unwrap_or_default(),
                compensation: row
                    .compensation
                    .map(|action| checked_name_of_row(ActionName::new(&action)))
                    .transpose()?,
            },
            seq: row.seq,
            status: match row.status.as_str() {
                "WAITING" => ActionStatus::Waiting,
                "RUNNING" => ActionStatus::Running,
                other => return Err(StoreError::unreadable(format!("unknown action status {other:?}"))),
            },
            is_suspended: row.is_suspended.unwrap_or(false),
            is_cancelled: row.cancelled,
            worker: row.worker_id.map(WorkerId),
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
        })
    }
}

/// Lists the actions of instances.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_live(
    db: &mut PgConnection,
    instances: &[InstanceId],
) -> Result<Vec<LiveAction>, StoreError> {
    let ids: Vec<i64> = instances.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        LiveRow,
        r#"SELECT a.action_id, a.instance_id, a.visit, a.seq, a.action,
                  a.settings AS "settings: Json<Map<String, Value>>", a.limit_ms, a.place, a.compensation,
                  a.claims AS "claims: Json<Vec<Claim>>", a.granted AS "granted: Json<Vec<GrantedUnits>>", a.status,
                  a.trouble IS NOT NULL AS is_suspended, a.cancelled, a.rescue, a.worker_id, a.attempts
             FROM action a WHERE a.instance_id = ANY($1)"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(LiveAction::try_from).collect()
}
