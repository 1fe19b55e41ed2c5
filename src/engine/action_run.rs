//! Runs the actions of a visit one after the other, and submits their results as events.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::error::EngineError;
use super::face::SharedFactsByFace;
use super::handle::Engine;
use super::incidents::EndedAttempt;
use super::lease::WorkerIdentity;
use super::pending_update::PendingUpdate;
use super::pending_updates::PendingUpdates;
use super::retry_pause::pause_before_retry;
use super::step::ChainStep;
use super::troubles::FailedRun;
use super::work_item::{EndedRun, StartedRun, Submission};
use crate::actions::{ActionEnding, Evidence, Job, JobSubject, Trouble, UnfinishedAction};
use crate::formatting::with_causes;
use crate::machine::{Cause, Definition, EventName, EventSource, Visit};
use crate::store::DatabaseLife;
use crate::store::actions::{ActionStatus, LiveAction, RunningAction, StartableAction, Suspension};
use crate::store::claims::{Claim, Grant, GrantedUnits};
use crate::store::instances::{InstanceId, InstanceKey};

/// The maximum number of tries of a compensation. With a minute between two tries they last most of a day.
const MAX_COMPENSATION_TRIES: u32 = 1000;

/// The inputs of a decision on the start or the end of an action.
#[derive(Clone, Copy)]
pub(super) struct ActionContext<'a> {
    pub(super) engine: &'a Engine,
    pub(super) definition: &'a Definition,
    /// The open actions of the instance.
    pub(super) live_actions: &'a [LiveAction],
    /// The shared facts, where one of the actions needs them.
    pub(super) shared_facts: &'a SharedFactsByFace,
    pub(super) now: DateTime<Utc>,
}

/// Starts an action if it is still waiting, and starts the timeout of the state where it is the first action of its visit.
pub(super) fn begin_action(
    context: ActionContext<'_>,
    update: &mut PendingUpdate,
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
        // No longer wanted. (An action of an earlier visit that is not cancelled is a compensation.)
        update.delete_action(action);
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
    // A compensation belongs to no visit: no timeout depends on it.
    if !next.action.is_compensation {
        let cause = Cause::Began { visit: update.instance().visit };
        let began =
            Submission { evidence: Some(evidence), ..Submission::new(InstanceKey::Id(update.id()), cause) };
        update.decide(definition, &began, &SharedFactsByFace::default(), now);
    }
    Some(start_run(context, update, next, startable.grant.clone(), life))
}

/// Assigns an action to this process, in this life of the database, and builds its job.
fn start_run(
    context: ActionContext<'_>,
    update: &mut PendingUpdate,
    next: &LiveAction,
    grant: Grant,
    life: DatabaseLife,
) -> Box<StartedRun> {
    let ActionContext { engine, shared_facts: shared, .. } = context;
    let (chosen, granted) = (chosen_resources(&next.action, &grant), grant.units.clone());
    update.start_action(next.action.id, grant);
    let guard = engine.inner.running.register(&next.action);
    let RunningAction { id, action, settings, visit, .. } = &next.action;
    let subject = JobSubject {
        machine: update.instance().machine.clone(),
        name: update.instance().name.clone(),
        state: update.instance().state.clone(),
        visit: *visit,
    };
    let mut facts = update.action_facts(shared);
    engine.inner.findings.add_facts(next.action.instance, &mut facts);
    if !chosen.is_empty() {
        facts.insert("granted".to_owned(), chosen.into());
    }
    let job = Job {
        // A compensation is an action of another kind, which does not take these settings.
        settings: if next.action.is_compensation { Map::new() } else { settings.clone() },
        attempts: next.attempts,
        min_off: min_off(&granted),
        findings: engine.finding_reporter(&next.action, life),
        ..Job::new(id.0, action.clone(), subject, facts)
    };
    Box::new(StartedRun { action: next.action.clone(), granted, job, guard })
}

/// Returns the longest of the off times that resources demand.
fn min_off(granted: &[GrantedUnits]) -> Duration {
    let demanded = granted.iter().filter_map(|units| units.load);
    Duration::from_millis(demanded.map(|load| load.min_off_ms).max().unwrap_or_default())
}

/// Lists the resources that were granted to an action where it accepts any of several.
fn chosen_resources(action: &RunningAction, grant: &Grant) -> Vec<String> {
    let claims = action.claims.iter().filter(|claim| claim.has_choice());
    let claims: Vec<&Claim> = claims.collect();
    // The resources of a selector are not in the row: all held units of such a claim were chosen.
    let is_of = |claim: &Claim, units: &GrantedUnits| match claim.select {
        Some(_) => claim.hold.is_some() && claim.hold == units.hold,
        None => claim.any_of.contains(&units.resource),
    };
    let has_choice = |units: &&GrantedUnits| claims.iter().any(|claim| is_of(claim, units));
    grant.units.iter().filter(has_choice).map(|units| units.resource.clone()).collect()
}

