//! The one way to open a connection: reach a host, set the session up, and verify what was set and whom we speak to.
//!
//! ```text
//! hosts in order ─▶ let in ─▶ settings set, read back ─▶ writable? ─▶ which life? ─▶ Session
//! ```
//!
//! Settings are not sent with the start of a connection, which poolers refuse or ignore, but set afterwards and read back
//! in a transaction of their own: a connection that does not keep them is none.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::Instant;

use super::error::{Cause, StoreError};
use super::life::{self, Life, Lives};
use super::url::{ConnectOptions, shown};
use super::{MIGRATOR, Store};

/// What a connection is for, which decides how its session is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Transactions and short readings.
    Ordinary,
    /// Reading all there is, in one moment.
    Snapshot,
    /// The statements that write groups.
    Group,
    /// Renewing a lease, which must not wait for a slow disk: what is committed by it says that a process lives, and after
    /// a crash of the database none does.
    Lease,
}

/// What a transaction may take, so that a process that hangs in the middle of one holds up nobody for long; and that
/// no statement is compiled to machine code, which takes longer than any of them runs.
const LIMITS: [(&str, &str); 7] = [
    // Whatever the server or the role says: what is answered is durable. `remote_apply` is more and stays.
    ("synchronous_commit", "on"),
    ("lock_timeout", "2s"),
    ("statement_timeout", "20s"),
    ("idle_in_transaction_session_timeout", "10s"),
    // Connections wait for work for as long as it takes.
    ("idle_session_timeout", "0"),
    ("default_transaction_isolation", "read committed"),
    ("jit", "off"),
];

/// How a connection that writes groups plans: always the same way, which is to take the rows in the order in which the
/// group has them. That is the order of locks that all processes keep to; and a plan made anew for each group would cost
/// more than the group.
const GROUP: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    // A row that somebody keeps locked is left out before long.
    ("lock_timeout", "200ms"),
];

/// A snapshot's statements are planned for what is asked: a plan that is to fit each filter fits none.
const SNAPSHOT: [(&str, &str); 1] = [("plan_cache_mode", "force_custom_plan")];

const LEASE: [(&str, &str); 1] = [("synchronous_commit", "off")];

impl Purpose {
    /// The session's settings, each once.
    fn settings(self) -> Vec<(&'static str, &'static str)> {
        let own: &[(&str, &str)] = match self {
            Self::Ordinary => &[],
            Self::Snapshot => &SNAPSHOT,
            Self::Group => &GROUP,
            Self::Lease => &LEASE,
        };
        let is_own = |name: &str| own.iter().any(|(own, _)| *own == name);
        let general = LIMITS.into_iter().filter(|(name, _)| !is_own(name));
        general.chain(own.iter().copied()).collect()
    }
}

/// A connection that was verified, and the life of the database that it speaks to.
#[derive(Debug)]
pub struct Session {
    pub(super) db: PgConnection,
    pub(super) life: Life,
    pub(super) opened_at: Instant,
}

impl Session {
    /// Which life of the database it speaks to.
    #[must_use]
    pub fn life(&self) -> Life {
        self.life
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.db
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.db
    }
}

/// Opens connections.
#[derive(Debug)]
pub(super) struct Opener {
    options: ConnectOptions,
    /// Which of the hosts could be written to last: it is tried first.
    last_host: AtomicUsize,
    pub(super) lives: Arc<Lives>,
    warned_of_loss: AtomicBool,
}

impl Opener {
    pub(super) fn new(options: ConnectOptions) -> Self {
        let hosts = options.hosts.into_iter().map(|host| {
            // Not every pooler lets a connection set these at its start.
            host.extra_float_digits(None).application_name("lifeguard")
        });
        let options = ConnectOptions { hosts: hosts.collect(), ..options };
        Self {
            options,
            last_host: AtomicUsize::new(0),
            lives: Arc::default(),
            warned_of_loss: AtomicBool::new(false),
        }
    }

    /// Whether a connection is older than one should be.
    pub(super) fn is_worn(&self, session: &Session) -> bool {
        session.opened_at.elapsed() > self.options.lifetime
    }

    /// Opens a connection to the first host that can be written to.
    ///
    /// # Errors
    ///
    /// [`StoreError`] of the host that says most, where none can; [`StoreError::TooOld`].
    pub(super) async fn open(&self, purpose: Purpose) -> Result<Session, StoreError> {
        // In boxes, as is all that making a connection takes: whoever may need one would carry room for it.
        match Box::pin(self.open_as_it_is(purpose)).await {
            Err(error) if error.cause().is_some_and(|cause| cause.word() == "incomplete") => {
                Box::pin(self.restore_schema()).await?;
                Box::pin(self.open_as_it_is(purpose)).await
            }
            opened => opened,
        }
    }

