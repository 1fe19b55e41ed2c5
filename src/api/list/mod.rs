//! Boards in lists: all, those that match, those that changed, and how many there are in each state.
//!
//! Whoever asks again and again pays for what changed only: an entity tag is made of the query and of a
//! [`ChangeCursor`](crate::store::changes::ChangeCursor), so that 304 is answered without a look at any board; and with `since` only
//! the boards that changed are sent.

mod board_json;
mod changes;
mod device_list_stream;
pub(super) mod devices;
mod list_tags;
pub(super) mod state_counts;
pub(super) mod timeouts;
mod unknown_values;
