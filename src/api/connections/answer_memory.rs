//! The memory of answers that wait for their clients to read them: bounded in total and per client.
//!
//! Small answers are not counted: each connection has one at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::api::client::ClientKey;
use crate::clock::sleep_real_time;

/// Answers up to this size are not counted, in bytes.
pub(super) const MAX_UNCOUNTED_BYTES: u64 = 64 * 1024;
/// The size at which a streamed answer is counted, in bytes: it buffers a part.
pub(super) const STREAMED_ANSWER_BYTES: u64 = 1024 * 1024;
/// How many answers may wait for memory.
const MAX_WAITING_ANSWERS: usize = 32;
/// How long an answer may wait for memory, in real time.
const ANSWER_MEMORY_TIMEOUT: Duration = Duration::from_secs(5);

/// The memory of answers.
#[derive(Debug)]
pub(super) struct AnswerMemory {
    /// The limit in total.
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

/// A part of the memory, which is released when this is dropped.
#[derive(Debug)]
pub(super) struct AnswerMemoryShare {
    memory: Arc<AnswerMemory>,
    client: ClientKey,
    bytes: u64,
}

/// An answer that waits for a share.
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

    /// The limit of one client; a single answer may be larger.
    fn max_bytes_per_client(&self) -> u64 {
        self.max_bytes / 4
    }

    fn in_use(&self) -> MutexGuard<'_, AnswerMemoryUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_take(self: &Arc<Self>, client: ClientKey, bytes: u64) -> Option<AnswerMemoryShare> {
        let bytes = bytes.min(self.max_bytes);
        let mut in_use = self.in_use();
        let own = in_use.by_client.get(&client).copied().unwrap_or(0);
        let fits =
            in_use.all + bytes <= self.max_bytes && (own == 0 || own + bytes <= self.max_bytes_per_client());
        if !fits {
            return None;
        }
        in_use.all += bytes;
        in_use.by_client.insert(client, own + bytes);
        Some(AnswerMemoryShare { memory: Arc::clone(self), client, bytes })
    }

    /// Takes memory for an answer to `client`; waits for it up to [`ANSWER_MEMORY_TIMEOUT`].
    pub(super) async fn take(self: &Arc<Self>, client: ClientKey, bytes: u64) -> Option<AnswerMemoryShare> {
        if let Some(share) = self.try_take(client, bytes) {
            return Some(share);
        }
        let _waiting = {
            let mut in_use = self.in_use();
            if in_use.waiting >= MAX_WAITING_ANSWERS {
                return None;
            }
            in_use.waiting += 1;
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
        let mut in_use = self.memory.in_use();
        in_use.all -= self.bytes;
        if let Some(own) = in_use.by_client.get_mut(&self.client) {
            *own -= self.bytes;
            if *own == 0 {
                in_use.by_client.remove(&self.client);
            }
        }
        drop(in_use);
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
    async fn memory_is_limited_in_total_and_to_a_quarter_or_one_answer_per_client() {
        let memory = Arc::new(AnswerMemory::new(4000));
        let quarter = 1000;
        let first = memory.take(client(1), quarter).await.unwrap();
        assert!(
            memory.take(client(1), 1).now_or_never().is_none(),
            "it waits until its own answers are read"
        );
        let mut others: Vec<AnswerMemoryShare> = Vec::new();
        for number in 2..=4 {
            others.push(memory.take(client(number), quarter).await.unwrap());
        }
        let more = memory.take(client(5), 1);
        let (more, ()) = tokio::join!(more, async { drop(first) });
        assert_eq!(more.unwrap().bytes, 1);
        drop(others);
        let alone = memory.take(client(1), 40_000).await.unwrap();
        assert_eq!(alone.bytes, 4000, "an answer larger than the total is sent alone");
        drop(alone);
        let in_use = memory.in_use();
        assert_eq!((in_use.all, in_use.by_client.len()), (0, 0));
    }

    #[tokio::test]
    async fn the_number_of_waiting_answers_is_limited() {
        let memory = Arc::new(AnswerMemory::new(4000));
        let _all = memory.take(client(1), 4000).await.unwrap();
        let mut waiting: Vec<_> = (0..32).map(|_| Box::pin(memory.take(client(2), 1))).collect();
        for answer in &mut waiting {
            assert!(answer.now_or_never().is_none());
        }
        assert!(memory.take(client(2), 1).now_or_never().unwrap().is_none(), "one more is refused at once");
        drop(waiting);
        assert_eq!(memory.in_use().waiting, 0);
    }
}
