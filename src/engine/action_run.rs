//! Carries a visit's actions out, one after the other, and brings their ends back as events.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::error::EngineError;
use super::face::SharedFactsByFace;
use super::handle::Engine;
use super::lease::WorkerIdentity;
use super::pending_update::PendingUpdate;
use super::pending_updates::PendingUpdates;
use super::retry_pause::pause_before_retry;
use super::step::ChainStep;
use super::work_item::{EndedRun, StartedRun, Submission};
use crate::actions::{ActionEnding, Evidence, Job, JobSubject, Trouble, UnfinishedAction};
use crate::machine::{Cause, Definition, EventName, EventSource, Visit};
use crate::store::DatabaseLife;
use crate::store::actions::{ActionStatus, LiveAction, RunningAction, StartableAction, Suspension};
use crate::store::claims::{Claim, Grant, GrantedUnits};
use crate::store::instances::{InstanceId, InstanceKey};

/// How often a rescue is tried that could not be carried out before: with a minute between two tries for the better part of a
/// day.
const MAX_COMPENSATION_TRIES: u32 = 1000;

/// What is decided on beside an instance when one of its actions begins or ends.
#[derive(Clone, Copy)]
pub(super) struct ActionContext<'a> {
    pub(super) engine: &'a Engine,
    pub(super) definition: &'a Definition,
    /// What the instance has to do.
    pub(super) live_actions: &'a [LiveAction],
    /// What instances have in common, where one of the actions needs it.
    pub(super) shared_facts: &'a SharedFactsByFace,
    pub(super) now: DateTime<Utc>,
}

/// Decides to begin an action, if it is still to be done, and lets the state's time limit begin to run where it is the
/// first of its visit.
pub(super) fn begin_action(
    context: ActionContext<'_>,
    draft: &mut PendingUpdate,
    startable: &StartableAction,
    life: DatabaseLife,
) -> Option<Box<StartedRun>> {
    let ActionContext { definition, live_actions: live, now, .. } = context;
    let action = startable.id;
    let next = live.iter().find(|live| live.action.id == action)?;
    if next.status != ActionStatus::Waiting {
        return None;
    }
    if next.is_cancelled {
        // Nobody wants it any more. (One of an earlier visit that is not cancelled is a rescue.)
        draft.delete_action(action);
        return None;
    }
    if live.iter().any(|other| other.is_before(next)) {
        return None;
    }
    let mut evidence = Map::from_iter([("action".to_owned(), Value::from(next.action.action.as_str()))]);
    let chosen = chosen_resources(&next.action, &startable.grant);
    if !chosen.is_empty() {
        evidence.insert("granted".to_owned(), Value::from(chosen));
    }
    // A rescue speaks for no visit: no time limit depends on it.
    if !next.action.is_compensation {
        let cause = Cause::Began { visit: draft.instance().visit };
        let began =
            Submission { evidence: Some(evidence), ..Submission::new(InstanceKey::Id(draft.id()), cause) };
        draft.decide(definition, &began, &SharedFactsByFace::default(), now);
    }
    Some(start_run(context, draft, next, startable.grant.clone(), life))
}

/// Takes an action for this process, in this life of the database, and gathers what its driver must know.
fn start_run(
    context: ActionContext<'_>,
    draft: &mut PendingUpdate,
    next: &LiveAction,
    grant: Grant,
    life: DatabaseLife,
) -> Box<StartedRun> {
    let ActionContext { engine, shared_facts: shared, .. } = context;
    let (chosen, granted) = (chosen_resources(&next.action, &grant), grant.units.clone());
    draft.start_action(next.action.id, grant);
    let hold = engine.inner.running.register(&next.action);
    let RunningAction { id, action, settings, visit, .. } = &next.action;
    let subject = JobSubject {
        machine: draft.instance().machine.clone(),
        name: draft.instance().name.clone(),
        state: draft.instance().state.clone(),
        visit: *visit,
    };
    let mut facts = draft.action_facts(shared);
    engine.inner.findings.add_facts(next.action.instance, &mut facts);
    if !chosen.is_empty() {
        facts.insert("granted".to_owned(), chosen.into());
    }
    let job = Job {
        // What makes up for an action is another one, which knows nothing of its settings.
        settings: if next.action.is_compensation { Map::new() } else { settings.clone() },
        attempts: next.attempts,
        findings: engine.finding_reporter(&next.action, life),
        ..Job::new(id.0, action.clone(), subject, facts)
    };
    Box::new(StartedRun { action: next.action.clone(), granted, job, guard: hold })
}

