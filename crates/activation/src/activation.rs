//! What becomes of instances in flight when another definition of their machine comes into force.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use machine::{CounterName, Definition, Instance, State, StateName, TimeoutDue};

/// How instances go on under another definition: in the same visit, by the names of their states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activation {
    /// What becomes of those in each state; those in a state that is not here are stranded.
    pub states: BTreeMap<StateName, StateActivation>,
    /// The counters that have another name: those of limits of states that have another name.
    pub counters: BTreeMap<CounterName, CounterName>,
}

/// What becomes of instances in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateActivation {
    /// What the state is called now.
    pub to: StateName,
    /// What becomes of their deadlines.
    pub deadline: DeadlineAdjustment,
}

/// What becomes of a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlineAdjustment {
    /// It stays as it is.
    Keep,
    /// There is none any more.
    Disarm,
    /// It is then.
    At(DateTime<Utc>),
    /// It is so much later, or earlier; one that waits for an action to begin goes on waiting.
    Shift(TimeDelta),
    /// Where there is none it runs from now, unless it waits for an action to begin.
    Arm(TimeDelta),
}

impl Activation {
    /// Says how instances go on that followed `old` (nothing, where it cannot be read any more).
    #[must_use]
    pub fn new(old: Option<&Definition>, new: &Definition) -> Self {
        let was = |state: &StateName| old.and_then(|old| old.states.get(state));
        let same = new.states.keys().map(|name| (name, name));
        let states = same.chain(&new.renamed).filter_map(|(from, to)| {
            let deadline = deadline_adjustment(was(from), new.states.get(to)?);
            Some((from.clone(), StateActivation { to: to.clone(), deadline }))
        });
        let counters = new.renamed.iter().filter_map(|(from, to)| {
            let counted = own_counter(from, was(from)?)?;
            let counts = own_counter(to, new.states.get(to)?)?;
            (!new.counters.contains(counted)).then(|| (counted.clone(), counts.clone()))
        });
        Self { states: states.collect(), counters: counters.collect() }
    }

    /// The states whose instances do not simply go on.
    pub fn changed(&self) -> impl Iterator<Item = (&StateName, &StateActivation)> {
        self.states
            .iter()
            .filter(|(from, carried)| **from != carried.to || carried.deadline != DeadlineAdjustment::Keep)
    }

    /// Gives what the counters of `instance` are called now their new names, and moves it on to `to` with `deadline_at`,
    /// which is what [`DeadlineAdjustment`] came to; what is left of a time limit that stands still moves as the limit did.
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
            // Where two come to have one name, the greater one counts: a limit is not to be had twice.
            let sum = instance.counters.entry(counter).or_insert(count);
            *sum = count.max(*sum);
        }
    }
}

/// The counter of a state's limit, where it has the state's name.
fn own_counter<'a>(name: &StateName, state: &'a State) -> Option<&'a CounterName> {
    let limit = state.timeout.as_ref()?.limit.as_ref()?;
    (limit.counter.as_str() == name.as_str()).then_some(&limit.counter)
}

/// What becomes of the deadlines of instances in a state that was `was`, where that is known, and is `is` now.
fn deadline_adjustment(was: Option<&State>, is: &State) -> DeadlineAdjustment {
    let due = |state: &State| state.timeout.as_ref().map(|timeout| timeout.due);
    let Some(was) = was else {
        return match due(is) {
            Some(TimeoutDue::After(after)) => DeadlineAdjustment::Arm(delta(after)),
            Some(TimeoutDue::At(at)) => DeadlineAdjustment::At(at),
            None => DeadlineAdjustment::Keep,
        };
    };
    let keeps = |state: &State| state.timeout.as_ref().is_some_and(|timeout| timeout.keeps_actions);
    match (due(was), due(is)) {
        (before, after) if before == after => DeadlineAdjustment::Keep,
        // It is entered anew before long by itself, and mostly there are many.
        _ if keeps(was) && keeps(is) => DeadlineAdjustment::Keep,
        (_, None) => DeadlineAdjustment::Disarm,
        (_, Some(TimeoutDue::At(at))) => DeadlineAdjustment::At(at),
        (Some(TimeoutDue::After(before)), Some(TimeoutDue::After(after))) => {
            DeadlineAdjustment::Shift(delta(after) - delta(before))
        }
        (_, Some(TimeoutDue::After(after))) => DeadlineAdjustment::Arm(delta(after)),
    }
}

/// So much more or less than `left`, and not less than nothing.
fn shifted(left: Duration, by: TimeDelta) -> Duration {
    (delta(left) + by).to_std().unwrap_or_default()
}

/// Definitions have no longer durations than ten years.
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
    fn deadlines_in_flight_move_as_the_time_limit_did() {
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
        for (was, is, expected) in [
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
            let activation = Activation::new(Some(was), is);
            assert_eq!(activation.states["Work"].deadline, expected, "{was:?} {is:?}");
        }
        assert_eq!(
            Activation::new(None, &after("60s")).states["Work"].deadline,
            DeadlineAdjustment::Arm(TimeDelta::seconds(60))
        );
    }
}
