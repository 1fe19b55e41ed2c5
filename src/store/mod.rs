//! What Postgres remembers: the only SQL there is, one file a table.
//!
//! The store never decides. Writers take a [`Tx`], so that what belongs together is committed together; readers take
//! any connection. Times and names are bound, never made by the database, with one exception: a worker's lease runs on
//! the database's clock, the only one that all processes share.

pub mod actions;
pub mod changes;
mod connect;
pub mod definitions;
pub mod devices;
mod error;
pub mod groups;
mod health;
pub mod history;
pub mod images;
pub mod instances;
mod life;
pub mod lists;
pub mod partitions;
mod pool;
pub mod rearmed;
mod sparse;
pub mod stays;
mod url;
pub mod workers;

pub use private_postgres as private;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::Instant;

use changes::Origin;
use connect::{Opener, Purpose, in_time, is_writable, pause, within};
use health::{Health, Part};
use pool::Pool;

pub use connect::Session;
pub use error::{Cause, StoreError};
pub use life::Life;
pub use pool::Pooled;
pub use url::{BadUrl, ConnectOptions, DatabaseUrl};

/// The channel on which processes tell each other that there is something to do.
const CHANNEL: &str = "lifeguard";

/// How long a listener waits for a hint before it asks whether its connection lives.
const LISTENER_PING: Duration = Duration::from_secs(10);
/// How often a start says what it still waits for.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// How often a start tries to connect.
const RETRY: Duration = Duration::from_millis(300);

/// The schema, as dated files that are applied at start.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// A transaction: what is written through it becomes durable together, or not at all.
#[derive(Debug)]
pub struct Tx(Pooled);

impl Tx {
    /// Makes what was written durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it is not, or when [nobody can say](StoreError::Unavailable).
    pub async fn commit(self) -> Result<(), StoreError> {
        self.0.commit().await
    }

