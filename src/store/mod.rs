//! What Postgres remembers: the only SQL there is.

pub mod private;

/// The migrations, in the order in which they apply.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
