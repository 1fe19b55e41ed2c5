//! Any checked definition can be simulated without a profile.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::super::{Profile, Simulation, SimulationError, SimulationSize};
use crate::tests::Actions;
use machine::testing::generate::{shape, state_shape, write};
use machine::testing::load_unproved;
use machine::testing::vocabulary;

#[test]
fn any_definition_runs_or_is_reported_as_an_event_storm() {
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let input = (prop::collection::vec(state_shape(), 1..6), shape());
    let finished = std::cell::Cell::new(0);
    let run = |(states, grouped): (Vec<_>, _)| {
        let text = write(&states, &grouped, false);
        let definition = load_unproved(&text, &vocabulary(&["a", "b"])).unwrap();
        let profile = Profile::read("", &[&definition], &Actions).unwrap();
        let size = SimulationSize { instances: 2, days: 1, seed: 1, sample_interval_s: None };
        let simulation = Simulation::new(&[&definition], &profile, size).unwrap();
        match simulation.run(0) {
            Ok(counts) => {
                let report = simulation.report(&counts);
                let instances = report.first.states.iter().map(|state| state.at_end).sum::<u32>();
                prop_assert_eq!(instances, 2, "{}", text);
                finished.set(finished.get() + 1);
                Ok(())
            }
            Err(SimulationError::EventStorm { .. }) => Ok(()),
            Err(error) => Err(TestCaseError::fail(format!("{error}\n{text}"))),
        }
    };
    runner.run(&input, run).unwrap();
    assert!(finished.get() > 50, "only {} finished", finished.get());
}
