//! StateService's face: what was recorded from the original is sent to ours.

mod recorded;
mod shared;
mod time;
