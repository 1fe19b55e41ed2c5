//! Threads for work in the boot tree, limited in number, because each may hang as long as a network share.
//!
//! The runtime has one pool of blocking threads, also used for name lookups. A share that does not answer occupies at
//! most [`MAX_THREADS`] of them.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The largest number of threads working in the boot tree, including hanging ones.
pub const MAX_THREADS: usize = 64;

/// How long work waits for a thread, in real time: unless threads hang, one is free within microseconds, or as soon as
/// a busy disk answers.
const THREAD_WAIT_TIMEOUT: Duration = Duration::from_secs(5);

static THREADS: LazyLock<BlockingThreads> = LazyLock::new(|| BlockingThreads::new(MAX_THREADS));

/// Runs `work` in the boot tree on a blocking thread and waits for it.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] when all threads hang; `work` was not started. Any other kind when `work` panicked.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await?.await.map_err(io::Error::other)
}

/// Starts `work` in the boot tree on a blocking thread.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] when all threads hang; `work` was not started.
pub async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    THREADS.start(work).await
}

struct BlockingThreads(Arc<Semaphore>);

impl BlockingThreads {
    fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    async fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        #[expect(clippy::disallowed_methods, reason = "a fault of this machine's disk, in real time")]
        let permit = tokio::time::timeout(THREAD_WAIT_TIMEOUT, Arc::clone(&self.0).acquire_owned()).await;
        let hung = || io::Error::new(io::ErrorKind::TimedOut, "the boot root does not answer");
        let permit = permit.map_err(|_elapsed| hung())?.map_err(io::Error::other)?;
        Ok(tokio::task::spawn_blocking(move || {
            // The caller may give up before the work ends.
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
    async fn hanging_work_is_limited_even_if_its_callers_gave_up() {
        let threads = BlockingThreads::new(2);
        let mut hung = Vec::new();
        for _ in 0..2 {
            let (release, released) = mpsc::channel::<()>();
            drop(threads.start(move || released.recv()).await.unwrap());
            hung.push(release);
        }
        let refused = threads.start(|| ()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert_eq!((MAX_THREADS, THREAD_WAIT_TIMEOUT.as_secs()), (64, 5));
        drop(hung.pop());
        assert_eq!(threads.start(|| 7).await.unwrap().await.unwrap(), 7);
    }
}
