//! A few connections of one purpose, shared by many.
//!
//! A connection is kept only as long as it is of the database's present life and answers; one that is doubtful is thrown
//! away, and the next one is made by the [`Opener`], which verifies it. The pool keeps its least number of connections also
//! while nobody needs them: they are there when others have taken all that the database has to give.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connect::{Opener, Purpose, Session, in_time, is_writable, pause, within};
use super::error::{Cause, StoreError};
use super::health::Health;
use super::life::Life;

/// How long it may take until a connection can be had.
pub(super) const ACQUIRE: Duration = Duration::from_secs(4);
/// How long an idle connection may take to answer before it is given up.
const PING: Duration = Duration::from_secs(2);
/// How long a connection is taken to be alive without being asked.
const FRESH: Duration = Duration::from_secs(1);
/// How often a connection that nobody uses is asked whether it is alive.
const SELDOM: Duration = Duration::from_secs(30);
/// How long a connection beyond the least number is kept without being used.
const IDLE: Duration = Duration::from_mins(5);

/// A pool; clones are of the same.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    opener: Arc<Opener>,
    health: Arc<Health>,
    purpose: Purpose,
    least: usize,
    idle: Mutex<Vec<Idle>>,
    permits: Arc<Semaphore>,
    returned: Notify,
    most: u32,
}

#[derive(Debug)]
struct Idle {
    session: Session,
    used_at: Instant,
    asked_at: Instant,
}

/// A connection on loan; it goes back when this is dropped.
#[derive(Debug)]
pub struct Pooled {
    session: Option<Session>,
    /// A place in the pool.
    permit: Option<OwnedSemaphorePermit>,
    pool: Arc<Shared>,
    is_in_transaction: bool,
    /// How many outages there had been when it was taken.
    outages: u64,
}

impl Pool {
    pub(super) fn new(
        opener: Arc<Opener>,
        health: Arc<Health>,
        purpose: Purpose,
        least: u32,
        most: u32,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(most as usize));
        let idle = Mutex::default();
        let returned = Notify::new();
        let least = least.min(most) as usize;

        Self(Arc::new(Shared { opener, health, purpose, least, idle, permits, returned, most }))
    }

    /// Takes a connection that answers, or makes one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when none can be had.
    pub(super) async fn acquire(&self) -> Result<Pooled, StoreError> {
        let mut refused = None;
        match in_time(ACQUIRE, self.take(&mut refused)).await {
            Some(taken) => taken,
            // The database has no more to give, and none of ours became free.
            None if refused.is_some() => refused.map_or_else(|| Err(Cause::Busy(ACQUIRE).into()), Err),
            // Unless the database is silent it is we who are too many.
            None if self.0.permits.available_permits() == 0 => Err(Cause::Busy(ACQUIRE).into()),
            None => Err(Cause::Silent(ACQUIRE).into()),
        }
    }

    /// The same without a limit; `refused` says that the database has no more connections to give while that is so.
    async fn take(&self, refused: &mut Option<StoreError>) -> Result<Pooled, StoreError> {
        let closed = |_| StoreError::from(Cause::Database(sqlx::Error::PoolClosed));
        let permit = Arc::clone(&self.0.permits).acquire_owned().await.map_err(closed)?;
        let lend = |session| Pooled {
            session: Some(session),
            permit: Some(permit),
            pool: Arc::clone(&self.0),
            is_in_transaction: false,
            outages: self.0.health.outages(),
        };
        loop {
            while let Some(idle) = self.0.pop() {
                if let Some(session) = self.0.revive(idle, self.0.trust()).await {
                    return Ok(lend(session));
                }
            }
            if let Some(cause) = self.0.health.outage() {
                // Known already, and asked for again by the pulse.
                return Err(StoreError::Unavailable(cause));
            }
            match self.0.opener.open(self.0.purpose).await {
                Ok(session) => return Ok(lend(session)),
                // The database gives us no more; one of those that we have may become free.
                Err(error) if is_exhausted(&error) && self.0.has_lent() => {
                    *refused = Some(error);
                    tokio::select! {
                        () = self.0.returned.notified() => {}
                        () = pause(FRESH) => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sees to it that the least number of connections is there and answers, and that no more are kept than are used.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when one cannot be made.
    pub(super) async fn keep(&self) -> Result<(), StoreError> {
        let shared = &self.0;
        // Each with a permit, so that there are never more connections than there may be; where all are in use, they are there.
        while let Ok(_permit) = Arc::clone(&shared.permits).try_acquire_owned() {
            let doubtful = {
                let mut idle = shared.lock();
                let doubtful = idle.iter().position(|idle| idle.asked_at.elapsed() >= shared.asked_every());
                doubtful.map(|doubtful| idle.remove(doubtful))
            };
            match doubtful {
                Some(idle) if shared.size() > shared.least && idle.used_at.elapsed() > IDLE => drop(idle),
                Some(idle)
                    if shared.is_good(&idle.session)
                        && shared.opener.is_worn(&idle.session)
                        && shared.size() <= shared.least =>
                {
                    shared.replace(idle).await;
                }
                Some(idle) => {
                    let used_at = idle.used_at;
                    if let Some(session) = shared.revive(idle, Duration::ZERO).await {
                        shared.lock().insert(0, Idle { session, used_at, asked_at: Instant::now() });
                    }
                }
                // This permit is no connection.
                None if shared.size() > shared.least => return Ok(()),
                None => {
                    let session = shared.opener.open(shared.purpose).await?;
                    shared.put_back(session);
                }
            }
        }
        Ok(())
    }

    /// Takes nothing more, and gives the connections back.
    pub(super) async fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.0.lock());
        futures_util::future::join_all(idle.into_iter().map(|idle| idle.session.db.close())).await;
    }
}

/// Whether the database has no more connections to give.
fn is_exhausted(error: &StoreError) -> bool {
    error.cause().is_some_and(|cause| cause.word() == "too_many_connections")
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        // A panic elsewhere cannot have left it half-written: each use is one call.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last: the others may be given up.
    fn pop(&self) -> Option<Idle> {
        self.lock().pop()
    }

    /// How many are on loan.
    fn lent(&self) -> usize {
        (self.most as usize).saturating_sub(self.permits.available_permits())
    }

    /// Whether others than whoever asks have one on loan.
    fn has_lent(&self) -> bool {
        self.lent() > 1
    }

    /// How many there are, on loan or idle.
    fn size(&self) -> usize {
        self.lent() + self.lock().len()
    }

    /// How long a connection is taken to be alive without being asked. Those that write groups are never given back in the
    /// middle of an answer; of others it is not known, and the rest of an answer is read before they are used again.
    fn trust(&self) -> Duration {
        if self.purpose == Purpose::Group { FRESH } else { Duration::ZERO }
    }

    /// How often a connection that nobody uses is asked.
    fn asked_every(&self) -> Duration {
        if self.purpose == Purpose::Group { FRESH / 2 } else { SELDOM }
    }

    fn put_back(&self, session: Session) {
        if self.permits.is_closed() {
            return;
        }
        let now = Instant::now();
        self.lock().push(Idle { session, used_at: now, asked_at: now });
        self.returned.notify_one();
    }

    /// Makes sure that an idle connection is still good; it is asked unless it was within `trust`.
    async fn revive(&self, idle: Idle, trust: Duration) -> Option<Session> {
        let Idle { mut session, asked_at, .. } = idle;
        // Those that are kept are replaced while nobody waits for them.
        let is_to_go = self.opener.is_worn(&session) && self.size() > self.least;
        if is_to_go || !self.is_good(&session) {
            return None;
        }
        if asked_at.elapsed() >= trust {
            within(PING, async { Ok(session.db.ping().await?) }).await.ok()?;
        }
        Some(session)
    }

    /// Makes another connection in the place of one that is kept and has become old, which stays where none can be had.
    async fn replace(&self, old: Idle) {
        match self.opener.open(self.purpose).await {
            Ok(session) => self.put_back(session),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "connection kept beyond its age");
                let used_at = old.used_at;
                if let Some(session) = self.revive(old, Duration::ZERO).await {
                    self.lock().insert(0, Idle { session, used_at, asked_at: Instant::now() });
                }
            }
        }
    }

    /// Whether a connection is of the present life, and not from before the database was away.
    fn is_good(&self, session: &Session) -> bool {
        session.life == self.opener.lives.present() && session.opened_at >= self.health.last_outage_at()
    }
}

