//! Checks that linked definitions, and definitions that hold the same resources, match.

use std::sync::Arc;

use super::error::EngineError;
use crate::machine::{self, Definition, LinkFault, MachineName, Vocabulary, check_linked};
use crate::store::definitions::{self, ActivatedDefinition};
use crate::store::{DbConnection, StoreError};

/// Checks `own` against `loaded_together`, which are activated with it, and against the active definitions: raised events
/// must be declared by their targets, and shared resources must have the same limits and the same order of holds. A linked
/// machine may be loaded later; events that are raised at it until then are refused.
///
/// # Errors
///
/// [`EngineError::MismatchedLinks`], [`EngineError::Store`].
pub(super) async fn check(
    db: &mut DbConnection,
    vocabulary: &Vocabulary,
    own: &Arc<Definition>,
    loaded_together: &[Arc<Definition>],
) -> Result<(), EngineError> {
    let is_other = |machine: &MachineName| *machine != own.machine;
    let mut others: Vec<Arc<Definition>> = loaded_together.to_vec();
    others.retain(|other| is_other(&other.machine));
    for activated in definitions::read_active(db).await?.definitions {
        let is_loaded = others.iter().any(|other| other.machine == activated.machine);
        if is_other(&activated.machine) && !is_loaded {
            others.extend(read(db, vocabulary, own, &activated).await?);
        }
    }
    let all: Vec<&Definition> = [own].into_iter().chain(&others).map(|definition| &**definition).collect();
    let (missing, faults): (Vec<_>, Vec<_>) = check_linked(&all)
        .into_iter()
        .filter(|fault| concerns(fault, &own.machine))
        .partition(|fault| matches!(fault, LinkFault::NoMachine { .. }));
    for fault in missing {
        tracing::warn!(machine = %own.machine, %fault, "linked machine does not exist yet");
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(EngineError::MismatchedLinks { machine: own.machine.clone(), faults })
    }
}

/// Reads an active definition, where it can concern `own`.
async fn read(
    db: &mut DbConnection,
    vocabulary: &Vocabulary,
    own: &Definition,
    activated: &ActivatedDefinition,
) -> Result<Option<Arc<Definition>>, StoreError> {
    let source =
        definitions::read_source(db, &activated.machine, activated.number).await?.unwrap_or_default();
    let is_target = own.links.values().any(|link| link.machine == activated.machine);
    let may_share = !own.resources.is_empty() && source.contains("resources");
    // A definition with links contains this word; parsing and checking a large definition takes a while.
    if !is_target && !may_share && !source.contains("links") {
        return Ok(None);
    }
    Ok(machine::load_stored(&source, vocabulary).ok().map(|(definition, _)| Arc::new(definition)))
}

/// Whether a fault concerns `own`; faults between other machines are ignored.
fn concerns(fault: &LinkFault, own: &MachineName) -> bool {
    match fault {
        LinkFault::NoMachine { machine, .. } => machine == own,
        LinkFault::NotDeclared { machine, target, .. }
        | LinkFault::MissingArgument { machine, target, .. } => machine == own || target == own,
        LinkFault::Endless(cycle) => cycle.iter().any(|(machine, _)| machine == own),
        LinkFault::HoldOrder(cycle) => cycle.iter().any(|edge| edge.machine == *own),
        LinkFault::OtherLimits { machine, other, .. } => machine == own || other == own,
    }
}
