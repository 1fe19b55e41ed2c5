//! The simulation of an action.

use super::distribution::Distribution;

/// The default failure rate.
const DEFAULT_FAILURE_RATE: f64 = 0.005;

/// How an action is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedAction {
    /// Where it runs.
    pub at: ActionSite,
    /// How long it takes.
    pub takes: Distribution,
    /// Its failure rate, from 0 to 1.
    pub failure_rate: f64,
    /// How long a failure takes.
    pub fails_after: Distribution,
    /// How long a failure takes when an outage cuts the action off.
    pub fails_after_outage: Distribution,
}

/// Where an action runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionSite {
    /// At the resource that it claims, one at a time; an action that started there is completed.
    Resource,
    /// At the thing that the instance represents.
    Instance,
    /// At the server: no outage cuts it off.
    Server,
}

impl SimulatedAction {
    /// Simulates an action that operates the claimed resource, within seconds.
    #[must_use]
    pub fn of_resource() -> Self {
        Self {
            at: ActionSite::Resource,
            takes: Distribution::log_normal(3.0, 5.0),
            failure_rate: DEFAULT_FAILURE_RATE,
            fails_after: Distribution::Constant(30.0),
            fails_after_outage: Distribution::Constant(30.0),
        }
    }

    /// Simulates an action that watches the thing that the instance represents for up to `max_s` seconds; 1 % of them are
    /// silent.
    #[must_use]
    pub fn of_watch(max_s: f64) -> Self {
        Self {
            at: ActionSite::Instance,
            takes: Distribution::Constant(max_s),
            failure_rate: 0.01,
            fails_after: Distribution::Uniform { from: 0.0, to: max_s },
            fails_after_outage: Distribution::Constant(90.0),
        }
    }

    /// Simulates an action of the server itself, within a second or two.
    #[must_use]
    pub fn of_server() -> Self {
        let takes = Distribution::log_normal(1.0, 2.0);
        Self {
            at: ActionSite::Server,
            takes,
            failure_rate: DEFAULT_FAILURE_RATE,
            fails_after: takes,
            fails_after_outage: takes,
        }
    }
}
