//! Groups of decisions: everything that was decided at one time about many instances, read and written together.
//!
//! A group is read without locks and written by one statement, which takes the rows' locks itself, in the order of
//! their numbers, and applies what was decided only where the row is still the one that was read: compare and set. So no
//! lock is ever held while we think or while the network is slow, and a process that is stopped in the middle holds up
//! nobody. Whatever is written for an instance, other than history, rewrites its row; so its row's version (`xmin`)
//! speaks for its actions and its device too.

mod columns;

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::types::Json;

use super::StoreError;
use super::actions::{ActionId, NewAction, WorkerId};
use super::changes::Origin;
use super::devices::Device;
use super::history::NewEntry;
use super::instances::{InstanceId, name};
use crate::machine::{CounterName, Instance, MachineName, StateName, Visit};
use columns::{Columns, versions};

/// Which version of an instance's row was read: the number of the transaction that wrote it, as the row holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowVersion(u32);

impl RowVersion {
    fn of(xmin: i64) -> Result<Self, StoreError> {
        u32::try_from(xmin).map(Self).map_err(StoreError::unreadable)
    }
}

/// An instance as it was read, and of which version.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its number.
    pub id: InstanceId,
    /// The version of its row.
    pub version: RowVersion,
    /// The instance.
    pub instance: Instance,
    /// Its device, where it has one.
    pub device: Option<Device>,
    /// Whether there may be actions that its states asked for.
    pub has_actions: bool,
}

struct SeenRow {
    instance_id: i64,
    version: i64,
    machine: String,
    name: String,
    state: String,
    visit: i64,
    entered_at: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    counters: Json<BTreeMap<CounterName, i64>>,
    data: Json<Map<String, Value>>,
    fqdn: Option<String>,
    mac: Option<String>,
    power_url: Option<String>,
    poll_url: Option<String>,
    hardware: Option<String>,
    environment: Option<String>,
    has_actions: bool,
}

impl TryFrom<SeenRow> for Seen {
    type Error = StoreError;

    fn try_from(row: SeenRow) -> Result<Self, StoreError> {
        let device = match (row.fqdn, row.mac, row.hardware, row.environment) {
            (Some(fqdn), Some(mac), Some(hardware), Some(environment)) => Some(Device {
                fqdn,
                mac,
                power_url: row.power_url,
                poll_url: row.poll_url,
                hardware,
                environment,
                // Neither guards nor drivers read what people wrote.
                comments: String::new(),
            }),
            _ => None,
        };
        Ok(Self {
            id: InstanceId(row.instance_id),
            version: RowVersion::of(row.version)?,
            instance: Instance {
                machine: name(MachineName::new(&row.machine))?,
                name: row.name,
                state: name(StateName::new(&row.state))?,
                visit: Visit(row.visit),
                entered_at: row.entered_at,
                deadline_at: row.deadline_at,
                counters: row.counters.0,
                data: row.data.0,
            },
            device,
            has_actions: row.has_actions,
        })
    }
}

/// Reads instances by number and by name; those that are not there are left out.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read(
    db: &mut PgConnection,
    ids: &[InstanceId],
    named: &[(MachineName, String)],
) -> Result<Vec<Seen>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let machines: Vec<&str> = named.iter().map(|(machine, _)| machine.as_str()).collect();
    let names: Vec<&str> = named.iter().map(|(_, name)| name.as_str()).collect();
    let rows = sqlx::query_as!(
        SeenRow,
        r#"SELECT i.instance_id AS "instance_id!", i.version AS "version!", i.machine AS "machine!",
                  i.name AS "name!", i.state AS "state!", i.visit AS "visit!", i.entered_at AS "entered_at!",
                  i.deadline_at AS "deadline_at?", i.counters AS "counters!: Json<BTreeMap<CounterName, i64>>",
                  i.data AS "data!: Json<Map<String, Value>>",
                  d.fqdn AS "fqdn?", d.mac AS "mac?", d.power_url, d.poll_url, d.hardware AS "hardware?",
                  d.environment AS "environment?",
                  EXISTS (SELECT FROM action a WHERE a.instance_id = i.instance_id) AS "has_actions!"
             FROM (SELECT by_id.xmin::text::bigint AS version, by_id.*
                     FROM unnest($1::bigint[]) AS wanted (id)
                     JOIN instance by_id ON by_id.instance_id = wanted.id
                   UNION ALL
                   SELECT by_name.xmin::text::bigint AS version, by_name.*
                     FROM unnest($2::text[], $3::text[]) AS wanted (machine, name)
                     JOIN instance by_name ON by_name.machine = wanted.machine AND by_name.name = wanted.name) i
             LEFT JOIN device d ON d.instance_id = i.instance_id"#,
        &ids,
        &machines as _,
        &names as _,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Seen::try_from).collect()
}

