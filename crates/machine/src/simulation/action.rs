//! How an action goes in a simulated farm.

use super::distribution::Distribution;

/// How often an action fails where nothing else is known.
const DEFAULT_FAILURE_RATE: f64 = 0.005;

/// How an action goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedAction {
    /// Where it is done.
    pub at: ActionSite,
    /// How long it takes.
    pub takes: Distribution,
    /// How often it fails, from 0 to 1.
    pub failure_rate: f64,
    /// How long it takes then.
    pub fails_after: Distribution,
    /// How long it takes to fail where what it is done at is cut off by an outage.
    pub fails_after_outage: Distribution,
}

/// Where an action is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionSite {
    /// At the resource that it claims, one at a time; what began there is brought to its end.
    Resource,
    /// At what the instance stands for.
    Instance,
    /// At the server: no outage cuts it off.
    Server,
}

impl SimulatedAction {
    /// One that operates the resource that it claims, within seconds.
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

    /// One that watches what the instance stands for, up to `longest` seconds, and finds one in a hundred silent.
    #[must_use]
    pub fn of_watch(longest: f64) -> Self {
        Self {
            at: ActionSite::Instance,
            takes: Distribution::Constant(longest),
            failure_rate: 0.01,
            fails_after: Distribution::Uniform { from: 0.0, to: longest },
            fails_after_outage: Distribution::Constant(90.0),
        }
    }

    /// One that the server does by itself, within a second or two.
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
