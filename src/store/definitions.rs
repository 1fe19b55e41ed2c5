//! The machine definitions: their texts, and which of them was in force when.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::changes::{ChangeOrigin, MAX_CHANGES_PER_ROW};
use super::instances::checked_name_of_row;
use super::{StoreError, Tx};
use crate::activation::{Activation, DeadlineAdjustment};
use crate::machine::MachineName;

/// Numbers the moments at which another definition came into force; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ActivationId(pub i64);

/// From where a definition comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefinitionOrigin {
    /// With the program.
    BuiltIn,
    /// From a file that a server was given when it started.
    File,
    /// From somebody who loaded it while servers ran.
    Loaded,
}

impl DefinitionOrigin {
    /// As it is written down.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::File => "file",
            Self::Loaded => "loaded",
        }
    }
}

/// A definition, and when it came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivatedDefinition {
    /// The machine.
    pub machine: MachineName,
    /// Its number among the machine's definitions.
    pub number: i32,
    /// The SHA-256 of its text, in hexadecimal digits.
    pub digest: String,
    /// When it came into force.
    pub at: DateTime<Utc>,
    /// From where it came: `built-in`, `file` or `loaded`.
    pub origin: String,
    /// Who loaded it, as far as is known.
    pub sender: Option<String>,
    /// The first entry of history that is under it.
    pub first_history: i64,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveDefinitions {
    /// The moment since which it is.
    pub activation: ActivationId,
    /// A definition for each machine.
    pub definitions: Vec<ActivatedDefinition>,
}

struct ActivatedDefinitionRow {
    machine: String,
    number: i32,
    digest: String,
    at: DateTime<Utc>,
    origin: String,
    sender: Option<String>,
    first_history: i64,
}

impl TryFrom<ActivatedDefinitionRow> for ActivatedDefinition {
    type Error = StoreError;

    fn try_from(row: ActivatedDefinitionRow) -> Result<Self, StoreError> {
        let ActivatedDefinitionRow { machine, number, digest, at, origin, sender, first_history } = row;
        let machine = checked_name_of_row(MachineName::new(&machine))?;
        Ok(Self { machine, number, digest, at, origin, sender, first_history })
    }
}

/// Reads what is in force.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_active(db: &mut PgConnection) -> Result<ActiveDefinitions, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (a.machine) a.adoption_id, a.machine, a.number, d.digest, a.at, a.origin, a.sender,
                  a.first_history
             FROM adoption a JOIN definition d USING (machine, number)
            ORDER BY a.machine, a.adoption_id DESC"#,
    )
    .fetch_all(db)
    .await?;
    let adoption = rows.iter().map(|row| ActivationId(row.adoption_id)).max().unwrap_or_default();
    let definition = |row: ActivatedDefinitionRow| ActivatedDefinition::try_from(row);
    let definitions = rows
        .into_iter()
        .map(|row| ActivatedDefinitionRow {
            machine: row.machine,
            number: row.number,
            digest: row.digest,
            at: row.at,
            origin: row.origin,
            sender: row.sender,
            first_history: row.first_history,
        })
        .map(definition)
        .collect::<Result<_, _>>()?;
    Ok(ActiveDefinitions { activation: adoption, definitions })
}

/// Lists the definitions that came into force for `machine`, the oldest first; one may be there several times.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn list_activated(
    db: &mut PgConnection,
    machine: &MachineName,
) -> Result<Vec<ActivatedDefinition>, StoreError> {
    let rows = sqlx::query_as!(
        ActivatedDefinitionRow,
        "SELECT a.machine, a.number, d.digest, a.at, a.origin, a.sender, a.first_history
           FROM adoption a JOIN definition d USING (machine, number)
          WHERE a.machine = $1 ORDER BY a.adoption_id",
        machine.as_str(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ActivatedDefinition::try_from).collect()
}

/// Reads the text of one of a machine's definitions, if there is one of that number.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_source(
    db: &mut PgConnection,
    machine: &MachineName,
    number: i32,
) -> Result<Option<String>, StoreError> {
    let source = sqlx::query_scalar!(
        "SELECT source FROM definition WHERE machine = $1 AND number = $2",
        machine.as_str(),
        number,
    )
    .fetch_optional(db)
    .await?;
    Ok(source)
}

