//! Machine definitions: their texts and their activations.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::changes::{ChangeOrigin, MAX_CHANGES_PER_ROW};
use super::instances::checked_name_of_row;
use super::{StoreError, Tx};
use crate::activation::{Activation, DeadlineAdjustment};
use crate::machine::MachineName;

/// The ID of an activation; it grows with each one, and 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ActivationId(pub i64);

/// The origin of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefinitionOrigin {
    /// Built into the program.
    BuiltIn,
    /// A file that a server was started with.
    File,
    /// Loaded by a client while servers ran.
    Loaded,
}

impl DefinitionOrigin {
    /// Returns the stored word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::File => "file",
            Self::Loaded => "loaded",
        }
    }
}

/// A definition and its activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivatedDefinition {
    /// The machine.
    pub machine: MachineName,
    /// Its number among the machine's definitions.
    pub number: i32,
    /// The SHA-256 of its text, in hexadecimal digits.
    pub digest: String,
    /// When it was activated.
    pub at: DateTime<Utc>,
    /// Its origin: `built-in`, `file` or `loaded`.
    pub origin: String,
    /// The client that loaded it, if known.
    pub sender: Option<String>,
    /// The ID of the first history entry that was decided under it.
    pub first_history: i64,
}

/// The active definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveDefinitions {
    /// The last activation of all.
    pub activation: ActivationId,
    /// The active definition of each machine.
    pub definitions: Vec<ActivatedDefinition>,
}

struct ActivatedDefinitionRow {
    activation_id: i64,
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
        let ActivatedDefinitionRow {
            activation_id: _,
            machine,
            number,
            digest,
            at,
            origin,
            sender,
            first_history,
        } = row;
        let machine = checked_name_of_row(MachineName::new(&machine))?;
        Ok(Self { machine, number, digest, at, origin, sender, first_history })
    }
}

/// Reads the active definitions.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_active(db: &mut PgConnection) -> Result<ActiveDefinitions, StoreError> {
    let rows = sqlx::query_as!(
        ActivatedDefinitionRow,
        "SELECT DISTINCT ON (a.machine) a.activation_id, a.machine, a.number, d.digest, a.at, a.origin, a.sender,
                a.first_history
           FROM activation a JOIN definition d USING (machine, number)
          ORDER BY a.machine, a.activation_id DESC",
    )
    .fetch_all(db)
    .await?;
    let activation = rows.iter().map(|row| ActivationId(row.activation_id)).max().unwrap_or_default();
    let definitions = rows.into_iter().map(ActivatedDefinition::try_from).collect::<Result<_, _>>()?;
    Ok(ActiveDefinitions { activation, definitions })
}

/// Lists the activations of `machine`'s definitions, the oldest first; a definition may occur several times.
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
        "SELECT a.activation_id, a.machine, a.number, d.digest, a.at, a.origin, a.sender, a.first_history
           FROM activation a JOIN definition d USING (machine, number)
          WHERE a.machine = $1 ORDER BY a.activation_id",
        machine.as_str(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(ActivatedDefinition::try_from).collect()
}

/// Reads the text of definition `number` of a machine, if it exists.
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

