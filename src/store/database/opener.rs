//! The one way to open a connection: connects to a host, sets the session up, and verifies its settings and the life.
//!
//! ```text
//! hosts in order ─▶ login ─▶ settings set and read back ─▶ writable? ─▶ which life? ─▶ DatabaseSession
//! ```
//!
//! Settings are not sent as startup parameters, which poolers reject or ignore. They are set afterwards and read back in
//! another transaction: a connection that does not keep them is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::Instant;

use super::connect::connect;
use super::connect_options::{ConnectOptions, display_host};
use super::life::{self, DatabaseLives};
use super::migrations::migrate;
use super::pooler_check;
use super::purpose::ConnectionPurpose;
use super::session::DatabaseSession;
use super::timeouts::within;
use crate::formatting::with_causes;
use crate::store::error::{StoreError, UnavailableCause};

/// The oldest major version of PostgreSQL that the statements are written for.
const MIN_POSTGRES_VERSION: i32 = 14;

/// Opens and verifies connections.
#[derive(Debug)]
pub(super) struct ConnectionOpener {
    options: ConnectOptions,
    /// The host that was writable last: it is tried first.
    last_host: AtomicUsize,
    pub(super) lives: Arc<DatabaseLives>,
    warned_of_loss: AtomicBool,
}

impl ConnectionOpener {
    pub(super) fn new(options: ConnectOptions) -> Self {
        let hosts = options.hosts.into_iter().map(|host| {
            // Some poolers reject these startup parameters.
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

    /// Whether a connection exceeds the maximum age.
    pub(super) fn is_past_lifetime(&self, session: &DatabaseSession) -> bool {
        session.opened_at.elapsed() > self.options.lifetime
    }

    /// Opens a connection to the first writable host.
    ///
    /// # Errors
    ///
    /// The most specific [`StoreError`] of the hosts when none is writable; [`StoreError::TooOld`].
    pub(super) async fn open(&self, purpose: ConnectionPurpose) -> Result<DatabaseSession, StoreError> {
        // Boxed: the futures are large, and all futures that may connect contain them.
        match Box::pin(self.open_without_repair(purpose)).await {
            Err(error) if error.cause().is_some_and(|cause| cause.code() == "incomplete") => {
                Box::pin(self.restore_schema()).await?;
                Box::pin(self.open_without_repair(purpose)).await
            }
            opened => opened,
        }
    }

    async fn open_without_repair(&self, purpose: ConnectionPurpose) -> Result<DatabaseSession, StoreError> {
        let (mut db, _) = self.reach_any(purpose).await?;
        let life = life::check_life(&mut db, &self.lives, self.options.connect_timeout).await?;
        Ok(DatabaseSession { db, life, opened_at: Instant::now() })
    }

    /// Migrates a schema that is older than this program, as after a dump was restored, but not one that is still being
    /// restored.
    async fn restore_schema(&self) -> Result<(), StoreError> {
        let _alone = self.lives.repairing.lock().await;
        let mut db = self.open_bare().await?;
        within(life::REPAIR_TIMEOUT, async {
            // A dump restores constraints last.
            let has_migrations = sqlx::query_scalar!(
                r#"SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = '_sqlx_migrations_pkey') AS "has_migrations!""#,
            )
            .fetch_one(&mut db)
            .await?;
            if !has_migrations {
                return Err(UnavailableCause::Incomplete.into());
            }
            migrate(&mut db).await
        })
        .await
    }

    /// Opens a connection without a check of the life, for migrations.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) async fn open_bare(&self) -> Result<PgConnection, StoreError> {
        Ok(self.reach_any(ConnectionPurpose::Ordinary).await?.0)
    }

    /// Returns the first writable host, for the listener, which opens its connection itself.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) async fn writable_host(&self) -> Result<PgConnectOptions, StoreError> {
        match self.options.hosts.as_slice() {
            [only] => Ok(only.clone()),
            _ => Ok(self.reach_any(ConnectionPurpose::Ordinary).await?.1.clone()),
        }
    }

    /// Connects to the first writable host.
    async fn reach_any(
        &self,
        purpose: ConnectionPurpose,
    ) -> Result<(PgConnection, &PgConnectOptions), StoreError> {
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
                        tracing::debug!(host = %display_host(host), error = %with_causes(&error), "database host skipped");
                    }
                    // The error of an unreachable host is more specific than the error that another host is a
                    // standby.
                    let is_standby =
                        matches!(error.cause().map(|cause| cause.code()), Some("in_recovery" | "read_only"));
                    if last.is_none() || !is_standby {
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| UnavailableCause::Silent(limit).into()))
    }

    /// Connects to a host, sets the session up, and verifies it.
    async fn reach(
        &self,
        host: &PgConnectOptions,
        purpose: ConnectionPurpose,
    ) -> Result<PgConnection, StoreError> {
        // The statement of a list lasts as long as its client reads: it would be logged as slow.
        let host = match purpose {
            ConnectionPurpose::Snapshot => host.clone().disable_statement_logging(),
            ConnectionPurpose::Ordinary | ConnectionPurpose::Batch | ConnectionPurpose::Lease => host.clone(),
        };
        let mut db = connect(&host).await?;
        let found = db.server_version_num().and_then(|version| i32::try_from(version / 10_000).ok());
        if let Some(found) = found.filter(|found| *found < MIN_POSTGRES_VERSION) {
            return Err(StoreError::TooOld { found, needed: MIN_POSTGRES_VERSION });
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
            return Err(UnavailableCause::InRecovery.into());
        }
        if row.is_read_only {
            return Err(UnavailableCause::ReadOnly.into());
        }
        if let Some(((name, wanted), found)) =
            names.iter().zip(wanted).zip(row.settings).find(|((_, wanted), found)| wanted != found)
        {
            let name = (*name).to_owned();
            return Err(UnavailableCause::Setting { name, wanted, found }.into());
        }
        if !row.is_durable && !self.warned_of_loss.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "fsync or full_page_writes of PostgreSQL is off: acknowledged events may be lost when its machine fails"
            );
        }
        Ok(db)
    }

    /// Verifies that no pooler shares connections between transactions.
    ///
    /// # Errors
    ///
    /// [`UnavailableCause::SharedSession`] when one does; [`StoreError`] when a statement fails.
    pub(super) async fn verify_sessions(&self) -> Result<(), StoreError> {
        // Only the host that will be used is verified, as each silent one takes a timeout. A pooler that shares connections
        // may already fail the verification of the settings.
        let host = self.writable_host().await?;
        within(2 * self.options.connect_timeout, pooler_check::verify_sessions(&host)).await
    }
}
