//! Outlets switched by hand. A face of the engine: one instance of `states/outlet.yaml` is one outlet.
//!
//! An operation by hand is a state of its outlet, whose action claims the same resource as the actions of boards: it waits in
//! the same queue, is compensated if it is interrupted, and is in history with its sender and what was read. Instances are
//! created when they are first used. Which boards an outlet belongs to is unknown here.

mod definition;
mod face;
mod name;
mod operation;
mod result;
mod service;

pub use definition::{CANCEL_EVENT, OUTLET_MACHINE, is_outlet_definition};
pub use face::OutletFace;
pub use name::instance_name;
pub use operation::OutletOperation;
pub use result::OperationResult;
pub use service::{OutletRequest, OutletService, StartedOperation};
