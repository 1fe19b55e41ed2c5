//! Scheduling of limited resources: requests are granted in the order of the queue.
//!
//! Pure: it reads no clock and stores nothing. The engine calls it with the contents of the database and the simulator with
//! its simulated instances, so both grant resources by the same rules.
//!
//! * A request needs units of one or several resources, and is granted all of them at once or none. Requesters that hold
//!   units already can deadlock; the caller makes them request in one order.
//! * A need may name several resources, any of which satisfies it; the first free one is granted.
//! * The queue is strict: units that an earlier request waits for are not granted to a later one. Requests for other
//!   resources overtake. A request for more units than exist waits until the capacity grows, and blocks no other request.
//! * Free units are not reserved against requesters that hold units already: the waiting request may wait for those.
//! * A resource grants nothing during its gap after a grant, and nothing during its settle time after a release.
//! * Units that cool count as in use for the window of their resource after they were released: so no more than its
//!   capacity are in use within any span of that length.
//! * Needs can be in levels, from the inside out: a request that waits for a relay strip keeps no unit of the strip's circuit
//!   from others. A request that needs a resource without units at a later level blocks no other request.
//! * A request that only gaps, settle times and windows delay is promised the units of resources with windows from its start on:
//!   later requests may use them until then, and may take only what is left. So a circuit that switches boards on one by one gets
//!   its share of the site's window, although others could use all of it at once.
//!
//! Times are integers in a unit of the caller's choice.

mod forecast;
mod profile;
mod request;
mod resource;
mod schedule;

pub use forecast::{RequestForecast, WithDuration, forecast};
pub use request::{PlannedGrant, ResourceNeed, ResourceRequest};
pub use resource::{CoolingUnits, LimitedResource, ResourceUnits};
pub use schedule::{GrantPlan, schedule};

#[cfg(test)]
mod ramp_tests;
#[cfg(test)]
mod tests;
