//! Replacement of a definition by another one: the differences, the adjustment of existing instances, and a replay of
//! recorded history under the other definition.
//!
//! Pure: nothing here activates a definition.

mod activation;
mod difference;
mod what_if;

pub use activation::{Activation, DeadlineAdjustment, StateActivation};
pub use difference::{DefinitionChange, Difference};
pub use what_if::{ComparedCount, DivergedInstance, RecordedDecision, WhatIfReplay, WhatIfReport};
