//! Why an instance stands where it stands, in sentences for people.
//!
//! All of it is made from the definition and from what is recorded, so that it is right for any definition: whatever the
//! state, the first sentence says what is awaited, or what somebody may do.

mod linked;
pub mod words;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::decide::decide;
use super::definition::{Definition, Due, Kind, State, Timeout};
use super::explain::{Awaited, Then, explain, targets};
use super::instance::Instance;
use super::names::{EventName, StateName};
use super::sender::{Sender, Source};
use super::stimulus::{Cause, Ignored, Outcome, Stimulus};
use words::{list, since, span, time};

/// What is known of an instance besides itself and its definition.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Since when it is in its state, tries that its own time limit began anew included.
    pub since: DateTime<Utc>,
    /// What it still has to do, in order.
    pub doing: &'a [Doing],
    /// What an operator may ask for.
    pub requests: &'a [Request],
}

/// An action that is still to be done or being done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doing {
    /// Which action.
    pub action: String,
    /// When it began to run; nothing while it waits.
    pub began_at: Option<DateTime<Utc>>,
    /// What it holds or needs that others need as well.
    pub resource: Option<String>,
    /// How many instances hold that or come before it.
    pub ahead: i64,
    /// Who holds it now, where that is another instance.
    pub holder: Option<String>,
    /// When its turn may come, while it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_at: Option<DateTime<Utc>>,
    /// Whether it belongs to a state that has been left.
    pub is_leftover: bool,
    /// Since when it is suspended, because trouble that says nothing about the instance stands in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<DateTime<Utc>>,
    /// Why it is suspended; or, while it runs, why it does not do what people may expect of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Doing {
    /// Since when and why it is suspended, in words.
    fn suspended(&self, now: DateTime<Utc>) -> Option<String> {
        let since = since(self.suspended_at?, now);
        let why = self.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        Some(format!("{} is suspended {since} by trouble that says nothing about it{why}", self.action))
    }
}

/// Something that an operator may ask for in a state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    /// The event.
    pub event: EventName,
    /// What the definition says of it, or empty.
    pub about: String,
    /// The states that it may lead to.
    pub to: Vec<StateName>,
    /// The arguments that it must bring.
    pub needs: Vec<String>,
    /// Why it would be refused now, as far as that can be told without its arguments.
    pub refused: Option<String>,
}

/// What an operator may ask for now; `facts` is what guards may know of it besides.
#[must_use]
pub fn requests(
    definition: &Definition,
    instance: &Instance,
    facts: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Vec<Request> {
    let Some(state) = definition.states.get(&instance.state) else { return Vec::new() };
    let request = |event: &EventName| {
        let declared = definition.events.get(event).filter(|event| event.from.contains(&Sender::Operator))?;
        let mut to = state.on.get(event).map(|on| targets(on, &instance.state)).unwrap_or_default();
        let mut refused = None;
        // What the arguments would say is not known, and guards may look at them.
        if declared.args.is_empty() {
            let (source, args) = (Source::Operator, Map::new());
            let cause = Cause::Event { name: event.clone(), source, args, visit: None };
            let stimulus = Stimulus { facts: facts.clone(), ..Stimulus::new(cause) };
            let decision = decide(definition, instance, &stimulus, now);
            match decision.outcome {
                Outcome::Moved { to: there, .. } => to = vec![there],
                Outcome::Ignored(why @ (Ignored::Refused { .. } | Ignored::NoGuardHolds { .. })) => {
                    refused = Some(why.to_string());
                }
                Outcome::Stayed | Outcome::Ignored(_) => {}
            }
        }
        Some(Request {
            event: event.clone(),
            about: declared.about.clone(),
            to,
            needs: declared.args.iter().cloned().collect(),
            refused,
        })
    };
    state.on.keys().filter_map(request).collect()
}

/// The events that can still come: the end of an action that is over cannot.
#[must_use]
pub fn awaited(definition: &Definition, instance: &Instance, doing: &[Doing]) -> Vec<Awaited> {
    let mut awaited = explain(definition, instance).waits_for;
    awaited.retain(|awaited| awaited.from != [Sender::Action] || ends_one_of(&awaited.event, doing));
    // What is hoped for comes first.
    awaited.sort_by_key(|awaited| awaited.to.iter().any(|to| is_failure(definition, to)));
    awaited
}

fn ends_one_of(event: &EventName, doing: &[Doing]) -> bool {
    let name = event.as_str();
    let action = name.strip_suffix("-ok").or_else(|| name.strip_suffix("-failed"));
    doing.iter().any(|doing| !doing.is_leftover && Some(doing.action.as_str()) == action)
}

fn is_failure(definition: &Definition, state: &StateName) -> bool {
    definition.states.get(state).is_some_and(|state| state.kind == Kind::Failed)
}

/// Says in sentences why `instance` stands where it stands at `now`: the first says what is awaited or what somebody may
/// do, whatever the state; more follow where there is more to say.
#[must_use]
pub fn why(
    definition: &Definition,
    instance: &Instance,
    circumstances: Circumstances<'_>,
    now: DateTime<Utc>,
) -> Vec<String> {
    let Circumstances { since, doing, requests } = circumstances;
    let Some(state) = definition.states.get(&instance.state) else {
        return vec![format!(
            "Waits for a forced move: the definition in force has no state {}, so nothing else moves it.",
            instance.state
        )];
    };
    let own: Vec<&Doing> = doing.iter().filter(|doing| !doing.is_leftover).collect();
    let awaited = awaited(definition, instance, doing);
    let then = explain(definition, instance).then;
    let story = Story { instance, state, since, own, awaited, then, requests, now };
    let mut sentences = vec![story.main()];
    if state.kind != Kind::Failed {
        sentences
            .extend(story.failure().map(|failure| format!("The last failure that was told: {failure}.")));
    }
    sentences.extend(doing.iter().filter(|doing| doing.is_leftover).map(|doing| story.leftover(doing)));
    sentences.extend(story.operator());
    sentences.extend(linked::sentences(instance, state));
    sentences.extend(refused(requests));
    sentences
}

/// What there is to tell.
struct Story<'a> {
    instance: &'a Instance,
    state: &'a State,
    since: DateTime<Utc>,
    own: Vec<&'a Doing>,
    awaited: Vec<Awaited>,
    then: Option<Then>,
    requests: &'a [Request],
    now: DateTime<Utc>,
}

