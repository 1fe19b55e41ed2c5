//! Long polls: whoever waits for something to become so is answered as soon as it is.

use std::time::Duration;

use super::instances::find;
use super::{Api, Problem};
use crate::clock::pause;
use crate::engine::News;
use crate::machine::MachineName;
use crate::store::groups::Seen;

/// The longest that a client may wait in one request; proxies and clients give up before long.
const LONGEST: Duration = Duration::from_mins(10);

/// Takes the text of a `wait` parameter, such as `30s`.
pub(super) fn parse(text: &str) -> Result<Duration, Problem> {
    let most = humantime::format_duration(LONGEST);
    let wrong = |what: String| Problem::invalid(format!("wait={text:?}: {what}; say `30s`, {most} at most"));
    let longest = humantime::parse_duration(text).map_err(|error| wrong(error.to_string()))?;
    if longest > LONGEST { Err(wrong("that is too long".to_owned())) } else { Ok(longest) }
}

/// Reads an instance, and again whenever it changes, until it is as `is_so` says, or `longest` has passed in
/// real time, or the server stops; gives it as it was last.
pub(super) async fn until(
    api: &Api,
    longest: Duration,
    machine: &MachineName,
    name: &str,
    is_so: impl Fn(&Seen) -> bool,
) -> Result<Seen, Problem> {
    // Following begins before reading, so that nothing comes unnoticed in between.
    let mut follower = api.engine.follow();
    let mut seen = find(api, machine, name).await?;
    let watch = async {
        while !is_so(&seen) {
            let is_news = match follower.next().await {
                Some(News::Changed(changed, _)) => changed.iter().any(|one| one.changed.id == seen.id),
                Some(News::Anew) => true,
                None => break,
            };
            if is_news {
                seen = find(api, machine, name).await?;
            }
        }
        Ok::<(), Problem>(())
    };
    tokio::select! {
        watched = watch => watched?,
        () = pause(longest) => {}
        () = api.stopping.cancelled() => {}
    }
    Ok(seen)
}
