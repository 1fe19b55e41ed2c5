//! The order in which linked instances decide on what is raised.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use crate::link::InstanceAddress;
use crate::operation::refusal;
use crate::raised_event::RaisedEvent;
use crate::sender::EventSource;
use crate::stimulus::{Cause, Effect, Outcome};

/// How long a chain may be: what somebody sends is 0, what that raises is 1, what this raises is 2.
///
/// [`check_linked`](super::check_linked) refuses definitions that could go on for ever; this is for what it did not see.
pub const MAX_CHAIN_DEPTH: u32 = 8;
/// How much may be raised in one chain in all.
pub const MAX_CHAIN_EVENTS: usize = 100;

/// Something that happens, and all that is raised by it: first in, first out.
#[derive(Debug)]
pub struct RaiseChain {
    pending: VecDeque<PendingCause>,
    /// How much was raised so far.
    raised: usize,
}

/// Something that an instance has to decide on.
#[derive(Debug)]
struct PendingCause {
    to: InstanceAddress,
    cause: Cause,
    depth: u32,
    /// Who raised it, and is told of its refusal.
    sender: Option<InstanceAddress>,
}

impl RaiseChain {
    /// Begins with something that happens to the instance `to`.
    #[must_use]
    pub fn new(to: InstanceAddress, cause: Cause) -> Self {
        let first = PendingCause { to, cause, depth: 0, sender: None };
        Self { pending: VecDeque::from([first]), raised: 0 }
    }

    /// Which instance has to decide next, and on what; nothing once all is decided.
    #[must_use]
    pub fn next(&self) -> Option<(&InstanceAddress, &Cause)> {
        self.pending.front().map(|next| (&next.to, &next.cause))
    }

    /// Who raised what is to be decided next; nothing for what began the chain, and for refusals.
    #[must_use]
    pub fn raised_by(&self) -> Option<&InstanceAddress> {
        self.pending.front()?.sender.as_ref()
    }

    /// Takes what [`next`](Self::next)'s decision came to.
    pub fn decided(&mut self, outcome: &Outcome, effects: &[Effect]) {
        let Some(done) = self.pending.pop_front() else { return };
        if let Outcome::Ignored(why) = outcome {
            self.refuse(&done, &why.to_string());
        }
        for effect in effects {
            if let Effect::Raise(raised) = effect {
                self.raise(&done, raised);
            }
        }
    }

    /// Takes that [`next`](Self::next) cannot be decided, such as where there is no such instance.
    pub fn undecided(&mut self, why: &str) {
        if let Some(done) = self.pending.pop_front() {
            self.refuse(&done, why);
        }
    }

    fn raise(&mut self, by: &PendingCause, raised: &RaisedEvent) {
        let RaisedEvent { to, event, args, visit } = raised.clone();
        let source = EventSource::Instance(by.to.clone());
        let cause = Cause::Event { name: event, source, args, visit };
        let raised = PendingCause { to, cause, depth: by.depth + 1, sender: Some(by.to.clone()) };
        if raised.depth > MAX_CHAIN_DEPTH || self.raised >= MAX_CHAIN_EVENTS {
            self.refuse(&raised, "too much is raised at once");
        } else {
            self.raised += 1;
            self.pending.push_back(raised);
        }
    }

    /// Tells the sender of what was raised that it was refused. A refusal is not refused in turn; nor is anybody told of
    /// what is raised because of one that the limits made.
    fn refuse(&mut self, refused: &PendingCause, why: &str) {
        let (Some(sender), Cause::Event { name, .. }) = (&refused.sender, &refused.cause) else { return };
        let Some(name) = refusal(name) else { return };
        let depth = refused.depth;
        if depth > MAX_CHAIN_DEPTH + 1 || self.raised >= MAX_CHAIN_EVENTS {
            return;
        }
        let args = Map::from_iter([("reason".to_owned(), Value::from(why))]);
        let source = EventSource::Instance(refused.to.clone());
        let cause = Cause::Event { name, source, args, visit: None };
        self.raised += 1;
        self.pending.push_back(PendingCause { to: sender.clone(), cause, depth, sender: None });
    }
}
