//! Tests of the kinds of action, against relay boards and boards that answer, lie, hang, refuse and disconnect.

mod boot;
mod foreign;
mod limits;
mod notify;
mod poll;
mod power;
mod quirks;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lifeguard::actions::{Facts, Job, JobSubject, PowerAction, PowerOperation, UnfinishedAction};
use lifeguard::clock::{Clock, ManualClock, SystemClock};
use lifeguard::farm::relay::{RelayBehaviour, RelayBoard};
use lifeguard::machine::{ActionName, MachineName, StateName, Visit};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Timeout of calls that are never answered; never used for calls that must succeed.
const SHORT_TIMEOUT: Duration = Duration::from_millis(200);
/// Timeout of calls where some are answered and some are not: far longer than an answer takes on a busy machine.
const LONG_TIMEOUT: Duration = Duration::from_secs(2);

/// Any free local port.
fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn relay(behaviour: RelayBehaviour) -> RelayBoard {
    RelayBoard::start(any_port(), 8, behaviour).unwrap()
}

/// Power URL of coil 5 at `addr`, with a short off time.
fn coil_5(addr: SocketAddr) -> String {
    format!("modbus://{addr}/5?off=20ms")
}

fn job(power_url: impl Into<String>) -> Job {
    let facts = json!({ "mac": "aa:bb:cc:dd:ee:ff", "power_url": power_url.into() });
    let Value::Object(facts) = facts else { unreachable!() };
    Job::new(1, ActionName::new("test").unwrap(), subject(), facts)
}

/// A power action with the default call timeout.
fn power(operation: PowerOperation) -> PowerAction {
    PowerAction::new(operation)
}

/// The subject of the jobs in these tests.
fn subject() -> JobSubject {
    JobSubject {
        machine: MachineName::new("board").unwrap(),
        name: "board-1".to_owned(),
        state: StateName::new("Working").unwrap(),
        visit: Visit(7),
    }
}

/// Sets a fact.
fn set_fact(facts: &mut Facts, name: &str, value: impl Into<Value>) {
    facts.insert(name.to_owned(), value.into());
}

/// Returns the job with another clock.
fn with_clock(clock: Arc<dyn Clock>, job: Job) -> Job {
    Job { clock, ..job }
}

fn manual() -> (ManualClock, Arc<dyn Clock>) {
    let clock = ManualClock::new(SystemClock.now());
    (clock.clone(), Arc::new(clock))
}

/// Waits for `work`, with a time limit.
async fn within_long_timeout<T>(what: &str, work: impl Future<Output = T>) -> T {
    within(Duration::from_secs(20), work).await.unwrap_or_else(|| panic!("waited in vain: {what}"))
}

/// Waits for `work` for at most `span` of real time.
#[expect(clippy::disallowed_methods, reason = "the test's own time limit, in real time")]
async fn within<T>(span: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(span, work).await.ok()
}

/// Waits for `condition`.
async fn until(what: &str, condition: impl Fn() -> bool) {
    within_long_timeout(what, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn until_wire(wire: &mut watch::Receiver<bool>, on: bool) {
    within_long_timeout("the wire to change", wire.wait_for(|now| *now == on)).await.unwrap();
}

/// The values of coil 5's wire, in order.
fn wire_of(relay: &RelayBoard) -> Vec<bool> {
    relay
        .coil_changes()
        .iter()
        .filter(|operation| operation.coil == 5)
        .map(|operation| operation.is_on)
        .collect()
}

fn observed(failed: &UnfinishedAction) -> &str {
    failed.evidence["observed"].as_str().unwrap()
}