    /// Which life of the database it belongs to.
    #[must_use]
    pub fn life(&self) -> Life {
        self.0.life()
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// What statements run on.
pub type Connection = PgConnection;

/// One moment of the database, for reading: all statements see what was committed then.
#[derive(Debug)]
pub struct Snapshot(Pooled);

impl Deref for Snapshot {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Snapshot {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl Snapshot {
    /// Which life of the database it is of.
    #[must_use]
    pub fn life(&self) -> Life {
        self.0.life()
    }

    /// Lets each of its statements, and each pause between them, take as long as `most`: for whoever reads all there is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    pub async fn take_time(&mut self, most: Duration) -> Result<(), StoreError> {
        let ms = most.as_millis().max(1).to_string();
        sqlx::query!(
            "SELECT set_config('statement_timeout', $1, true) AS statements,
                    set_config('idle_in_transaction_session_timeout', $1, true) AS pauses",
            ms,
        )
        .fetch_one(&mut *self.0)
        .await?;
        Ok(())
    }
}

/// How a snapshot begins.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How many connections a server has to its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// How many transactions may be open at once.
    pub writers: u32,
    /// How many may read at once.
    pub readers: u32,
    /// How many snapshots there may be at once: a list lasts as long as its client takes to read it, a minute at most, and
    /// those who only want a word must not wait for that.
    pub snapshots: u32,
}

impl Connections {
    /// Those that each server keeps: two that write events, the lease's, the pulse's, the listener's, and one to read by.
    pub const KEPT: u32 = 6;
    /// The least that a server can work with: those that it keeps, and one for each other use.
    pub const LEAST: u32 = Self::KEPT + 2;
    /// As many as a server has by itself.
    pub const DEFAULT: u32 = 25;

    /// Shares out `total` connections; what is too little is made the [least](Self::LEAST).
    #[must_use]
    pub fn of(total: u32) -> Self {
        // One of the readers is among those that are kept.
        let shared = total.max(Self::LEAST) - Self::KEPT + 1;
        let snapshots = (shared / 5).clamp(1, 4);
        let readers = ((shared - snapshots) * 3 / 8).max(1);
        Self { writers: shared - snapshots - readers, readers, snapshots }
    }

    /// How many a server has at most.
    #[must_use]
    pub fn total(self) -> u32 {
        self.writers + self.readers + self.snapshots + Self::KEPT - 1
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::of(Self::DEFAULT)
    }
}

/// The database.
///
/// Writers and readers have connections of their own: where commits wait, for a disk that stalls, reading goes on. So have
/// snapshots, and those who write groups.
#[derive(Debug, Clone)]
pub struct Store {
    opener: Arc<Opener>,
    health: Arc<Health>,
    /// For those who write groups; they are there before anything else.
    groups: Pool,
    writers: Pool,
    readers: Pool,
    snapshots: Pool,
    pulse: Arc<tokio::sync::Mutex<Pulse>>,
    connections: Connections,
}

/// The connection by which it is asked whether the database serves.
#[derive(Debug, Default)]
struct Pulse {
    session: Option<Session>,
    /// When it was asked what it answered last.
    asked_at: Option<Instant>,
}

/// How many write groups at once.
pub(crate) const GROUPS: u32 = 2;

impl Store {
    /// How long the database may take for one statement: longer than it lets statements take by itself.
    pub const LONGEST: Duration = Duration::from_secs(25);
    /// The oldest PostgreSQL that the statements are written for.
    pub const OLDEST: i32 = 14;

    /// Connects, and brings the schema up to date; several processes may do so at once. Where the database cannot serve yet
    /// it is waited for, and the log says so.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database refuses us, is too old, or refuses a migration.
    pub async fn open(options: impl Into<ConnectOptions>) -> Result<Self, StoreError> {
        Self::open_with(options, Connections::default()).await
    }

    /// The same with so many connections.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(
        options: impl Into<ConnectOptions>,
        connections: Connections,
    ) -> Result<Self, StoreError> {
        let opener = Arc::new(Opener::new(options.into()));
        let health = Arc::<Health>::default();
        let pool =
            |purpose, least, most| Pool::new(Arc::clone(&opener), Arc::clone(&health), purpose, least, most);
        let store = Self {
            groups: pool(Purpose::Group, GROUPS, GROUPS),
            writers: pool(Purpose::Ordinary, 0, connections.writers),
            readers: pool(Purpose::Ordinary, 1, connections.readers),
            snapshots: pool(Purpose::Snapshot, 0, connections.snapshots),
            opener,
            health,
            pulse: Arc::default(),
            connections,
        };
        let mut waiting = Waiting::default();
        while let Err(error) = store.prepare().await {
            waiting.wait(error).await?;
        }
        store.keep_others().await;
        Ok(store)
    }

    /// Makes the schema, and makes sure that the database is one that we can work with.
    async fn prepare(&self) -> Result<(), StoreError> {
        self.opener.verify_sessions().await?;
        let mut db = self.opener.open_bare().await?;
        connect::migrate(&mut db).await?;
        tell_of_scarcity(&mut db, self.connections).await?;
        drop(db);
        self.check().await
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx(self.writers.acquire().await?.begin("BEGIN").await?))
    }

    /// Takes a connection for writing groups: there is one for each lane.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be made.
    pub async fn connect(&self) -> Result<Pooled, StoreError> {
        self.groups.acquire().await
    }

    /// Makes a connection for renewing a lease.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be made.
    pub async fn connect_for_lease(&self) -> Result<Session, StoreError> {
        self.opener.open(Purpose::Lease).await
    }