/// Lets nothing else come into force until `tx` ends, and says since when what is in force is: what `tx` writes was decided
/// under that.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn block_activations(tx: &mut Tx) -> Result<ActivationId, StoreError> {
    sqlx::query!("LOCK TABLE adoption IN ROW SHARE MODE").execute(&mut **tx).await?;
    let last = sqlx::query_scalar!(r#"SELECT coalesce(max(adoption_id), 0) AS "last!" FROM adoption"#)
        .fetch_one(&mut **tx)
        .await?;
    Ok(ActivationId(last))
}

/// Waits until all that is being written under what is in force is durable, and lets nothing more be written until `tx`
/// ends.
///
/// # Errors
///
/// [`StoreError::LockedInstance`] when something that is being written does not end soon: all others wait behind this.
pub async fn block_decisions(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query!("SET LOCAL lock_timeout = '500ms'").execute(&mut **tx).await?;
    sqlx::query!("LOCK TABLE adoption IN EXCLUSIVE MODE").execute(&mut **tx).await?;
    Ok(())
}

/// The SHA-256 of a definition's text, in hexadecimal digits.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn digest(db: &mut PgConnection, source: &str) -> Result<String, StoreError> {
    let digest =
        sqlx::query_scalar!(r#"SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex') AS "digest!""#, source,)
            .fetch_one(db)
            .await?;
    Ok(digest)
}

