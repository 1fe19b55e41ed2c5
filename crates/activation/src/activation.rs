//! Adjustment of existing instances when another definition of their machine is activated.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use machine::{CounterName, Definition, Instance, State, StateName, TimeoutDue};

/// How instances are carried over to another definition: by the names of their states, in the same visit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activation {
    /// The adjustment of instances in each old state. Instances in a state that is missing here are stranded.
    pub states: BTreeMap<StateName, StateActivation>,
    /// The new names of renamed counters: those of the limits of renamed states.
    pub counters: BTreeMap<CounterName, CounterName>,
}

/// The adjustment of instances in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateActivation {
    /// The new name of the state.
    pub to: StateName,
    /// The adjustment of their deadlines.
    pub deadline: DeadlineAdjustment,
}

/// The adjustment of a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlineAdjustment {
    /// The deadline stays.
    Keep,
    /// The deadline is removed.
    Disarm,
    /// The deadline is set to this time.
    At(DateTime<Utc>),
    /// The deadline is moved by this span, which may be negative. A deadline that waits for an action to begin keeps waiting.
    Shift(TimeDelta),
    /// A missing deadline is set to this span from now, unless it waits for an action to begin.
    Arm(TimeDelta),
}

impl Activation {
    /// Determines how instances of `old` are carried over to `new`; `old` is `None` where it can no longer be read.
    #[must_use]
    pub fn new(old: Option<&Definition>, new: &Definition) -> Self {
        let old_state = |state: &StateName| old.and_then(|old| old.states.get(state));
        let same = new.states.keys().map(|name| (name, name));
        let states = same.chain(&new.renamed).filter_map(|(from, to)| {
            let deadline = deadline_adjustment(old_state(from), new.states.get(to)?);
            Some((from.clone(), StateActivation { to: to.clone(), deadline }))
        });
        let counters = new.renamed.iter().filter_map(|(from, to)| {
            let old_counter = own_counter(from, old_state(from)?)?;
            let new_counter = own_counter(to, new.states.get(to)?)?;
            (!new.counters.contains(old_counter)).then(|| (old_counter.clone(), new_counter.clone()))
        });
        Self { states: states.collect(), counters: counters.collect() }
    }

    /// The states whose instances are renamed or get another deadline.
    pub fn changed(&self) -> impl Iterator<Item = (&StateName, &StateActivation)> {
        self.states
            .iter()
            .filter(|(from, carried)| **from != carried.to || carried.deadline != DeadlineAdjustment::Keep)
    }

    /// Moves `instance` to the state `to` with `deadline_at`, which the caller derived from the [`DeadlineAdjustment`], and
    /// renames its counters. The remaining time of a suspended instance is adjusted like its time limit.
    pub fn apply(&self, instance: &mut Instance, to: StateName, deadline_at: Option<DateTime<Utc>>) {
        instance.remaining = match self.states.get(&instance.state).map(|carried| carried.deadline) {
            Some(DeadlineAdjustment::Disarm | DeadlineAdjustment::At(_)) => None,
            Some(DeadlineAdjustment::Shift(by)) => instance.remaining.map(|left| shifted(left, by)),
            Some(DeadlineAdjustment::Keep | DeadlineAdjustment::Arm(_)) | None => instance.remaining,
        };
        instance.state = to;
        instance.deadline_at = deadline_at;
        let counters = std::mem::take(&mut instance.counters);
        for (counter, count) in counters {
            let counter = self.counters.get(&counter).cloned().unwrap_or(counter);
            // If two counters get the same name, the greater count is kept, so that a limit is not granted
            // twice.
            let sum = instance.counters.entry(counter).or_insert(count);
            *sum = count.max(*sum);
        }
    }
}

/// The counter of a state's limit, if it is named after the state.
fn own_counter<'a>(name: &StateName, state: &'a State) -> Option<&'a CounterName> {
    let limit = state.timeout.as_ref()?.limit.as_ref()?;
    (limit.counter.as_str() == name.as_str()).then_some(&limit.counter)
}

