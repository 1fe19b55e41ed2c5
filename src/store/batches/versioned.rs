//! Instances with the version of the row that they were read from.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::super::instances::{InstanceId, checked_name_of_row, remaining_time};
use super::super::links::{LinkedIds, StoredLinks};
use super::super::{DatabaseLife, InstanceFacts, StoreError};
use crate::machine::{CounterName, Instance, MachineName, StateName, Visit};

/// The version of an instance's row: the ID of the transaction that wrote it (`xmin`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowVersion(u32);

impl RowVersion {
    /// The version that transaction `number` wrote.
    #[cfg(test)]
    pub(crate) fn nth(number: u32) -> Self {
        Self(number)
    }

    pub(super) fn of(xmin: i64) -> Result<Self, StoreError> {
        u32::try_from(xmin).map(Self).map_err(StoreError::unreadable)
    }

    /// The integer that Postgres compares with `xmin`: the same bits, signed.
    pub(super) fn to_sql(self) -> i32 {
        self.0.cast_signed()
    }
}

/// An instance with the version of its row.
#[derive(Debug, Clone)]
pub struct VersionedInstance {
    /// Its ID.
    pub id: InstanceId,
    /// The version of its row.
    pub version: RowVersion,
    /// The instance.
    pub instance: Arc<Instance>,
    /// The IDs of the linked instances.
    pub linked: LinkedIds,
    /// The facts that its face provides, if they were read with it.
    pub facts: Option<Arc<dyn InstanceFacts>>,
    /// Whether its face was asked for them. If not, decisions that depend on facts are not possible.
    pub has_read_facts: bool,
    /// Whether it may have actions.
    pub has_actions: bool,
}

impl VersionedInstance {
    /// An entity tag that differs after each change: of the definition `number`, the visit, and the version of the row, which
    /// is unique only within a life of the database.
    #[must_use]
    pub fn entity_tag(&self, life: DatabaseLife, number: i32) -> String {
        format!("{:x}-{number}-{}-{}", life.id(), self.instance.visit, self.version.0)
    }
}

struct VersionedInstanceRow {
    instance_id: i64,
    version: i64,
    machine: String,
    name: String,
    state: String,
    visit: i64,
    since: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    remaining_us: Option<i64>,
    remaining_visit: Option<i64>,
    counters: Json<BTreeMap<CounterName, i64>>,
    data: Json<Map<String, Value>>,
    links: Option<Json<StoredLinks>>,
    has_actions: bool,
}

impl TryFrom<VersionedInstanceRow> for VersionedInstance {
    type Error = StoreError;

    fn try_from(row: VersionedInstanceRow) -> Result<Self, StoreError> {
        let (links, linked) = row.links.map(|Json(links)| links.split()).unwrap_or_default();
        Ok(Self {
            id: InstanceId(row.instance_id),
            version: RowVersion::of(row.version)?,
            instance: Arc::new(Instance {
                machine: checked_name_of_row(MachineName::new(&row.machine))?,
                name: row.name,
                state: checked_name_of_row(StateName::new(&row.state))?,
                visit: Visit(row.visit),
                since: row.since,
                deadline_at: row.deadline_at,
                remaining: remaining_time(row.visit, row.remaining_us, row.remaining_visit),
                counters: row.counters.0,
                data: row.data.0,
                links,
            }),
            linked,
            facts: None,
            has_read_facts: false,
            has_actions: row.has_actions,
        })
    }
}

/// Reads instances by ID and by name; missing ones are left out.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read(
    db: &mut PgConnection,
    ids: &[InstanceId],
    named: &[(MachineName, String)],
) -> Result<Vec<VersionedInstance>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let machines: Vec<&str> = named.iter().map(|(machine, _)| machine.as_str()).collect();
    let names: Vec<&str> = named.iter().map(|(_, name)| name.as_str()).collect();
    let rows = sqlx::query_as!(
        VersionedInstanceRow,
        r#"SELECT i.instance_id AS "instance_id!", i.version AS "version!", i.machine AS "machine!",
                  i.name AS "name!", i.state AS "state!", i.visit AS "visit!", i.entered_at AS "since!",
                  i.deadline_at AS "deadline_at?", i.remaining_us, i.remaining_visit,
                  i.counters AS "counters!: Json<BTreeMap<CounterName, i64>>",
                  i.data AS "data!: Json<Map<String, Value>>", i.links AS "links?: Json<StoredLinks>",
                  -- Not `EXISTS`: the planner may read and hash all actions for it.
                  coalesce((SELECT true FROM action a WHERE a.instance_id = i.instance_id LIMIT 1), false)
                      AS "has_actions!"
             FROM (SELECT by_id.xmin::text::bigint AS version, by_id.*
                     FROM unnest($1::bigint[]) AS wanted (id)
                     JOIN instance by_id ON by_id.instance_id = wanted.id
                   UNION ALL
                   SELECT by_name.xmin::text::bigint AS version, by_name.*
                     FROM unnest($2::text[], $3::text[]) AS wanted (machine, name)
                     JOIN instance by_name ON by_name.machine = wanted.machine AND by_name.name = wanted.name) i"#,
        &ids,
        &machines as _,
        &names as _,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(VersionedInstance::try_from).collect()
}

/// Finds which of `ids` can be locked now; the others are locked by other transactions, or removed.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_unlocked(
    db: &mut PgConnection,
    ids: &[InstanceId],
) -> Result<HashSet<InstanceId>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let unlocked = sqlx::query_scalar!(
        "SELECT instance_id FROM instance WHERE instance_id = ANY($1) FOR UPDATE SKIP LOCKED",
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(unlocked.into_iter().map(InstanceId).collect())
}