    async fn open_as_it_is(&self, purpose: Purpose) -> Result<Session, StoreError> {
        let (mut db, _) = self.reach_any(purpose).await?;
        let life = life::ask(&mut db, &self.lives, self.options.connect_timeout).await?;
        Ok(Session { db, life, opened_at: Instant::now() })
    }

    /// Brings a schema that is older than this program up to date, as after a dump was restored; leaves alone what is still
    /// being restored.
    async fn restore_schema(&self) -> Result<(), StoreError> {
        let _alone = self.lives.mending.lock().await;
        let mut db = self.open_bare().await?;
        within(life::MENDING, async {
            // Constraints are what a restored dump gets last.
            let has_migrations = sqlx::query_scalar!(
                r#"SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = '_sqlx_migrations_pkey') AS "has!""#,
            )
            .fetch_one(&mut db)
            .await?;
            if !has_migrations {
                return Err(Cause::Incomplete.into());
            }
            migrate(&mut db).await
        })
        .await
    }

    /// Opens a connection before there is a schema, for making it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) async fn open_bare(&self) -> Result<PgConnection, StoreError> {
        Ok(self.reach_any(Purpose::Ordinary).await?.0)
    }

    /// Where the listener connects to, which makes its connection by itself: the first host that can be written to.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) async fn writable_host(&self) -> Result<PgConnectOptions, StoreError> {
        match self.options.hosts.as_slice() {
            [only] => Ok(only.clone()),
            _ => Ok(self.reach_any(Purpose::Ordinary).await?.1.clone()),
        }
    }

    /// Connects to the first host that can be written to.
    async fn reach_any(&self, purpose: Purpose) -> Result<(PgConnection, &PgConnectOptions), StoreError> {
        let limit = self.options.connect_timeout;
        let mut last: Option<StoreError> = None;
        let first = self.last_host.load(Ordering::Relaxed);
        let mut hosts: Vec<(usize, &PgConnectOptions)> = self.options.hosts.iter().enumerate().collect();
        hosts.sort_by_key(|(number, _)| *number != first);
        for (number, host) in hosts {
            match within(limit, self.reach(host, purpose)).await {
                Ok(db) => {
                    self.last_host.store(number, Ordering::Relaxed);
                    return Ok((db, host));
                }
                Err(error) => {
                    if self.options.hosts.len() > 1 {
                        tracing::debug!(host = %shown(host), error = &error as &dyn std::error::Error, "database host skipped");
                    }
                    // That one is only a standby says less than what is wrong with the other.
                    let is_standby =
                        matches!(error.cause().map(|cause| cause.word()), Some("in_recovery" | "read_only"));
                    if last.is_none() || !is_standby {
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| Cause::Silent(limit).into()))
    }

    /// Connects to a host, sets the session up, and verifies it.
    async fn reach(&self, host: &PgConnectOptions, purpose: Purpose) -> Result<PgConnection, StoreError> {
        // A list's statement lasts as long as its client takes, which the log would tell as the database's slowness.
        let host = match purpose {
            Purpose::Snapshot => host.clone().disable_statement_logging(),
            Purpose::Ordinary | Purpose::Group | Purpose::Lease => host.clone(),
        };
        let mut db = connect(&host).await?;
        let found = db.server_version_num().and_then(|version| i32::try_from(version / 10_000).ok());
        if let Some(found) = found.filter(|found| *found < Store::OLDEST) {
            return Err(StoreError::TooOld { found, needed: Store::OLDEST });
        }
        let settings = purpose.settings();
        let names: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
        let values: Vec<&str> = settings.iter().map(|(_, value)| *value).collect();
        let wanted = sqlx::query_scalar!(
            r#"SELECT set_config(s.name, CASE WHEN s.value = 'on' AND s.name = 'synchronous_commit'
                                               AND current_setting(s.name) = 'remote_apply'
                                              THEN 'remote_apply' ELSE s.value END, false) AS "value!"
                 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS s (name, value, number) ORDER BY s.number"#,
            &names as _,
            &values as _,
        )
        .fetch_all(&mut db)
        .await?;
        let row = sqlx::query!(
            r#"SELECT pg_is_in_recovery() AS "is_in_recovery!",
                      current_setting('transaction_read_only') = 'on' AS "is_read_only!",
                      current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AS "is_durable!",
                      ARRAY(SELECT current_setting(s.name) FROM unnest($1::text[]) WITH ORDINALITY AS s (name, number)
                             ORDER BY s.number) AS "settings!""#,
            &names as _,
        )
        .fetch_one(&mut db)
        .await?;
        if row.is_in_recovery {
            return Err(Cause::InRecovery.into());
        }
        if row.is_read_only {
            return Err(Cause::ReadOnly.into());
        }
        if let Some(((name, wanted), found)) =
            names.iter().zip(wanted).zip(row.settings).find(|((_, wanted), found)| wanted != found)
        {
            let name = (*name).to_owned();
            return Err(Cause::Setting { name, wanted, found }.into());
        }
        if !row.is_durable && !self.warned_of_loss.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "PostgreSQL runs with fsync or full_page_writes off: what is acknowledged may be lost when its machine \
                 fails"
            );
        }
        Ok(db)
    }

    /// Makes sure that each connection keeps its session: that no pooler shares connections between transactions.
    ///
    /// # Errors
    ///
    /// [`Cause::SharedSession`] where one does; [`StoreError`] when a statement fails.
    pub(super) async fn verify_sessions(&self) -> Result<(), StoreError> {
        // Of the host that will be used, once it is found: each that does not answer takes its time. A pooler that shares
        // sessions may fail already where settings are made.
        let host = self.writable_host().await?;
        within(2 * self.options.connect_timeout, try_sessions(&host)).await
    }
}

