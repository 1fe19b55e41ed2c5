//! Long polls: whoever waits for something to become so is answered as soon as it is.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::problem::fault;
use super::{Api, Problem};
use crate::clock::pause;
use crate::engine::News;
use crate::machine::{MachineName, parse_span};
use crate::store::groups::Seen;

/// The longest that a client may wait in one request; proxies and clients give up before long.
const LONGEST: Duration = Duration::from_mins(10);

/// Takes the text of a `wait` parameter, such as `30s`.
pub(super) fn parse(text: &str) -> Result<Duration, Problem> {
    let most = humantime::format_duration(LONGEST);
    let wrong = |what: String| Problem::invalid(format!("wait={text:?}: {what}; say `30s`, {most} at most"));
    let longest = parse_span(text).map_err(|error| wrong(error.to_string()))?;
    if longest > LONGEST { Err(wrong("that is too long".to_owned())) } else { Ok(longest) }
}

/// How many may wait at once; each holds a connection.
const MOST: usize = 1024;
/// How many of them look at the database at once, when something has changed for all of them: others need it too.
const LOOKING: usize = 4;
/// How often they look whether what is in force has changed, in real time: that need not change any instance.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// The room in which those who wait are.
#[derive(Clone)]
pub struct Room {
    places: Arc<Semaphore>,
    looking: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MOST)), looking: Arc::new(Semaphore::new(LOOKING)) }
    }
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
    let Ok(_place) = api.waiting.places.try_acquire() else {
        let detail = format!("{MOST} clients wait already; ask again without `wait`");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
    };
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
                    Some(News::Changed(changed, _)) => changed.iter().any(|one| one.changed.id == id),
                    Some(News::Anew) => true,
                    None => break,
                },
                () = pause(SECOND_LOOK) => false,
            };
            if is_news {
                let _turn = api.waiting.looking.acquire().await.map_err(|error| fault(&error))?;
                seen = find().await?;
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
