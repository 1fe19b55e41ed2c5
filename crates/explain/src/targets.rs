//! The target states of transitions.

use machine::{StateName, Transition, TransitionEffect};

/// Lists the states that `transitions` of the state `here` can lead to.
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
