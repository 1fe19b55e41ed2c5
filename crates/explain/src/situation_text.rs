//! The clauses of the sentences about an instance.

use chrono::{DateTime, TimeDelta, Utc};
use machine::{Instance, Sender, State, StateKind, StateName, Timeout, TimeoutDue};

use crate::explanation::{AwaitedEvent, TimeoutConsequence};
use crate::link_sentences;
use crate::pending_action::PendingAction;
use crate::requests::PossibleRequest;
use crate::targets::targets;
use formatting::{count, elapsed, list, since, time};

/// What the sentences about an instance are made from.
pub(crate) struct SituationText<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) state: &'a State,
    pub(crate) entered_at: DateTime<Utc>,
    pub(crate) actions: Vec<&'a PendingAction>,
    pub(crate) awaited: Vec<AwaitedEvent>,
    pub(crate) timeout_consequence: Option<TimeoutConsequence>,
    pub(crate) requests: &'a [PossibleRequest],
    pub(crate) now: DateTime<Utc>,
}

impl SituationText<'_> {
    /// Says what the instance waits for, or what an operator can do.
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
                let rest = format!("{}{failure}", self.rest_clause("Needs an operator"));
                [
                    Some(rest),
                    Some(self.activity_clause()),
                    self.timeout_clause(),
                    Some(operator_options(self.requests)),
                ]
            }
            StateKind::Final => {
                [Some(self.rest_clause("Finished")), None, None, Some(operator_options(self.requests))]
            }
        };
        format!("{}.", clauses.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }

    fn since_clause(&self) -> String {
        let is_reentered = self.entered_at > self.instance.since && self.state.kind == StateKind::Working;
        if !is_reentered {
            return since(self.instance.since, self.now);
        }
        let (at, ago) = (time(self.instance.since, self.now), elapsed(self.now - self.instance.since));
        format!("since {at} ({ago}; this try since {})", time(self.entered_at, self.now))
    }

    fn rest_clause(&self, verb: &str) -> String {
        match self.state.about.as_str() {
            "" => format!("{verb} {}", self.since_clause()),
            about => format!("{verb} {}: {about}", self.since_clause()),
        }
    }

    /// Says what runs in a working state, and what is awaited.
    fn work_clause(&self) -> String {
        let since = self.since_clause();
        let events = self.awaited_events_clause();
        let named: Vec<&str> = self.actions.iter().map(|action| action.action.as_str()).collect();
        let awaits = if events.is_empty() { String::new() } else { format!("; it waits for {events}") };
        let Some(first) = self.actions.first() else { return self.wait_clause(&since, &events) };
        if let Some(running) = self.actions.iter().find(|action| action.started_at.is_some()) {
            let at = running.resource.as_ref().map(|resource| format!(" at {resource}")).unwrap_or_default();
            let started = formatting::since(running.started_at.unwrap_or(self.now), self.now);
            let is_new = running.started_at.is_some_and(|at| (at - self.instance.since).num_seconds() == 0);
            let entered = if is_new { String::new() } else { format!(", in this state {since}") };
            let but = running.reason.as_ref().map(|reason| format!(", but {reason}")).unwrap_or_default();
            return format!("Runs {}{at} {started}{but}{entered}{awaits}", running.action);
        }
        if let Some(incident) = first.incident_text(self.instance.machine.as_str(), self.now) {
            return format!("Waits {since}: {incident}{awaits}");
        }
        if let Some(suspended) = first.suspension_text(self.now) {
            return format!(
                "Waits {since}: {suspended}; it is started again when the fault is cleared{awaits}"
            );
        }
        let named = list(&named, "and");
        match (&first.resource, first.requests_ahead) {
            (Some(resource), ahead @ 1..) => {
                let ahead = count(ahead, "request");
                let holder = first.holder.as_ref().map(|holder| format!(" ({holder} holds it now)"));
                let holder = holder.unwrap_or_default();
                let expected = first.expected_at.filter(|at| *at > self.now);
                let expected = expected.map(|at| format!(", expected at {}", time(at, self.now)));
                let expected = expected.unwrap_or_default();
                format!(
                    "Waits {since} for resource {resource}, {ahead} ahead{holder}{expected}, to run {named}{awaits}"
                )
            }
            (Some(resource), _) => {
                format!("Is next in the queue of {resource}, {since}, to run {named}{awaits}")
            }
            (None, _) => format!("Is about to run {named}, {since}{awaits}"),
        }
    }

    /// Says what is awaited where no action is open.
    fn wait_clause(&self, since: &str, events: &str) -> String {
        if !events.is_empty() {
            return format!("Waits {since} for {events}");
        }
        let to: Vec<StateName> = targets(&self.state.always, &self.instance.state);
        let to: Vec<&str> = to.iter().map(StateName::as_str).collect();
        if self.state.always.iter().any(|transition| transition.guard.is_none()) {
            return format!("Goes on to {} at once; in this state {since}", list(&to, "or"));
        }
        let failed = if self.state.invoke.is_empty() { "" } else { ": its actions ended without success" };
        if self.timeout_consequence.is_some() && self.instance.deadline_at.is_some() {
            return format!("Waits {since} for its deadline{failed}");
        }
        if !to.is_empty() {
            return format!("Waits {since} for the condition of going on to {}", list(&to, "or"));
        }
        if self.requests.iter().any(|request| request.refusal_reason.is_none()) {
            return format!("Waits {since} for an operator{failed}");
        }
        format!("Waits {since} for a forced move{failed}: the definition has no other way out of this state")
    }

    /// Lists the awaited events by sender.
    fn awaited_events_clause(&self) -> String {
        let from = |is_sender: fn(&Sender) -> bool, sender: &str| {
            let of = |awaited: &&AwaitedEvent| {
                awaited.senders.iter().find(|sender| **sender != Sender::Operator).is_some_and(is_sender)
            };
            let events: Vec<&str> =
                self.awaited.iter().filter(of).map(|awaited| awaited.event.as_str()).collect();
            (!events.is_empty()).then(|| format!("{} from {sender}", list(&events, "or")))
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

    /// Says what runs in a state that does not wait for its actions.
    fn activity_clause(&self) -> String {
        if self.actions.is_empty() && self.awaited.is_empty() {
            return "nothing is under way".to_owned();
        }
        let running = self.actions.iter().map(|action| match action.started_at {
            Some(started_at) => {
                let but = action.reason.as_ref().map(|reason| format!(", but {reason}")).unwrap_or_default();
                format!("{} runs since {}{but}", action.action, time(started_at, self.now))
            }
            None => action
                .incident_text(self.instance.machine.as_str(), self.now)
                .or_else(|| action.suspension_text(self.now))
                .unwrap_or_else(|| format!("{} is about to start", action.action)),
        });
        let leads = self.awaited.iter().map(|awaited| {
            let targets: Vec<&str> = awaited.targets.iter().map(StateName::as_str).collect();
            format!("{} would lead to {}", awaited.event, list(&targets, "or"))
        });
        running.chain(leads).collect::<Vec<_>>().join("; ")
    }

    /// Says what the state's timeout leads to, and when.
    fn timeout_clause(&self) -> Option<String> {
        let (Some(consequence), Some(timeout)) = (&self.timeout_consequence, &self.state.timeout) else {
            let at = self.instance.deadline_at?;
            return Some(format!(
                "its deadline {} belongs to an earlier definition and is ignored",
                time(at, self.now)
            ));
        };
        let goes = timeout_target_clause(consequence, timeout, &self.instance.state);
        Some(match (self.instance.deadline_at, timeout.due) {
            (Some(at), _) if at > self.now => {
                format!("at {} (in {}) {goes}", time(at, self.now), elapsed(at - self.now))
            }
            (Some(at), _) => format!("its deadline passed at {}; any moment now {goes}", time(at, self.now)),
            (None, TimeoutDue::After(_)) if self.instance.remaining.is_some() => {
                let left = self.instance.remaining.unwrap_or_default();
                let left = TimeDelta::from_std(left).unwrap_or_default();
                format!("its timeout is paused with {} left; when it passes, {goes}", elapsed(left))
            }
            (None, TimeoutDue::After(after)) => {
                let after = formatting::duration(after);
                format!("its timeout of {after} has not started; when it passes, {goes}")
            }
            (None, TimeoutDue::At(at)) => format!("after {} {goes}", time(at, self.now)),
        })
    }

    /// Gives the last recorded reason of a failure.
    pub(crate) fn failure_reason(&self) -> Option<&str> {
        self.instance.data.get("failure")?.as_str()
    }

    /// Says what is still to be undone, and what that waits for.
    pub(crate) fn compensation_sentence(&self, action: &PendingAction) -> String {
        let progress = match action.started_at {
            Some(started_at) => format!("{} runs, {}", action.action, since(started_at, self.now)),
            None => action.compensation_wait_text(self.now),
        };
        format!("An interrupted action has left something to undo: {progress}.")
    }

    pub(crate) fn leftover_sentence(&self, action: &PendingAction) -> String {
        match action.started_at {
            Some(started_at) => {
                format!("Its earlier {} still runs, {}.", action.action, since(started_at, self.now))
            }
            None => format!("The action {} of an earlier state is still to be run.", action.action),
        }
    }

    /// Says what an operator can do meanwhile, where the first sentence does not.
    pub(crate) fn operator_sentence(&self) -> Option<String> {
        let is_said = self.state.kind != StateKind::Working;
        (!is_said).then(|| format!("Meanwhile {}.", operator_options(self.requests)))
    }
}

/// Says what happens when the timeout of the state `here` passes.
fn timeout_target_clause(consequence: &TimeoutConsequence, timeout: &Timeout, here: &StateName) -> String {
    let goes = match &consequence.to {
        to if to == here && timeout.keeps_actions => "its timeout starts again".to_owned(),
        to if to == here => format!("it tries {to} again"),
        to => format!("it goes to {to}"),
    };
    let TimeoutConsequence { retries, max_retries, retries_left, exceeded_to, .. } = consequence;
    match (retries, max_retries, retries_left, exceeded_to) {
        (Some(_), Some(_), Some(0), _) => format!("{goes}: no tries left"),
        (Some(retries), Some(max), Some(left), Some(exceeded)) => {
            let number = retries.saturating_add(1);
            let after =
                if *left == 1 { "the last".to_owned() } else { format!("{} left after it", left - 1) };
            format!("{goes} (try {number} of {max}, {after}), in the end to {exceeded}")
        }
        _ => goes,
    }
}

/// Says what an operator can do.
fn operator_options(requests: &[PossibleRequest]) -> String {
    let taken: Vec<&str> = requests
        .iter()
        .filter(|request| request.refusal_reason.is_none())
        .map(|request| request.event.as_str())
        .collect();
    if taken.is_empty() {
        return "an operator may only move it by force".to_owned();
    }
    format!("an operator may ask for {}, or move it by force", list(&taken, "or"))
}
