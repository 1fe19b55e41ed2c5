//! Tests the promise of the proofs: a random walk through a definition that passes never reaches a dead end and never
//! loops endlessly.

mod generate;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, json};

use super::super::{CheckReport, check};
use crate::testing::load_unproved;
use crate::testing::vocabulary;
use crate::{
    Cause, Decision, Definition, EventName, EventSource, Instance, ModelAnswers, ModelQuestion, Outcome,
    Prediction, Rule, Sender, StateKind, StateName, Stimulus, create, decide,
};
use generate::{MAX_COUNTER_LIMIT, TestRandom, definition};

const ACTIONS: [&str; 2] = ["a", "b"];
/// The number of generated definitions, and of steps through each that passes.
const DEFINITIONS: u64 = 10_000;
const STEPS: usize = 10_000;
/// One in this many definitions with endless loops is walked through, to see that the walks find them.
const TRIED_OF_ENDLESS: usize = 30;

/// A random walk through a definition.
struct Walker<'d> {
    definition: &'d Definition,
    dice: TestRandom,
    instance: Instance,
    now: DateTime<Utc>,
    /// How often in a hundred times an event occurs before the deadline.
    liveliness: usize,
    /// The states entered since the last operator request or start from a resting state.
    seen: HashSet<u64>,
    /// The maximum number of states entered so.
    longest: usize,
}

impl<'d> Walker<'d> {
    fn new(definition: &'d Definition, seed: u64) -> Self {
        let mut dice = TestRandom::new(seed);
        let liveliness = [0, 50, 90, 99][dice.roll(4)];
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let instance = create(definition, "one", Map::new(), now).instance;
        Self { definition, dice, instance, now, liveliness, seen: HashSet::new(), longest: 0 }
    }

    /// Takes a step; returns the fault if it is a dead end or an endless loop.
    fn step(&mut self) -> Result<(), String> {
        let definition = self.definition;
        let state = &definition.states[&self.instance.state];
        match state.kind {
            StateKind::Working => {
                let waits_for_action = state.timeout.is_some() && !state.invoke.is_empty();
                if self.instance.deadline_at.is_none() && !waits_for_action {
                    return Err(format!("{} waits for ever", self.instance.state));
                }
            }
            StateKind::Failed
                if definition.accepted_events(self.instance.state.as_str(), &Sender::Operator).is_empty() =>
            {
                return Err(format!("no operator leads out of {}", self.instance.state));
            }
            StateKind::Final => {
                self.instance = create(definition, "one", Map::new(), self.now).instance;
                self.seen.clear();
                return Ok(());
            }
            StateKind::Resting | StateKind::Failed => {}
        }
        // Operators wait while work is in progress, and most reporters are silent at rest.
        let is_patient = state.kind == StateKind::Working && self.dice.is(98);
        if self.dice.is(2) {
            let states: Vec<&StateName> = definition.states.keys().collect();
            let to = states[self.dice.roll(states.len())].clone();
            let (expected, reason) = (self.instance.state.clone(), String::new());
            return if is_patient {
                Ok(())
            } else {
                self.take(Cause::Force { expected, to, reason }, true).1
            };
        }
        let events: Vec<&EventName> = state.on.keys().collect();
        let is_lively = !events.is_empty() && (state.timeout.is_none() || self.dice.is(self.liveliness));
        if !is_lively {
            return self.wait();
        }
        let name = events[self.dice.roll(events.len())].clone();
        let from = &definition.events[&name].from;
        let source = from.first().and_then(Sender::source).unwrap();
        if source == EventSource::Operator && is_patient {
            return self.wait();
        }
        let args = if self.dice.is(90) { json!({ "x": self.dice.roll(4) }) } else { json!({}) };
        let args = args.as_object().cloned().unwrap_or_default();
        let visit = (source == EventSource::Action).then_some(self.instance.visit);
        let is_operator = source == EventSource::Operator;
        self.take(Cause::Event { name, source, args, visit }, is_operator).1
    }

    /// Lets the time limit expire, if there is one.
    fn wait(&mut self) -> Result<(), String> {
        let visit = self.instance.visit;
        let Some(at) = self.instance.deadline_at else {
            return self.take(Cause::Began { visit }, false).1;
        };
        self.now = at.max(self.now);
        let (decision, result) = self.take(Cause::Deadline { visit }, false);
        if !matches!(decision, Outcome::Moved { .. }) {
            return Err(format!("the deadline of {} leads nowhere", self.instance.state));
        }
        result
    }

