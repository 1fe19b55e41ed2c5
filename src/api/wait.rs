//! Long polls: a request with `wait` is answered once its instance meets a condition.

use std::time::Duration;

use super::client::ClientKey;
use super::context::ApiContext;
use super::problem::{Problem, internal_error};
use crate::clock::sleep_real_time;
use crate::engine::FeedUpdate;
use crate::formatting;
use crate::machine::{MachineName, parse_span};
use crate::store::batches::VersionedInstance;

/// The longest wait of one request: proxies and clients have timeouts of their own.
const MAX_LONG_POLL: Duration = Duration::from_mins(10);

/// Parses a `wait` parameter, such as `30s`.
pub(super) fn parse(text: &str) -> Result<Duration, Problem> {
    let max = formatting::duration(MAX_LONG_POLL);
    let invalid = |what: String| Problem::invalid(format!("wait={text:?}: {what}; say `30s`, {max} at most"));
    let wait = parse_span(text).map_err(|error| invalid(error.to_string()))?;
    if wait > MAX_LONG_POLL { Err(invalid("that is too long".to_owned())) } else { Ok(wait) }
}

/// How often the condition is checked again without a change of the instance, in real time: it can depend on the active
/// definition.
const DEFINITION_RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Reads an instance again whenever it changes, until it meets `condition`, `timeout` has passed in real
/// time, or the server stops. Returns the last reading.
pub(super) async fn until(
    api: &ApiContext,
    client: ClientKey,
    timeout: Duration,
    (machine, name): (&MachineName, &str),
    condition: impl Fn(&VersionedInstance) -> bool,
) -> Result<VersionedInstance, Problem> {
    let _long_poll = api.long_polls.begin(client)?;
    // The feed is followed before the first read, so that no change is missed in between.
    let mut follower = api.engine.follow();
    let find = async || match api.engine.find(machine, name).await {
        Ok(found) => found.ok_or_else(|| Problem::no_instance(machine, name)),
        Err(error) => Err(error.into()),
    };
    let mut instance = find().await?;
    let id = instance.id;
    let watch = async {
        while !condition(&instance) {
            let has_changed = tokio::select! {
                update = follower.next() => match update {
                    Some(FeedUpdate::Changed(changed, _)) => changed.iter().any(|entry| entry.change.id == id),
                    Some(FeedUpdate::Reset) => true,
                    None => break,
                },
                () = sleep_real_time(DEFINITION_RECHECK_INTERVAL) => false,
            };
            if has_changed {
                let _permit = api.long_polls.read_permit().await.map_err(|error| internal_error(&error))?;
                instance = find().await?;
            }
        }
        Ok::<(), Problem>(())
    };
    tokio::select! {
        watched = watch => watched?,
        () = sleep_real_time(timeout) => {}
        () = api.stopping.cancelled() => {}
    }
    Ok(instance)
}