/// Blocks activations until `tx` ends, and returns the last one: `tx` writes what was decided under it.
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn block_activations(tx: &mut Tx) -> Result<ActivationId, StoreError> {
    sqlx::query!("LOCK TABLE activation IN ROW SHARE MODE").execute(&mut **tx).await?;
    let last = sqlx::query_scalar!(r#"SELECT coalesce(max(activation_id), 0) AS "last!" FROM activation"#)
        .fetch_one(&mut **tx)
        .await?;
    Ok(ActivationId(last))
}

/// Waits until all writes of decisions are durable, and blocks further ones until `tx` ends.
///
/// # Errors
///
/// [`StoreError::Locked`] when a write does not end within 0.5 s: all others would wait meanwhile.
pub async fn block_decisions(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query!("SET LOCAL lock_timeout = '500ms'").execute(&mut **tx).await?;
    sqlx::query!("LOCK TABLE activation IN EXCLUSIVE MODE").execute(&mut **tx).await?;
    Ok(())
}

/// Computes the SHA-256 of a definition's text, in hexadecimal digits.
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

/// Activates a text for `machine`, and returns its number: the number that the text had before, or the next
/// one.
///
/// `tx` has called [`block_decisions`].
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn activate(
    tx: &mut Tx,
    machine: &MachineName,
    source: &str,
    origin: DefinitionOrigin,
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
        "INSERT INTO activation (machine, number, at, origin, sender, first_history)
         SELECT machine, number, $3, $4, $5, nextval(pg_get_serial_sequence('history', 'history_id'))
           FROM definition WHERE machine = $1 AND digest = encode(sha256(convert_to($2, 'UTF8')), 'hex')
         RETURNING number",
        machine.as_str(),
        source,
        now,
        origin.as_str(),
        sender,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(number)
}

/// Migrates the instances of `machine` to definition `number`, and returns how many changed.
///
/// States and counters get their new names and deadlines are adjusted; each instance that changes gets a note in its history
/// and an entry in the log of changes. `tx` has called [`block_decisions`].
///
/// # Errors
///
/// [`StoreError`] when a statement fails.
pub async fn migrate_instances(
    tx: &mut Tx,
    machine: &MachineName,
    number: i32,
    activation: &Activation,
    origin: ChangeOrigin,
    sender: Option<&str>,
    now: DateTime<Utc>,
) -> Result<i64, StoreError> {
    let (mut old_states, mut new_states, mut adjustments, mut times, mut shifts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (state, migration) in activation.changed() {
        let (adjustment, time, shift) = match migration.deadline {
            DeadlineAdjustment::Keep => ("keep", None, None),
            DeadlineAdjustment::Disarm => ("disarm", None, None),
            DeadlineAdjustment::At(at) => ("at", Some(at), None),
            DeadlineAdjustment::Shift(by) => ("shift", None, by.num_microseconds()),
            DeadlineAdjustment::Arm(after) => ("arm", now.checked_add_signed(after), None),
        };
        old_states.push(state.as_str());
        new_states.push(migration.to.as_str());
        adjustments.push(adjustment);
        times.push(time);
        shifts.push(shift);
    }
    let (old_counters, new_counters): (Vec<&str>, Vec<&str>) =
        activation.counters.iter().map(|(old, new)| (old.as_str(), new.as_str())).unzip();
    let changed = sqlx::query_scalar!(
        r#"WITH rule AS (
               SELECT unnest($2::text[]) AS old, unnest($3::text[]) AS new, unnest($4::text[]) AS adjustment,
                      unnest($5::timestamptz[]) AS at, unnest($6::bigint[]) AS shift
           ),
           -- The time limit of a state runs from when its first action begins: no deadline is armed while that waits.
           found AS (
               SELECT i.instance_id, i.state, coalesce(r.new, i.state) AS new,
                      CASE r.adjustment WHEN 'disarm' THEN NULL
                                 WHEN 'at' THEN r.at
                                 WHEN 'shift' THEN i.deadline_at + r.shift * interval '1 microsecond'
                                 WHEN 'arm' THEN coalesce(i.deadline_at, CASE WHEN NOT EXISTS (
                                     SELECT FROM action a WHERE a.instance_id = i.instance_id AND a.visit = i.visit
                                                            AND a.seq = 1 AND a.status = 'WAITING')
                                     AND i.remaining_visit IS DISTINCT FROM i.visit THEN r.at END)
                                 ELSE i.deadline_at END AS deadline_at,
                      -- The remaining time of a suspended deadline.
                      CASE WHEN r.adjustment IN ('disarm', 'at') THEN NULL
                           WHEN r.adjustment = 'shift' AND i.remaining_visit = i.visit
                                THEN greatest(i.remaining_us + r.shift, 0)
                           ELSE i.remaining_us END AS remaining_us,
                      -- If two counters get the same name, the greater one counts.
                      coalesce((SELECT jsonb_object_agg(counter.name, counter.count)
                                  FROM (SELECT coalesce(c.new, e.key) AS name, max(e.value::bigint) AS count
                                          FROM jsonb_each_text(i.counters) e
                                          LEFT JOIN (SELECT unnest($7::text[]) AS old, unnest($8::text[]) AS new) c
                                                 ON c.old = e.key
                                         GROUP BY 1) counter), '{}') AS counters
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
           noted AS (
               INSERT INTO history (at, instance_id, visit, kind, from_state, to_state, outcome, event, sender, reason,
                                    evidence)
               SELECT $9, instance_id, visit, 'note', old, nullif(new, old), 'noted', 'adopted', $10,
                      format('definition %s of %s activated', $11::int, $1::text),
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
        &adjustments as _,
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
