//! Instances of any machine: list, show, create, remove, events, forced moves, history.

pub(super) mod create;
pub(super) mod event;
pub(super) mod force;
pub(super) mod history;
pub(super) mod list;
pub(super) mod lookup;
pub(super) mod remove;
pub(super) mod show;
pub(super) mod submit;
mod view;
pub(super) mod why;