/// The resources that were chosen for an action where any of several would do.
fn chosen_resources(action: &RunningAction, grant: &Grant) -> Vec<String> {
    let claims = action.claims.iter().filter(|claim| claim.has_choice());
    let claims: Vec<&Claim> = claims.collect();
    // What a selector means is not in the row: of those claims all that states hold by their names was chosen.
    let is_of = |claim: &Claim, units: &GrantedUnits| match claim.select {
        Some(_) => claim.hold.is_some() && claim.hold == units.hold,
        None => claim.any_of.contains(&units.resource),
    };
    let has_choice = |units: &&GrantedUnits| claims.iter().any(|claim| is_of(claim, units));
    grant.units.iter().filter(has_choice).map(|units| units.resource.clone()).collect()
}

/// Decides on the event that the end of an action is, and takes the next of its visit.
///
/// `steps` is what was decided already on [`end_event`] it, where the instance may be linked.
pub(super) fn end_action(
    context: ActionContext<'_>,
    drafts: &mut PendingUpdates,
    id: InstanceId,
    ended: &EndedRun,
    steps: Option<Vec<ChainStep>>,
) -> Option<Box<StartedRun>> {
    let EndedRun { action, worker: by, result, token } = ended;
    // Where it was taken from this worker, whose lease ran out, others have it.
    let row =
        context.live_actions.iter().find(|live| live.action.id == action.id && live.worker == Some(by.id))?;
    if token.is_cancelled() && result.is_err() && !row.is_cancelled {
        // Stopped because this process stops, not because the state was left: whoever comes next does it again.
        return None;
    }
    let next = decide_after_end(context, drafts, id, (ended, row), steps);
    let draft = drafts.get_mut(id)?;
    let held_on: Vec<GrantedUnits> = draft.started_units().to_vec();
    draft.release(row.action.granted.iter().filter(|units| !held_on.contains(units)).cloned());
    next
}

/// Decides on what follows from the end of the action `row`.
fn decide_after_end(
    context: ActionContext<'_>,
    drafts: &mut PendingUpdates,
    id: InstanceId,
    (ended, row): (&EndedRun, &LiveAction),
    steps: Option<Vec<ChainStep>>,
) -> Option<Box<StartedRun>> {
    let ActionContext { engine, definition, live_actions: live, now, .. } = context;
    let draft = drafts.get_mut(id)?;
    let EndedRun { action, worker: by, result, token: _ } = ended;
    // What it left to be made up for does not go with it.
    if row.is_cancelled && action.claims.is_empty() && row.action.compensation.is_none() {
        draft.delete_action(action.id);
        return None;
    }
    if let Err(unfinished @ UnfinishedAction { kind: ActionEnding::Suspended { trouble, has_acted }, .. }) =
        result
    {
        suspend_action(definition, draft, row, unfinished, (trouble, *has_acted), now);
        return None;
    }
    let dark = find_unrestored(action, row.attempts, result);
    if result.is_ok() || dark.is_some() {
        // What an earlier one left to do is done, or left to this one.
        let is_settled = |rescue: &RunningAction| engine.kinds().settles(&action.action, &rescue.action);
        for other in live.iter().filter(|other| other.is_superseded_by(action) && is_settled(&other.action)) {
            draft.delete_action(other.action.id);
        }
    }
    match &dark {
        Some((trouble, reason)) => draft.suspend_action(Suspension {
            action: action.id,
            trouble: trouble.key(),
            reason: (*reason).to_owned(),
            is_counted: true,
            is_compensation: true,
        }),
        None => draft.end_action(action.id),
    }
    let present = draft.instance().visit;
    if let Some(report) = end_event(context, draft, ended) {
        let none = SharedFactsByFace::default();
        drafts.decide(id, &report, steps, (definition, &none, now));
    } else if dark.is_some() && action.is_compensation {
        return None;
    }
    let draft = drafts.get_mut(id)?;
    if row.is_cancelled || draft.instance().visit != present {
        return None;
    }
    if result.is_err() {
        // What was to follow makes no sense without this one.
        draft.abandon_actions(action.visit);
        return None;
    }
    // One that needs something else waits for its turn there.
    let next = live.iter().filter(|live| live.is_next_after(action)).min_by_key(|live| live.seq)?;
    let units = next.action.claims.iter().filter(|claim| claim.hold.is_none());
    let units: Option<Vec<GrantedUnits>> = units.map(|claim| row.action.units_for(claim).cloned()).collect();
    let grant = Grant { units: units?, based_on: Vec::new() };
    Some(start_run(context, draft, next, grant, by.life))
}

