//! Disasters: what is killed or hangs, and when.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lifeguard::farm::Random;

use super::servers::{SERVERS, Servers};
use super::severable_proxy::SeverableProxy;
use crate::server_process::{kill_9, postmaster};

/// How PostgreSQL is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PostgresCrash {
    /// The postmaster, whose children then exit.
    Postmaster,
    /// A backend; the postmaster then restarts the others.
    Backend,
    /// All processes at once, like a machine crash.
    All,
}

/// A disaster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disaster {
    /// The server that has just answered is killed.
    ThatServer,
    /// A server is killed at any moment.
    AnyServer(usize),
    /// A server hangs for a while and then continues with its outdated state.
    Pause(usize),
    /// All servers lose their connections to PostgreSQL, with its last answers.
    Cut,
    Postgres(PostgresCrash),
}

/// The plan of a run. Each disaster happens when this many answers have been given, immediately: answered messages must
/// be durable then.
pub(super) struct Disasters {
    plan: Mutex<Vec<(usize, Disaster)>>,
    data: PathBuf,
    wire: Arc<SeverableProxy>,
}

impl Disasters {
    /// Plans the disasters for this many answers: one to three servers are killed, one hangs, in half of the runs
    /// connections are cut, and in a third PostgreSQL is killed.
    pub(super) fn choose(
        random: &mut Random,
        answers: usize,
        data: &Path,
        wire: &Arc<SeverableProxy>,
    ) -> Self {
        let mut disasters = vec![Disaster::Pause(random.next_below(SERVERS))];
        for _ in 0..=random.next_below(3) {
            disasters.push(match random.next_below(2) {
                0 => Disaster::ThatServer,
                _ => Disaster::AnyServer(random.next_below(SERVERS)),
            });
        }
        if random.next_below(2) == 0 {
            disasters.push(Disaster::Cut);
        }
        if random.next_below(3) == 0 {
            let deaths = [PostgresCrash::Postmaster, PostgresCrash::Backend, PostgresCrash::All];
            disasters.push(Disaster::Postgres(deaths[random.next_below(deaths.len())]));
        }
        let plan = disasters.into_iter().map(|disaster| (1 + random.next_below(answers), disaster)).collect();
        Self { plan: Mutex::new(plan), data: data.to_owned(), wire: Arc::clone(wire) }
    }

    /// Runs the disasters that are due at this number of answers, the last of which is from server `that`.
    pub(super) fn strike(&self, answers: usize, that: usize, servers: &Servers) {
        let due: Vec<_> = self.plan.lock().unwrap().extract_if(.., |(at, _)| *at <= answers).collect();
        for (_, disaster) in due {
            match disaster {
                Disaster::ThatServer => servers.kill(that),
                Disaster::AnyServer(server) => servers.kill(server),
                Disaster::Pause(server) => servers.pause(server),
                Disaster::Cut => self.wire.cut(),
                Disaster::Postgres(death) => self.kill_postgres(death),
            }
        }
    }

    /// PostgreSQL is left alone while it restarts.
    fn kill_postgres(&self, death: PostgresCrash) {
        let Some(postmaster) = postmaster(&self.data) else { return };
        let children = children(postmaster);
        match death {
            PostgresCrash::Postmaster => kill_9(postmaster),
            PostgresCrash::Backend => children.into_iter().next_back().into_iter().for_each(kill_9),
            PostgresCrash::All => [postmaster].into_iter().chain(children).for_each(kill_9),
        }
    }
}

/// The children of `parent`, ordered by process ID.
fn children(parent: i32) -> Vec<i32> {
    let mut children = Vec::new();
    for entry in fs_err::read_dir("/proc").unwrap() {
        let Some(pid) = entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may exit during the read. The parent is the second field after the name, which is in parentheses.
        let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if after_name.split(' ').nth(1).and_then(|parent| parent.parse().ok()) == Some(parent) {
            children.push(pid);
        }
    }
    children.sort_unstable();
    children
}
