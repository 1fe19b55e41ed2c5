//! Lists of boards: all, those that match a filter, those that changed, and the number in each state.
//!
//! Polling is cheap: an entity tag is made of the query and of a [`ChangeCursor`](crate::store::changes::ChangeCursor), so that
//! 304 is answered without reading any board; with `since`, only the boards that changed are sent.

mod board_json;
mod changes;
mod device_list_stream;
pub(super) mod devices;
mod list_cursor;
mod list_tags;
pub(super) mod state_counts;
pub(super) mod timeouts;
mod unknown_values;
