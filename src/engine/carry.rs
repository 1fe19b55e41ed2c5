//! Carries a visit's actions out, one after the other, and brings their ends back as events.

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::commit::{board, tell};
use super::running::Hold;
use super::{Engine, EngineError, Submission, rest};
use crate::action::{Evidence, Failed, Job};
use crate::machine::{Cause, EventName, Source, Visit};
use crate::store::actions::{self, ActionId, Ended, RunningAction, WorkerId};
use crate::store::instances::{self, Locked, Target};
use crate::store::{Tx, devices, images};

/// An action of which the database says that this process runs it, once that is committed.
pub(super) struct Started {
    pub(super) action: RunningAction,
    job: Job,
    hold: Hold,
}

/// Marks an action as this worker's and gathers what its driver must know.
pub(super) async fn take(
    engine: &Engine,
    tx: &mut Tx,
    locked: &Locked,
    worker: WorkerId,
    action: ActionId,
) -> Result<Option<Started>, EngineError> {
    let Some(action) = actions::start(tx, action, worker, engine.clock().now()).await? else {
        return Ok(None);
    };
    let hold = engine.inner.running.enter(&action);
    let instance = &locked.instance;
    let device = devices::find_device(tx, locked.id).await?;
    let image = instance.data.get("next_image").and_then(Value::as_str);
    let boot_config = match (image, &device) {
        (Some(image), Some(device)) => images::find_boot_config(tx, image, &device.hardware).await?,
        _ => None,
    };
    let board = device.map(|device| board(&instance.name, device)).unwrap_or_default();
    let job = Job { action: action.action.clone(), board, boot_config, with: action.settings.clone() };
    Ok(Some(Started { action, job, hold }))
}

/// Carries an action out, and those that follow it in its visit.
pub(super) async fn carry_out(engine: &Engine, worker: WorkerId, first: Started) {
    let mut next = Some(first);
    while let Some(Started { action, job, hold }) = next {
        let result = engine.inner.worker.run(job, action.limit, &hold.token).await;
        hold.ends();
        next = loop {
            match end(engine, worker, &action, &result, &hold.token).await {
                Ok(next) => break next,
                // Whoever takes over does it again, and would be told that this one was lost.
                Err(_) if engine.inner.running.lets_everything_go() => break None,
                // The end of an action is not lost with a connection: it is reported until it is durable.
                Err(EngineError::Store(error)) if error.is_passing() => rest().await,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        action = %action.action,
                        "the end of an action could not be written; it will be handed out again"
                    );
                    break None;
                }
            }
        };
    }
}

/// Makes the end of an action durable as the event that it is, and takes the next of its visit.
async fn end(
    engine: &Engine,
    worker: WorkerId,
    action: &RunningAction,
    result: &Result<Evidence, Failed>,
    token: &CancellationToken,
) -> Result<Option<Started>, EngineError> {
    let mut tx = engine.store().begin().await?;
    let target = Target::Id(action.instance);
    let locked = instances::lock(&mut tx, &target).await?;
    let ended = actions::delete_ended(&mut tx, action.id, worker).await?;
    if ended == Ended::Running && token.is_cancelled() && result.is_err() {
        // Stopped because this process stops, not because the board left: whoever comes next does it again.
        return Ok(None);
    }
    let is_news = match ended {
        Ended::Running => true,
        // Stale, and for the record: whether an abandoned power cycle left its board with power.
        Ended::Cancelled => action.place.is_some(),
        Ended::Lost => false,
    };
    let Some(locked) = locked.filter(|_| is_news) else {
        crate::store::hint(&mut tx).await?;
        engine.commit(tx).await?;
        return Ok(None);
    };
    let present = locked.instance.visit;
    let visit = if ended == Ended::Running { action.speaks_for(present) } else { action.visit };
    let submission = report(target, action, visit, result)?;
    let decision = engine.apply(&mut tx, &locked, &submission).await?;
    let next = match result {
        Ok(_) if decision.instance.visit == present => match actions::find_next(&mut tx, action).await? {
            Some(next) => take(engine, &mut tx, &locked, worker, next).await?,
            None => None,
        },
        Ok(_) => None,
        Err(_) => {
            // What was to follow makes no sense without this one.
            actions::cancel(&mut tx, action.instance, action.visit).await?;
            None
        }
    };
    crate::store::hint(&mut tx).await?;
    engine.commit(tx).await?;
    tell(&locked.instance, &decision);
    Ok(next)
}

/// The event that an action's end is, for `visit`.
fn report(
    target: Target,
    action: &RunningAction,
    visit: Visit,
    result: &Result<Evidence, Failed>,
) -> Result<Submission, EngineError> {
    let (suffix, evidence, remark) = match result {
        Ok(evidence) => ("ok", evidence, None),
        Err(failed) => ("failed", &failed.evidence, Some(failed.reason.clone())),
    };
    let name = instances::name(EventName::new(&format!("{}-{suffix}", action.action)))?;
    let mut args = Map::new();
    if let Some(reason) = &remark {
        args.insert("reason".to_owned(), Value::from(reason.as_str()));
    }
    let cause = Cause::Event { name, source: Source::Action, args, visit: Some(visit) };
    let evidence = (!evidence.is_empty()).then(|| evidence.clone());
    Ok(Submission { evidence, remark, ..Submission::new(target, cause) })
}