    fn take(&mut self, cause: Cause, is_persons: bool) -> (Outcome, Result<(), String>) {
        self.now += TimeDelta::milliseconds(1);
        let is_event = matches!(cause, Cause::Event { .. });
        let (from, was_at_rest) = (self.instance.state.clone(), self.is_in(StateKind::Resting));
        let stimulus = Stimulus { predicted: self.predicted(is_event), ..Stimulus::new(cause) };
        let Decision { outcome, instance, .. } = decide(self.definition, &self.instance, &stimulus, self.now);
        self.instance = instance;
        // An event at rest starts a new sequence; a time limit at rest does so only if it leads back, as a periodic
        // check.
        let is_new_life = was_at_rest && (is_event || from == self.instance.state);
        let is_final = self.is_in(StateKind::Final);
        if is_persons || is_new_life || is_final {
            self.seen.clear();
        }
        if matches!(outcome, Outcome::Moved { .. }) && !is_final {
            // Everything that the next decisions depend on. A walk that returns to it can take the same path again,
            // endlessly.
            let is_new = self.seen.insert(self.standing());
            self.longest = self.longest.max(self.seen.len());
            if !is_new {
                let state = &self.instance.state;
                return (outcome, Err(format!("{state} is entered for ever, as from {stimulus:?}")));
            }
        }
        (outcome, Ok(()))
    }

    /// A model's answer, if any.
    fn predicted(&mut self, is_event: bool) -> ModelAnswers {
        let mut predicted = ModelAnswers::default();
        if is_event && self.dice.is(90) {
            let question = ModelQuestion { model: "m".to_owned(), argument: "x".to_owned() };
            let state = self.dice.pick(&["bad", "good"]).to_owned();
            predicted.insert(question, Prediction::One(state));
        }
        predicted
    }

    fn is_in(&self, kind: StateKind) -> bool {
        self.definition.states[&self.instance.state].kind == kind
    }

    fn standing(&self) -> u64 {
        let Instance { state, counters, data, .. } = &self.instance;
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        for (counter, count) in counters {
            // Numbers greater than all compared ones are equivalent.
            (counter, count.min(&(MAX_COUNTER_LIMIT + 1))).hash(&mut hasher);
        }
        if !data.is_empty() {
            format!("{data:?}").hash(&mut hasher);
        }
        hasher.finish()
    }

    fn walk(&mut self, steps: usize) -> Result<(), String> {
        (0..steps).try_for_each(|_| self.step())
    }
}

/// The results for a number of definitions.
#[derive(Debug, Default)]
struct Tally {
    /// How many pass the proofs, and how many are refused only for endless loops.
    passed: usize,
    endless: usize,
    /// In how many of those a short walk loops endlessly, and of how many tried.
    looping: usize,
    tried: usize,
    /// The maximum number of states entered without an operator and without rest, in definitions that pass.
    longest: usize,
    /// The number of refusals by rule.
    refused: BTreeMap<Rule, usize>,
}

impl Tally {
    fn add(&mut self, seed: u64) {
        let text = definition(&mut TestRandom::new(seed));
        let CheckReport { definition, faults } = check(&text, &vocabulary(&ACTIONS));
        let rules: BTreeSet<Rule> =
            faults.iter().filter(|fault| fault.is_error()).map(|fault| fault.rule).collect();
        assert_eq!(definition.is_none(), !rules.is_empty(), "{text}");
        if let Some(definition) = definition {
            let mut walker = Walker::new(&definition, seed);
            walker.walk(STEPS).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
            self.passed += 1;
            self.longest = self.longest.max(walker.longest);
        } else if rules == BTreeSet::from([Rule::EndlessLoop]) {
            self.endless += 1;
            if self.endless.is_multiple_of(TRIED_OF_ENDLESS) {
                let unproved = load_unproved(&text, &vocabulary(&ACTIONS)).unwrap();
                let goes_round = |walk| Walker::new(&unproved, seed + walk).walk(STEPS / 50).is_err();
                self.tried += 1;
                self.looping += usize::from((0..20).any(goes_round));
            }
        }
        for rule in rules {
            *self.refused.entry(rule).or_default() += 1;
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.passed += other.passed;
        self.endless += other.endless;
        self.looping += other.looping;
        self.tried += other.tried;
        self.longest = self.longest.max(other.longest);
        for (rule, count) in other.refused {
            *self.refused.entry(rule).or_default() += count;
        }
        self
    }
}

#[test]
fn random_walks_through_proved_definitions_meet_no_dead_end_and_no_endless_loop() {
    let tally = |first: u64| {
        let mut tally = Tally::default();
        (first..DEFINITIONS).step_by(2).for_each(|seed| tally.add(seed));
        tally
    };
    let tally = std::thread::scope(|scope| {
        let half = scope.spawn(move || tally(1));
        tally(0).and(half.join().unwrap())
    });
    assert!(tally.passed >= 300, "{tally:?}");
    // So the walks would have found the endless loops that the rule refuses. They do not find all: the proofs take
    // conditions on data as unknown, and counters as unknown before the loop.
    assert!(tally.tried >= 30 && tally.looping * 10 >= tally.tried * 8, "{tally:?}");
    // The generated definitions vary.
    assert!(tally.longest >= 8 && tally.refused.len() >= 10, "{tally:?}");
}
