//! Long polls: whoever waits for something to become so is answered as soon as it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::connections::Client;
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

/// How many of them look at the database at once, when something has changed for all of them: others need it too.
const LOOKING: usize = 4;
/// How often they look whether what is in force has changed, in real time: that need not change any instance.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// The room in which those who wait are.
#[derive(Clone)]
pub struct Room {
    /// How many may wait at once; each holds a connection.
    max_waits: usize,
    waiting: Arc<Mutex<Counts>>,
    looking: Arc<Semaphore>,
}

/// How many wait.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<Client, usize>,
}

/// The place of one who waits, which is free again when this is dropped.
#[derive(Debug)]
struct Place {
    waiting: Arc<Mutex<Counts>>,
    client: Client,
}

impl Room {
    /// A room for so many.
    #[must_use]
    pub fn new(max_waits: usize) -> Self {
        Self { max_waits, waiting: Arc::default(), looking: Arc::new(Semaphore::new(LOOKING)) }
    }

    /// How many may wait of one client: of one IPv4 address, or of one IPv6 network (/64).
    fn max_waits_per_client(&self) -> usize {
        self.max_waits.div_ceil(2)
    }

    fn enter(&self, client: Client) -> Result<Place, Problem> {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.by_client.get(&client).copied().unwrap_or(0);
        let who = if counts.all >= self.max_waits {
            format!("{} clients wait", self.max_waits)
        } else if own >= self.max_waits_per_client() {
            format!("{} requests of this client wait", self.max_waits_per_client())
        } else {
            counts.all += 1;
            counts.by_client.insert(client, own + 1);
            return Ok(Place { waiting: Arc::clone(&self.waiting), client });
        };
        let detail = format!("{who} already; ask again without `wait`");
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(own) = counts.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

/// Reads an instance, and again whenever it changes, until it is as `is_so` says, or `longest` has passed in
/// real time, or the server stops; gives it as it was last.
pub(super) async fn until(
    api: &Api,
    client: Client,
    longest: Duration,
    (machine, name): (&MachineName, &str),
    is_so: impl Fn(&Seen) -> bool,
) -> Result<Seen, Problem> {
    let _place = api.waiting.enter(client)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_room_for_others_to_wait() {
        let of = |text: &str| Client::of(text.parse().unwrap());
        let room = Room::new(5);
        let own = |number: usize| of(&format!("2001:db8::{number:x}"));
        let mut places: Vec<Place> = (0..3).map(|number| room.enter(own(number)).unwrap()).collect();
        assert!(room.enter(own(3)).is_err(), "its network has many addresses");
        let other = |number: usize| of(&format!("2001:db8:0:{:x}::1", number + 1));
        places.extend((0..2).map(|number| room.enter(other(number)).unwrap()));
        assert!(room.enter(of("192.0.2.2")).is_err());
        drop(places);
        let counts = room.waiting.lock().unwrap();
        assert_eq!((counts.all, counts.by_client.len()), (0, 0));
    }
}
