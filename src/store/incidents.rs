//! Incidents: resources that do not answer, and the failures that opened them.
//!
//! An incident is an instance of the machine [`INCIDENT_MACHINE`]: it is open in all states but [`CLOSED_STATE`], and its data
//! names the resource. In [`SILENT_STATE`] the resource itself may be used.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;

use super::actions::ActionId;
use super::instances::{InstanceId, checked_name_of_row};
use super::{StoreError, Tx};
use crate::machine::{ActionName, Visit};

/// The machine whose instances are incidents.
pub const INCIDENT_MACHINE: &str = "incident";

/// The state of an incident that is over.
pub const CLOSED_STATE: &str = "Closed";

/// The state of an incident whose resource answers, while what it powers does not.
pub const SILENT_STATE: &str = "Silent";

/// How long after an incident silence at its resource is the instance's own: its boards had their time to return.
const OWN_SILENCE_TIME: TimeDelta = TimeDelta::minutes(10);

/// How long a failure counts: two instances that fail within it have one cause.
const FAILURE_WINDOW: TimeDelta = TimeDelta::minutes(1);

/// How long a failure is stored: until the action waits again, where an incident opened.
const MAX_FAILURE_AGE: TimeDelta = TimeDelta::hours(1);

/// The failure of an action that was its resource's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceFailure {
    /// The resource that did not answer.
    pub resource: String,
    /// The instance.
    pub instance: InstanceId,
    /// The visit that invoked the action.
    pub visit: Visit,
    /// The action, whose row still exists.
    pub action: ActionId,
    /// When the action ended.
    pub failed_at: DateTime<Utc>,
    /// Whether the resource was not asked: what it powers does not answer.
    pub is_suspected: bool,
}

/// A recorded failure whose action is to wait again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedFailure {
    /// The resource that did not answer.
    pub resource: String,
    /// The instance.
    pub instance: InstanceId,
    /// The visit that invoked the action.
    pub visit: Visit,
    /// The action.
    pub action: ActionName,
    /// The time of its place in the queue.
    pub queued_at: DateTime<Utc>,
}

/// What a failure at a resource means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureStanding {
    /// No other instance had one lately: the failure is the instance's. It is recorded.
    Single,
    /// The failure is the instance's, whatever happens to others.
    Own,
    /// Other instances had one within the window at this resource, or at what contains it: an incident has to be opened there.
    Shared(String),
    /// There is an open incident at this resource, or at what contains it.
    Open(String),
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its instance.
    pub instance: InstanceId,
    /// The name of its instance.
    pub name: String,
    /// Its resource.
    pub resource: String,
    /// When it opened.
    pub opened_at: Option<DateTime<Utc>>,
    /// When it closed; nothing while it is open.
    pub closed_at: Option<DateTime<Utc>>,
    /// Why the last probe failed; before the first, why it opened.
    pub reason: Option<String>,
    /// When the resource is probed again; nothing while a probe runs.
    pub next_probe_at: Option<DateTime<Utc>>,
    /// The number of instances that wait for the resource.
    pub waiting: i64,
    /// Whether it answers, while what it powers does not.
    pub is_silent: bool,
    /// Whether it opened because what it powers does not answer.
    pub is_of_silence: bool,
    /// While it is open: its resource and all within that.
    pub covered: Vec<String>,
}

/// Which incidents are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentFilter<'a> {
    /// The open ones.
    Open,
    /// The open ones at these resources, or at what contains them.
    OpenAt(&'a [String]),
    /// The last one of each resource.
    All,
}