/// Decides on the event of the end of an action, and starts the next action of its visit.
///
/// `steps` are the decisions that were already made on its [`end_event`], where the instance can be linked.
pub(super) fn end_action(
    context: ActionContext<'_>,
    pending: &mut PendingUpdates,
    id: InstanceId,
    ended: &EndedRun,
    steps: Option<Vec<ChainStep>>,
) -> Option<Box<StartedRun>> {
    let EndedRun { action, worker, result, token } = ended;
    // Nothing where the lease of this worker expired and the action was reclaimed.
    let row = context
        .live_actions
        .iter()
        .find(|live| live.action.id == action.id && live.worker == Some(worker.id))?;
    if token.is_cancelled() && result.is_err() && !row.is_cancelled {
        // Stopped because this process stops, not because the state was left: another process runs it again.
        return None;
    }
    let next = decide_after_end(context, pending, id, (ended, row), steps);
    let update = pending.get_mut(id)?;
    let kept_units: Vec<GrantedUnits> = update.started_units().to_vec();
    update.release(row.action.granted.iter().filter(|units| !kept_units.contains(units)).cloned());
    next
}

/// Decides on the consequences of the end of the action `row`.
fn decide_after_end(
    context: ActionContext<'_>,
    pending: &mut PendingUpdates,
    id: InstanceId,
    (ended, row): (&EndedRun, &LiveAction),
    steps: Option<Vec<ChainStep>>,
) -> Option<Box<StartedRun>> {
    let ActionContext { engine, definition, live_actions: live, now, .. } = context;
    let update = pending.get_mut(id)?;
    let EndedRun { action, worker, result, token: _ } = ended;
    // An action that owes a compensation is not deleted.
    if row.is_cancelled && action.claims.is_empty() && row.action.compensation.is_none() {
        update.delete_action(action.id);
        return None;
    }
    if let Err(unfinished @ UnfinishedAction { kind: ActionEnding::Suspended { trouble, has_acted }, .. }) =
        result
    {
        suspend_action(definition, update, row, unfinished, (trouble, *has_acted), now);
        return None;
    }
    let unrestored = find_unrestored(action, row.attempts, result);
    if result.is_ok() || unrestored.is_some() {
        // The compensations of earlier actions are done, or left to this one.
        let is_settled =
            |compensation: &RunningAction| engine.kinds().settles(&action.action, &compensation.action);
        for other in live.iter().filter(|other| other.is_superseded_by(action) && is_settled(&other.action)) {
            update.delete_action(other.action.id);
        }
    }
    match &unrestored {
        Some((trouble, reason)) => update.suspend_action(Suspension {
            action: action.id,
            trouble: trouble.key(),
            reason: (*reason).to_owned(),
            is_counted: true,
            is_compensation: true,
        }),
        None => update.end_action(action.id),
    }
    let present = update.instance().visit;
    if let Some(report) = end_event(live, update, ended) {
        pending.decide(id, &report, steps, (definition, context.shared_facts, now));
    } else if unrestored.is_some() && action.is_compensation {
        return None;
    }
    let update = pending.get_mut(id)?;
    if row.is_cancelled || update.instance().visit != present {
        return None;
    }
    if result.is_err() {
        // The remaining actions of the visit depend on this one.
        update.abandon_actions(action.visit);
        return None;
    }
    // The next action starts at once only if all of its claims are held already.
    let next = live.iter().filter(|live| live.is_next_after(action)).min_by_key(|live| live.seq)?;
    let units = next.action.claims.iter().filter(|claim| claim.hold.is_none());
    let units: Option<Vec<GrantedUnits>> = units.map(|claim| row.action.units_for(claim).cloned()).collect();
    let mut units = units?;
    if next.action.claims.iter().any(|claim| claim.adds_load) {
        units.extend(row.action.container_units().cloned());
    }
    let grant = Grant { units, based_on: Vec::new() };
    Some(start_run(context, update, next, grant, worker.life))
}

