//! Threads for work in the boot tree: bounded, because each of them may hang for as long as a network share does.
//!
//! The runtime has one pool of threads for all that blocks; resolving names needs it, too. A share that does not answer
//! takes at most [`MAX_THREADS`] of them.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How many threads work in the boot tree at once, those included that hang.
pub const MAX_THREADS: usize = 64;

/// How long work waits for a thread, in real time: others take microseconds, or as long as a busy disk, unless they hang.
const THREAD_WAIT_TIMEOUT: Duration = Duration::from_secs(5);

static THREADS: LazyLock<BlockingThreads> = LazyLock::new(|| BlockingThreads::new(MAX_THREADS));

/// Does some work in the boot tree on a thread on which it may block.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] when all threads for that hang; nothing was done. Any other when the work panicked.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await?.await.map_err(io::Error::other)
}

/// Begins some work in the boot tree on a thread on which it may block, for whoever does not wait for its end.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] when all threads for that hang; nothing was done.
pub async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    THREADS.begin(work).await
}

struct BlockingThreads(Arc<Semaphore>);

impl BlockingThreads {
    fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        #[expect(clippy::disallowed_methods, reason = "the machine's disk, not the farm's time")]
        let permit = tokio::time::timeout(THREAD_WAIT_TIMEOUT, Arc::clone(&self.0).acquire_owned()).await;
        let hung = || io::Error::new(io::ErrorKind::TimedOut, "the boot root does not answer");
        let permit = permit.map_err(|_elapsed| hung())?.map_err(io::Error::other)?;
        Ok(tokio::task::spawn_blocking(move || {
            // Whoever asked may have given up long before the work ends.
            let _permit = permit;
            work()
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_that_hangs_takes_so_many_threads_and_no_more_though_nobody_waits_for_it() {
        let threads = BlockingThreads::new(2);
        let mut hung = Vec::new();
        for _ in 0..2 {
            let (goes_on, waits) = mpsc::channel::<()>();
            drop(threads.begin(move || waits.recv()).await.unwrap());
            hung.push(goes_on);
        }
        let refused = threads.begin(|| ()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert_eq!((MAX_THREADS, THREAD_WAIT_TIMEOUT.as_secs()), (64, 5));
        drop(hung.pop());
        assert_eq!(threads.begin(|| 7).await.unwrap().await.unwrap(), 7);
    }
}
