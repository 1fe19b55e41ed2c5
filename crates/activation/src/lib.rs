//! What it means that a definition takes another's place: what differs, what becomes of the instances that are there, and
//! what would have become of those whose history is known.
//!
//! Made from the two definitions, and from the record; nothing here changes what is in force.

mod activation;
mod difference;
mod what_if;

pub use activation::{Activation, DeadlineAdjustment, StateActivation};
pub use difference::{DefinitionChange, Difference};
pub use what_if::{ComparedCount, DivergedInstance, RecordedDecision, WhatIfReplay, WhatIfReport};
