//! What is still to be done or being done in the world.
//!
//! ```text
//!            entering          begin               end
//!     (state) ──────▶ WAITING ─────────▶ RUNNING ──────────────▶ (history)
//!                       ▲                 │
//!                       └─────────────────┘ the worker died or stopped, or the action was suspended
//! ```
//!
//! These steps belong to decisions, and are written with them: see [`groups`](super::groups).
//!
//! Leaving a state deletes what waits and marks what runs as cancelled; a cancelled action holds what it claims until its
//! worker says that it has really stopped. What is left of an action with a *compensation* that was begun and did not end is
//! a *rescue*: the compensation is carried out, whatever becomes of the visit.

mod action;
mod live;
mod reasons;
mod rows;
mod summaries;
mod worker_actions;

pub use self::action::{ActionId, NewAction, RunningAction, StartableAction, Suspension, WorkerId};
pub use self::live::{ActionStatus, LiveAction, list_live};
pub use self::reasons::{list_reasons, set_reasons};
pub use self::rows::{
    cancel_all, delete_orphans, insert, is_compensation_owed, replace_waiting_claims, revoke_grants,
};
pub use self::summaries::{ActionSummary, list_summaries};
pub use self::worker_actions::{hand_back, list_cancelled, list_running, restart};