impl Story<'_> {
    /// What is awaited, or who may do what.
    fn main(&self) -> String {
        let clauses = match self.state.kind {
            Kind::Working => [Some(self.work()), self.clock(), None, None],
            Kind::Resting => {
                [Some(self.rest("Rests")), Some(self.going_on()), self.clock(), Some(may_ask(self.requests))]
            }
            Kind::Failed => {
                let failure =
                    self.failure().map(|failure| format!("; failure: {failure}")).unwrap_or_default();
                let rest = format!("{}{failure}", self.rest("A person has to look,"));
                [Some(rest), Some(self.going_on()), self.clock(), Some(may_ask(self.requests))]
            }
            Kind::Final => [Some(self.rest("Has come to its end")), None, None, Some(may_ask(self.requests))],
        };
        format!("{}.", clauses.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }

    fn since(&self) -> String {
        let anew = self.instance.entered_at > self.since && self.state.kind == Kind::Working;
        if !anew {
            return since(self.since, self.now);
        }
        let (at, ago) = (time(self.since, self.now), span(self.now - self.since));
        format!("since {at} ({ago}; this try since {})", time(self.instance.entered_at, self.now))
    }

    fn rest(&self, verb: &str) -> String {
        match self.state.about.as_str() {
            "" => format!("{verb} {}", self.since()),
            about => format!("{verb} {}: {about}", self.since()),
        }
    }

    /// What is under way in a state of work, and what is awaited.
    fn work(&self) -> String {
        let since = self.since();
        let events = self.events();
        let named: Vec<&str> = self.own.iter().map(|doing| doing.action.as_str()).collect();
        let goes_on = if events.is_empty() { String::new() } else { format!("; it waits for {events}") };
        let Some(first) = self.own.first() else { return self.wait(&since, &events) };
        if let Some(running) = self.own.iter().find(|doing| doing.began_at.is_some()) {
            let at = running.resource.as_ref().map(|resource| format!(" at {resource}")).unwrap_or_default();
            let began = words::since(running.began_at.unwrap_or(self.now), self.now);
            let is_new = running.began_at.is_some_and(|at| (at - self.since).num_seconds() == 0);
            let here = if is_new { String::new() } else { format!(", and is here {since}") };
            let but = running.reason.as_ref().map(|reason| format!(", but {reason}")).unwrap_or_default();
            return format!("Carries out {}{at} {began}{but}{here}{goes_on}", running.action);
        }
        if let Some(suspended) = first.suspended(self.now) {
            return format!("Waits {since}: {suspended}; it is begun anew when that is over{goes_on}");
        }
        let named = list(&named, "and");
        match (&first.resource, first.ahead) {
            (Some(resource), ahead @ 1..) => {
                let others = if ahead == 1 { "1 other".to_owned() } else { format!("{ahead} others") };
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
    fn wait(&self, since: &str, events: &str) -> String {
        if !events.is_empty() {
            return format!("Waits {since} for {events}");
        }
        let to: Vec<StateName> = targets(&self.state.always, &self.instance.state);
        let to: Vec<&str> = to.iter().map(StateName::as_str).collect();
        if self.state.always.iter().any(|transition| transition.guard.is_none()) {
            return format!("Goes on to {} at once; it is here {since}", list(&to, "or"));
        }
        let over = if self.state.invoke.is_empty() { "" } else { ": its actions are over without success" };
        if self.then.is_some() && self.instance.deadline_at.is_some() {
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
    fn events(&self) -> String {
        let from = |is_sender: fn(&Sender) -> bool, whom: &str| {
            let of = |awaited: &&Awaited| {
                awaited.from.iter().find(|from| **from != Sender::Operator).is_some_and(is_sender)
            };
            let events: Vec<&str> = self.awaited.iter().filter(of).map(|one| one.event.as_str()).collect();
            (!events.is_empty()).then(|| format!("{} from {whom}", list(&events, "or")))
        };
        let action = if self.own.len() == 1 { "its action" } else { "its actions" };
        let itself = format!("the {}", self.instance.machine);
        let all: Vec<String> = from(|sender| matches!(sender, Sender::Face(_)), &itself)
            .into_iter()
            .chain(linked::awaited(self.instance, &self.awaited))
            .chain(from(|sender| *sender == Sender::Action, action))
            .collect();
        list(&all, "or")
    }

    /// What goes on where nothing has to end.
    fn going_on(&self) -> String {
        if self.own.is_empty() && self.awaited.is_empty() {
            return "nothing is under way".to_owned();
        }
        let doing = self.own.iter().map(|doing| match doing.began_at {
            Some(began_at) => {
                let but = doing.reason.as_ref().map(|reason| format!(", but {reason}")).unwrap_or_default();
                format!("{} goes on since {}{but}", doing.action, time(began_at, self.now))
            }
            None => {
                doing.suspended(self.now).unwrap_or_else(|| format!("{} is about to begin", doing.action))
            }
        });
        let leads = self.awaited.iter().map(|awaited| {
            let to: Vec<&str> = awaited.to.iter().map(StateName::as_str).collect();
            format!("{} would lead to {}", awaited.event, list(&to, "or"))
        });
        doing.chain(leads).collect::<Vec<_>>().join("; ")
    }

    /// What the state's time limit does, and when.
    fn clock(&self) -> Option<String> {
        let (Some(then), Some(timeout)) = (&self.then, &self.state.timeout) else {
            let at = self.instance.deadline_at?;
            return Some(format!(
                "its time until {} is of an earlier definition and ends nothing",
                time(at, self.now)
            ));
        };
        let goes = goes(then, timeout, &self.instance.state);
        Some(match (self.instance.deadline_at, timeout.due) {
            (Some(at), _) if at > self.now => {
                format!("at {} (in {}) {goes}", time(at, self.now), span(at - self.now))
            }
            (Some(at), _) => format!("its time passed at {}, and at any moment {goes}", time(at, self.now)),
            (None, Due::After(_)) if self.instance.remaining.is_some() => {
                let left = self.instance.remaining.unwrap_or_default();
                let left = TimeDelta::from_std(left).unwrap_or_default();
                format!("its time stands still with {} left; once it has passed {goes}", span(left))
            }
            (None, Due::After(after)) => {
                let after = humantime::format_duration(after);
                let begun = if self.own.iter().all(|doing| doing.began_at.is_none()) && !self.own.is_empty() {
                    "has not begun to run"
                } else {
                    "does not run"
                };
                format!("its time, {after}, {begun}; once it has passed {goes}")
            }
            (None, Due::At(at)) => format!("from {} on {goes}", time(at, self.now)),
        })
    }

    /// The last reason that was told for a failure.
    fn failure(&self) -> Option<&str> {
        self.instance.data.get("failure")?.as_str()
    }

    fn leftover(&self, doing: &Doing) -> String {
        match doing.began_at {
            Some(began_at) => {
                format!("Its earlier {} still runs, {}.", doing.action, since(began_at, self.now))
            }
            None => format!("What is left of earlier work, {}, is still to be carried out.", doing.action),
        }
    }

    /// What an operator may do meanwhile, where the first sentence does not say so.
    fn operator(&self) -> Option<String> {
        let is_said = self.state.kind != Kind::Working;
        (!is_said).then(|| format!("Meanwhile {}.", may_ask(self.requests)))
    }
}

/// What happens when the time of the state `here` passes.
fn goes(then: &Then, timeout: &Timeout, here: &StateName) -> String {
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
fn may_ask(requests: &[Request]) -> String {
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

/// What an operator may ask for in this state, but not now, and why.
fn refused(requests: &[Request]) -> Option<String> {
    let reason = |request: &Request| Some(format!("{} ({})", request.event, request.refused.as_ref()?));
    let refused: Vec<String> = requests.iter().filter_map(reason).collect();
    (!refused.is_empty()).then(|| format!("Refused now: {}.", refused.join(", ")))
}

#[cfg(test)]
mod tests;
