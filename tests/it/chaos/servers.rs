//! Three servers on one database; a killed one is replaced at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::server_process::{Pause, ServerProcess};
use crate::world::yield_briefly;

/// Number of servers.
pub(super) const SERVERS: usize = 3;
/// How long a server hangs: long enough for the others to progress, and shorter than any lease or lock timeout.
const PAUSE: Duration = Duration::from_millis(200);

/// The servers, each in its slot; a slot is empty while its server is being replaced.
pub(super) struct Servers {
    options: Vec<String>,
    slots: [Mutex<Option<ServerProcess>>; SERVERS],
    tasks: Mutex<JoinSet<()>>,
    own: Weak<Self>,
}

impl Servers {
    /// Starts all servers concurrently.
    pub(super) async fn start(options: Vec<String>) -> Arc<Self> {
        let servers = Arc::new_cyclic(|own| Self {
            options,
            slots: Default::default(),
            tasks: Mutex::default(),
            own: own.clone(),
        });
        (0..SERVERS).for_each(|server| servers.replace(server));
        servers.until_all_serve().await;
        servers
    }

    /// The address of a server; `None` if there is none.
    pub(super) fn address(&self, server: usize) -> Option<SocketAddr> {
        self.slots[server].lock().unwrap().as_ref().map(ServerProcess::http)
    }

    /// Kills a server, if there is one, and replaces it.
    pub(super) fn kill(&self, server: usize) {
        let Some(mut process) = self.slots[server].lock().unwrap().take() else { return };
        process.kill();
        self.replace(server);
    }

    /// Pauses a server, if there is one, and resumes it after a while, unless it was killed meanwhile.
    pub(super) fn pause(&self, server: usize) {
        let paused = self.address(server);
        self.signal(server, paused, Pause::Begins);
        let servers = self.own.upgrade().unwrap();
        self.tasks.lock().unwrap().spawn(async move {
            #[expect(clippy::disallowed_methods, reason = "the run continues without this server")]
            tokio::time::sleep(PAUSE).await;
            servers.signal(server, paused, Pause::Ends);
        });
    }

    /// Signals the server at `address`, if it still exists.
    fn signal(&self, server: usize, address: Option<SocketAddr>, pause: Pause) {
        let slot = self.slots[server].lock().unwrap();
        slot.iter()
            .filter(|process| Some(process.http()) == address)
            .for_each(|process| process.pause(pause));
    }

    /// Starts a server in an empty slot; retries while the database is unavailable.
    fn replace(&self, server: usize) {
        let servers = self.own.upgrade().unwrap();
        self.tasks.lock().unwrap().spawn(async move {
            loop {
                let options = servers.options.clone();
                let started = tokio::task::spawn_blocking(move || ServerProcess::try_start(&options));
                if let Ok(process) = started.await.unwrap() {
                    *servers.slots[server].lock().unwrap() = Some(process);
                    return;
                }
                yield_briefly().await;
            }
        });
    }

    /// Waits until all servers are ready; none may have exited by itself.
    pub(super) async fn until_all_serve(&self) {
        while let Some(done) = self.next_done().await {
            done.unwrap();
        }
        for slot in &self.slots {
            assert!(slot.lock().unwrap().as_mut().unwrap().is_running(), "a server exited by itself");
        }
    }

    async fn next_done(&self) -> Option<Result<(), tokio::task::JoinError>> {
        std::future::poll_fn(|context| self.tasks.lock().unwrap().poll_join_next(context)).await
    }

    /// Stops all servers in order and waits for their exit.
    pub(super) fn terminate(&self) {
        for slot in &self.slots {
            slot.lock().unwrap().take().unwrap().terminate();
        }
    }
}