/// Finds the fault and the reason for which an action could not restore what it switched off, if that is to
/// be retried.
///
/// The action becomes a compensation: it stays when its state is left, fails or is re-entered.
fn find_unrestored<'a>(
    action: &RunningAction,
    attempts: u32,
    result: &'a Result<Evidence, UnfinishedAction>,
) -> Option<(Trouble, &'a str)> {
    let can_compensate = action.is_compensation || action.compensation.is_some();
    match result {
        Err(UnfinishedAction { kind: ActionEnding::Unrestored { what, at }, reason, .. })
            if can_compensate && attempts <= MAX_COMPENSATION_TRIES =>
        {
            Some((Trouble::Unrestored { what, at: at.clone() }, reason))
        }
        Ok(_) | Err(_) => None,
    }
}

/// Suspends an action that a local fault prevented, and pauses the timeout of the state. If the visit of the
/// action has ended, only its compensation is kept.
fn suspend_action(
    definition: &Definition,
    update: &mut PendingUpdate,
    row: &LiveAction,
    unfinished: &UnfinishedAction,
    (trouble, has_acted): (&Trouble, bool),
    now: DateTime<Utc>,
) {
    let action = &row.action;
    if row.is_cancelled && !owes_compensation(row, has_acted) {
        update.end_action(action.id);
        return;
    }
    let UnfinishedAction { reason, evidence, .. } = unfinished;
    if !row.is_cancelled && !action.is_compensation {
        let mut evidence = evidence.clone();
        evidence.insert("action".to_owned(), Value::from(action.action.as_str()));
        evidence.insert("trouble".to_owned(), Value::from(trouble.kind()));
        let cause = Cause::Suspend { visit: update.instance().visit };
        let target = InstanceKey::Id(update.id());
        let suspended = Submission {
            evidence: Some(evidence),
            reason: Some(reason.clone()),
            ..Submission::new(target, cause)
        };
        update.decide(definition, &suspended, &SharedFactsByFace::default(), now);
    }
    let (action, reason) = (action.id, reason.clone());
    let is_compensation = row.is_cancelled || row.action.is_compensation;
    update.suspend_action(Suspension {
        action,
        trouble: trouble.key(),
        reason,
        is_counted: has_acted,
        is_compensation,
    });
}

/// Whether a cancelled action needs its compensation: it acted, or an earlier run that was not seen to end may have acted.
fn owes_compensation(row: &LiveAction, has_acted: bool) -> bool {
    row.action.compensation.is_some() && (has_acted || row.attempts > 1)
}

/// Builds the event of the end of an action, where there is one to decide on.
pub(super) fn end_event(live: &[LiveAction], update: &PendingUpdate, ended: &EndedRun) -> Option<Submission> {
    let EndedRun { action, worker, result, token } = ended;
    let row = live.iter().find(|live| live.action.id == action.id && live.worker == Some(worker.id))?;
    let is_interrupted = token.is_cancelled() && result.is_err() && !row.is_cancelled;
    let is_discarded = row.is_cancelled && action.claims.is_empty() && row.action.compensation.is_none();
    let is_suspended = matches!(result, Err(UnfinishedAction { kind: ActionEnding::Suspended { .. }, .. }));
    // The failure of the action was reported; the end of the compensation is reported when it succeeds.
    let is_retried = action.is_compensation && find_unrestored(action, row.attempts, result).is_some();
    if is_interrupted || is_discarded || is_suspended || is_retried {
        return None;
    }
    // For history where it is stale: whether a cancelled action left something undone.
    let visit = if row.is_cancelled { action.visit } else { action.speaks_for(update.instance().visit) };
    build_end_event(update, action, visit, result)
}

/// Builds the event of the end of an action for `visit`.
fn build_end_event(
    update: &PendingUpdate,
    action: &RunningAction,
    visit: Visit,
    result: &Result<Evidence, UnfinishedAction>,
) -> Option<Submission> {
    let (suffix, evidence, reason) = match result {
        Ok(evidence) => ("ok", evidence, None),
        Err(failed) => ("failed", &failed.evidence, Some(failed.reason.clone())),
    };
    // A definition cannot declare a longer name.
    let name = EventName::new(&format!("{}-{suffix}", action.action)).ok()?;
    let mut args = Map::new();
    if let Some(reason) = &reason {
        args.insert("reason".to_owned(), Value::from(reason.as_str()));
    }
    if let Some(fault) = result.as_ref().err().and_then(fault) {
        args.insert("fault".to_owned(), Value::from(fault));
    }
    let cause = Cause::Event { name, source: EventSource::Action, args, visit: Some(visit) };
    let evidence = (!evidence.is_empty()).then(|| evidence.clone());
    Some(Submission { evidence, reason, ..Submission::new(InstanceKey::Id(update.id()), cause) })
}

