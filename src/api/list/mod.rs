//! Boards in lists: all, those that match, those that changed, and how many there are in each state.
//!
//! Whoever asks again and again pays for what changed only: an entity tag is made of the query and of a
//! [`Cursor`](crate::store::changes::Cursor), so that 304 is answered without a look at any board; and with `since` only
//! the boards that changed are sent.

mod board;
mod changes;
pub(super) mod devices;
mod sending;
pub(super) mod states;
mod tags;
pub(super) mod timeouts;
mod unknown;
