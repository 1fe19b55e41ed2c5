//! StateService's `/state`: whether a machine is in a state, as a status code that `curl -f` understands; and the predictions
//! of hosted models ([`predict`]).
//!
//! Statuses and bodies are those of the original (Source: StateService 2.0.3, as recorded); `docs/stateservice.md` lists the
//! differences.

mod answer;
pub(in crate::api) mod predict;
mod python_json;
mod query;
pub(in crate::api) mod state;