    /// Hints to all other processes than `origin` that there is something to do.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the statement fails.
    pub async fn hint(&self, origin: Origin) -> Result<(), StoreError> {
        let mut db = self.reader().await?;
        sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, origin.0.to_string()).execute(&mut *db).await?;
        Ok(())
    }

    /// Takes a connection for reading. Nobody may hold two, or take a snapshot meanwhile: they are few.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when no connection can be had.
    pub async fn reader(&self) -> Result<Pooled, StoreError> {
        self.readers.acquire().await
    }

    /// Takes a connection for reading several times in one and the same moment. Nobody may hold two: they are few.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be had.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot(self.snapshots.acquire().await?.begin(SNAPSHOT).await?))
    }

    /// How many connections there may be.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.connections
    }

    /// Which life of the database was seen last.
    #[must_use]
    pub fn life(&self) -> Life {
        self.opener.lives.present()
    }

    /// Told whenever the database turns out to be in another life.
    #[must_use]
    pub fn follow_life(&self) -> watch::Receiver<Life> {
        self.opener.lives.follow()
    }

    /// Asks for what an event needs: a database that answers and can be written to, and connections to write by.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with what is missing.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check_database().await?;
        self.check_writing().await;
        self.health.fault().map_or(Ok(()), |cause| Err(StoreError::Unavailable(cause)))
    }

    /// The same, where the answer is not known already: while the database is away it is asked again and again
    /// [anyway](Self::watch).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] with what is missing.
    pub async fn ready(&self) -> Result<(), StoreError> {
        if let Some(cause) = self.health.outage() {
            return Err(StoreError::Unavailable(cause));
        }
        tokio::select! {
            biased;
            checked = self.check() => checked,
            error = self.lost() => Err(error),
        }
    }

    /// Checks again and again; making connections delays no look at the database.
    pub async fn watch(&self) {
        let check = async {
            loop {
                let is_there = self.check_database().await.is_ok();
                pause(if is_there { health::PERIOD } else { health::PERIOD_AWAY }).await;
            }
        };
        let keep = async {
            loop {
                if self.health.outage().is_none() {
                    self.check_writing().await;
                    self.keep_others().await;
                }
                let is_in_order = self.health.fault().is_none();
                pause(if is_in_order { health::PERIOD } else { health::PERIOD_AWAY }).await;
            }
        };
        tokio::select! {
            () = check => {}
            () = keep => {}
        }
    }

    /// Looks whether the database is there.
    async fn check_database(&self) -> Result<(), StoreError> {
        let mut beat = std::pin::pin!(self.beat());
        let answered = if let Some(answered) = in_time(health::LONGEST_CHECK, beat.as_mut()).await {
            answered
        } else {
            // Several hosts are still to be tried, or a life is being begun: meanwhile nobody is to wait for it.
            self.health.note(Part::Database, Err(Arc::new(Cause::Silent(health::LONGEST_CHECK))));
            beat.await
        };
        self.health.note(Part::Database, answered.as_ref().copied().map_err(cause_of));
        answered
    }

    /// Looks whether there are connections to write events by, and whether what failed to be written can be written again.
    async fn check_writing(&self) {
        let had_fault = self.health.has_writing_fault();
        let checked = match self.groups.keep().await {
            Ok(()) if had_fault => self.try_writing().await,
            // Nothing was tried: whatever is found meanwhile stands.
            Ok(()) => return,
            Err(error) => Err(error),
        };
        self.health.note(Part::Writing, checked.as_ref().copied().map_err(cause_of));
    }

    /// Keeps the connections that no event needs.
    async fn keep_others(&self) {
        for pool in [&self.readers, &self.writers, &self.snapshots] {
            if let Err(error) = pool.keep().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "connection cannot be made");
            }
        }
    }

    /// Asks over the pulse's connection for a sign of life.
    async fn beat(&self) -> Result<(), StoreError> {
        let wanted_at = Instant::now();
        // One at a time.
        let mut pulse = self.pulse.lock().await;
        if pulse.asked_at.is_some_and(|asked_at| asked_at >= wanted_at) {
            // Others asked while this one waited for its turn.
            return Ok(());
        }
        let asked_at = Instant::now();
        // It is taken out while it is asked, so that one that does not answer is not used again.
        let kept = pulse.session.take();
        let asked = match kept.filter(|session| session.opened_at >= self.health.last_outage_at()) {
            Some(session) => Some(self.ask_pulse(session).await),
            None => None,
        };
        let session = match asked {
            Some(Ok(session)) => session,
            Some(Err(error)) if is_of_database(&error) => return Err(error),
            // Where only that connection was lost, as by an operator's hand, another one answers.
            Some(Err(_)) | None => self.opener.open(Purpose::Ordinary).await?,
        };
        *pulse = Pulse { session: Some(session), asked_at: Some(asked_at) };
        Ok(())
    }

    async fn ask_pulse(&self, mut session: Session) -> Result<Session, StoreError> {
        if !within(health::SILENT, is_writable(&mut session)).await? {
            return Err(Cause::ReadOnly.into());
        }
        // To begin a life may take longer than an answer.
        session.life = life::ask(&mut session.db, &self.opener.lives, health::SILENT).await?;
        Ok(session)
    }

    /// Notes whether writing worked: a disk that is full leaves reading as it is.
    pub fn note_writing(&self, written: Result<(), &StoreError>) {
        match written {
            Ok(()) => {
                if self.health.has_writing_fault() {
                    self.health.note(Part::Writing, Ok(()));
                }
            }
            Err(error) => self.health.note_failed_write(error),
        }
    }

    /// Writes what an event writes, as much of it as needs a new page, and takes it back. Of the log of changes old pages
    /// become free again; history only grows.
    async fn try_writing(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "INSERT INTO change (xact, instances, visits, deadlines)
             SELECT pg_current_xact_id()::text::bigint, array_agg(n * 7919), array_agg(n * 104729), '{}'
               FROM generate_series(1::bigint, 400) n",
        )
        .execute(&mut *tx)
        .await?;
        // Each so small that it stays in the table itself, and of what cannot be made smaller.
        sqlx::query!(
            "INSERT INTO history (at, kind, from_state, to_state, instance_id, visit, reason)
             SELECT now(), 'note', 'none', NULL, 0, 0,
                    (SELECT string_agg(md5(m::text || random()::text), '') FROM generate_series(1, 50) m)
               FROM generate_series(1, 8) n",
        )
        .execute(&mut *tx)
        .await?;
        Ok(())
    }

    /// Waits until the database is found to be away, and says why.
    pub async fn lost(&self) -> StoreError {
        StoreError::Unavailable(self.health.lost().await)
    }

    /// Gives up on work when it takes longer than `limit`, or when the database is found to be away.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] then; otherwise that of the work.
    pub async fn within<T, E: From<StoreError>>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            done = in_time(limit, work) => {
                done.unwrap_or_else(|| Err(StoreError::from(Cause::Silent(limit)).into()))
            }
            error = self.lost() => Err(error.into()),
        }
    }

    /// The same for work on a connection that was taken when there had been so many `outages`: one that began since counts.
    ///
    /// # Errors
    ///
    /// As [`within`](Self::within).
    pub async fn within_on<T>(
        &self,
        outages: u64,
        limit: Duration,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            biased;
            done = within(limit, work) => done,
            cause = self.health.lost_since(outages) => Err(StoreError::Unavailable(cause)),
        }
    }

    /// Listens to the hints of all processes on this database.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when no connection can be had.
    pub async fn listen(&self) -> Result<Hints, StoreError> {
        let host = self.opener.writable_host().await?;
        // The listener makes its connection by itself, of a pool of one.
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(pool::ACQUIRE).max_lifetime(None);
        within(pool::ACQUIRE, async {
            let mut listener = PgListener::connect_with(&pool.connect_lazy_with(host)).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(Hints { listener })
        })
        .await
    }

    /// Gives all connections back.
    pub async fn close(&self) {
        let pulse = async {
            if let Some(session) = self.pulse.lock().await.session.take() {
                let _ = sqlx::Connection::close(session.db).await;
            }
        };
        let closed = async {
            tokio::join!(
                self.groups.close(),
                self.writers.close(),
                self.readers.close(),
                self.snapshots.close(),
                pulse
            )
        };
        // A database that does not answer keeps its connections: nobody waits for that.
        let closed = Box::pin(async {
            closed.await;
            Ok(())
        });
        let _ = within(pool::ACQUIRE, closed).await;
    }
}