/// Puts a text in force for `machine`, under the number that it had before or the next one. `tx` has stopped the world.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn activate(
    tx: &mut Tx,
    machine: &MachineName,
    source: &str,
    from: DefinitionOrigin,
    sender: Option<&str>,
    now: DateTime<Utc>,
) -> Result<i32, StoreError> {
    sqlx::query!(
        "INSERT INTO definition (machine, number, digest, source)
         SELECT $1, coalesce(max(number), 0) + 1, encode(sha256(convert_to($2, 'UTF8')), 'hex'), $2
           FROM definition WHERE machine = $1
             ON CONFLICT ON CONSTRAINT definition_digest_key DO NOTHING",
        machine.as_str(),
        source,
    )
    .execute(&mut **tx)
    .await?;
    let number = sqlx::query_scalar!(
        "INSERT INTO adoption (machine, number, at, origin, sender, first_history)
         SELECT machine, number, $3, $4, $5, nextval(pg_get_serial_sequence('history', 'history_id'))
           FROM definition WHERE machine = $1 AND digest = encode(sha256(convert_to($2, 'UTF8')), 'hex')
         RETURNING number",
        machine.as_str(),
        source,
        now,
        from.as_str(),
        sender,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(number)
}

/// Lets the instances of `machine` that are in flight go on under definition `number`: states and counters get their new
/// names, deadlines move, and each instance that changes is noted in its history and in the log of changes. Says how many
/// changed. `tx` has stopped the world.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn migrate_instances(
    tx: &mut Tx,
    machine: &MachineName,
    number: i32,
    adoption: &Activation,
    origin: ChangeOrigin,
    sender: Option<&str>,
    now: DateTime<Utc>,
) -> Result<i64, StoreError> {
    let (mut old_states, mut new_states, mut hows, mut times, mut shifts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (state, carried) in adoption.changed() {
        let (how, time, shift) = match carried.deadline {
            DeadlineAdjustment::Keep => ("keep", None, None),
            DeadlineAdjustment::Disarm => ("disarm", None, None),
            DeadlineAdjustment::At(at) => ("at", Some(at), None),
            DeadlineAdjustment::Shift(by) => ("shift", None, by.num_microseconds()),
            DeadlineAdjustment::Arm(after) => ("arm", now.checked_add_signed(after), None),
        };
        old_states.push(state.as_str());
        new_states.push(carried.to.as_str());
        hows.push(how);
        times.push(time);
        shifts.push(shift);
    }
    let (old_counters, new_counters): (Vec<&str>, Vec<&str>) =
        adoption.counters.iter().map(|(old, new)| (old.as_str(), new.as_str())).unzip();
    let changed = sqlx::query_scalar!(
        r#"WITH rule AS (
               SELECT unnest($2::text[]) AS old, unnest($3::text[]) AS new, unnest($4::text[]) AS how,
                      unnest($5::timestamptz[]) AS at, unnest($6::bigint[]) AS shift
           ),
           -- An action that waits has not begun, and the state's time runs from when the first one does.
           found AS (
               SELECT i.instance_id, i.state, coalesce(r.new, i.state) AS new,
                      CASE r.how WHEN 'disarm' THEN NULL
                                 WHEN 'at' THEN r.at
                                 WHEN 'shift' THEN i.deadline_at + r.shift * interval '1 microsecond'
                                 WHEN 'arm' THEN coalesce(i.deadline_at, CASE WHEN NOT EXISTS (
                                     SELECT FROM action a WHERE a.instance_id = i.instance_id AND a.visit = i.visit
                                                            AND a.seq = 1 AND a.status = 'WAITING')
                                     AND i.remaining_visit IS DISTINCT FROM i.visit THEN r.at END)
                                 ELSE i.deadline_at END AS deadline_at,
                      -- What is left of one that stands still.
                      CASE WHEN r.how IN ('disarm', 'at') THEN NULL
                           WHEN r.how = 'shift' AND i.remaining_visit = i.visit
                                THEN greatest(i.remaining_us + r.shift, 0)
                           ELSE i.remaining_us END AS remaining_us,
                      -- Where two come to have one name, the greater one counts.
                      coalesce((SELECT jsonb_object_agg(one.name, one.count)
                                  FROM (SELECT coalesce(c.new, e.key) AS name, max(e.value::bigint) AS count
                                          FROM jsonb_each_text(i.counters) e
                                          LEFT JOIN (SELECT unnest($7::text[]) AS old, unnest($8::text[]) AS new) c
                                                 ON c.old = e.key
                                         GROUP BY 1) one), '{}') AS counters
                 FROM instance i LEFT JOIN rule r ON r.old = i.state
                WHERE i.machine = $1 AND (r.old IS NOT NULL OR i.counters ?| $7::text[])
           ),
           saved AS (
               UPDATE instance i SET state = f.new, deadline_at = f.deadline_at, counters = f.counters,
                                     remaining_us = f.remaining_us
                 FROM found f
                WHERE i.instance_id = f.instance_id
                  AND (i.state, i.deadline_at, i.counters, i.remaining_us)
                      IS DISTINCT FROM (f.new, f.deadline_at, f.counters, f.remaining_us)
            RETURNING i.instance_id, i.visit, i.deadline_at, f.state AS old, i.state AS new
           ),
           told AS (
               INSERT INTO history (at, instance_id, visit, kind, from_state, to_state, outcome, event, sender, reason,
                                    evidence)
               SELECT $9, instance_id, visit, 'note', old, nullif(new, old), 'noted', 'adopted', $10,
                      format('definition %s of %s came into force', $11::int, $1::text),
                      jsonb_build_object('deadline', deadline_at)
                 FROM saved ORDER BY instance_id
           ),
           changed AS (
               INSERT INTO change (xact, origin, instances, visits, deadlines)
               SELECT pg_current_xact_id()::text::bigint, $12, array_agg(instance_id), array_agg(visit),
                      array_agg(deadline_at)
                 FROM (SELECT *, (row_number() OVER () - 1) / $13 AS chunk FROM saved) chunked
                GROUP BY chunk
           )
           SELECT count(*) AS "count!" FROM saved"#,
        machine.as_str(),
        &old_states as _,
        &new_states as _,
        &hows as _,
        &times as _,
        &shifts as _,
        &old_counters as _,
        &new_counters as _,
        now,
        sender,
        number,
        origin.0,
        i64::try_from(MAX_CHANGES_PER_ROW).unwrap_or(i64::MAX),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(changed)
}
