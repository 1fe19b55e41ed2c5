//! Properties of every decision, for random definitions and stimuli.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Map, json};

use super::{can_invoke, create, decide};
use crate::testing::generate::{
    GeneratedCause, KEEP, StateShape, TransitionShape, cause, generated_cause, predicted, shape, state_shape,
    write,
};
use crate::testing::load_unproved;
use crate::testing::vocabulary;
use crate::{
    Cause, CounterName, Decision, Definition, Effect, IgnoreReason, Instance, MachineName, Outcome,
    StateName, Stimulus, TimeoutDue, Visit,
};

/// A decision, and its input.
struct Made<'a> {
    text: &'a str,
    definition: &'a Definition,
    before: &'a Instance,
    stimulus: &'a Stimulus,
    now: DateTime<Utc>,
    decision: &'a Decision,
}

impl Made<'_> {
    fn after(&self) -> &Instance {
        &self.decision.instance
    }

    fn is_ignored(&self) -> bool {
        matches!(self.decision.outcome, Outcome::Ignored(_))
    }

    fn is_moved(&self) -> bool {
        matches!(self.decision.outcome, Outcome::Moved { .. })
    }

    /// Whether the state's own deadline re-enters it without `always` leaving it, and keeps its actions.
    fn is_kept(&self) -> bool {
        let timeout = self.definition.states[&self.before.state].timeout.as_ref();
        let is_deadline = matches!(self.stimulus.cause, Cause::Deadline { .. });
        let is_back =
            self.after().visit == self.before.visit.next() && self.after().state == self.before.state;
        let is_exceeded = timeout.and_then(|timeout| timeout.limit.as_ref()).is_some_and(|limit| {
            let counted = self.before.counters.get(&limit.counter).copied().unwrap_or(0);
            counted >= i64::from(limit.max_count) && limit.exceeded != self.before.state
        });
        is_deadline && is_back && !is_exceeded && timeout.is_some_and(|timeout| timeout.keeps_actions)
    }

    fn is_suspended(&self) -> bool {
        matches!(self.stimulus.cause, Cause::Suspend { .. }) && !self.is_ignored()
    }

    fn is_retried(&self) -> bool {
        matches!(self.stimulus.cause, Cause::Retry { .. }) && !self.is_ignored()
    }

    fn invokes(&self, state: &StateName) -> bool {
        !self.definition.states[state].invoke.is_empty()
    }
}

