//! Actions: the effects of transitions outside the database, waiting or running.
//!
//! ```text
//!            entering          begin               end
//!     (state) ──────▶ WAITING ─────────▶ RUNNING ──────────────▶ (history)
//!                       ▲                 │
//!                       └─────────────────┘ the worker expired or stopped, or the action was suspended
//! ```
//!
//! These steps belong to decisions and are written with them: see [`batches`](super::batches).
//!
//! Leaving a state deletes its waiting actions and cancels its running ones. A cancelled action holds its resources until its
//! worker reports that it has stopped. An action that has a *compensation*, began, and was not seen to end is replaced by the
//! compensation (`rescue` in its row), which is run even after the visit has ended.

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
pub use self::summaries::{ActionSummary, list_queued_names, list_summaries};
pub use self::worker_actions::{hand_back, list_cancelled, list_running, restart};
