//! What is killed or hangs, and when.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lifeguard::farm::Random;

use super::servers::{SERVERS, Servers};
use super::severable_proxy::SeverableProxy;
use crate::server_process::{kill_9, postmaster};

/// How a Postgres dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PostgresCrash {
    /// Its first process, whose others then end by themselves.
    Postmaster,
    /// One of the others, whereupon the first ends the rest and begins anew.
    Backend,
    /// All at once, as when the machine falls over.
    All,
}

/// Something bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disaster {
    /// The server dies that has just answered.
    ThatServer,
    /// A server dies, whatever it was doing.
    AnyServer(usize),
    /// A server hangs for a while, and then goes on with what it believes to be so.
    Pause(usize),
    /// All servers lose their connections to Postgres, and with them its last answers.
    Cut,
    Postgres(PostgresCrash),
}

/// All that is to happen in a run. Each disaster strikes when so many answers have been given, at the very moment: what
/// was answered must be durable then.
pub(super) struct Disasters {
    plan: Mutex<Vec<(usize, Disaster)>>,
    data: PathBuf,
    wire: Arc<SeverableProxy>,
}

impl Disasters {
    /// Chooses what is to happen among so many answers: from one to three servers die, one hangs, every second time the
    /// wire is cut, and every third time Postgres dies.
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

    /// Lets happen what is due now that there are so many answers, the last of which is of server `that`.
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

    /// A Postgres that is only just coming back is left alone.
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

/// The processes that `parent` has started, in the order of their numbers.
fn children(parent: i32) -> Vec<i32> {
    let mut children = Vec::new();
    for entry in fs_err::read_dir("/proc").unwrap() {
        let Some(pid) = entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may end while it is looked at. The parent is the second after the name, which is in brackets.
        let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if after_name.split(' ').nth(1).and_then(|parent| parent.parse().ok()) == Some(parent) {
            children.push(pid);
        }
    }
    children.sort_unstable();
    children
}
