//! Long polls: whoever waits for something to become so is answered as soon as it is.

use std::time::Duration;

use super::client::ClientKey;
use super::context::ApiContext;
use super::problem::{Problem, internal_error};
use crate::clock::sleep_real_time;
use crate::engine::FeedUpdate;
use crate::formatting;
use crate::machine::{MachineName, parse_span};
use crate::store::batches::VersionedInstance;

/// The longest that a client may wait in one request; proxies and clients give up before long.
const MAX_LONG_POLL: Duration = Duration::from_mins(10);

/// Takes the text of a `wait` parameter, such as `30s`.
pub(super) fn parse(text: &str) -> Result<Duration, Problem> {
    let most = formatting::duration(MAX_LONG_POLL);
    let wrong = |what: String| Problem::invalid(format!("wait={text:?}: {what}; say `30s`, {most} at most"));
    let longest = parse_span(text).map_err(|error| wrong(error.to_string()))?;
    if longest > MAX_LONG_POLL { Err(wrong("that is too long".to_owned())) } else { Ok(longest) }
}

/// How often a definition is looked up again that may have been replaced, in real time: that need not change any instance.
const DEFINITION_RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Reads an instance, and again whenever it changes, until it is as `is_so` says, or `longest` has passed in
/// real time, or the server stops; gives it as it was last.
pub(super) async fn until(
    api: &ApiContext,
    client: ClientKey,
    longest: Duration,
    (machine, name): (&MachineName, &str),
    is_so: impl Fn(&VersionedInstance) -> bool,
) -> Result<VersionedInstance, Problem> {
    let _waiting = api.long_polls.begin(client)?;
    // Following begins before reading, so that nothing comes unnoticed in between.
    let mut follower = api.engine.follow();
    let find = async || match api.engine.find(machine, name).await {
        Ok(seen) => seen.ok_or_else(|| Problem::no_instance(machine, name)),
        Err(error) => Err(error.into()),
    };
    let mut seen = find().await?;
    let id = seen.id;
    let watch = async {
        while !is_so(&seen) {
            let is_news = tokio::select! {
                news = follower.next() => match news {
                    Some(FeedUpdate::Changed(changed, _)) => changed.iter().any(|one| one.change.id == id),
                    Some(FeedUpdate::Reset) => true,
                    None => break,
                },
                () = sleep_real_time(DEFINITION_RECHECK_INTERVAL) => false,
            };
            if is_news {
                let _turn = api.long_polls.read_permit().await.map_err(|error| internal_error(&error))?;
                seen = find().await?;
            }
        }
        Ok::<(), Problem>(())
    };
    tokio::select! {
        watched = watch => watched?,
        () = sleep_real_time(longest) => {}
        () = api.stopping.cancelled() => {}
    }
    Ok(seen)
}