/// A start that waits for the database.
#[derive(Debug)]
pub struct Waiting {
    begun_at: Instant,
    told_at: Option<Instant>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { begun_at: Instant::now(), told_at: None }
    }
}

impl Waiting {
    /// Waits a little before it is tried again what failed with `error`, and says in the log what it waits for.
    ///
    /// # Errors
    ///
    /// `error` itself where waiting would not help.
    pub async fn wait(&mut self, error: StoreError) -> Result<(), StoreError> {
        let Some(cause) = error.cause().filter(|cause| cause.is_worth_waiting()) else {
            return Err(error);
        };
        if self.told_at.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
            self.told_at = Some(Instant::now());
            let waited_s = self.begun_at.elapsed().as_secs();
            let (cause, error) = (cause.word(), cause.innermost());
            tracing::warn!(cause, error, waited_s, "waiting for the database");
        }
        pause(RETRY).await;
        Ok(())
    }
}

/// Whether an error speaks of the database as a whole, and not only of the connection over which it came.
fn is_of_database(error: &StoreError) -> bool {
    let is_so = |cause: &Cause| matches!(cause.word(), "silent" | "read_only" | "in_recovery" | "incomplete");
    error.cause().is_some_and(|cause| is_so(cause))
}

fn cause_of(error: &StoreError) -> Arc<Cause> {
    match error.cause() {
        Some(cause) => Arc::clone(cause),
        // What else may fail here is the schema's or a statement's.
        None => Arc::new(Cause::Database(sqlx::Error::Protocol(error.to_string()))),
    }
}

