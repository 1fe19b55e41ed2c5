//! What Postgres remembers: the only SQL there is.