/// What was decided about one instance.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Whose it is.
    pub id: InstanceId,
    /// The version that it was decided on.
    pub version: RowVersion,
    /// The instance after it; nothing where only history is added.
    pub instance: Option<Instance>,
    /// The visit that was left: what it still had to do is deleted, and what runs is to be stopped.
    pub left: Option<Visit>,
    /// What happened, in order.
    pub entries: Vec<NewEntry>,
    /// The state that was entered anew by its own deadline, and the visit that began; it has no entry of its own.
    pub kept: Option<(StateName, Visit)>,
    /// The action that ended.
    pub ended: Option<ActionId>,
    /// The action that begins.
    pub started: Option<ActionId>,
    /// The actions that the present visit asks for, in order.
    pub invoked: Vec<NewAction>,
    /// Whether they are only for where none is left of those that an earlier visit of the state asked for.
    pub goes_on: bool,
}

/// What a group came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The instances of which everything that was decided is durable; of the others nothing is.
    pub instances: HashSet<InstanceId>,
    /// The version of the rows that were rewritten.
    pub version: Option<RowVersion>,
    /// The actions that run and are to be stopped.
    pub stopped: Vec<ActionId>,
}

/// Writes what the process `origin` decided at `now`, with its `worker` for what begins; each instance's part is written whole, or not at all where its row
/// has been rewritten since it was read.
///
/// `decided` has each instance once, in the order of their numbers: all processes lock in that order.
///
/// # Errors
///
/// [`StoreError::Constraint`] `action_place` when somebody else holds the place of an action that begins;
/// [`StoreError::Locked`] when a row is kept locked; nothing was written then.
#[tracing::instrument(name = "store.group.write", level = "debug", skip_all, fields(instances = decided.len()))]
pub async fn write(
    db: &mut PgConnection,
    decided: &[Decided],
    origin: Origin,
    worker: Option<WorkerId>,
    now: DateTime<Utc>,
) -> Result<Applied, StoreError> {
    let group = Columns::of(decided);
    let Columns { saved, held, told, kept, left, ended, started, invoked } = &group;
    let (saved_versions, held_versions) = (versions(&saved.versions), versions(&held.versions));
    let mut applied = Applied::default();
    macro_rules! run {
        ($actions:tt, $stopped:tt, $($of_actions:expr),*) => {
            sqlx::query!(
                r#"WITH
                   -- Locked as they are saved, in the order in which they come: the connection plans no other join.
                   saved AS (
                       UPDATE instance i
                          SET state = n.state, visit = n.visit, entered_at = n.entered_at, deadline_at = n.deadline_at,
                              counters = n.counters, data = n.data
                         FROM unnest($1::bigint[], $2::text::xid[], $3::text[], $4::bigint[], $5::timestamptz[],
                                     $6::timestamptz[], $7::jsonb[], $8::jsonb[])
                              AS n (id, version, state, visit, entered_at, deadline_at, counters, data)
                        WHERE i.instance_id = n.id AND i.xmin = n.version
                    RETURNING i.instance_id, i.visit, i.deadline_at
                   ),
                   -- What only gets history keeps its row. Never waited for: who waits here may keep locks already.
                   held AS MATERIALIZED (
                       SELECT i.instance_id
                         FROM unnest($9::bigint[], $10::text::xid[]) AS n (id, version)
                         JOIN instance i ON i.instance_id = n.id
                        WHERE i.xmin = n.version AND (SELECT count(*) FROM saved) >= 0
                          FOR UPDATE OF i SKIP LOCKED
                   ),
                   -- Whoever keeps a picture of the instances reads on from here.
                   changed AS (
                       INSERT INTO change (xact, origin, instances, visits, deadlines)
                       SELECT pg_current_xact_id()::text::bigint, $26, array_agg(instance_id), array_agg(visit),
                              array_agg(deadline_at)
                         FROM saved HAVING count(*) > 0
                   ),
                   -- Mostly it is all of them. Otherwise asked within `coalesce`, which makes a look-up of what would
                   -- be a loop in a loop.
                   applied AS MATERIALIZED (
                       SELECT instance_id FROM saved UNION ALL SELECT instance_id FROM held
                   ),
                   told AS (
                       INSERT INTO history (at, instance_id, visit, spoken_visit, kind, from_state, to_state, outcome,
                                            event, source, sender, reason, args, device, evidence)
                       SELECT h.at, h.id, h.visit, h.spoken_visit, h.kind, h.from_state, h.to_state, h.outcome,
                              h.event, h.source, h.sender, h.reason, h.args, h.device, h.evidence
                         FROM unnest($11::timestamptz[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[],
                                     $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[],
                                     $22::text[], $23::jsonb[], $24::jsonb[], $25::jsonb[])
                              WITH ORDINALITY
                              AS h (at, id, visit, spoken_visit, kind, from_state, to_state, outcome, event, source,
                                    sender, reason, args, device, evidence, number)
                        WHERE ((SELECT count(*) FROM applied) = cardinality($1) + cardinality($9)
                               OR coalesce(h.id IN (SELECT instance_id FROM applied), false))
                        ORDER BY h.number
                   ),
                   -- One entry for all that are at rest and stay there.
                   kept AS (
                       INSERT INTO history (at, kind, from_state, instances, visits)
                       SELECT $30, 'kept', k.state, array_agg(k.id), array_agg(k.visit)
                         FROM unnest($27::bigint[], $28::bigint[], $29::text[]) AS k (id, visit, state)
                        WHERE coalesce(k.id IN (SELECT instance_id FROM applied), false)
                        GROUP BY k.state
                   )"#
                + $actions
                + r#"
                   SELECT instance_id AS "id!", true AS "is_instance!",
                          pg_current_xact_id()::text::bigint & 4294967295 AS "version!"
                     FROM applied"#
                + $stopped,
                &saved.ids,
                saved_versions,
                &saved.states as _,
                &saved.visits,
                &saved.entered_at,
                &saved.deadlines as _,
                &saved.counters as _,
                &saved.data as _,
                &held.ids,
                held_versions,
                &told.at,
                &told.instances,
                &told.visits,
                &told.spoken_visits as _,
                &told.kinds as _,
                &told.from_states as _,
                &told.to_states as _,
                &told.outcomes as _,
                &told.events as _,
                &told.sources as _,
                &told.senders as _,
                &told.reasons as _,
                &told.args as _,
                &told.devices as _,
                &told.evidence as _,
                origin.0,
                &kept.ids,
                &kept.visits,
                &kept.states as _,
                now,
                $($of_actions),*
            )
            .fetch_all(db)
            .await?
            .into_iter()
            .map(|row| (row.id, row.is_instance, row.version))
            .collect::<Vec<_>>()
        };
    }
    let rows = if group.has_actions() {
        run!(
            r#",
               ended AS (
                   DELETE FROM action a
                    USING unnest($31::bigint[], $32::bigint[]) AS e (id, action)
                    WHERE a.action_id = e.action AND coalesce(e.id IN (SELECT instance_id FROM applied), false)
                RETURNING a.action_id
               ),
               given_up AS MATERIALIZED (
                   SELECT a.action_id
                     FROM unnest($33::bigint[], $34::bigint[]) AS l (id, visit)
                     JOIN action a ON a.instance_id = l.id
                    WHERE a.visit <= l.visit AND NOT a.rescue AND a.action_id <> ALL($32::bigint[])
                      AND coalesce(l.id IN (SELECT instance_id FROM applied), false)
               ),
               dropped AS (
                   DELETE FROM action a USING given_up g WHERE a.action_id = g.action_id AND a.status = 'WAITING'
               ),
               stopped AS (
                   UPDATE action a SET cancelled = true FROM given_up g
                    WHERE a.action_id = g.action_id AND a.status = 'RUNNING' AND NOT a.cancelled
                RETURNING a.action_id
               ),
               -- After what ended, whose place it may take.
               started AS (
                   UPDATE action a SET status = 'RUNNING', worker_id = $37, began_at = $30
                     FROM unnest($35::bigint[], $36::bigint[]) AS s (id, action)
                    WHERE a.action_id = s.action AND a.status = 'WAITING'
                      AND coalesce(s.id IN (SELECT instance_id FROM applied), false)
                      AND (SELECT count(*) FROM ended) >= 0
               ),
               invoked AS (
                   INSERT INTO action (instance_id, visit, seq, action, settings, limit_ms, place, status, asked_at)
                   SELECT n.id, n.visit, n.seq, n.action, n.settings, n.limit_ms, n.place, 'WAITING', $30
                     FROM unnest($38::bigint[], $39::bigint[], $40::int[], $41::text[], $42::jsonb[], $43::bigint[],
                                 $44::text[], $45::bool[])
                          WITH ORDINALITY AS n (id, visit, seq, action, settings, limit_ms, place, is_kept, number)
                    WHERE coalesce(n.id IN (SELECT instance_id FROM applied), false)
                      -- Those that go on are there already, unless they have ended meanwhile.
                      AND NOT (n.is_kept AND EXISTS (
                              SELECT FROM action a WHERE a.instance_id = n.id AND NOT a.cancelled AND NOT a.rescue))
                    ORDER BY n.number
               )"#,
            " UNION ALL SELECT action_id, false, 0 FROM stopped",
            &ended.ids,
            &ended.others,
            &left.ids,
            &left.others,
            &started.ids,
            &started.others,
            worker.map(|worker| worker.0),
            &invoked.ids,
            &invoked.visits,
            &invoked.seqs,
            &invoked.actions as _,
            &invoked.settings as _,
            &invoked.limits as _,
            &invoked.places as _,
            &invoked.kept
        )
    } else {
        // The tables' locks and indexes alone would cost a lone event as much as all the rest.
        run!("", "",)
    };
    for (id, is_instance, version) in rows {
        if is_instance {
            applied.instances.insert(InstanceId(id));
            applied.version = Some(RowVersion::of(version)?);
        } else {
            applied.stopped.push(ActionId(id));
        }
    }
    Ok(applied)
}

/// Says which of `ids` can be locked now; the others are kept by somebody, or gone.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn find_free(db: &mut PgConnection, ids: &[InstanceId]) -> Result<HashSet<InstanceId>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let free = sqlx::query_scalar!(
        "SELECT instance_id FROM instance WHERE instance_id = ANY($1) FOR UPDATE SKIP LOCKED",
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(free.into_iter().map(InstanceId).collect())
}
