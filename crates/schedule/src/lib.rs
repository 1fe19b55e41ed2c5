//! Who gets what is limited: claims on resources, granted in the order of the queue.
//!
//! Pure: it reads no clock and keeps nothing. The engine calls it with what the database holds, the simulator with what it
//! simulates; so both hand out resources alike.
//!
//! * A request asks for units of one or several resources, and gets all of them at once or none. Where whoever asks holds
//!   something already, two can wait for each other all the same: the caller sees to it that these ask in one order.
//! * A need may name several resources, any of which will do; the first that is free is taken.
//! * The queue is strict: what an earlier request waits for is not given to a later one, however many come later; requests
//!   that wait for other resources go past. A request that needs more resources than there are waits until there are more,
//!   and holds nobody up.
//! * What is free is not kept from those who hold something already: whoever waits may wait for just that.
//! * After a grant a resource grants nothing for its gap, after a release nothing for its settle time.
//!
//! Times are numbers in a unit of the caller's choice, the same one everywhere.

mod forecast;
mod request;
mod resource;
mod schedule;

pub use forecast::{RequestForecast, WithDuration, forecast};
pub use request::{PlannedGrant, ResourceNeed, ResourceRequest};
pub use resource::{LimitedResource, ResourceUnits};
pub use schedule::{GrantPlan, schedule};

#[cfg(test)]
mod tests;
