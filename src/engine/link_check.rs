//! Whether definitions that are linked to one another, or hold the same resources, belong together.

use std::sync::Arc;

use super::error::EngineError;
use crate::machine::{self, Definition, LinkFault, MachineName, Vocabulary, check_linked};
use crate::store::definitions::{self, ActivatedDefinition};
use crate::store::{DbConnection, StoreError};

/// Checks that what `own` raises is declared where it is raised, and that it declares what others raise at it; that it
/// declares the same of resources as others, and takes them in the same order: of `beside`, which come into force with it, and of what is in force. A machine that is linked to and not there yet may come
/// later; what is raised at it until then is refused.
///
/// # Errors
///
/// [`EngineError::Links`], [`EngineError::Store`].
pub(super) async fn check(
    db: &mut DbConnection,
    vocabulary: &Vocabulary,
    own: &Arc<Definition>,
    beside: &[Arc<Definition>],
) -> Result<(), EngineError> {
    let is_other = |machine: &MachineName| *machine != own.machine;
    let mut others: Vec<Arc<Definition>> = beside.to_vec();
    others.retain(|other| is_other(&other.machine));
    for adopted in definitions::read_active(db).await?.definitions {
        let is_beside = others.iter().any(|other| other.machine == adopted.machine);
        if is_other(&adopted.machine) && !is_beside {
            others.extend(read(db, vocabulary, own, &adopted).await?);
        }
    }
    let all: Vec<&Definition> = [own].into_iter().chain(&others).map(|one| &**one).collect();
    let (missing, faults): (Vec<_>, Vec<_>) = check_linked(&all)
        .into_iter()
        .filter(|fault| concerns(fault, &own.machine))
        .partition(|fault| matches!(fault, LinkFault::NoMachine { .. }));
    for fault in missing {
        tracing::warn!(machine = %own.machine, "no such machine yet: {fault}");
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(EngineError::MismatchedLinks { machine: own.machine.clone(), faults })
    }
}

/// Reads a definition that is in force, where it may have to do with `own`.
async fn read(
    db: &mut DbConnection,
    vocabulary: &Vocabulary,
    own: &Definition,
    adopted: &ActivatedDefinition,
) -> Result<Option<Arc<Definition>>, StoreError> {
    let source = definitions::read_source(db, &adopted.machine, adopted.number).await?.unwrap_or_default();
    let is_target = own.links.values().any(|link| link.machine == adopted.machine);
    let may_share = !own.resources.is_empty() && source.contains("resources");
    // Whoever links to anything says so by this word; the proofs of a large definition take their time.
    if !is_target && !may_share && !source.contains("links") {
        return Ok(None);
    }
    Ok(machine::load_stored(&source, vocabulary).ok().map(|(definition, _)| Arc::new(definition)))
}

/// Whether a fault is one of `own`, or of what others raise at it; what is wrong between others is none of its business.
fn concerns(fault: &LinkFault, own: &MachineName) -> bool {
    match fault {
        LinkFault::NoMachine { machine, .. } => machine == own,
        LinkFault::NotDeclared { machine, target, .. }
        | LinkFault::MissingArgument { machine, target, .. } => machine == own || target == own,
        LinkFault::Endless(circle) => circle.iter().any(|(machine, _)| machine == own),
        LinkFault::HoldOrder(circle) => circle.iter().any(|way| way.machine == *own),
        LinkFault::OtherLimits { machine, other, .. } => machine == own || other == own,
    }
}
