//! Errors of the database, sorted by what the caller does about them.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use crate::formatting::duration;

/// An error of the store. Nothing was committed, except as [`StoreError::Unavailable`] says.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database is unavailable; trying again later helps. If it was lost during a commit, the transaction may be
    /// durable: what is tried again has to be idempotent.
    #[error("the database is unavailable")]
    Unavailable(#[source] Arc<UnavailableCause>),
    /// Another transaction changed or locked the same rows first; trying again helps.
    #[error("another transaction came first")]
    Conflict(#[source] Arc<sqlx::Error>),
    /// A lock was not released in time; trying again later helps.
    #[error("a row is locked by another transaction")]
    Locked(#[source] Arc<sqlx::Error>),
    /// A row violates the named constraint.
    #[error("violates constraint {name}")]
    Constraint {
        /// The constraint's name in the schema.
        name: String,
        /// The database's error.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// A statement failed for another reason: a bug.
    #[error("SQL statement failed")]
    Statement(#[source] Arc<sqlx::Error>),
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date")]
    Migration(#[source] Arc<sqlx::migrate::MigrateError>),
    /// The database is older than the statements require.
    #[error("the database is PostgreSQL {found}; Lifeguard needs {needed} or newer")]
    TooOld {
        /// The server's major version.
        found: i32,
        /// The oldest supported major version.
        needed: i32,
    },
}

/// Why the database is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum UnavailableCause {
    /// The connection or the server failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The database did not answer in time.
    #[error("no answer from the database within {}", duration(*.0))]
    Silent(Duration),
    /// The host name cannot be resolved.
    #[error("the database's host cannot be found")]
    HostUnknown(#[source] io::Error),
    /// All connections of a pool were in use.
    #[error("no database connection became free within {}", duration(*.0))]
    Busy(Duration),
    /// The database accepts reads only.
    #[error("the database is read-only")]
    ReadOnly,
    /// The database is a standby, or is recovering.
    #[error("the database is in recovery: a standby, or a server that is still starting")]
    InRecovery,
    /// A pooler shares connections between transactions.
    #[error(
        "the connection does not keep its session: the pooler shares connections between transactions; use \
         pool_mode = session, or connect to PostgreSQL directly"
    )]
    SharedSession,
    /// A session setting was not applied.
    #[error("the setting {name} is {found:?} on a new connection, not {wanted:?}")]
    Setting {
        /// The setting.
        name: String,
        /// The required value.
        wanted: String,
        /// The actual value.
        found: String,
    },
    /// Tables are missing or incomplete.
    #[error("the schema is incomplete: a dump is being restored, or tables were removed")]
    Incomplete,
    /// The database is in another life than the transaction began in.
    #[error("the database went back to an earlier state, or was replaced by another server")]
    LifeChanged,
}

impl UnavailableCause {
    /// Returns a fixed code, which clients may rely on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Database(error) => sqlx_error_code(error),
            Self::Silent(_) => "silent",
            Self::HostUnknown(_) => "host_unknown",
            Self::Busy(_) => "busy",
            Self::ReadOnly => "read_only",
            Self::InRecovery => "in_recovery",
            Self::SharedSession => "shared_session",
            Self::Setting { .. } => "setting",
            Self::Incomplete => "incomplete",
            Self::LifeChanged => "life_changed",
        }
    }

    /// Whether a starting server waits until the cause is gone. A cause that only a change of configuration
    /// can remove ends the start.
    #[must_use]
    pub fn is_worth_waiting(&self) -> bool {
        !matches!(
            self.code(),
            "authentication"
                | "no_database"
                | "permission"
                | "tls"
                | "configuration"
                | "shared_session"
                | "setting"
        )
    }

    /// Returns the innermost error: the text of the system or the database itself.
    #[must_use]
    pub fn innermost(&self) -> String {
        if let Self::Database(sqlx::Error::Database(error)) = self {
            return error.message().to_owned();
        }
        let mut error: &dyn Error = self;
        while let Some(source) = error.source() {
            error = source;
        }
        error.to_string()
    }
}

/// Returns the fixed code of an error of sqlx.
///
/// Source: PostgreSQL 15 manual, appendix A.
fn sqlx_error_code(error: &sqlx::Error) -> &'static str {
    use sqlx::Error as E;
    if let Some(database) = error.as_database_error() {
        return match database.code().unwrap_or_default().as_ref() {
            "53100" => "disk_full",
            "53200" => "out_of_memory",
            "53300" => "too_many_connections",
            "57P01" | "57P02" => "stopping",
            "57P03" => "starting",
            "25006" => "read_only",
            "3D000" => "no_database",
            "42501" => "permission",
            "42P01" | "42703" | "3F000" => "incomplete",
            "57014" | "25P03" => "slow",
            "58030" => "disk_error",
            code if code.starts_with("28") => "authentication",
            _ => "disconnected",
        };
    }
    let io = if let E::Io(error) = error { Some(error) } else { None };
    if io.and_then(io::Error::raw_os_error).is_some_and(is_lack_of_descriptors) {
        return "no_descriptors";
    }
    let io_kind = io.map(io::Error::kind);
    if matches!(error, E::Tls(_)) {
        "tls"
    } else if matches!(error, E::Configuration(_)) {
        "configuration"
    } else if io_kind == Some(ErrorKind::ConnectionRefused) {
        "refused"
    } else if io_kind == Some(ErrorKind::NotFound) {
        "no_socket"
    } else if io_kind == Some(ErrorKind::TimedOut) {
        "silent"
    } else {
        "disconnected"
    }
}

