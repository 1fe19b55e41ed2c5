//! Boards in lists: those that match, by name.

use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt};
use serde_json::value::RawValue;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Decode, Postgres, Row};

use crate::machine::MachineName;
use crate::store::instances::InstanceId;
use crate::store::{Snapshot, StoreError};

/// Which boards a list is about. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// In one of these states; a trailing `*` stands for the rest of a name.
    pub states: Vec<String>,
    /// Of this type of hardware.
    pub hardware: Option<String>,
    /// In this environment.
    pub environment: Option<String>,
    /// Running this image.
    pub image: Option<String>,
    /// With this text in the name.
    pub name: Option<String>,
    /// Among these.
    pub among: Option<Vec<InstanceId>>,
}

/// A board of a list, as it came from the database.
#[derive(Debug)]
pub struct Listed(PgRow);

/// A board as lists show it. Its texts stay where they lie: lists are long.
#[derive(Debug)]
pub struct Shown<'a> {
    /// Its name.
    pub name: &'a str,
    /// The state that it is in.
    pub state: &'a str,
    /// Which visit of a state that is.
    pub visit: i64,
    /// When it came there from another state.
    pub since: DateTime<Utc>,
    /// Until when, at the longest.
    pub deadline_at: Option<DateTime<Utc>>,
    /// The image on its card.
    pub image: Option<&'a RawValue>,
    /// The image that it is to boot.
    pub next_image: Option<&'a RawValue>,
    /// How often its time limits have passed, where they have.
    pub counters: &'a RawValue,
    /// The last reason that it or an action of its gave for a failure.
    pub failure: Option<&'a str>,
    /// Why it is locked out.
    pub lock_reason: Option<&'a str>,
    /// The host name or address that it answers on.
    pub fqdn: &'a str,
    /// Its network address.
    pub mac: &'a str,
    /// Its type of hardware.
    pub hardware: &'a str,
    /// Which part of the farm it belongs to.
    pub environment: &'a str,
    /// What people wrote about it.
    pub comments: &'a str,
}

impl Listed {
    /// Reads what came.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it is not what was asked for.
    pub fn read(&self) -> Result<Shown<'_>, StoreError> {
        let Self(row) = self;
        let json = |column| Ok::<_, sqlx::Error>(get::<Option<Json<_>>>(row, column)?.map(|json| json.0));
        Ok(Shown {
            name: get(row, 0)?,
            state: get(row, 1)?,
            visit: get(row, 2)?,
            since: get(row, 3)?,
            deadline_at: get(row, 4)?,
            image: json(5)?,
            next_image: json(6)?,
            failure: get(row, 7)?,
            fqdn: get(row, 8)?,
            mac: get(row, 9)?,
            hardware: get(row, 10)?,
            environment: get(row, 11)?,
            comments: get(row, 12)?,
            counters: get::<Json<_>>(row, 13)?.0,
            lock_reason: get(row, 14)?,
        })
    }
}

/// Reads a column of what [`LIST`] asks for, which gives its type.
fn get<'r, T: Decode<'r, Postgres>>(row: &'r PgRow, column: usize) -> Result<T, sqlx::Error> {
    row.try_get_unchecked(column)
}

/// What [`read`] asks. The macros, which check their statements as they are compiled, would copy each text of each row.
const LIST: &str = "
    SELECT i.name, i.state, i.visit, CASE WHEN i.since_visit = i.visit THEN i.since ELSE i.entered_at END, i.deadline_at,
           i.data->'image', i.data->'next_image', i.data->>'failure',
           d.fqdn, d.mac, d.hardware, d.environment, d.comments,
           i.counters, i.data->>'lock_reason'
      FROM instance i JOIN device d USING (instance_id)
     WHERE i.machine = $1 AND i.name > $2
       AND ($4::text[] IS NULL OR i.state LIKE ANY ($4))
       AND ($5::text IS NULL OR d.hardware = $5)
       AND ($6::text IS NULL OR d.environment = $6)
       AND ($7::text IS NULL OR i.data->>'image' = $7)
       AND ($8::text IS NULL OR i.name LIKE $8)
       AND ($9::bigint[] IS NULL OR i.instance_id = ANY ($9))
     ORDER BY i.name LIMIT $3";

/// Reads at most `most` boards by name, those after the name `after`, one by one as they come.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub fn read<'a>(
    db: &'a mut Snapshot,
    machine: &MachineName,
    filter: &Filter,
    after: &str,
    most: i64,
) -> impl Stream<Item = Result<Listed, StoreError>> + use<'a> {
    let Filter { states, hardware, environment, image, name, among } = filter;
    let states: Vec<String> = states.iter().map(|state| like(state, '*')).collect();
    let among: Option<Vec<i64>> = among.as_ref().map(|ids| ids.iter().map(|id| id.0).collect());
    sqlx::query(LIST)
        .bind(machine.as_str().to_owned())
        .bind(after.to_owned())
        .bind(most)
        .bind((!states.is_empty()).then_some(states))
        .bind(hardware.clone())
        .bind(environment.clone())
        .bind(image.clone())
        .bind(name.as_ref().map(|part| format!("%{}%", like(part, '\0'))))
        .bind(among)
        .fetch(&mut **db)
        .map_ok(Listed)
        .map_err(StoreError::from)
}

/// Reads the names of those of `machine` that are among `ids`.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn read_names(
    db: &mut PgConnection,
    machine: &MachineName,
    ids: &[InstanceId],
) -> Result<Vec<String>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let names = sqlx::query_scalar!(
        "SELECT name FROM instance WHERE machine = $1 AND instance_id = ANY ($2) ORDER BY name",
        machine.as_str(),
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(names)
}

/// Makes a LIKE pattern of `text`, in which only `joker` stands for anything.
fn like(text: &str, joker: char) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' | '_' | '\\' => pattern.extend(['\\', c]),
            c if c == joker => pattern.push('%'),
            c => pattern.push(c),
        }
    }
    pattern
}