/// Whose fault a failure is, as the argument `fault` of its event: `configuration` where it repeats until the instance's own
/// configuration is changed, `resource` where the resource did not answer, nothing where neither is known.
fn fault(failed: &UnfinishedAction) -> Option<&'static str> {
    match failed.kind {
        ActionEnding::Misconfigured => Some("configuration"),
        ActionEnding::Failed | ActionEnding::Unrestored { .. } => {
            failed.unreachable.as_ref().filter(|unreachable| !unreachable.is_suspected).map(|_| "resource")
        }
        ActionEnding::Suspended { .. } => None,
    }
}

/// Runs an action, and the actions that follow it in its visit.
pub(super) async fn run_actions(engine: &Engine, worker: WorkerIdentity, first: Box<StartedRun>) {
    let (units, began_at) = (first.granted.clone(), engine.clock().now());
    let mut next = Some(first);
    while let Some(started) = next {
        let StartedRun { action, granted, job, guard } = *started;
        let (attempts, subject) = (job.attempts.saturating_add(1), job.subject.clone());
        let facts = job.facts.clone();
        let mut result = engine.inner.worker.run(job, action.limit, &guard.token).await;
        if !guard.token.is_cancelled() {
            let attempt =
                EndedAttempt { action: &action, subject: &subject, facts: &facts, granted: &granted };
            result = engine.settle_failure(attempt, result).await;
        }
        let trouble = match &result {
            Err(UnfinishedAction { kind: ActionEnding::Suspended { trouble, .. }, reason, .. }) => {
                Some((trouble.clone(), reason.as_str()))
            }
            Ok(_) | Err(_) => find_unrestored(&action, attempts, &result),
        };
        if let Some((trouble, reason)) = trouble {
            // Reported before the action is seen to wait, so that it is not started here again at once.
            engine.inner.troubles.report(&trouble, &action, FailedRun { subject: &subject, reason });
        } else {
            if action.is_compensation && result.is_ok() {
                let JobSubject { machine, name: instance, .. } = &subject;
                tracing::info!(%machine, %instance, action = %action.action, "compensation completed");
            }
            if !guard.token.is_cancelled() {
                engine.inner.failing_actions.note(&subject, &action, &granted, &result);
            }
        }
        guard.mark_ended();
        let ended = Arc::new(EndedRun { action, worker, result, token: guard.token.clone() });
        next = loop {
            match engine.report_end(Arc::clone(&ended)).await {
                Ok(next) => break next,
                // Another process reclaims the action.
                Err(_) if engine.inner.running.is_stopping_all() => break None,
                // Retried until the result is durable.
                Err(EngineError::Store(error)) if error.is_transient() => pause_before_retry().await,
                Err(error) => {
                    tracing::error!(
                        error = %with_causes(&error),
                        action = %ended.action.action,
                        "cannot write action result, action will be handed out again"
                    );
                    break None;
                }
            }
        };
        // Units that the next action keeps are not released yet: the grant continues.
        let is_kept = |units: &&GrantedUnits| next.as_ref().is_some_and(|next| next.granted.contains(units));
        if !units.iter().any(|units| is_kept(&units)) {
            engine.inner.turn_times.note(&units, engine.clock().now() - began_at);
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
    fn chosen_resources_are_those_of_claims_with_a_choice() {
        let claim = |any_of: &[&str], select: Option<&str>, hold: Option<&str>| Claim {
            any_of: any_of.iter().map(|name| (*name).to_owned()).collect(),
            select: select.map(str::to_owned),
            units: 1,
            limits: ResourceLimits::default(),
            hold: hold.map(str::to_owned),
            adds_load: false,
            probes: false,
        };
        let units = |resource: &str, hold: Option<&str>| GrantedUnits {
            resource: resource.to_owned(),
            units: 1,
            hold: hold.map(str::to_owned),
            load: None,
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
    fn a_failing_compensation_is_given_up_after_a_thousand_tries() {
        let compensation = RunningAction { is_compensation: true, ..action(Vec::new()) };
        let result = Err(UnfinishedAction {
            reason: "nobody answers".to_owned(),
            evidence: Evidence::new(),
            kind: ActionEnding::Unrestored { what: "heat", at: "outlet 1".to_owned() },
            unreachable: None,
        });
        assert!(find_unrestored(&compensation, 1000, &result).is_some());
        assert!(find_unrestored(&compensation, 1001, &result).is_none());
    }

    #[test]
    fn an_action_that_did_nothing_owes_no_compensation_unless_an_earlier_run_may_have_acted() {
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
