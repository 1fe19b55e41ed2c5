//! The memory of answers that wait for their clients: bounded in all, and for each client.
//!
//! Small answers are not counted: there is one a connection at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::api::client::ClientKey;
use crate::clock::sleep_real_time;

/// Answers up to so many bytes are not counted.
pub(super) const MAX_UNCOUNTED_BYTES: u64 = 64 * 1024;
/// What an answer counts for that is made while it is sent, in bytes: it keeps a part of itself.
pub(super) const STREAMED_ANSWER_BYTES: u64 = 1024 * 1024;
/// How many answers may wait for others to be read; for their clients' sake, briefly.
const MAX_WAITING_ANSWERS: usize = 32;
/// How long, in real time.
const ANSWER_MEMORY_TIMEOUT: Duration = Duration::from_secs(5);

/// The memory of answers.
#[derive(Debug)]
pub(super) struct AnswerMemory {
    /// How many bytes of answers there may be in all.
    max_bytes: u64,
    in_use: Mutex<AnswerMemoryUse>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct AnswerMemoryUse {
    all: u64,
    by_client: HashMap<ClientKey, u64>,
    waiting: usize,
}

/// A part of the memory, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct AnswerMemoryShare {
    memory: Arc<AnswerMemory>,
    client: ClientKey,
    bytes: u64,
}

/// Somebody who waits for a share.
struct WaitingAnswer<'m>(&'m AnswerMemory);

impl Drop for WaitingAnswer<'_> {
    fn drop(&mut self) {
        self.0.in_use().waiting -= 1;
    }
}

impl AnswerMemory {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, in_use: Mutex::default(), freed: Notify::new() }
    }

    /// How many bytes of answers one client may have, unless it is one answer alone.
    fn max_bytes_per_client(&self) -> u64 {
        self.max_bytes / 4
    }

    fn in_use(&self) -> MutexGuard<'_, AnswerMemoryUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_take(self: &Arc<Self>, client: ClientKey, bytes: u64) -> Option<AnswerMemoryShare> {
        let bytes = bytes.min(self.max_bytes);
        let mut taken = self.in_use();
        let own = taken.by_client.get(&client).copied().unwrap_or(0);
        let has_room =
            taken.all + bytes <= self.max_bytes && (own == 0 || own + bytes <= self.max_bytes_per_client());
        if !has_room {
            return None;
        }
        taken.all += bytes;
        taken.by_client.insert(client, own + bytes);
        Some(AnswerMemoryShare { memory: Arc::clone(self), client, bytes })
    }

    /// Takes memory for an answer to `client`, and waits a little for it where others have it; nothing where they keep it.
    pub(super) async fn take(self: &Arc<Self>, client: ClientKey, bytes: u64) -> Option<AnswerMemoryShare> {
        if let Some(share) = self.try_take(client, bytes) {
            return Some(share);
        }
        let _waiting = {
            let mut taken = self.in_use();
            if taken.waiting >= MAX_WAITING_ANSWERS {
                return None;
            }
            taken.waiting += 1;
            WaitingAnswer(self)
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
            () = sleep_real_time(ANSWER_MEMORY_TIMEOUT) => None,
        }
    }
}

impl Drop for AnswerMemoryShare {
    fn drop(&mut self) {
        let mut taken = self.memory.in_use();
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

    fn client(number: u8) -> ClientKey {
        ClientKey::of([192, 0, 2, number].into())
    }

    #[tokio::test]
    async fn answers_have_so_much_memory_in_all_and_each_client_a_quarter_or_one_answer() {
        let memory = Arc::new(AnswerMemory::new(4000));
        let quarter = 1000;
        let first = memory.take(client(1), quarter).await.unwrap();
        assert!(memory.take(client(1), 1).now_or_never().is_none(), "it waits for its own to be read");
        let mut others: Vec<AnswerMemoryShare> = Vec::new();
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
        let taken = memory.in_use();
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
        assert_eq!(memory.in_use().waiting, 0);
    }
}