/// Compares a failure with those of other instances at its resource, and records it if it is the only one.
///
/// Failures at one resource are compared one after the other, until `tx` ends.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn record_failure(tx: &mut Tx, failure: &ResourceFailure) -> Result<FailureStanding, StoreError> {
    let ResourceFailure { resource, instance, visit, action, failed_at, is_suspected } = failure;
    // Two columns: the second lock of `a AND b` would not be taken where the first is false.
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('incident ' || $1, 0)) IS NULL AS own,
                (SELECT pg_advisory_xact_lock(hashtextextended('incident ' || r.within, 0)) IS NULL
                   FROM resource r WHERE r.name = $1 AND r.within IS NOT NULL AND $2) AS container",
        resource,
        is_suspected,
    )
    .fetch_one(&mut **tx)
    .await?;
    // What does not answer may be what contains the resource. A resource that was asked itself is to blame alone.
    let found = sqlx::query!(
        r#"WITH suspect AS (
               SELECT $1 AS name, 0 AS height
               UNION ALL SELECT r.within, 1 FROM resource r WHERE r.name = $1 AND r.within IS NOT NULL AND $8)
           SELECT (SELECT c.origin FROM incident_cover() c WHERE c.resource = $1 LIMIT 1) AS open_at,
                  EXISTS (SELECT FROM incident_cover() c WHERE c.resource = $1 AND c.state <> $6) AS "is_blocked!",
                  EXISTS (SELECT FROM instance i
                           WHERE i.machine = $4 AND i.state = $5 AND i.entered_at >= $7
                             AND i.data ->> 'resource' IN (SELECT s.name FROM suspect s)) AS "was_open!",
                  (SELECT s.name FROM suspect s
                    WHERE EXISTS (SELECT FROM resource_failure f
                                   WHERE f.resource = s.name AND f.instance_id <> $2 AND f.failed_at >= $3
                                     -- Of what contains the resource, another resource has to have one, too.
                                     AND (s.height = 0 OR NOT EXISTS (
                                             SELECT FROM resource_failure o
                                              WHERE o.resource = $1 AND o.instance_id = f.instance_id)))
                    ORDER BY s.height DESC LIMIT 1) AS shared_at"#,
        resource,
        instance.0,
        *failed_at - FAILURE_WINDOW,
        INCIDENT_MACHINE,
        CLOSED_STATE,
        SILENT_STATE,
        *failed_at - OWN_SILENCE_TIME,
        is_suspected,
    )
    .fetch_one(&mut **tx)
    .await?;
    match found.open_at {
        // The resource itself does not answer any more.
        Some(_) if !found.is_blocked && !is_suspected => {
            return Ok(FailureStanding::Shared(resource.clone()));
        }
        Some(origin) => return Ok(FailureStanding::Open(origin)),
        None if found.was_open && *is_suspected => return Ok(FailureStanding::Own),
        None => {}
    }
    if let Some(shared_at) = found.shared_at {
        return Ok(FailureStanding::Shared(shared_at));
    }
    sqlx::query!("DELETE FROM resource_failure WHERE failed_at < $1", *failed_at - MAX_FAILURE_AGE)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "INSERT INTO resource_failure (resource, instance_id, visit, action, queued_at, failed_at, is_suspected)
         SELECT s.name, a.instance_id, $2, a.action, coalesce(a.queue_at, a.asked_at), $4, $5
           FROM action a,
                (SELECT $1 AS name UNION ALL SELECT r.within FROM resource r WHERE r.name = $1 AND r.within IS NOT NULL AND $5) s
          WHERE a.action_id = $3
         ON CONFLICT (resource, instance_id)
         DO UPDATE SET visit = excluded.visit, action = excluded.action, queued_at = excluded.queued_at,
                       failed_at = excluded.failed_at, is_suspected = excluded.is_suspected",
        resource,
        visit.0,
        action.0,
        failed_at,
        is_suspected,
    )
    .execute(&mut **tx)
    .await?;
    Ok(FailureStanding::Single)
}

struct FailureRow {
    resource: String,
    instance_id: i64,
    visit: i64,
    action: String,
    queued_at: DateTime<Utc>,
}

/// Lists the recorded failures that came within a minute before an incident opened at their resource, or at what contains it, or
/// while it was about to open: their actions are to wait again, also where it was closed meanwhile.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_to_retry(db: &mut PgConnection) -> Result<Vec<RecordedFailure>, StoreError> {
    let rows = sqlx::query_as!(
        FailureRow,
        "SELECT f.resource, f.instance_id, f.visit, f.action, f.queued_at
           FROM resource_failure f WHERE belongs_to_incident(f) ORDER BY f.failed_at",
    )
    .fetch_all(db)
    .await?;
    let failure = |row: FailureRow| {
        Ok(RecordedFailure {
            resource: row.resource,
            instance: InstanceId(row.instance_id),
            visit: Visit(row.visit),
            action: checked_name_of_row(ActionName::new(&row.action))?,
            queued_at: row.queued_at,
        })
    };
    rows.into_iter().map(failure).collect()
}