/// What keeps an action from making up for what it did, and why, where that is to be tried again.
///
/// It is a rescue from then on: its state may be left, fail or be entered anew meanwhile, and each of these would forget it.
fn find_unrestored<'a>(
    action: &RunningAction,
    attempts: u32,
    result: &'a Result<Evidence, UnfinishedAction>,
) -> Option<(Trouble, &'a str)> {
    let makes_up = action.is_compensation || action.compensation.is_some();
    match result {
        Err(UnfinishedAction { kind: ActionEnding::Unrestored { what, at }, reason, .. })
            if makes_up && attempts <= MAX_COMPENSATION_TRIES =>
        {
            Some((Trouble::Unrestored { what, at: at.clone() }, reason))
        }
        Ok(_) | Err(_) => None,
    }
}

/// Hands an action back that trouble of our own stopped, with the state's time limit standing still. Of one whose visit has
/// ended only the compensation is left.
fn suspend_action(
    definition: &Definition,
    draft: &mut PendingUpdate,
    row: &LiveAction,
    unfinished: &UnfinishedAction,
    (trouble, has_acted): (&Trouble, bool),
    now: DateTime<Utc>,
) {
    let action = &row.action;
    if row.is_cancelled && !owes_compensation(row, has_acted) {
        draft.end_action(action.id);
        return;
    }
    let UnfinishedAction { reason, evidence, .. } = unfinished;
    if !row.is_cancelled && !action.is_compensation {
        let mut evidence = evidence.clone();
        evidence.insert("action".to_owned(), Value::from(action.action.as_str()));
        evidence.insert("trouble".to_owned(), Value::from(trouble.kind()));
        let cause = Cause::Suspend { visit: draft.instance().visit };
        let target = InstanceKey::Id(draft.id());
        let suspended = Submission {
            evidence: Some(evidence),
            reason: Some(reason.clone()),
            ..Submission::new(target, cause)
        };
        draft.decide(definition, &suspended, &SharedFactsByFace::default(), now);
    }
    let (action, reason) = (action.id, reason.clone());
    let is_rescue = row.is_cancelled || row.action.is_compensation;
    draft.suspend_action(Suspension {
        action,
        trouble: trouble.key(),
        reason,
        is_counted: has_acted,
        is_compensation: is_rescue,
    });
}

/// Whether an action that nobody wants any more may have left something to be made up for. A run that did nothing left nothing;
/// a run before it that was not seen to end may have.
fn owes_compensation(row: &LiveAction, has_acted: bool) -> bool {
    row.action.compensation.is_some() && (has_acted || row.attempts > 1)
}

/// The event that the end of an action is, where there is one to decide on.
pub(super) fn end_event(
    context: ActionContext<'_>,
    draft: &PendingUpdate,
    ended: &EndedRun,
) -> Option<Submission> {
    let EndedRun { action, worker: by, result, token } = ended;
    let row =
        context.live_actions.iter().find(|live| live.action.id == action.id && live.worker == Some(by.id))?;
    let is_given_up = token.is_cancelled() && result.is_err() && !row.is_cancelled;
    let is_swept = row.is_cancelled && action.claims.is_empty() && row.action.compensation.is_none();
    let is_suspended = matches!(result, Err(UnfinishedAction { kind: ActionEnding::Suspended { .. }, .. }));
    // It was told when the action failed; the end of the rescue is told when it comes.
    let is_told = action.is_compensation && find_unrestored(action, row.attempts, result).is_some();
    if is_given_up || is_swept || is_suspended || is_told {
        return None;
    }
    // For the record where it is stale: whether an abandoned action left something undone.
    let visit = if row.is_cancelled { action.visit } else { action.speaks_for(draft.instance().visit) };
    build_end_event(draft, action, visit, result)
}

/// The event that an action's end is, for `visit`.
fn build_end_event(
    draft: &PendingUpdate,
    action: &RunningAction,
    visit: Visit,
    result: &Result<Evidence, UnfinishedAction>,
) -> Option<Submission> {
    let (suffix, evidence, remark) = match result {
        Ok(evidence) => ("ok", evidence, None),
        Err(failed) => ("failed", &failed.evidence, Some(failed.reason.clone())),
    };
    // Too long a name is none that a definition could have declared.
    let name = EventName::new(&format!("{}-{suffix}", action.action)).ok()?;
    let mut args = Map::new();
    if let Some(reason) = &remark {
        args.insert("reason".to_owned(), Value::from(reason.as_str()));
    }
    if result.as_ref().is_err_and(|failed| failed.kind == ActionEnding::Misconfigured) {
        args.insert("fault".to_owned(), Value::from("configuration"));
    }
    let cause = Cause::Event { name, source: EventSource::Action, args, visit: Some(visit) };
    let evidence = (!evidence.is_empty()).then(|| evidence.clone());
    Some(Submission { evidence, reason: remark, ..Submission::new(InstanceKey::Id(draft.id()), cause) })
}

