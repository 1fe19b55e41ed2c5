//! A connection whose session was set up and verified.

use std::ops::{Deref, DerefMut};

use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::life::Life;

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
