//! StateService's `/state`: whether a machine is in a state, as a status code that `curl -f` understands; and what a
//! hosted model says ([`predict`]).
//!
//! Statuses and bodies are the original's (Source: StateService 2.0.3, as recorded); where they differ is told in
//! `docs/stateservice.md`.

mod answer;
pub(in crate::api) mod predict;
mod python_json;
mod query;
pub(in crate::api) mod state;