impl Pooled {
    /// Which life of the database it speaks to.
    #[must_use]
    pub fn life(&self) -> Life {
        self.session.as_ref().map(|session| session.life).unwrap_or_default()
    }

    /// Whether it may be used on: it is of the database's present life, and the database was not away since it was made.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.session.as_ref().is_some_and(|session| self.pool.is_good(session))
    }

    /// How many outages of the database there had been when it was taken.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.outages
    }

    /// Throws it away: it did not answer.
    pub fn discard(mut self) {
        self.session = None;
    }

    pub(super) async fn begin(mut self, statement: &'static str) -> Result<Self, StoreError> {
        self.is_in_transaction = true;
        sqlx::raw_sql(statement).execute(&mut *self).await?;
        Ok(self)
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let committed = sqlx::raw_sql("COMMIT").execute(&mut *self).await;
        self.is_in_transaction = committed.is_err();
        committed.map_err(StoreError::from).inspect_err(|error| self.pool.health.note_failed_write(error))?;
        Ok(())
    }
}

impl Deref for Pooled {
    type Target = PgConnection;

    #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
    fn deref(&self) -> &PgConnection {
        &self.session.as_ref().expect("a connection on loan").db
    }
}

impl DerefMut for Pooled {
    #[expect(clippy::expect_used, reason = "it is there until this is dropped")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.session.as_mut().expect("a connection on loan").db
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let (Some(mut session), permit) = (self.session.take(), self.permit.take()) else { return };
        let pool = Arc::clone(&self.pool);
        if pool.permits.is_closed() || !pool.is_good(&session) {
            return;
        }
        if !self.is_in_transaction {
            pool.put_back(session);
            return;
        }
        // Locks are to be given up now, and not when somebody needs the connection again. Nobody waits for it: it ends by
        // itself, soon.
        let roll_back = async move {
            let is_writable = within(PING, async {
                sqlx::raw_sql("ROLLBACK").execute(&mut session.db).await?;
                // Whatever it was that failed: a server that has become a standby shows here.
                is_writable(&mut session.db).await
            });
            if is_writable.await.unwrap_or(false) {
                pool.put_back(session);
            }
            drop(permit);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(roll_back);
        }
    }
}
