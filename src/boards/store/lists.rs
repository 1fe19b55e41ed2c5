//! Lists of boards, by name, with filters.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Arguments, AssertSqlSafe, Decode, Encode, Postgres, Row, Type};

use super::super::field::{DEVICE_FIELDS, DeviceField, FieldParser};
use crate::machine::MachineName;
use crate::store::instances::InstanceId;
use crate::store::{Snapshot, StoreError};

/// A filter of a list of boards. Empty and missing conditions match all boards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct BoardFilter {
    /// In one of these states; a trailing `*` matches the rest of a name.
    pub states: Vec<String>,
    /// With these values in filterable fields, by field.
    pub fields: BTreeMap<&'static str, String>,
    /// With this image installed.
    pub image: Option<String>,
    /// With this text in the name.
    pub name: Option<String>,
    /// Among these instances.
    pub among: Option<Vec<InstanceId>>,
}

/// A row of a list.
#[derive(Debug)]
pub struct BoardListRow(PgRow);

/// A board in a list. Its texts are borrowed from the row, as lists are long.
#[derive(Debug)]
pub struct ListedBoard<'a> {
    /// Its name.
    pub name: &'a str,
    /// The name of its state.
    pub state: &'a str,
    /// The number of the present visit.
    pub visit: i64,
    /// When it entered the state from another one.
    pub since: DateTime<Utc>,
    /// When the state's timeout passes.
    pub deadline_at: Option<DateTime<Utc>>,
    /// The installed image.
    pub image: Option<&'a RawValue>,
    /// The image that is being installed.
    pub next_image: Option<&'a RawValue>,
    /// How often time limits have passed, by counter.
    pub counters: &'a RawValue,
    /// The last recorded reason of a failure.
    pub failure: Option<&'a str>,
    /// Why it is locked out.
    pub lock_reason: Option<&'a str>,
    /// The values of [`LISTED_FIELDS`], in their order.
    pub fields: [FieldValue<'a>; LISTED_FIELDS.len()],
}

/// The value of one field.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum FieldValue<'a> {
    /// A text.
    Text(Option<&'a str>),
    /// A list, as JSON.
    List(&'a RawValue),
    /// A list without elements.
    EmptyList([(); 0]),
}

/// The number of fields that lists show.
const LISTED_FIELD_COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < DEVICE_FIELDS.len() {
        count += DEVICE_FIELDS[at].is_listed as usize;
        at += 1;
    }
    count
};

/// The fields that lists show.
pub const LISTED_FIELDS: [&DeviceField; LISTED_FIELD_COUNT] = {
    let mut listed = [&DEVICE_FIELDS[0]; LISTED_FIELD_COUNT];
    let (mut count, mut at) = (0, 0);
    while at < DEVICE_FIELDS.len() {
        if DEVICE_FIELDS[at].is_listed {
            listed[count] = &DEVICE_FIELDS[at];
            count += 1;
        }
        at += 1;
    }
    listed
};

impl BoardListRow {
    /// Reads the columns, in the order of the statement.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a column is missing or unreadable.
    pub fn read(&self) -> Result<ListedBoard<'_>, StoreError> {
        let mut columns = ColumnReader { row: &self.0, next: 0 };
        Ok(ListedBoard {
            name: columns.read()?,
            state: columns.read()?,
            visit: columns.read()?,
            since: columns.read()?,
            deadline_at: columns.read()?,
            image: columns.read_json()?,
            next_image: columns.read_json()?,
            failure: columns.read()?,
            counters: columns.read::<Json<_>>()?.0,
            lock_reason: columns.read()?,
            fields: {
                let mut fields = [FieldValue::Text(None); LISTED_FIELDS.len()];
                for (field, value) in LISTED_FIELDS.iter().zip(&mut fields) {
                    *value = match field.parser {
                        FieldParser::Text(_) => FieldValue::Text(columns.read()?),
                        FieldParser::List(_) => {
                            columns.read_json()?.map_or(FieldValue::EmptyList([]), FieldValue::List)
                        }
                    };
                }
                fields
            },
        })
    }
}

/// Reads the columns of [`LIST_SQL`] one after the other, each with the type of its field. Lists are long: the look-up of
/// columns by name took a quarter of their time.
struct ColumnReader<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> ColumnReader<'r> {
    fn read<T: Decode<'r, Postgres>>(&mut self) -> Result<T, sqlx::Error> {
        let column = self.next;
        self.next += 1;
        self.row.try_get_unchecked(column)
    }

    fn read_json(&mut self) -> Result<Option<&'r RawValue>, sqlx::Error> {
        Ok(self.read::<Option<Json<_>>>()?.map(|json| json.0))
    }
}

