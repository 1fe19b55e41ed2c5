//! Where transitions lead.

use machine::{StateName, Transition, TransitionEffect};

/// The states that `transitions` of the state `here` may lead to.
pub(crate) fn targets(transitions: &[Transition], here: &StateName) -> Vec<StateName> {
    let mut targets: Vec<StateName> = Vec::new();
    for transition in transitions {
        let target = match &transition.effect {
            TransitionEffect::Move { target, .. } => target,
            TransitionEffect::Stay { .. } => here,
            TransitionEffect::Refuse { .. } => continue,
        };
        if !targets.contains(target) {
            targets.push(target.clone());
        }
    }
    targets
}