/// Carries an action out, and those that follow it in its visit.
pub(super) async fn run_actions(engine: &Engine, by: WorkerIdentity, first: Box<StartedRun>) {
    let (held, began_at) = (first.granted.clone(), engine.clock().now());
    let mut next = Some(first);
    while let Some(started) = next {
        let StartedRun { action, granted: _, job, guard: hold } = *started;
        let attempts = job.attempts.saturating_add(1);
        let result = engine.inner.worker.run(job, action.limit, &hold.token).await;
        let trouble = match &result {
            Err(UnfinishedAction { kind: ActionEnding::Suspended { trouble, .. }, reason, .. }) => {
                Some((trouble.clone(), reason.as_str()))
            }
            Ok(_) | Err(_) => find_unrestored(&action, attempts, &result),
        };
        if let Some((trouble, reason)) = trouble {
            // Before others see it wait: it is not to be begun here again at once.
            engine.inner.troubles.report(&trouble, &action, reason);
        }
        hold.mark_ended();
        let ended = Arc::new(EndedRun { action, worker: by, result, token: hold.token.clone() });
        next = loop {
            match engine.report_end(Arc::clone(&ended)).await {
                Ok(next) => break next,
                // Whoever takes over does it again, and would be told that this one was lost.
                Err(_) if engine.inner.running.is_stopping_all() => break None,
                // The end of an action is not lost with a connection: it is reported until it is durable.
                Err(EngineError::Store(error)) if error.is_transient() => pause_before_retry().await,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        action = %ended.action.action,
                        "the end of an action could not be written; it will be handed out again"
                    );
                    break None;
                }
            }
        };
        // What is held on to is not given back yet: the turn is not over.
        let goes_on = |units: &&GrantedUnits| next.as_ref().is_some_and(|next| next.granted.contains(units));
        if !held.iter().any(|units| goes_on(&units)) {
            engine.inner.turn_times.note(&held, engine.clock().now() - began_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ActionName;
    use crate::store::actions::ActionId;
    use crate::store::claims::ResourceLimits;
    use crate::store::instances::InstanceId;

    fn action(claims: Vec<Claim>) -> RunningAction {
        RunningAction {
            id: ActionId(1),
            instance: InstanceId(1),
            visit: Visit(1),
            is_compensation: false,
            action: ActionName::new("put-back").unwrap(),
            settings: Map::new(),
            limit: None,
            claims,
            granted: Vec::new(),
            compensation: None,
        }
    }

    #[test]
    fn what_was_chosen_is_told_where_there_was_a_choice() {
        let claim = |any_of: &[&str], select: Option<&str>, hold: Option<&str>| Claim {
            any_of: any_of.iter().map(|name| (*name).to_owned()).collect(),
            select: select.map(str::to_owned),
            units: 1,
            limits: ResourceLimits::default(),
            hold: hold.map(str::to_owned),
        };
        let units = |resource: &str, hold: Option<&str>| GrantedUnits {
            resource: resource.to_owned(),
            units: 1,
            hold: hold.map(str::to_owned),
        };
        let action = action(vec![
            claim(&[], Some("idle-workers"), Some("worker")),
            claim(&["imaging"], None, Some("imaging")),
            claim(&["x", "y"], None, None),
            claim(&["relay"], None, None),
        ]);
        let units = vec![
            units("w2", Some("worker")),
            units("imaging", Some("imaging")),
            units("y", None),
            units("relay", None),
        ];
        assert_eq!(chosen_resources(&action, &Grant { units, based_on: Vec::new() }), ["w2", "y"]);
    }

    #[test]
    fn a_rescue_that_cannot_be_carried_out_is_given_up_after_a_thousand_tries() {
        let rescue = RunningAction { is_compensation: true, ..action(Vec::new()) };
        let result = Err(UnfinishedAction {
            reason: "nobody answers".to_owned(),
            evidence: Evidence::new(),
            kind: ActionEnding::Unrestored { what: "heat", at: "outlet 1".to_owned() },
        });
        assert!(find_unrestored(&rescue, 1000, &result).is_some());
        assert!(find_unrestored(&rescue, 1001, &result).is_none());
    }

    #[test]
    fn what_did_nothing_owes_nothing_unless_a_run_before_it_may_have_acted() {
        let table = [
            (Some("give-back"), false, 1, false),
            (Some("give-back"), true, 1, true),
            (Some("give-back"), false, 2, true),
            (None, true, 2, false),
        ];
        for (compensation, has_acted, attempts, owes) in table {
            let compensation = compensation.map(|action| ActionName::new(action).unwrap());
            let row = LiveAction {
                action: RunningAction { compensation, ..action(Vec::new()) },
                seq: 0,
                status: ActionStatus::Running,
                is_suspended: false,
                is_cancelled: true,
                worker: None,
                attempts,
            };
            assert_eq!(owes_compensation(&row, has_acted), owes, "{row:?}, has acted: {has_acted}");
        }
    }
}