/// Deletes a recorded failure whose action waits again, or is no longer wanted.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn forget_failure(tx: &mut Tx, failure: &RecordedFailure) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM resource_failure WHERE resource = $1 AND instance_id = $2 AND visit = $3",
        failure.resource,
        failure.instance.0,
        failure.visit.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether there are recorded failures or open incidents at `resources`.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn is_suspect(db: &mut PgConnection, resources: &[String]) -> Result<bool, StoreError> {
    let is_suspect = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM resource_failure WHERE resource = ANY($1) AND NOT is_suspected)
               OR EXISTS (SELECT FROM instance i
                           WHERE i.machine = $2 AND i.state <> $3 AND i.data ->> 'resource' = ANY($1)) AS "is_suspect!""#,
        resources,
        INCIDENT_MACHINE,
        CLOSED_STATE,
    );
    Ok(is_suspect.fetch_one(db).await?)
}

/// Deletes the recorded failures at `resources`, because they answered, except those whose actions are to wait again. A
/// resource that answers is no reason for the silence of what it powers, so that stays recorded.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn forget_failures_at(tx: &mut Tx, resources: &[String]) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM resource_failure f
          WHERE f.resource = ANY($1) AND NOT f.is_suspected
            AND NOT belongs_to_incident(f)",
        resources,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

struct IncidentRow {
    instance_id: i64,
    name: String,
    resource: String,
    opened_at: Option<String>,
    closed_at: Option<DateTime<Utc>>,
    reason: Option<String>,
    next_probe_at: Option<DateTime<Utc>>,
    waiting: i64,
    is_silent: bool,
    is_of_silence: bool,
    covered: Vec<String>,
}

impl From<IncidentRow> for Incident {
    fn from(row: IncidentRow) -> Self {
        Self {
            instance: InstanceId(row.instance_id),
            name: row.name,
            resource: row.resource,
            opened_at: row.opened_at.and_then(|at| at.parse().ok()),
            closed_at: row.closed_at,
            reason: row.reason,
            next_probe_at: row.next_probe_at,
            waiting: row.waiting,
            is_silent: row.is_silent,
            is_of_silence: row.is_of_silence,
            covered: row.covered,
        }
    }
}

/// Lists incidents, the open ones first.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list(db: &mut PgConnection, filter: IncidentFilter<'_>) -> Result<Vec<Incident>, StoreError> {
    let resources = match filter {
        IncidentFilter::OpenAt(resources) => Some(resources),
        IncidentFilter::Open | IncidentFilter::All => None,
    };
    let rows = sqlx::query_as!(
        IncidentRow,
        r#"WITH covered AS MATERIALIZED (
                    SELECT c.instance_id, array_agg(c.resource) AS resources FROM incident_cover() c
                     WHERE c.resource IS NOT NULL GROUP BY 1),
                wait AS MATERIALIZED (
                    SELECT w.incident_id, count(DISTINCT w.instance_id) AS instances FROM incident_wait() w GROUP BY 1)
           SELECT i.instance_id, i.name, i.data ->> 'resource' AS "resource!", i.data ->> 'opened_at' AS opened_at,
                  CASE WHEN i.state = $2 THEN i.entered_at END AS closed_at,
                  coalesce(i.data ->> 'probe_reason', i.data ->> 'reason') AS reason, i.deadline_at AS next_probe_at,
                  i.state = $5 AS "is_silent!", i.data ? 'poll_url' AS "is_of_silence!",
                  coalesce(covered.resources, '{}') AS "covered!", coalesce(wait.instances, 0) AS "waiting!"
             FROM instance i
             LEFT JOIN covered ON covered.instance_id = i.instance_id
             LEFT JOIN wait ON wait.incident_id = i.instance_id
            WHERE i.machine = $1 AND i.data ? 'resource' AND (i.state <> $2 OR $4)
              AND ($3::text[] IS NULL OR covered.resources && $3)
            ORDER BY i.state = $2, i.name"#,
        INCIDENT_MACHINE,
        CLOSED_STATE,
        resources,
        filter == IncidentFilter::All,
        SILENT_STATE,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Incident::from).collect())
}

/// Lists the names of the instances that wait for the end of the incident `name`, in the order in which they go on.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_waiting(db: &mut PgConnection, name: &str) -> Result<Vec<String>, StoreError> {
    let names = sqlx::query_scalar!(
        "SELECT n.name
           FROM instance i
           JOIN incident_wait() w ON w.incident_id = i.instance_id
           JOIN instance n ON n.instance_id = w.instance_id
          WHERE i.machine = $1 AND i.name = $2
          GROUP BY n.instance_id, n.name
          ORDER BY min(w.queued_at), min(w.action_id)",
        INCIDENT_MACHINE,
        name,
    );
    Ok(names.fetch_all(db).await?)
}
