//! The order in which linked instances decide on raised events.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use crate::link::InstanceAddress;
use crate::operation::refusal;
use crate::raised_event::RaisedEvent;
use crate::sender::EventSource;
use crate::stimulus::{Cause, Effect, Outcome};

/// The maximum depth of a chain: the original stimulus has depth 0, an event raised by it 1, and so on.
///
/// [`check_linked`](super::check_linked) refuses definitions that could raise endlessly; this is the limit for cases
/// that it does not detect.
pub const MAX_CHAIN_DEPTH: u32 = 8;
/// The maximum number of raised events in a chain.
pub const MAX_CHAIN_EVENTS: usize = 100;

/// A stimulus, and all events raised by it: first in, first out.
#[derive(Debug)]
pub struct RaiseChain {
    pending: VecDeque<PendingCause>,
    /// The number of events raised so far.
    raised: usize,
}

/// A cause that an instance has to decide on.
#[derive(Debug)]
struct PendingCause {
    to: InstanceAddress,
    cause: Cause,
    depth: u32,
    /// The instance that raised it, which receives the refusal.
    sender: Option<InstanceAddress>,
}

impl RaiseChain {
    /// Starts with a cause for the instance `to`.
    #[must_use]
    pub fn new(to: InstanceAddress, cause: Cause) -> Self {
        let first = PendingCause { to, cause, depth: 0, sender: None };
        Self { pending: VecDeque::from([first]), raised: 0 }
    }

    /// Returns the instance that decides next, and the cause; `None` if the chain is complete.
    #[must_use]
    pub fn next(&self) -> Option<(&InstanceAddress, &Cause)> {
        self.pending.front().map(|next| (&next.to, &next.cause))
    }

    /// Returns the instance that raised the next cause; `None` for the first one and for refusals.
    #[must_use]
    pub fn raised_by(&self) -> Option<&InstanceAddress> {
        self.pending.front()?.sender.as_ref()
    }

    /// Takes the result of [`next`](Self::next)'s decision.
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

    /// Takes the failure to decide [`next`](Self::next), such as a missing instance.
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
            self.refuse(&raised, "too many events are raised at once");
        } else {
            self.raised += 1;
            self.pending.push_back(raised);
        }
    }

    /// Sends a refusal to the instance that raised the event. A refusal is not refused in turn. Beyond the limits
    /// nothing more is sent.
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