/// Says so where the database has not as many connections to give as this server may need.
async fn tell_of_scarcity(db: &mut PgConnection, connections: Connections) -> Result<(), StoreError> {
    let row = sqlx::query!(
        r#"SELECT current_setting('max_connections')::int
                      - current_setting('superuser_reserved_connections')::int
                      - coalesce(current_setting('reserved_connections', true)::int, 0) AS "most!",
                  (SELECT count(*) FROM pg_stat_activity
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())::int AS "used!",
                  (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user) AS of_role,
                  (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()) AS of_database"#,
    )
    .fetch_one(db)
    .await?;
    let needed = i32::try_from(connections.total()).unwrap_or(i32::MAX);
    let most = [Some(row.most), row.of_role, row.of_database].into_iter().flatten().min().unwrap_or(row.most);
    if most - row.used < needed {
        tracing::warn!(
            needed,
            most,
            used = row.used,
            kept = Connections::KEPT,
            "PostgreSQL may not have enough connections for this server: raise max_connections, or lower --database-connections"
        );
    }
    Ok(())
}

/// Hints that something has been written that somebody may want to act on. A hint may be lost with its connection: it
/// only spares the waiting, the work itself is in rows.
#[derive(Debug)]
pub struct Hints {
    listener: PgListener,
}

impl Hints {
    /// Waits for the next hint of another process than `origin`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the connection was lost.
    pub async fn next(&mut self, origin: Origin) -> Result<(), StoreError> {
        let own = origin.0.to_string();
        loop {
            let hint = tokio::select! {
                hint = self.listener.try_recv() => Some(hint?),
                () = pause(LISTENER_PING) => None,
            };
            match hint {
                Some(Some(hint)) if hint.payload() == own => {}
                Some(Some(_)) => return Ok(()),
                Some(None) => return Err(Cause::Database(sqlx::Error::WorkerCrashed).into()),
                None => {
                    let ping = async {
                        sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(&mut self.listener).await?;
                        Ok(())
                    };
                    within(pool::ACQUIRE, ping).await?;
                }
            }
        }
    }
}

/// Hints to all processes, when `tx` commits, that there is something to do.
///
/// # Errors
///
/// [`StoreError`] when the statement fails.
pub async fn hint(tx: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_notify($1, '')", CHANNEL).execute(tx).await?;
    Ok(())
}