async fn try_sessions(host: &PgConnectOptions) -> Result<(), StoreError> {
    let mut one = connect(host).await?;
    let mut other = connect(host).await?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        // Without a prepared statement: a pooler that shares connections may not know those of others.
        seen.push(backend(&mut one).await?);
        sqlx::raw_sql("BEGIN").execute(&mut other).await?;
        let taken = backend(&mut other).await?;
        seen.push(backend(&mut one).await?);
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await?;
        if seen.contains(&taken) || seen.iter().any(|pid| Some(pid) != seen.first()) {
            return Err(Cause::SharedSession.into());
        }
    }
    // Nobody needs to hear of it.
    let _ = tokio::join!(one.close(), other.close());
    Ok(())
}

/// Connects to `host`. It is boxed: whoever may need a connection would carry the room that making one takes.
async fn connect(host: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    match Box::pin(PgConnection::connect_with(host)).await {
        Ok(db) => Ok(db),
        Err(error) => Err(or_unknown(host, error).await),
    }
}

/// Tells a host that cannot be found from one that cannot be reached, of which the system says an error's number.
async fn or_unknown(host: &PgConnectOptions, error: sqlx::Error) -> StoreError {
    let is_of_system = !matches!(&error, sqlx::Error::Io(error) if error.raw_os_error().is_none());
    if is_of_system || host.get_socket().is_some() {
        return error.into();
    }
    match tokio::net::lookup_host((host.get_host(), host.get_port())).await {
        Err(unknown) if unknown.raw_os_error().is_none() => Cause::HostUnknown(unknown).into(),
        Ok(_) | Err(_) => error.into(),
    }
}

/// Whether what is behind `db` can be written to.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub(super) async fn is_writable(db: &mut PgConnection) -> Result<bool, StoreError> {
    let is_writable = sqlx::query_scalar!(
        r#"SELECT current_setting('transaction_read_only') = 'off' AND NOT pg_is_in_recovery() AS "is_writable!""#,
    )
    .fetch_one(db)
    .await?;
    Ok(is_writable)
}

/// Which of the server's processes serves the next statement of `db`.
async fn backend(db: &mut PgConnection) -> Result<i32, StoreError> {
    use sqlx::Row as _;
    let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(db).await?;
    Ok(row.try_get(0)?)
}

/// Brings the schema up to date on a connection of its own; a migration takes as long as it takes. The usual call takes
/// anything that has a connection, and the compiler cannot tell of that whether it may change threads; this is what it
/// comes to.
pub(super) async fn migrate(db: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut *db).await?;
    Ok(MIGRATOR.run_direct(None, db, false).await?)
}

/// Gives up on work that takes longer than `limit`, as with a machine that is gone.
///
/// Where it was this process that stood still, the time is no sign of anything: then the work has a second try.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    in_time(limit, work).await.unwrap_or_else(|| Err(Cause::Silent(limit).into()))
}

/// The same for whatever takes its time: `None` where it took too much.
pub(super) async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    for _ in 0..2 {
        let begun = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "this is about a connection, not about the farm")]
        match tokio::time::timeout(limit, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if begun.elapsed() > limit + limit / 2 => {}
            Err(_) => break,
        }
    }
    None
}

/// Waits a little before the database is asked again.
pub(super) async fn pause(span: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the database runs on the machine's time")]
    tokio::time::sleep(span).await;
}
