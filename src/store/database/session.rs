//! A connection with a verified session.

use std::ops::{Deref, DerefMut};

use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::life::DatabaseLife;

/// A verified connection, and the life of the database that it is connected to.
#[derive(Debug)]
pub struct DatabaseSession {
    pub(super) db: PgConnection,
    pub(super) life: DatabaseLife,
    pub(super) opened_at: Instant,
}

impl DatabaseSession {
    /// Returns the life of the database that it is connected to.
    #[must_use]
    pub fn life(&self) -> DatabaseLife {
        self.life
    }
}

impl Deref for DatabaseSession {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.db
    }
}

impl DerefMut for DatabaseSession {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.db
    }
}