/// The columns and tables of [`read`]. They are built once, from the table of fields only.
static LIST_SQL: LazyLock<String> = LazyLock::new(|| {
    let column = |field: &&DeviceField| match field.parser {
        FieldParser::Text(_) => format!(", d.{}", field.name),
        // Most lists are empty; those are not converted, sent and read row by row.
        FieldParser::List(_) => {
            format!(", CASE WHEN cardinality(d.{0}) > 0 THEN to_jsonb(d.{0}) END AS {0}", field.name)
        }
    };
    let columns: String = LISTED_FIELDS.iter().map(column).collect();
    format!(
        "SELECT i.name, i.state, i.visit, i.entered_at AS since, i.deadline_at,
                i.data->'image' AS image, i.data->'next_image' AS next_image, i.data->>'failure' AS failure, i.counters,
                i.data->>'lock_reason' AS lock_reason{columns}
           FROM instance i JOIN device d USING (instance_id)"
    )
});

/// The statement of [`read`] with its arguments.
///
/// It is not checked at compile time: its columns depend on the table of fields, and the macros of sqlx would copy each
/// text of each row. It has only the conditions that are set: planning the others took half of the time of short lists.
struct ListStatement {
    sql: String,
    arguments: PgArguments,
}

impl ListStatement {
    /// Adds an argument and returns its placeholder.
    fn bind<'a>(
        &mut self,
        argument: impl Encode<'a, Postgres> + Type<Postgres>,
    ) -> Result<String, StoreError> {
        self.arguments.add(argument).map_err(sqlx::Error::Encode)?;
        Ok(format!("${}", self.arguments.len()))
    }

    fn build(
        machine: &MachineName,
        filter: &BoardFilter,
        after: &str,
        limit: i64,
    ) -> Result<Self, StoreError> {
        let BoardFilter { states, fields, image, name, among } = filter;
        let mut statement = Self { sql: LIST_SQL.clone(), arguments: PgArguments::default() };
        let mut conditions = vec![format!("i.machine = {}", statement.bind(machine.as_str())?)];
        if !after.is_empty() {
            conditions.push(format!("i.name > {}", statement.bind(after)?));
        }
        if !states.is_empty() {
            let patterns: Vec<String> = states.iter().map(|state| like(state, '*')).collect();
            conditions.push(format!("i.state LIKE ANY ({})", statement.bind(patterns)?));
        }
        if let Some(image) = image {
            conditions.push(format!("i.data->>'image' = {}", statement.bind(image)?));
        }
        if let Some(part) = name {
            conditions.push(format!("i.name LIKE {}", statement.bind(format!("%{}%", like(part, '\0')))?));
        }
        if let Some(ids) = among {
            let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
            conditions.push(format!("i.instance_id = ANY ({})", statement.bind(ids)?));
        }
        for field in DEVICE_FIELDS {
            if let (Some(filter), Some(value)) = (field.filter, fields.get(field.name)) {
                conditions.push((filter.sql)(&statement.bind(value)?));
            }
        }
        let limit = statement.bind(limit)?;
        write!(statement.sql, " WHERE {} ORDER BY i.name LIMIT {limit}", conditions.join(" AND ")).ok();
        Ok(statement)
    }
}

/// Streams at most `limit` boards whose names follow `after`, by name.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub fn read<'a>(
    db: &'a mut Snapshot,
    machine: &MachineName,
    filter: &BoardFilter,
    after: &str,
    limit: i64,
) -> Result<impl Stream<Item = Result<BoardListRow, StoreError>> + use<'a>, StoreError> {
    let ListStatement { sql, arguments } = ListStatement::build(machine, filter, after, limit)?;
    // Values are arguments only.
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
    Ok(query.fetch(&mut **db).map_ok(BoardListRow).map_err(StoreError::from))
}

/// Reads the names of those of `ids` that are instances of `machine`.
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

/// Builds a LIKE pattern of `text`, in which `wildcard` matches any text.
fn like(text: &str, wildcard: char) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' | '_' | '\\' => pattern.extend(['\\', c]),
            c if c == wildcard => pattern.push('%'),
            c => pattern.push(c),
        }
    }
    pattern
}