/// Whether a system call failed because this process or its machine has too many files open.
///
/// Source: Linux errno(3): ENFILE, EMFILE.
fn is_lack_of_descriptors(code: i32) -> bool {
    matches!(code, 23 | 24)
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        // A proxy that accepts and closes, or uses another protocol, causes a protocol error.
        let is_lost = matches!(
            error,
            E::Io(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Tls(_)
        );
        let Some(database) = error.as_database_error() else {
            return if is_lost { Self::unavailable(error) } else { Self::Statement(Arc::new(error)) };
        };
        let code = database.code().unwrap_or_default().into_owned();
        let constraint = database.constraint().map(str::to_owned);
        match code.as_str() {
            "40001" | "40P01" => Self::Conflict(Arc::new(error)),
            // A partition for the row was created while it was being inserted into the default partition.
            "23514" if constraint.is_none() => Self::Conflict(Arc::new(error)),
            "55P03" => Self::Locked(Arc::new(error)),
            code if is_transient_code(code) => Self::unavailable(error),
            _ => match constraint {
                Some(name) => Self::Constraint { name, source: Arc::new(error) },
                None => Self::Statement(Arc::new(error)),
            },
        }
    }
}

impl From<UnavailableCause> for StoreError {
    fn from(cause: UnavailableCause) -> Self {
        Self::Unavailable(Arc::new(cause))
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError::Execute;
        let Execute(error) = error else { return Self::Migration(Arc::new(error)) };
        // The reason why a migration was interrupted is more specific than the interruption.
        match Self::from(error) {
            Self::Statement(error) => match Arc::try_unwrap(error) {
                Ok(error) => Self::Migration(Arc::new(Execute(error))),
                Err(error) => Self::Statement(error),
            },
            interrupted @ (Self::Unavailable(_)
            | Self::Conflict(_)
            | Self::Locked(_)
            | Self::Constraint { .. }
            | Self::Migration(_)
            | Self::TooOld { .. }) => interrupted,
        }
    }
}

/// Whether a code is about the server's present condition, and not about the statement.
///
/// Source: PostgreSQL 15 manual, appendix A.
fn is_transient_code(code: &str) -> bool {
    // Connections; authentication; resources: memory, disk, connections; operators: shutdown, crash, start; the system.
    let classes = ["08", "28", "53", "57P", "58"];
    // A standby after a fail-over; a database that accepts no connections; our own time limits; a missing database or table
    // while a dump is being restored: the statements are checked against the schema.
    let codes = ["25006", "55000", "25P03", "57014", "3D000", "3F000", "42P01", "42703", "42501"];
    classes.iter().any(|class| code.starts_with(class)) || codes.contains(&code)
}

impl StoreError {
    fn unavailable(error: sqlx::Error) -> Self {
        UnavailableCause::Database(error).into()
    }

    /// Creates the error for a row that other transactions rewrote in every attempt.
    #[must_use]
    pub fn overtaken() -> Self {
        Self::Conflict(Arc::new(sqlx::Error::RowNotFound))
    }

    /// Creates the error for a row with unreadable contents.
    pub(super) fn unreadable(what: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Statement(Arc::new(sqlx::Error::Decode(what.into())))
    }

    /// Whether the named constraint was violated.
    #[must_use]
    pub fn is_constraint(&self, wanted: &str) -> bool {
        matches!(self, Self::Constraint { name, .. } if name == wanted)
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_) | Self::Locked(_))
    }

    /// Returns why the database is unavailable, if it is.
    #[must_use]
    pub fn cause(&self) -> Option<&Arc<UnavailableCause>> {
        match self {
            Self::Unavailable(cause) => Some(cause),
            Self::Conflict(_)
            | Self::Locked(_)
            | Self::Constraint { .. }
            | Self::Statement(_)
            | Self::Migration(_)
            | Self::TooOld { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_file_descriptors_are_distinguished_from_connection_errors() {
        let name =
            |code| UnavailableCause::Database(sqlx::Error::Io(io::Error::from_raw_os_error(code))).code();
        let codes = [23, 24, 104, 110, 111];
        assert_eq!(
            codes.map(name),
            ["no_descriptors", "no_descriptors", "disconnected", "silent", "refused"]
        );
    }
}
