//! The memory of answers that wait for their clients: bounded in all, and for each client.
//!
//! Small answers are not counted: there is one a connection at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::api::client::Client;
use crate::clock::pause;

/// Answers up to so many bytes are not counted.
pub(super) const MAX_UNCOUNTED: u64 = 64 * 1024;
/// What an answer counts for that is made while it is sent, in bytes: it keeps a part of itself.
pub(super) const STREAMED: u64 = 1024 * 1024;
/// How many answers may wait for others to be read; for their clients' sake, briefly.
const MAX_WAITING: usize = 32;
/// How long, in real time.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The memory of answers.
#[derive(Debug)]
pub(super) struct AnswerMemory {
    /// How many bytes of answers there may be in all.
    max_bytes: u64,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: u64,
    by_client: HashMap<Client, u64>,
    waiting: usize,
}

/// A part of the memory, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<AnswerMemory>,
    client: Client,
    bytes: u64,
}

/// Somebody who waits for a share.
struct Waiting<'m>(&'m AnswerMemory);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.taken().waiting -= 1;
    }
}

impl AnswerMemory {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, taken: Mutex::default(), freed: Notify::new() }
    }

    /// How many bytes of answers one client may have, unless it is one answer alone.
    fn max_bytes_per_client(&self) -> u64 {
        self.max_bytes / 4
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_take(self: &Arc<Self>, client: Client, bytes: u64) -> Option<Share> {
        let bytes = bytes.min(self.max_bytes);
        let mut taken = self.taken();
        let own = taken.by_client.get(&client).copied().unwrap_or(0);
        let has_room =
            taken.all + bytes <= self.max_bytes && (own == 0 || own + bytes <= self.max_bytes_per_client());
        if !has_room {
            return None;
        }
        taken.all += bytes;
        taken.by_client.insert(client, own + bytes);
        Some(Share { memory: Arc::clone(self), client, bytes })
    }

    /// Takes memory for an answer to `client`, and waits a little for it where others have it; nothing where they keep it.
    pub(super) async fn take(self: &Arc<Self>, client: Client, bytes: u64) -> Option<Share> {
        if let Some(share) = self.try_take(client, bytes) {
            return Some(share);
        }
        let _waiting = {
            let mut taken = self.taken();
            if taken.waiting >= MAX_WAITING {
                return None;
            }
            taken.waiting += 1;
            Waiting(self)
        };
        let taking = async {
            loop {
                let freed = self.freed.notified();
                if let Some(share) = self.try_take(client, bytes) {
                    return share;
                }
                freed.await;
            }
        };
        tokio::select! {
            share = taking => Some(share),
            () = pause(MAX_WAIT) => None,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.memory.taken();
        taken.all -= self.bytes;
        if let Some(own) = taken.by_client.get_mut(&self.client) {
            *own -= self.bytes;
            if *own == 0 {
                taken.by_client.remove(&self.client);
            }
        }
        drop(taken);
        self.memory.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn client(number: u8) -> Client {
        Client::of([192, 0, 2, number].into())
    }

    #[tokio::test]
    async fn answers_have_so_much_memory_in_all_and_each_client_a_quarter_or_one_answer() {
        let memory = Arc::new(AnswerMemory::new(4000));
        let quarter = 1000;
        let first = memory.take(client(1), quarter).await.unwrap();
        assert!(memory.take(client(1), 1).now_or_never().is_none(), "it waits for its own to be read");
        let mut others: Vec<Share> = Vec::new();
        for number in 2..=4 {
            others.push(memory.take(client(number), quarter).await.unwrap());
        }
        let more = memory.take(client(5), 1);
        let (more, ()) = tokio::join!(more, async { drop(first) });
        assert_eq!(more.unwrap().bytes, 1);
        drop(others);
        let alone = memory.take(client(1), 40_000).await.unwrap();
        assert_eq!(alone.bytes, 4000, "one that is larger than all may come alone");
        drop(alone);
        let taken = memory.taken();
        assert_eq!((taken.all, taken.by_client.len()), (0, 0));
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        let memory = Arc::new(AnswerMemory::new(4000));
        let _all = memory.take(client(1), 4000).await.unwrap();
        let waits: Vec<_> = (0..32).map(|_| Box::pin(memory.take(client(2), 1))).collect();
        let mut waits = waits;
        for one in &mut waits {
            assert!(one.now_or_never().is_none());
        }
        assert!(memory.take(client(2), 1).now_or_never().unwrap().is_none(), "one more is told so at once");
        drop(waits);
        assert_eq!(memory.taken().waiting, 0);
    }
}