/// The adjustment of deadlines of instances whose state was `old`, if that is known, and is `new`.
fn deadline_adjustment(old: Option<&State>, new: &State) -> DeadlineAdjustment {
    let due = |state: &State| state.timeout.as_ref().map(|timeout| timeout.due);
    let Some(old) = old else {
        return match due(new) {
            Some(TimeoutDue::After(after)) => DeadlineAdjustment::Arm(delta(after)),
            Some(TimeoutDue::At(at)) => DeadlineAdjustment::At(at),
            None => DeadlineAdjustment::Keep,
        };
    };
    let keeps = |state: &State| state.timeout.as_ref().is_some_and(|timeout| timeout.keeps_actions);
    match (due(old), due(new)) {
        (before, after) if before == after => DeadlineAdjustment::Keep,
        // The state is soon re-entered by its own deadline, and usually has many instances.
        _ if keeps(old) && keeps(new) => DeadlineAdjustment::Keep,
        (_, None) => DeadlineAdjustment::Disarm,
        (_, Some(TimeoutDue::At(at))) => DeadlineAdjustment::At(at),
        (Some(TimeoutDue::After(before)), Some(TimeoutDue::After(after))) => {
            DeadlineAdjustment::Shift(delta(after) - delta(before))
        }
        (_, Some(TimeoutDue::After(after))) => DeadlineAdjustment::Arm(delta(after)),
    }
}

/// `left` moved by `by`, at least zero.
fn shifted(left: Duration, by: TimeDelta) -> Duration {
    (delta(left) + by).to_std().unwrap_or_default()
}

/// Converts a span; definitions limit durations to ten years.
fn delta(span: Duration) -> TimeDelta {
    TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use machine::load;
    use machine::testing::vocabulary;

    use super::*;

    fn definition(work: &str) -> Definition {
        let text = format!(
            "machine: m\ninitial: Rest\nevents:\n  go: {{ from: operator }}\n  done: {{ from: board }}\nstates:\n  \
             Rest:\n    about: nothing is to be done\n    resting: true\n    on: {{ go: Work }}\n  \
             Work:\n    about: work\n    {work}\n    on: {{ done: Rest }}\n",
        );
        load(&text, &vocabulary(&["poll"])).unwrap()
    }

    #[test]
    fn deadlines_move_with_the_time_limit() {
        let after = |time: &str| definition(&format!("timeout: {{ after: {time}, target: Rest }}"));
        let at = definition("timeout: { at: 2030-01-01T00:00:00Z, target: Rest }");
        let none = definition("resting: true");
        let kept = |time: &str| {
            let timeout = format!("timeout: {{ after: {time}, target: Work, keep: actions }}");
            definition(&format!(
                "resting: true\n    invoke: [poll]\n    left_to_deadline: [poll-failed]\n    {timeout}"
            ))
        };
        let time = "2030-01-01T00:00:00Z".parse().unwrap();
        for (old, new, expected) in [
            (&after("60s"), &after("60s"), DeadlineAdjustment::Keep),
            (&after("60s"), &after("90s"), DeadlineAdjustment::Shift(TimeDelta::seconds(30))),
            (&after("60s"), &after("20s"), DeadlineAdjustment::Shift(TimeDelta::seconds(-40))),
            (&after("60s"), &none, DeadlineAdjustment::Disarm),
            (&after("60s"), &at, DeadlineAdjustment::At(time)),
            (&none, &after("60s"), DeadlineAdjustment::Arm(TimeDelta::seconds(60))),
            (&at, &after("60s"), DeadlineAdjustment::Arm(TimeDelta::seconds(60))),
            (&none, &none, DeadlineAdjustment::Keep),
            (&kept("5m"), &kept("7m"), DeadlineAdjustment::Keep),
        ] {
            let activation = Activation::new(Some(old), new);
            assert_eq!(activation.states["Work"].deadline, expected, "{old:?} {new:?}");
        }
        assert_eq!(
            Activation::new(None, &after("60s")).states["Work"].deadline,
            DeadlineAdjustment::Arm(TimeDelta::seconds(60))
        );
    }
}
