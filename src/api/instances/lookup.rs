//! The machine and the instance of a path.

use axum::http::StatusCode;

use crate::api::context::ApiContext;
use crate::api::problem::Problem;
use crate::engine::EngineError;
use crate::machine::{MachineName, nearest};
use crate::outlets::{CANCEL_EVENT, is_outlet_definition};
use crate::store::batches::VersionedInstance;

/// Reads the instance of a path.
pub(in crate::api) async fn find(
    api: &ApiContext,
    machine: &MachineName,
    name: &str,
) -> Result<VersionedInstance, Problem> {
    api.engine.find(machine, name).await?.ok_or_else(|| Problem::no_instance(machine, name))
}

/// The machine of a path, which must have an active definition.
pub(in crate::api) fn machine_of(api: &ApiContext, machine: &str) -> Result<MachineName, Problem> {
    let no_machine = |detail| Problem::new(StatusCode::NOT_FOUND, "no_machine", detail);
    let name = MachineName::new(machine).map_err(|error| no_machine(error.to_string()))?;
    match api.engine.definition(&name) {
        Ok(_) => Ok(name),
        Err(EngineError::NoMachine(_)) => Err(no_machine(match similar_machine(api, name.as_str()) {
            Some(similar) => format!("there is no machine {name}; did you mean `{similar}`?"),
            None => format!("there is no machine {name}; `PUT /api/v1/machines/{name}` defines one"),
        })),
        Err(error) => Err(error.into()),
    }
}

/// The problem that no machine has the name `machine`; it suggests a similar name.
pub(in crate::api) fn no_machine(api: &ApiContext, machine: &str) -> Problem {
    let suggestion = similar_machine(api, machine).map(|name| format!("; did you mean `{name}`?"));
    let detail = format!("there is no machine {machine:?}{}", suggestion.unwrap_or_default());
    Problem::new(StatusCode::NOT_FOUND, "no_machine", detail)
}

/// The machine whose name is similar to `machine`.
fn similar_machine(api: &ApiContext, machine: &str) -> Option<String> {
    let active = api.engine.active_definitions();
    let known = active.iter().map(|active| active.definition.machine.as_str());
    nearest(machine, known).map(str::to_owned)
}

/// The machine of a path whose instances may be changed here: boards and outlets have paths of their own, which check more.
pub(in crate::api) fn changeable_machine(api: &ApiContext, machine: &str) -> Result<MachineName, Problem> {
    let name = removable_machine(api, machine)?;
    let definition = api.engine.definition(&name)?;
    if is_outlet_definition(&definition) {
        let detail = format!(
            "outlets are switched at /api/v1/power; here they take {CANCEL_EVENT} only, and can be removed"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "is_outlet", detail));
    }
    Ok(name)
}

/// The machine of a path whose instances may be removed here, and given up what they are doing.
pub(super) fn removable_machine(api: &ApiContext, machine: &str) -> Result<MachineName, Problem> {
    let name = machine_of(api, machine)?;
    if name == api.machine {
        let detail = "boards are at /api/v1/devices";
        return Err(Problem::new(StatusCode::CONFLICT, "is_board", detail));
    }
    Ok(name)
}
