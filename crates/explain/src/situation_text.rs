//! What there is to tell of an instance, and how it is told.

use chrono::{DateTime, TimeDelta, Utc};
use machine::{Instance, Sender, State, StateKind, StateName, Timeout, TimeoutDue};

use crate::explanation::{AwaitedEvent, TimeoutConsequence};
use crate::link_sentences;
use crate::pending_action::PendingAction;
use crate::requests::PossibleRequest;
use crate::targets::targets;
use formatting::{count, elapsed, list, since, time};

/// What there is to tell.
pub(crate) struct SituationText<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) state: &'a State,
    pub(crate) since: DateTime<Utc>,
    pub(crate) actions: Vec<&'a PendingAction>,
    pub(crate) awaited: Vec<AwaitedEvent>,
    pub(crate) timeout_consequence: Option<TimeoutConsequence>,
    pub(crate) requests: &'a [PossibleRequest],
    pub(crate) now: DateTime<Utc>,
}

impl SituationText<'_> {
    /// What is awaited, or who may do what.
    pub(crate) fn main_sentence(&self) -> String {
        let clauses = match self.state.kind {
            StateKind::Working => [Some(self.work_clause()), self.timeout_clause(), None, None],
            StateKind::Resting => [
                Some(self.rest_clause("Rests")),
                Some(self.activity_clause()),
                self.timeout_clause(),
                Some(operator_options(self.requests)),
            ],
            StateKind::Failed => {
                let failure =
                    self.failure_reason().map(|failure| format!("; failure: {failure}")).unwrap_or_default();
                let rest = format!("{}{failure}", self.rest_clause("A person has to look,"));
                [
                    Some(rest),
                    Some(self.activity_clause()),
                    self.timeout_clause(),
                    Some(operator_options(self.requests)),
                ]
            }
            StateKind::Final => [
                Some(self.rest_clause("Has come to its end")),
                None,
                None,
                Some(operator_options(self.requests)),
            ],
        };
        format!("{}.", clauses.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }

    fn since_clause(&self) -> String {
        let anew = self.instance.entered_at > self.since && self.state.kind == StateKind::Working;
        if !anew {
            return since(self.since, self.now);
        }
        let (at, ago) = (time(self.since, self.now), elapsed(self.now - self.since));
        format!("since {at} ({ago}; this try since {})", time(self.instance.entered_at, self.now))
    }

    fn rest_clause(&self, verb: &str) -> String {
        match self.state.about.as_str() {
            "" => format!("{verb} {}", self.since_clause()),
            about => format!("{verb} {}: {about}", self.since_clause()),
        }
    }

    /// What is under way in a state of work, and what is awaited.
    fn work_clause(&self) -> String {
        let since = self.since_clause();
        let events = self.awaited_events_clause();
        let named: Vec<&str> = self.actions.iter().map(|doing| doing.action.as_str()).collect();
        let goes_on = if events.is_empty() { String::new() } else { format!("; it waits for {events}") };
        let Some(first) = self.actions.first() else { return self.wait_clause(&since, &events) };
        if let Some(running) = self.actions.iter().find(|doing| doing.began_at.is_some()) {
            let at = running.resource.as_ref().map(|resource| format!(" at {resource}")).unwrap_or_default();
            let began = formatting::since(running.began_at.unwrap_or(self.now), self.now);
            let is_new = running.began_at.is_some_and(|at| (at - self.since).num_seconds() == 0);
            let here = if is_new { String::new() } else { format!(", and is here {since}") };
            let but = running.reason.as_ref().map(|reason| format!(", but {reason}")).unwrap_or_default();
            return format!("Carries out {}{at} {began}{but}{here}{goes_on}", running.action);
        }
        if let Some(suspended) = first.suspension_text(self.now) {
            return format!("Waits {since}: {suspended}; it is begun anew when that is over{goes_on}");
        }
        let named = list(&named, "and");
        match (&first.resource, first.ahead) {
            (Some(resource), ahead @ 1..) => {
                let others = count(ahead, "other");
                let holder = first.holder.as_ref().map(|holder| format!(" ({holder} holds it now)"));
                let holder = holder.unwrap_or_default();
                let turn = first.expected_at.filter(|at| *at > self.now);
                let turn = turn.map(|at| format!(", its turn expected at {}", time(at, self.now)));
                let turn = turn.unwrap_or_default();
                format!(
                    "Queues {since} for {resource}, behind {others}{holder}{turn}, to carry out {named}{goes_on}"
                )
            }
            (Some(resource), _) => {
                format!("Is next at {resource}, {since}, to carry out {named}{goes_on}")
            }
            (None, _) => format!("Is about to carry out {named}, {since}{goes_on}"),
        }
    }

    /// What is awaited where nothing is being done.
    fn wait_clause(&self, since: &str, events: &str) -> String {
        if !events.is_empty() {
            return format!("Waits {since} for {events}");
        }
        let to: Vec<StateName> = targets(&self.state.always, &self.instance.state);
        let to: Vec<&str> = to.iter().map(StateName::as_str).collect();
        if self.state.always.iter().any(|transition| transition.guard.is_none()) {
            return format!("Goes on to {} at once; it is here {since}", list(&to, "or"));
        }
        let over = if self.state.invoke.is_empty() { "" } else { ": its actions are over without success" };
        if self.timeout_consequence.is_some() && self.instance.deadline_at.is_some() {
            return format!("Waits {since} for its time to pass{over}");
        }
        if !to.is_empty() {
            return format!("Waits {since} for what lets it go on to {}", list(&to, "or"));
        }
        if self.requests.iter().any(|request| request.refused.is_none()) {
            return format!("Waits {since} for an operator{over}");
        }
        format!("Waits {since} for a forced move{over}: nothing else that the definition names can come")
    }

    /// The awaited events, by who sends them.
    fn awaited_events_clause(&self) -> String {
        let from = |is_sender: fn(&Sender) -> bool, whom: &str| {
            let of = |awaited: &&AwaitedEvent| {
                awaited.from.iter().find(|from| **from != Sender::Operator).is_some_and(is_sender)
            };
            let events: Vec<&str> = self.awaited.iter().filter(of).map(|one| one.event.as_str()).collect();
            (!events.is_empty()).then(|| format!("{} from {whom}", list(&events, "or")))
        };
        let action = if self.actions.len() == 1 { "its action" } else { "its actions" };
        let itself = format!("the {}", self.instance.machine);
        let all: Vec<String> = from(|sender| matches!(sender, Sender::Face(_)), &itself)
            .into_iter()
            .chain(link_sentences::awaited_from_links(self.instance, &self.awaited))
            .chain(from(|sender| *sender == Sender::Action, action))
            .collect();
        list(&all, "or")
    }

    /// What goes on where nothing has to end.
    fn activity_clause(&self) -> String {
        if self.actions.is_empty() && self.awaited.is_empty() {
            return "nothing is under way".to_owned();
        }
        let doing = self.actions.iter().map(|doing| match doing.began_at {
            Some(began_at) => {
                let but = doing.reason.as_ref().map(|reason| format!(", but {reason}")).unwrap_or_default();
                format!("{} goes on since {}{but}", doing.action, time(began_at, self.now))
            }
            None => doing
                .suspension_text(self.now)
                .unwrap_or_else(|| format!("{} is about to begin", doing.action)),
        });
        let leads = self.awaited.iter().map(|awaited| {
            let to: Vec<&str> = awaited.to.iter().map(StateName::as_str).collect();
            format!("{} would lead to {}", awaited.event, list(&to, "or"))
        });
        doing.chain(leads).collect::<Vec<_>>().join("; ")
    }

    /// What the state's time limit does, and when.
    fn timeout_clause(&self) -> Option<String> {
        let (Some(then), Some(timeout)) = (&self.timeout_consequence, &self.state.timeout) else {
            let at = self.instance.deadline_at?;
            return Some(format!(
                "its time until {} is of an earlier definition and ends nothing",
                time(at, self.now)
            ));
        };
        let goes = timeout_target_clause(then, timeout, &self.instance.state);
        Some(match (self.instance.deadline_at, timeout.due) {
            (Some(at), _) if at > self.now => {
                format!("at {} (in {}) {goes}", time(at, self.now), elapsed(at - self.now))
            }
            (Some(at), _) => format!("its time passed at {}, and at any moment {goes}", time(at, self.now)),
            (None, TimeoutDue::After(_)) if self.instance.remaining.is_some() => {
                let left = self.instance.remaining.unwrap_or_default();
                let left = TimeDelta::from_std(left).unwrap_or_default();
                format!("its time stands still with {} left; once it has passed {goes}", elapsed(left))
            }
            (None, TimeoutDue::After(after)) => {
                let after = formatting::duration(after);
                let begun = if self.actions.iter().all(|doing| doing.began_at.is_none())
                    && !self.actions.is_empty()
                {
                    "has not begun to run"
                } else {
                    "does not run"
                };
                format!("its time, {after}, {begun}; once it has passed {goes}")
            }
            (None, TimeoutDue::At(at)) => format!("from {} on {goes}", time(at, self.now)),
        })
    }

    /// The last reason that was told for a failure.
    pub(crate) fn failure_reason(&self) -> Option<&str> {
        self.instance.data.get("failure")?.as_str()
    }

    pub(crate) fn leftover_sentence(&self, doing: &PendingAction) -> String {
        match doing.began_at {
            Some(began_at) => {
                format!("Its earlier {} still runs, {}.", doing.action, since(began_at, self.now))
            }
            None => format!("What is left of earlier work, {}, is still to be carried out.", doing.action),
        }
    }

    /// What an operator may do meanwhile, where the first sentence does not say so.
    pub(crate) fn operator_sentence(&self) -> Option<String> {
        let is_said = self.state.kind != StateKind::Working;
        (!is_said).then(|| format!("Meanwhile {}.", operator_options(self.requests)))
    }
}

/// What happens when the time of the state `here` passes.
fn timeout_target_clause(then: &TimeoutConsequence, timeout: &Timeout, here: &StateName) -> String {
    let goes = match &then.to {
        to if to == here && timeout.keeps_actions => "its time begins anew".to_owned(),
        to if to == here => format!("it tries {to} again"),
        to => format!("it goes to {to}"),
    };
    match (then.count, then.most, then.left, &then.exceeded) {
        (Some(_), Some(_), Some(0), _) => format!("{goes}: no try is left"),
        (Some(count), Some(most), Some(left), Some(exceeded)) => {
            let number = count.saturating_add(1);
            let after = if left == 1 { "the last".to_owned() } else { format!("{} left after it", left - 1) };
            format!("{goes} (try {number} of {most}, {after}), in the end to {exceeded}")
        }
        _ => goes,
    }
}

/// What an operator may do.
fn operator_options(requests: &[PossibleRequest]) -> String {
    let taken: Vec<&str> = requests
        .iter()
        .filter(|request| request.refused.is_none())
        .map(|request| request.event.as_str())
        .collect();
    if taken.is_empty() {
        return "an operator may only move it by force".to_owned();
    }
    format!("an operator may ask for {}, or move it by force", list(&taken, "or"))
}