/// Checks every decision of many runs through many definitions.
fn in_every_decision(census: bool, check: impl Fn(&Made<'_>) -> Result<(), TestCaseError>) {
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let input = (
        prop::collection::vec(state_shape(), 1..6),
        shape(),
        prop::collection::vec(generated_cause(), 1..60),
    );
    let run = |(states, grouped, causes): (Vec<StateShape>, TransitionShape, Vec<GeneratedCause>)| {
        let text = write(&states, &grouped, census);
        let definition = load_unproved(&text, &vocabulary(&["a", "b"]))
            .map_err(|faults| TestCaseError::fail(format!("{}\n{text}", faults.display("generated"))))?;
        let mut now = DateTime::from_timestamp(1_800_000_000, 387_000_000).unwrap();
        let facts = Map::from_iter([("power".to_owned(), json!(true))]);
        let mut instance = Instance {
            machine: MachineName::new("m").unwrap(),
            name: "one".to_owned(),
            state: definition.initial.clone(),
            visit: Visit(0),
            since: now,
            deadline_at: None,
            remaining: None,
            counters: BTreeMap::new(),
            data: Map::new(),
            links: crate::Links::new(),
        };
        let mut next = Some(Cause::Created { links: crate::Links::new() });
        for generated in &causes {
            let cause = next.take().unwrap_or_else(|| cause(generated, &instance));
            let stimulus =
                Stimulus { facts: facts.clone(), predicted: predicted(generated), ..Stimulus::new(cause) };
            let decision = decide(&definition, &instance, &stimulus, now);
            let made = Made {
                text: &text,
                definition: &definition,
                before: &instance,
                stimulus: &stimulus,
                now,
                decision: &decision,
            };
            check(&made).map_err(|error| {
                TestCaseError::fail(format!("{error}\n{stimulus:?}\n{instance:?}\n{text}"))
            })?;
            instance = decision.instance;
            now += TimeDelta::seconds(generated.5);
        }
        Ok(())
    };
    if let Err(error) = runner.run(&input, run) {
        panic!("{error}");
    }
}

#[test]
fn equal_arguments_give_equal_decisions() {
    in_every_decision(false, |made| {
        // As the store returns them.
        let before: Instance = serde_json::from_value(serde_json::to_value(made.before).unwrap()).unwrap();
        let stimulus: Stimulus =
            serde_json::from_value(serde_json::to_value(made.stimulus).unwrap()).unwrap();
        prop_assert_eq!(&decide(made.definition, &before, &stimulus, made.now), made.decision);
        if matches!(made.stimulus.cause, Cause::Created { .. }) && made.before.visit == Visit(0) {
            let created = create(made.definition, &before.name, stimulus.facts, made.now);
            prop_assert_eq!(&created, made.decision);
        }
        Ok(())
    });
}

#[test]
fn an_ignored_stimulus_changes_nothing() {
    in_every_decision(false, |made| {
        if made.is_ignored() {
            prop_assert_eq!(made.after(), made.before);
            prop_assert!(made.decision.effects.is_empty());
        }
        Ok(())
    });
}

#[test]
fn a_stimulus_for_another_visit_changes_nothing() {
    in_every_decision(false, |made| {
        let spoken = match &made.stimulus.cause {
            Cause::Began { visit }
            | Cause::Suspend { visit }
            | Cause::Retry { visit, .. }
            | Cause::Deadline { visit } => Some(*visit),
            Cause::Event { visit, .. } => *visit,
            Cause::Created { .. } | Cause::Force { .. } => None,
        };
        if spoken.is_some_and(|spoken| spoken != made.before.visit) {
            prop_assert_eq!(made.after(), made.before);
            let Outcome::Ignored(why) = &made.decision.outcome else {
                return Err(TestCaseError::fail("it was not ignored"));
            };
            let is_told = match why {
                IgnoreReason::Stale { stated_visit, current_visit } => stated_visit < current_visit,
                IgnoreReason::Future { stated_visit, current_visit } => stated_visit > current_visit,
                IgnoreReason::NotAllowed { .. } | IgnoreReason::MissingArgument { .. } => true,
                IgnoreReason::NotDue
                | IgnoreReason::NotHandled { .. }
                | IgnoreReason::LeftToDeadline { .. }
                | IgnoreReason::NoGuardHolds { .. }
                | IgnoreReason::Refused { .. }
                | IgnoreReason::Unexpected { .. }
                | IgnoreReason::NoState { .. } => false,
            };
            prop_assert!(is_told, "{}", why);
        }
        Ok(())
    });
}

#[test]
fn a_deadline_is_armed_if_and_only_if_the_state_says_so() {
    in_every_decision(false, |made| {
        let timeout = made.definition.states[&made.after().state].timeout.as_ref();
        let due = timeout.map(|timeout| timeout.due);
        let has_begun = matches!(made.stimulus.cause, Cause::Began { .. }) && !made.is_ignored();
        let after = |duration| {
            let exact = made.now + TimeDelta::from_std(duration).unwrap();
            // Only a remaining time may be shorter than a second.
            let is_shared = duration >= Duration::from_secs(1);
            if is_shared && timeout.is_some_and(|timeout| timeout.keeps_actions) {
                exact.round_subsecs(0)
            } else {
                exact
            }
        };
        let expected = match due {
            None => None,
            Some(TimeoutDue::At(at)) => Some(at),
            Some(TimeoutDue::After(duration)) if has_begun => {
                let is_suspended = made.before.remaining.is_some();
                prop_assert!(is_suspended || made.invokes(&made.after().state));
                prop_assert!(made.before.deadline_at.is_none());
                Some(after(made.before.remaining.unwrap_or(duration)))
            }
            Some(TimeoutDue::After(_)) if made.is_suspended() || made.is_retried() => None,
            Some(TimeoutDue::After(duration)) if made.is_kept() => Some(after(duration)),
            Some(TimeoutDue::After(duration)) if made.is_moved() => {
                (!made.invokes(&made.after().state)).then(|| after(duration))
            }
            // It keeps running: neither staying nor ignoring changes it.
            Some(TimeoutDue::After(_)) => made.before.deadline_at,
        };
        prop_assert_eq!(made.after().deadline_at, expected);
        prop_assert!(!has_begun || expected.is_some());
        // It is set by the first start, so it cannot be missing either.
        let is_owed = matches!(due, Some(TimeoutDue::After(_))) && made.before.deadline_at.is_none();
        let cause = &made.stimulus.cause;
        if is_owed && !made.is_moved() && *cause == (Cause::Began { visit: made.before.visit }) {
            prop_assert!(has_begun);
        }
        if let (Cause::Deadline { .. }, true) = (cause, made.is_moved()) {
            prop_assert!(made.before.deadline_at.is_some_and(|at| at <= made.now));
        }
        Ok(())
    });
}

#[test]
fn a_retry_invokes_the_action_and_those_after_it_and_takes_back_a_running_time_limit() {
    let retried = std::cell::Cell::new(0);
    in_every_decision(false, |made| {
        let Cause::Retry { visit, action } = &made.stimulus.cause else { return Ok(()) };
        let state = &made.definition.states[&made.before.state];
        let position = state.invoke.iter().position(|invoked| invoked.action == *action);
        let is_timed =
            matches!(state.timeout.as_ref().map(|timeout| timeout.due), Some(TimeoutDue::After(_)));
        let waits = is_timed && made.before.deadline_at.is_none();
        let is_due = *visit == made.before.visit && position.is_some() && !waits;
        prop_assert_eq!(!made.is_ignored(), is_due);
        if let Some(position) = position.filter(|_| is_due) {
            retried.set(retried.get() + 1);
            let actions = state.invoke[position..].to_vec();
            prop_assert_eq!(&made.decision.effects, &[Effect::Invoke { visit: *visit, actions }]);
            let deadline_at = made.before.deadline_at.filter(|_| !is_timed);
            prop_assert_eq!(made.after(), &Instance { deadline_at, ..made.before.clone() });
        }
        Ok(())
    });
    assert!(retried.get() > 10, "only {} were retried", retried.get());
}

#[test]
fn a_suspension_only_pauses_the_time_limit_and_the_rest_of_it_resumes() {
    in_every_decision(false, |made| {
        let (before, after) = (made.before, made.after());
        let due = made.definition.states[&after.state].timeout.as_ref().map(|timeout| timeout.due);
        if made.is_suspended() {
            let stopped = before.deadline_at.filter(|_| matches!(due, Some(TimeoutDue::After(_))));
            let left = stopped.map(|at| (at - made.now).to_std().unwrap_or_default());
            prop_assert_eq!(&made.decision.outcome, &Outcome::Stayed);
            prop_assert!(made.decision.effects.is_empty());
            let expected = Instance {
                deadline_at: before.deadline_at.filter(|_| stopped.is_none()),
                remaining: left.or(before.remaining),
                ..before.clone()
            };
            prop_assert_eq!(after, &expected);
        } else if made.is_moved() {
            prop_assert_eq!(after.remaining, None);
        } else if before.remaining.is_some() && after.remaining != before.remaining {
            // It runs from the start of the action, and from nothing else.
            let has_begun = matches!(made.stimulus.cause, Cause::Began { .. });
            prop_assert!(has_begun && after.deadline_at.is_some());
        } else {
            prop_assert_eq!(after.remaining, before.remaining);
        }
        prop_assert!(after.remaining.is_none() || after.deadline_at.is_none());
        Ok(())
    });
}

#[test]
fn counters_only_grow_between_clears() {
    in_every_decision(true, |made| {
        for (counter, before) in &made.before.counters {
            let after = made.after().counters.get(counter).copied().unwrap_or(0);
            prop_assert!(after >= *before, "{}: {} became {}", counter, before, after);
        }
        Ok(())
    });
}

#[test]
fn a_visit_is_an_entry_and_every_entry_is_a_visit() {
    in_every_decision(true, |made| {
        let entries = CounterName::new("entries").unwrap();
        let counted = made.after().counters.get(&entries).copied().unwrap_or(0);
        prop_assert_eq!(made.after().visit.0, counted);
        prop_assert_eq!(made.is_moved(), made.after().visit > made.before.visit);
        if made.is_moved() {
            let is_elsewhere = made.after().state != made.before.state;
            prop_assert_eq!(made.after().since, if is_elsewhere { made.now } else { made.before.since });
            let outcome = Outcome::Moved { from: made.before.state.clone(), to: made.after().state.clone() };
            prop_assert_eq!(&made.decision.outcome, &outcome);
        } else {
            prop_assert_eq!(&made.after().state, &made.before.state);
            prop_assert_eq!(made.after().since, made.before.since);
        }
        Ok(())
    });
}

#[test]
fn leaving_cancels_and_entering_starts_what_the_states_invoke() {
    in_every_decision(false, |made| {
        let mut expected = Vec::new();
        if made.is_retried() {
            // What it invokes has a property of its own.
            return Ok(());
        }
        if made.is_kept() {
            let actions = made.definition.states[&made.after().state].invoke.clone();
            expected.push(Effect::Keep { visit: made.after().visit, actions });
        } else if made.is_moved() {
            if made.before.visit > Visit(0) {
                expected.push(Effect::Cancel { visit: made.before.visit });
            }
            if made.invokes(&made.after().state) {
                let actions = made.definition.states[&made.after().state].invoke.clone();
                expected.push(Effect::Invoke { visit: made.after().visit, actions });
            }
        }
        prop_assert_eq!(&made.decision.effects, &expected);
        prop_assert_eq!(made.decision.keeps_actions(), made.is_kept());
        Ok(())
    });
}

#[test]
fn only_a_cause_that_can_invoke_actions_invokes_some() {
    let told_apart = RefCell::new([0_u32; 2]);
    in_every_decision(false, |made| {
        let can_invoke = can_invoke(made.definition, &made.before.state, &made.stimulus.cause);
        told_apart.borrow_mut()[usize::from(can_invoke)] += 1;
        let invokes = made.decision.effects.iter().any(|effect| match effect {
            Effect::Invoke { actions, .. } | Effect::Keep { actions, .. } => !actions.is_empty(),
            Effect::Cancel { .. } | Effect::Hold { .. } | Effect::Raise(_) => false,
        });
        prop_assert!(can_invoke || !invokes);
        Ok(())
    });
    let told_apart = told_apart.into_inner();
    assert!(told_apart.iter().all(|count| *count > 100), "{told_apart:?}");
}

#[test]
fn a_state_that_keeps_its_actions_is_otherwise_entered_like_any_state() {
    in_every_decision(false, |made| {
        if made.is_kept() {
            let text = made.text.replace(KEEP, "");
            let anew = decide(
                &load_unproved(&text, &vocabulary(&["a", "b"])).unwrap(),
                made.before,
                made.stimulus,
                made.now,
            );
            prop_assert!(!anew.keeps_actions());
            let mut expected = anew.instance;
            expected.deadline_at = made.after().deadline_at;
            prop_assert_eq!((made.after(), &made.decision.outcome), (&expected, &anew.outcome));
        }
        Ok(())
    });
}

#[test]
fn the_runs_see_every_kind_of_answer() {
    let seen: RefCell<BTreeMap<String, usize>> = RefCell::default();
    in_every_decision(false, |made| {
        let cause = format!("{:?}", made.stimulus.cause);
        let outcome = format!("{:?}", made.decision.outcome);
        let word = |text: &str| text.split([' ', '{']).next().unwrap_or_default().to_owned();
        let outcome = if made.is_kept() { "Kept".to_owned() } else { outcome };
        *seen.borrow_mut().entry(format!("{} {}", word(&cause), word(&outcome))).or_default() += 1;
        Ok(())
    });
    let seen = seen.into_inner();
    for expected in [
        "Began Ignored(NotDue)",
        "Began Ignored(Stale",
        "Began Stayed",
        "Created Ignored(Stale",
        "Created Moved",
        "Deadline Ignored(Future",
        "Deadline Ignored(NotDue)",
        "Deadline Ignored(Stale",
        "Deadline Kept",
        "Deadline Moved",
        "Event Ignored(Future",
        "Event Ignored(MissingArgument",
        "Event Ignored(NoGuardHolds",
        "Event Ignored(NotAllowed",
        "Event Ignored(NotHandled",
        "Event Ignored(Refused",
        "Event Ignored(Stale",
        "Event Moved",
        "Event Stayed",
        "Force Ignored(NoState",
        "Force Ignored(Unexpected",
        "Force Moved",
        "Suspend Ignored(Future",
        "Suspend Ignored(Stale",
        "Suspend Stayed",
    ] {
        assert!(seen.get(expected).is_some_and(|times| *times >= 10), "{expected}: {seen:#?}");
    }
}
